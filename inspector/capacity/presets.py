"""What presets cost and do, for who has no recipe yet: counted in their graphs, measured on one machine.

Work is that of `count_work` for a mono tile as `train` makes it unless it is told otherwise. Rates are those of
docs/speed.md of a machine without AVX-512: OpenVINO in fp32, a tile at a time as on a line, both cores.
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
    Preset("balanced", Work(2_465_555_136, 61_579_352, 235_722_272), 48.0),
    Preset("fast", Work(765_575_104, 25_435_332, 100_121_382), 141.0),
    Preset("faster", Work(299_695_168, 8_639_960, 32_238_872), 346.0),
    Preset("fastest", Work(198_603_968, 6_394_052, 24_988_868), 488.0),
)
