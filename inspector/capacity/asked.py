"""What is asked for, as typed and as understood."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.backends.work import Work
from inspector.capacity.hardware import GPUS, Gpu
from inspector.records import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command's options; None where one was not given."""

    line_id: str | None = None
    width_mm: float | None = None
    speed_m_min: float | None = None
    mm_per_px: float | None = None
    smallest_fault_mm: float | None = None
    tile_px: int | None = None
    overlap_px: int | None = None
    frame_rows: int | None = None
    ejector_m: float | None = None
    recipe: str | None = None
    tiles_per_s: float | None = None
    cores: int | None = None
    gpu_tflops: float | None = None
    gpu_gb_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """What an engine did somewhere."""

    tiles_per_s: float
    cores: int | None  # of that machine, as its operating system counts them; None: a GPU did it
    source: str  # in words
    got_cores: float | None = None  # of these, while it was measured: CPU seconds a second; None: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Everything the figures are worked out from."""

    width_mm: float
    speed_m_min: float
    mm_per_px: float
    grid: Grid
    frame_rows: int
    lanes: int = 1
    seamless: bool = True  # whether frames join; else each is a piece of its own
    smallest_fault_mm: float | None = None
    ejector_m: float | None = None  # from the camera's line to the ejector
    deadline_ms: float | None = None  # the line's overload.deadline_ms; None: no line was named
    is_on_gpu: bool = False  # whether the line's engine runs on one: no rate of it grows with cores
    rate: Rate | None = None
    work: Work | None = None  # of the recipe's graph
    gpus: tuple[Gpu, ...] = GPUS
