"""What presets cost and do, for who has no recipe yet: counted in their graphs, measured on one machine.

Work is that of `count_work` for a mono tile as `train` makes it unless it is told otherwise. Rates are those of
docs/speed.md of a machine without AVX-512, the slower of two: OpenVINO in fp32, a tile at a time as on a line, both
cores. That machine was gone when `fastest` came: on one with AVX-512 hidden from OpenVINO it did 1.8 times the tiles
of `faster`.
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
    source: str = "measured there"


PRESETS = (
    Preset("balanced", Work(2_461_254_336, 59_358_760, 183_645_804), 38.0),
    Preset("fast", Work(763_578_304, 24_402_756, 77_485_778), 107.0),
    Preset("faster", Work(299_170_368, 8_368_456, 25_775_057), 238.0),
    Preset("fastest", Work(198_079_168, 6_122_548, 20_226_749), 430.0, "reckoned from that of faster"),
)
