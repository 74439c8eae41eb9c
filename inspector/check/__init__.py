"""``inspector check`` and ``inspector tiles``: prove a line before its start, and show the plan."""

from inspector.check.line import check_line
from inspector.check.plan import draw_tiles
from inspector.check.report import CheckReport

__all__ = ["CheckReport", "check_line", "draw_tiles"]
