"""From options, a line's config and a recipe to what is asked: the one file here that opens things."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

from inspector.backends import failures_told, open_backend
from inspector.backends.artifact import Recipe, load_graph, load_recipe
from inspector.backends.rate import RATE_S, measure_rate
from inspector.backends.work import Work
from inspector.capacity.asked import Asked, Options, Rate
from inspector.capacity.figures import finest_mm_per_px
from inspector.capacity.hardware import GPUS, Gpu
from inspector.capacity.presets import MARGIN_PX, TILE_PX
from inspector.config import Line, Site
from inspector.errors import ArtefactError, ConfigError
from inspector.records import Grid

PX_PER_CELL = 4
OVERLAP_SHARE = 1 / 8  # of a tile
OVER_HALF_PX = 0.25  # half of the half pixel that a line's tile may be more than its whole ones
FRAME_ROWS = 1024
MOST_TILE_PX = 4096
GPU_BACKEND = "tensorrt"


def ask(options: Options, site: Site | None) -> Asked:
    """Put together what is asked; what an option says goes before what the line says.

    Args:
        options: the command's.
        site: the plant; needed for a line or a recipe.

    Raises ConfigError for what is missing or does not go together, ArtefactError for a recipe that no line
    can run, or whose engine can't be measured here.
    """
    line = site.line(options.line_id) if site is not None and options.line_id is not None else None
    width_mm, speed_m_min, mm_per_px = _web(options, line)
    _refuse_halves(options)
    backend = "openvino" if line is None else line.engine.backend
    engine_dir = site.engines / options.recipe if site is not None and options.recipe is not None else None
    recipe = None if engine_dir is None else load_recipe(engine_dir)
    return Asked(
        width_mm=width_mm,
        speed_m_min=speed_m_min,
        mm_per_px=mm_per_px,
        grid=_grid(options, line, recipe),
        frame_rows=options.frame_rows or (line and line.frame_rows) or FRAME_ROWS,
        lanes=1 if line is None else max(line.lanes.count, len(line.lanes.edges_mm) - 1),
        seamless=line is None or line.web.seamless,
        smallest_fault_mm=options.smallest_fault_mm,
        ejector_m=options.ejector_m or (line and line.reject_distance_m) or None,
        deadline_ms=None if line is None else line.overload.deadline_ms,
        is_on_gpu=backend == GPU_BACKEND,
        rate=_rate(options, engine_dir, backend),
        work=None if engine_dir is None or recipe is None else _work(engine_dir, recipe),
        gpus=_gpus(options),
    )


def _web(options: Options, line: Line | None) -> tuple[float, float, float]:
    """Width in mm, speed in m/min, mm per px. Raises ConfigError for the first that nobody gave."""
    given = {
        "--width-mm": options.width_mm,
        "--speed-m-min": options.speed_m_min,
        "--mm-per-px": options.mm_per_px,
    }
    of_line = [] if line is None else [line.web.width_mm, line.web.speed_m_min, line.web.mm_per_px]
    values = of_line or [0.0] * len(given)
    for place, (name, value) in enumerate(given.items()):
        if value is not None:
            values[place] = value
        elif line is None:
            hint = ""
            if name == "--mm-per-px" and options.smallest_fault_mm is not None:
                hint = f" ({finest_mm_per_px(options.smallest_fault_mm)} at most for such a smallest fault)"
            raise ConfigError(
                f"capacity wants to know the web: give {name}{hint}, or --line for one of the config"
            )
    return values[0], values[1], values[2]


def _refuse_halves(options: Options) -> None:
    """Options that are nothing by themselves."""
    if (options.gpu_tflops is None) != (options.gpu_gb_s is None):
        raise ConfigError(
            "a GPU is its peak and its memory's bandwidth: give both --gpu-tflops and --gpu-gb-s"
        )
    if options.gpu_tflops is not None and options.recipe is None:
        raise ConfigError("how much a GPU has to do is counted in a recipe's graph: give --recipe too")
    if options.cores is not None and options.tiles_per_s is None:
        raise ConfigError(
            "--cores tells on how many cores --tiles-per-s was measured: give both, or leave it out"
        )


def _grid(options: Options, line: Line | None, recipe: Recipe | None) -> Grid:
    """Tiles of the recipe, of the option, of the line, or as usual. Raises where a run would refuse them."""
    cell = PX_PER_CELL if recipe is None else recipe.px_per_cell
    tile_px = _tile_px(options, line, recipe)
    if tile_px % cell:
        raise ConfigError(f"tiles of {tile_px} px don't divide into cells of {cell} px; give a multiple")
    wanted_px = tile_px * OVERLAP_SHARE
    if options.overlap_px is not None:
        wanted_px = options.overlap_px
    elif line is not None:
        wanted_px = line.tiles.overlap_mm / line.web.mm_per_px
    # Asked before it is rounded: of a half that is no whole cells, a run makes up to a cell more than half.
    if wanted_px > tile_px / 2 + OVER_HALF_PX:
        raise ConfigError(
            f"an overlap of {wanted_px:g} px is more than half of a tile of {tile_px} px; give --overlap-px "
            f"{tile_px // 2} at most"
        )
    overlap_px = cell * math.ceil(wanted_px / cell - 1e-6)  # as tiling.grid_for rounds
    return Grid(tile_px, _margin_px(recipe, tile_px, cell), overlap_px, cell)


def _margin_px(recipe: Recipe | None, tile_px: int, cell: int) -> int:
    """The recipe's, or as usual. Raises as a run does for one that is no narrower than its tile."""
    margin_px = MARGIN_PX if recipe is None else recipe.margin_px
    if margin_px < tile_px:
        return margin_px
    tiles = f"tiles of {tile_px} px are no wider than"
    if recipe is not None:
        raise ArtefactError(
            f"recipe {recipe.name}: {tiles} their margin of {margin_px} px, and no line can cut such tiles; train the "
            f"recipe again with a narrower --margin-px"
        )
    raise ConfigError(
        f"{tiles} the usual margin of {margin_px} px, and no line can cut such tiles; give --tile-px "
        f"{cell * (margin_px // cell + 1)} or more, or --recipe NAME of one with a narrower margin"
    )


def _tile_px(options: Options, line: Line | None, recipe: Recipe | None) -> int:
    if recipe is not None:
        if options.tile_px not in (None, recipe.tile_px):
            raise ConfigError(f"recipe {recipe.name} has tiles of {recipe.tile_px} px; leave --tile-px out")
        return recipe.tile_px
    if options.tile_px is not None or line is None:
        return options.tile_px or TILE_PX
    side_px = line.tiles.size_mm / line.web.mm_per_px  # not at --mm-per-px: a recipe's tiles are pixels
    if not 1 <= side_px <= MOST_TILE_PX:
        raise ConfigError(
            f"tiles.size_mm = {line.tiles.size_mm:g} of line {options.line_id} is {side_px:.0f} px at its "
            f"mm_per_px; set it to that of its recipe's tiles"
        )
    return round(side_px)


def _rate(options: Options, engine_dir: Path | None, backend: str) -> Rate | None:
    """As told, or as measured: on a CPU on all of its cores, since it is cores that are asked for."""
    here = None if backend == GPU_BACKEND else len(os.sched_getaffinity(0))
    if options.tiles_per_s is None:
        return None if engine_dir is None else _measured(engine_dir, backend, here)
    if here is None and options.cores is not None:
        raise ConfigError(
            f"the line's engine runs on a GPU (engine.backend = {backend!r}), and a GPU's rate is not that of cores; "
            f"leave --cores out"
        )
    source = "as given" if options.cores or here is None else "as given, for this machine's cores"
    return Rate(options.tiles_per_s, options.cores or here, source)


def _measured(engine_dir: Path, name: str, cores: int | None) -> Rate:
    """What a recipe's engine does here; ``cores`` as in Rate. Raises ArtefactError."""
    backend = open_backend(engine_dir, name)
    try:
        info = backend.info
        source = f"measured here: recipe {info.recipe}, {info.backend} {info.precision}"
        cpu_s, began_s = time.process_time(), time.monotonic()
        with failures_told(backend):
            tiles_per_s = measure_rate(backend, RATE_S).tiles_per_s
        got_cores = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
        return Rate(tiles_per_s, cores, source, None if cores is None else got_cores)
    finally:
        backend.close()


def _work(engine_dir: Path, recipe: Recipe) -> Work:
    from inspector.backends.openvino import count_work

    return count_work(recipe.name, load_graph(engine_dir, recipe), recipe.tile_shape)


def _gpus(options: Options) -> tuple[Gpu, ...]:
    if options.gpu_tflops is None or options.gpu_gb_s is None:
        return GPUS
    return (Gpu("GPU", options.gpu_tflops, options.gpu_gb_s),)
