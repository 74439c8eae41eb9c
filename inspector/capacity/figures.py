"""The arithmetic of a web: lines, pixels, tiles, cores, GPUs, bytes and time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from inspector.backends.rate import HEADROOM, keeps_up
from inspector.backends.work import Work
from inspector.capacity.asked import Asked
from inspector.capacity.hardware import LINKS, SENSORS_PX, Gpu
from inspector.capacity.presets import CORES, MARGIN_PX, PRESETS, TILE_PX, Preset
from inspector.errors import ConfigError
from inspector.records import Grid
from inspector.tiling import least_rows, rows_waited, tile_rows, tiles_per_s
from inspector.tiling.grid import starts

SEEN_PX = 3  # a fault that is less wide seldom is (docs/measure.md)
BLUR_PX = 0.5  # of travel during an exposure
MOST_PX = 100_000  # across: seven of the widest sensors
MOST_LINES_PER_S = 1e6  # no line-scan camera reads faster

# What of a GPU's peak a network of small convolutions gets. Assumed: nothing here has run on a GPU.
PEAK_SHARE = 0.3
BYTES_PER_VALUE = 2  # fp16

DAY_S = 86_400
# Of a message: topic and JSON header, as encoded by bus/wire.py (tests/test_capacity.py encodes one anew).
VERDICT_BYTES = 950
HEADER_BYTES = 700  # of a defect, of a score map
PNG_SHARE = 1.01  # of the raw pixels, of noise; cloth takes less


@dataclass(frozen=True, slots=True)
class Camera:
    """One size of sensor that could look at the web."""

    sensor_px: int
    count: int  # side by side, neighbours overlapping as tiles do
    spare_px: int  # in all: for a lens that sees more than the web, for seams, for a web that wanders
    grey_mb_s: float  # each
    colour_mb_s: float  # each, as RGB8
    grey_link: str  # the slowest that carries it; empty: none does
    colour_link: str


@dataclass(frozen=True, slots=True)
class Cores:
    """What the tiles take, from a measured rate, as if rate grew with cores (not measured)."""

    needed: int
    here: int  # of the machine that was measured
    fits: bool  # that machine does it
    most_speed_m_min: float  # at which it would


@dataclass(frozen=True, slots=True)
class OneGpu:
    """Whether the GPU whose rate is known does the tiles. Nothing is said of two."""

    fits: bool
    most_speed_m_min: float  # at which it would


@dataclass(frozen=True, slots=True)
class GpuNeed:
    """From the roofline formula: computed, not run on hardware."""

    gpu: Gpu
    least_tiles_per_s: float  # nothing fused
    most_tiles_per_s: float  # everything between convolutions fused into them
    needed: int  # for the least
    bound: str  # "memory" | "arithmetic": of the least


@dataclass(frozen=True, slots=True)
class PresetNeed:
    """What the tiles would take with a preset."""

    preset: Preset
    cores: Cores  # of the machine that it was measured on
    gpus: tuple[GpuNeed, ...]


@dataclass(frozen=True, slots=True)
class Storage:
    """What a subscriber that keeps things would write; the line itself keeps nothing. GB are 1e9 bytes."""

    grey_gb_day: float  # of every frame
    colour_gb_day: float
    verdicts_gb_day: float
    grey_defect_bytes: int  # picture of its tile, that tile's score map, headers; uncompressed at worst
    colour_defect_bytes: int


@dataclass(frozen=True, slots=True)
class Reach:
    """From a row of web under the camera to its verdict, at worst, in time and in metres of web."""

    filling_s: float  # until its tile, margin included, and the frame that ends it are seen
    engine_s: float  # for the tiles that one frame can bring, at a rate that keeps up
    least_ejector_m: float
    available_s: float | None  # until that row is at the ejector
    slack_s: float | None
    most_deadline_ms: float | None  # of overload.deadline_ms, from the frame's end: later is too late


@dataclass(frozen=True, slots=True)
class Figures:
    """What it comes to."""

    lines_per_s: float
    width_px: int
    mpx_per_s: float
    longest_exposure_us: float
    fault_px: float | None
    tiles_per_s: float
    tiles_per_s_without_overlap: float
    tiles_across: int
    tile_rows: int  # that one frame can bring
    frames_per_s: float
    least_frame_rows: int
    cameras: tuple[Camera, ...]
    cores: Cores | None  # from the rate of a CPU
    one_gpu: OneGpu | None  # from that of a GPU
    gpus: tuple[GpuNeed, ...]
    presets: tuple[PresetNeed, ...]  # where rate or work is not known, and tiles are as presets have them
    storage: Storage
    reach: Reach


def figure(asked: Asked) -> Figures:
    """Work out what a web needs. Raises ConfigError for one that no camera or no tile fits."""
    lines_per_s = asked.speed_m_min / 60 * 1000 / asked.mm_per_px
    width_px = _width_px(asked, lines_per_s)
    tiles, rate = _tiles(asked, asked.grid, width_px), asked.rate
    return Figures(
        lines_per_s=lines_per_s,
        width_px=width_px,
        mpx_per_s=width_px * lines_per_s / 1e6,
        longest_exposure_us=BLUR_PX / lines_per_s * 1e6,
        fault_px=None if asked.smallest_fault_mm is None else asked.smallest_fault_mm / asked.mm_per_px,
        tiles_per_s=tiles,
        tiles_per_s_without_overlap=_tiles(asked, replace(asked.grid, overlap_px=0), width_px),
        tiles_across=len(starts(asked.grid, width_px)),
        tile_rows=tile_rows(asked.grid, asked.frame_rows, seamless=asked.seamless),
        frames_per_s=lines_per_s / asked.frame_rows,
        least_frame_rows=least_rows(asked.grid, seamless=asked.seamless),
        cameras=tuple(
            _camera(sensor, width_px, asked.grid.overlap_px, lines_per_s)
            for sensor in SENSORS_PX
            if sensor >= asked.grid.tile_px
        ),
        cores=_cores(rate.tiles_per_s, rate.cores, tiles, asked.speed_m_min) if rate and rate.cores else None,
        one_gpu=_one_gpu(rate.tiles_per_s, tiles, asked.speed_m_min) if rate and not rate.cores else None,
        gpus=() if asked.work is None else tuple(_gpu(gpu, asked.work, tiles) for gpu in asked.gpus),
        presets=_presets(asked, tiles),
        storage=_storage(asked, width_px, lines_per_s),
        reach=_reach(asked, width_px, tiles, lines_per_s),
    )


def _width_px(asked: Asked, lines_per_s: float) -> int:
    across = asked.width_mm / asked.mm_per_px
    if across > MOST_PX or lines_per_s > MOST_LINES_PER_S:
        raise ConfigError(
            f"{asked.width_mm:g} mm at {asked.speed_m_min:g} m/min and {asked.mm_per_px:g} mm/px would be "
            f"{across:.0f} px across, {lines_per_s:.0f} times a second, which no camera sees; look at the units "
            f"of --width-mm, --speed-m-min and --mm-per-px"
        )
    tile_px = asked.grid.tile_px
    if round(across) < tile_px:
        raise ConfigError(
            f"a web of {asked.width_mm:g} mm is {across:.0f} px at {asked.mm_per_px:g} mm/px, narrower than a "
            f"tile of {tile_px} px; give --mm-per-px {_down(asked.width_mm / tile_px)} or less, or smaller tiles"
        )
    return round(across)


def _down(value: float) -> str:
    """To two digits and never above ``value``, which would miss what it is to reach."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.floor(value / step + 1e-6) * step:.3g}"


def finest_mm_per_px(smallest_fault_mm: float) -> str:
    """What shows a fault at SEEN_PX pixels, in words."""
    return _down(smallest_fault_mm / SEEN_PX)


def _tiles(asked: Asked, grid: Grid, width_px: int) -> float:
    return tiles_per_s(
        grid,
        width_px,
        asked.speed_m_min,
        asked.mm_per_px,
        frame_rows=asked.frame_rows,
        seamless=asked.seamless,
    )


def _camera(sensor_px: int, width_px: int, overlap_px: int, lines_per_s: float) -> Camera:
    count = max(1, math.ceil((width_px - overlap_px) / (sensor_px - overlap_px)))
    grey, colour = (sensor_px * lines_per_s * channels / 1e6 for channels in (1, 3))
    return Camera(
        sensor_px=sensor_px,
        count=count,
        spare_px=count * sensor_px - (count - 1) * overlap_px - width_px,
        grey_mb_s=grey,
        colour_mb_s=colour,
        grey_link=_link(grey),
        colour_link=_link(colour),
    )


def _link(mb_s: float) -> str:
    return next((link.name for link in LINKS if mb_s <= link.mb_s), "")


def _cores(rate: float, cores: int, tiles: float, speed_m_min: float) -> Cores:
    return Cores(
        needed=math.ceil(tiles * HEADROOM / (rate / cores)),
        here=cores,
        fits=keeps_up(rate, tiles),
        most_speed_m_min=_most_speed_m_min(rate, tiles, speed_m_min),
    )


def _one_gpu(rate: float, tiles: float, speed_m_min: float) -> OneGpu:
    return OneGpu(keeps_up(rate, tiles), _most_speed_m_min(rate, tiles, speed_m_min))


def _most_speed_m_min(rate: float, tiles: float, speed_m_min: float) -> float:
    """At which an engine of ``rate`` tiles/s keeps up, where ``speed_m_min`` brings ``tiles`` a second."""
    return speed_m_min * rate / (tiles * HEADROOM)


def _presets(asked: Asked, tiles: float) -> tuple[PresetNeed, ...]:
    is_known = asked.rate is not None and asked.work is not None
    if is_known or (asked.grid.tile_px, asked.grid.margin_px) != (TILE_PX, MARGIN_PX):
        return ()
    return tuple(
        PresetNeed(
            one,
            _cores(one.tiles_per_s, CORES, tiles, asked.speed_m_min),
            tuple(_gpu(gpu, one.work, tiles) for gpu in asked.gpus),
        )
        for one in PRESETS
    )


def _gpu(gpu: Gpu, work: Work, tiles: float) -> GpuNeed:
    """Roofline: min(peak FLOP/s x share / FLOP a tile, bandwidth / bytes a tile).

    Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
    """
    arithmetic = gpu.tflops * 1e12 * PEAK_SHARE / max(work.flop, 1)
    least, most = (
        gpu.gb_s * 1e9 / (values * BYTES_PER_VALUE)
        for values in (work.values_unfused, max(work.values_fused, 1))
    )
    return GpuNeed(
        gpu=gpu,
        least_tiles_per_s=min(arithmetic, least),
        most_tiles_per_s=min(arithmetic, most),
        needed=math.ceil(tiles * HEADROOM / min(arithmetic, least)),
        bound="arithmetic" if arithmetic < least else "memory",
    )


def _storage(asked: Asked, width_px: int, lines_per_s: float) -> Storage:
    grey_gb_day = width_px * lines_per_s * DAY_S / 1e9
    verdicts_per_s = asked.lanes * lines_per_s / asked.frame_rows
    cells = (asked.grid.tile_px // asked.grid.px_per_cell) ** 2
    grey, colour = (
        round(asked.grid.tile_px**2 * channels * PNG_SHARE) + cells + 2 * HEADER_BYTES for channels in (1, 3)
    )
    return Storage(grey_gb_day, 3 * grey_gb_day, verdicts_per_s * VERDICT_BYTES * DAY_S / 1e9, grey, colour)


def _reach(asked: Asked, width_px: int, tiles: float, lines_per_s: float) -> Reach:
    """When a row of web has its verdict, and when it is at the ejector."""
    grid, speed_m_s = asked.grid, asked.speed_m_min / 60
    filling_s = rows_waited(grid, asked.frame_rows, seamless=asked.seamless) / lines_per_s
    measured = 0.0 if asked.rate is None else asked.rate.tiles_per_s
    frame_tiles = tile_rows(grid, asked.frame_rows, seamless=asked.seamless) * len(starts(grid, width_px))
    engine_s = frame_tiles / max(measured, tiles * HEADROOM)
    available_s = None if asked.ejector_m is None else asked.ejector_m / speed_m_s
    return Reach(
        filling_s=filling_s,
        engine_s=engine_s,
        least_ejector_m=(filling_s + engine_s) * speed_m_s,
        available_s=available_s,
        slack_s=None if available_s is None else available_s - filling_s - engine_s,
        most_deadline_ms=None if available_s is None else (available_s - filling_s) * 1000,
    )
