"""Offline: from a line's camera to a recipe with its limit in one go (``teach``). Lets ``learning`` use torch."""
