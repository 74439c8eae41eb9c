"""The command ``inspector``: parse, load the config, open devices, call. No other logic; imports lazily."""

from inspector.cli import line, recipe
from inspector.cli.shared import INTERRUPTED, main

__all__ = ["INTERRUPTED", "line", "main", "recipe"]
