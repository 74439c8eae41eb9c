"""``inspector capacity``: what a web needs, before anything is bought.

    options, line, recipe ──asking──▶ Asked ──figures──▶ Figures ──words──▶ rows with verdicts

Figures and words are arithmetic: no I/O, no clocks. What this room does not know: cameras that are connected,
limits, how well a recipe finds faults.
"""

from inspector.capacity.asked import Asked, Options, Rate
from inspector.capacity.asking import ask
from inspector.capacity.figures import Figures, figure
from inspector.capacity.words import as_dict, table

__all__ = ["Asked", "Figures", "Options", "Rate", "as_dict", "ask", "figure", "table"]
