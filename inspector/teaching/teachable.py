"""Whether a line can be taught, and on how much web: found out before its camera looks, where that is possible."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inspector.config import GenicamCamera, Line, Site
from inspector.errors import ArtefactError, ConfigError
from inspector.images.reading import PX_PER_CELL
from inspector.interfaces import CameraInfo, EngineInfo
from inspector.records import Grid
from inspector.teaching.record import Recorded, Wanted
from inspector.teaching.shares import FEWEST_TO_LEARN, Needs
from inspector.tiling import Tiler, check_width, grid_for

MARGIN_PX = 32
STEP_PX = 32  # the stride of the deepest layer: tiles are a multiple of it, with margins that are one too
SMALLEST_TILE_PX, LARGEST_TILE_PX = 64, 1024  # the smallest is wider than its margin, as every line wants it
SPARE_MB = 300.0  # for training, engine and whatever else wants the disk meanwhile


def grid_to_be(site: Site, line_id: str, recipe: str, camera: CameraInfo) -> Grid:
    """Return the grid of a recipe that is still to be taught, of tiles as large as the config says.

    Raises ConfigError where the networks can't take such tiles, or a line couldn't run them.
    """
    line = site.line(line_id)
    tile_px, mm_per_px = _tile_px(line), line.web.mm_per_px
    if tile_px % STEP_PX or not SMALLEST_TILE_PX <= tile_px <= LARGEST_TILE_PX:
        nearest = min(max(round(tile_px / STEP_PX) * STEP_PX, SMALLEST_TILE_PX), LARGEST_TILE_PX)
        raise ConfigError(
            f"{site.file}: line.{line_id}.tiles.size_mm = {line.tiles.size_mm:g} is {tile_px} px, but the networks "
            f"want a multiple of {STEP_PX} from {SMALLEST_TILE_PX} to {LARGEST_TILE_PX}; set size_mm = "
            f"{round(nearest * mm_per_px, 4):g}"
        )
    engine = EngineInfo(
        recipe=recipe,
        backend=line.engine.backend,
        version="",
        device="",
        precision="",
        tile_px=tile_px,
        margin_px=MARGIN_PX,
        px_per_cell=PX_PER_CELL,
        channels=camera.channels,
        engine_sha256="",
    )
    grid = grid_for(line, engine)
    check_width(camera, line)
    Tiler.for_line(grid, line, camera, None)
    return grid


def expected_width(line: Line, camera: CameraInfo) -> int:
    """Columns of web in a frame, as far as config and camera tell."""
    mm_per_px, region = line.web.mm_per_px, line.region
    match region.kind:
        case "fixed":
            return round(region.right_mm / mm_per_px) - round(region.left_mm / mm_per_px)
        case "auto":
            return min(camera.width_px, max(_tile_px(line), round(line.web.width_mm / mm_per_px)))
        case _:
            return camera.width_px


def usual_width(frames: Sequence[Recorded]) -> int:
    """Columns of web in most of the frames, as they were seen."""
    return round(float(np.median([frame.region.width_px for frame in frames])))


def refuse_little_room(folder: Path, megabytes: float) -> None:
    """Raise ArtefactError where the disk has no room for so much and for all that comes after it."""
    free, wanted = shutil.disk_usage(folder).free / 1e6, megabytes + SPARE_MB
    if free < wanted:
        raise ArtefactError(
            f"{folder}: {free:.0f} MB are free there, and teaching wants {wanted:.0f} MB; free the disk, or give "
            "fewer --metres"
        )


def fewest_words(needs: Needs) -> str:
    """How many frames it takes, and what for."""
    limit, proof = needs.fewest_to_begin_with, needs.fewest_to_prove
    return f"{needs.fewest}: {FEWEST_TO_LEARN} to learn from, {limit} for the limit, {proof} to prove both on"


def plan_words(
    line_id: str, line: Line, camera: CameraInfo, wanted: Wanted, needs: Needs, megabytes: float
) -> str:
    """Say what is going to be recorded."""
    looks = f"{camera.width_px}x{camera.height_px} {camera.pixel_format}"
    frames = f"{wanted.metres:g} m are {wanted.expected} frames of {needs.frame_m:.3f} m"
    lines = [
        f"line {line_id}: {camera.vendor} {camera.model} {camera.serial}, {looks}; {needs.tiles} tiles a frame",
        f"{frames}, at most {megabytes:.0f} MB for a while",
    ]
    if wanted.expected > needs.most:
        lines.append(f"{needs.most} of them are kept, evenly along the web: more would be no use")
    if isinstance(line.camera, GenicamCamera) and line.camera.encoder == "rows":
        lines.append(
            "no encoder: metres are counted by rows, as right as the line rate is to the web's speed"
        )
    return "\n".join(lines)


def _tile_px(line: Line) -> int:
    return round(line.tiles.size_mm / line.web.mm_per_px)
