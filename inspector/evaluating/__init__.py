"""Offline: what an engine finds on images with known faults, in figures and on a page (``evaluate``). No torch."""
