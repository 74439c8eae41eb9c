"""Offline: limits from good web, of images (``calibrate``) or of a running line (``from_run``). No torch."""
