"""Real-time inspection of textured webs: camera, tiles, engine, verdicts on the bus."""

__version__ = "0.1.0"
