"""What presets cost and do, for who has no recipe yet: counted in their graphs, measured on one machine.

Work is that of `count_work` for a mono tile as `train` makes it unless it is told otherwise. Rates are those of
docs/speed.md: OpenVINO in fp32, a tile at a time as on a line, both cores.
"""

from __future__ import annotations

from dataclasses import dataclass

from inspector.backends.work import Work

TILE_PX, MARGIN_PX = 256, 32
CORES, MACHINE = 2, "an AMD EPYC without AVX-512"


@dataclass(frozen=True, slots=True)
class Preset:
    """As `train --preset` names it."""

    name: str
    work: Work  # of a tile
    tiles_per_s: float  # on CORES cores of MACHINE


PRESETS = (
    Preset("balanced", Work(2_452_534_720, 59_127_274, 183_165_329), 38.0),
    Preset("fast", Work(759_015_872, 24_179_628, 78_298_933), 107.0),
    Preset("fastest", Work(294_131_008, 8_022_810, 26_955_282), 238.0),
)
