"""``inspector check`` and ``inspector tiles``: prove a line before its start, and show the plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from inspector import backends, cameras, limits
from inspector.backends import failures_told
from inspector.backends.artifact import write_atomically
from inspector.backends.engine import score_loose
from inspector.backends.rate import RATE_S, keeps_up, measure_rate, speed_words
from inspector.bus.publisher import Publisher
from inspector.config import Line, Site
from inspector.errors import CameraError, ConfigError, InspectorError
from inspector.interfaces import Backend, CameraInfo, EngineInfo
from inspector.judging import Judge, lane_edges_mm, levelled_alone, stitch
from inspector.judging.unlike import FAR_SIGMA
from inspector.limits import Limits
from inspector.records import EndOfWeb, Frame, Grid, Region
from inspector.tiling import (
    Plan,
    Tiler,
    check_channels,
    cut_region,
    draw_grid,
    grid_for,
    plan_for,
    region_finder,
)

T = TypeVar("T")
FIRST_FRAME_S = 10.0
NO_DISTANCE = (
    "reject_distance_m is 0, so no verdict is ever in time for a receiver; measure it from camera to ejector"
)


@dataclass
class CheckReport:
    """What was proved, row by row."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)  # room, "ok" | "FAIL" | "warn", sentence
    first_error: InspectorError | None = None

    def attempt(
        self,
        room: str,
        prove: Callable[[], T],
        say: Callable[[T], str],
        mark: Callable[[T], str] = lambda _: "ok",
    ) -> T | None:
        """Run ``prove``; note what it found, by ``mark`` "ok" or "warn", or why it failed."""
        try:
            found = prove()
        except InspectorError as error:
            self.first_error = self.first_error or error
            self.rows.append((room, "FAIL", str(error)))
            return None
        self.rows.append((room, mark(found), say(found)))
        return found

    def proved(self) -> list[str]:
        """What is well, one row a room; at the end whether all is."""
        rows = [_row(row) for row in self.rows if row[1] != "FAIL"]
        return rows if self.first_error else [*rows, "ready to run"]

    def failures(self) -> list[str]:
        """What fails, one row a room, and what to do; nothing where all is well."""
        rows = [_row(row) for row in self.rows if row[1] == "FAIL"]
        return [*rows, "NOT ready: mend what says FAIL"] if rows else []


def _row(row: tuple[str, str, str]) -> str:
    room, mark, sentence = row
    return f"{mark:4}  {room:8} {sentence}"


def check_line(site: Site, line_id: str) -> CheckReport:
    """Prove a line's config, ports, limits, engine and camera; lay the plan beside what the engine does.

    Raises ConfigError when there is no such line; everything else is in the report.
    """
    report = CheckReport()
    line = site.line(line_id)
    report.rows.append(("config", "ok", f"{site.file.name}: line {line_id} of {site.plant.plant}"))
    if not line.reject_distance_m:
        report.rows.append(("ejector", "warn", NO_DISTANCE))
    report.attempt(
        "ports", lambda: _try_ports(site, line_id), lambda _: "verdicts, maps and replay can be bound"
    )
    limit = report.attempt(
        "limits",
        lambda: limits.load_limits(site, line_id, line.recipe),
        _limit_words,
    )
    backend = report.attempt(
        "engine",
        lambda: backends.open_backend(site.engines / line.recipe, line.engine.backend, line.engine.threads),
        lambda found: _engine_words(found.info),
    )
    try:
        camera = report.attempt("camera", lambda: _try_camera(site, line_id), _camera_words)
        if backend is not None and camera is not None:
            _check_plan(report, line, backend, camera, limit)
    finally:
        if backend is not None:
            backend.close()
    return report


def draw_tiles(site: Site, line_id: str, picture: Path) -> str:
    """Draw a line's grid onto one frame from its camera, as PNG; return a sentence. Raises InspectorError."""
    if picture.suffix.lower() != ".png":
        raise ConfigError(f"{picture}: the picture is a PNG; give it a name that ends in .png")
    line = site.line(line_id)
    backend = backends.open_backend(site.engines / line.recipe, line.engine.backend, line.engine.threads)
    backend.close()
    calibrated_mm = _calibrated_mm(site, line_id, line)
    camera, frame = _try_camera(site, line_id)
    grid = _fitting_grid(line, backend.info, camera, calibrated_mm)
    region = _columns(line, frame, grid, calibrated_mm)
    mm = line.web.mm_per_px
    edges_mm = lane_edges_mm(line.lanes, region.left_px * mm, region.right_px * mm)
    drawn = draw_grid(frame.pixels, grid, line, region, edges_mm)
    _, png = cv2.imencode(".png", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
    write_atomically(picture, png.tobytes())
    plan = plan_for(grid, line, region.width_px)
    return (
        f"{picture}: {plan.tiles_across} tiles across {plan.region_width_px} px, "
        f"a row of them every {plan.stride_px} px"
    )


def _calibrated_mm(site: Site, line_id: str, line: Line) -> tuple[float, float] | None:
    """Edges that limits were set on, where a run goes by them and there are any. Raises ArtefactError."""
    if not _is_calibrated(line) or not limits.limits_file(site, line_id, line.recipe).exists():
        return None
    return limits.load_limits(site, line_id, line.recipe).region_mm


def _is_calibrated(line: Line) -> bool:
    """Whether a run judges the columns that its limits were set on (``Tiler.for_line``)."""
    return line.region.kind == "auto" and line.web.seamless


def _try_ports(site: Site, line_id: str) -> None:
    Publisher(site, line_id).close(None)


def _try_camera(site: Site, line_id: str) -> tuple[CameraInfo, Frame]:
    """Open a line's camera and take its first whole frame."""
    camera = cameras.open_camera(line_id, site.line(line_id), site.root)
    try:
        camera.start()
        until_s = time.monotonic() + FIRST_FRAME_S
        lost = 0
        while time.monotonic() < until_s:
            item = camera.read(0.5)
            if isinstance(item, EndOfWeb):
                break
            if isinstance(item, Frame):
                return camera.info, item
            lost += item is not None
        raise CameraError(
            f"camera {camera.info.serial}: no whole frame within {FIRST_FRAME_S:.0f} s ({lost} came incomplete); "
            f"check light, trigger (TriggerMode, TriggerSource) and link"
        )
    finally:
        camera.close()


def _camera_words(seen: tuple[CameraInfo, Frame]) -> str:
    info, frame = seen
    return (
        f"{info.vendor} {info.model} {info.serial}, {info.pixel_format} {info.width_px}x{info.height_px}, "
        f"mean grey {frame.pixels.mean():.0f}"
    )


def _limit_words(found: Limits) -> str:
    """All limits of the line, and whether somebody moved them."""
    words = f"{found.limit_sigma:.2f} sigma"
    if found.zones:
        across = [zone.factor * found.limit_sigma for zone in found.zones]
        words += f", {min(across):.2f} to {max(across):.2f} in {len(across)} zones"
    if found.wide:
        words += f"; large and faint: {', '.join(one.name for one in found.wide)}"
    return words + (f"; set by hand: {found.set_by_hand}" if found.set_by_hand else "")


def _engine_words(info: EngineInfo) -> str:
    return (
        f"recipe {info.recipe} on {info.backend} {info.version} {info.precision} ({info.device}), "
        f"tiles of {info.tile_px} px with a margin of {info.margin_px} px"
    )


def _check_plan(
    report: CheckReport, line: Line, backend: Backend, seen: tuple[CameraInfo, Frame], limit: Limits | None
) -> None:
    """The tile grid, and what the web's speed needs against what the engine does here."""
    laid = report.attempt(
        "tiles",
        lambda: _lay_grid(line, backend.info, *seen, limit),
        lambda laid: _plan_words(plan_for(laid[0], line, laid[1].width_px), line),
    )
    if laid is None or report.first_error is not None:
        return
    grid, region = laid
    beside = _beside_lanes(line, region)
    if beside:
        report.rows.append(("lanes", "warn", beside))
    if region.height_px >= grid.tile_px:  # a seamless web's frames may be lower
        report.attempt(
            "web",
            lambda: _look_at_web(line, backend, seen[1], grid, region, limit),
            lambda looked: looked[1],
            lambda looked: looked[0],
        )
    needed = plan_for(grid, line, region.width_px).tiles_per_s
    report.attempt(
        "speed",
        lambda: _rate(backend),
        lambda here: speed_words(here, needed, line.web.speed_m_min),
        lambda here: "ok" if keeps_up(here, needed) else "warn",
    )


def _rate(backend: Backend) -> float:
    """Tiles/s of the engine here. Raises ArtefactError."""
    with failures_told(backend):
        return measure_rate(backend, RATE_S).tiles_per_s


def _beside_lanes(line: Line, region: Region) -> str:
    """A sentence where judged web is in no lane; empty where all of it is in one."""
    if not line.lanes.edges_mm:
        return ""
    left_mm, right_mm = (edge * line.web.mm_per_px for edge in (region.left_px, region.right_px))
    first_mm, last_mm = line.lanes.edges_mm[0], line.lanes.edges_mm[-1]
    if max(first_mm - left_mm, right_mm - last_mm) < line.web.mm_per_px:  # the region is whole pixels
        return ""
    return (
        f"the web judged is {left_mm:.1f} to {right_mm:.1f} mm, lanes.edges_mm are {first_mm:g} to {last_mm:g} mm: a "
        f"fault beside them is in no verdict; set the outer edges to those of the web, or region.kind = 'fixed' to "
        f"what is to be judged"
    )


def _plan_words(plan: Plan, line: Line) -> str:
    return (
        f"{plan.tiles_across} across {plan.region_width_px} px, a row every {plan.stride_px} px, overlap "
        f"{plan.overlap_px} px = {plan.overlap_px * line.web.mm_per_px:.1f} mm, {plan.tiles_per_m:.0f} tiles per m"
    )


def _look_at_web(
    line: Line, backend: Backend, frame: Frame, grid: Grid, region: Region, limit: Limits | None
) -> tuple[str, str]:
    """What one frame scores, as a piece of web of its own; before ``run``, for a wrong recipe or lens shows here.

    Returns "ok" or "warn", and a sentence. Raises ArtefactError when the engine fails.
    """
    tiles, origins = cut_region(grid, frame.pixels, region)
    with failures_told(backend):
        maps = score_loose(backend, tiles).scores
    shape = grid.cells(region.height_px), grid.cells(region.width_px)
    cells = stitch(maps, origins, grid.px_per_cell, shape)
    if limit is not None:
        cells = levelled_alone(limit.levels, cells, grid.px_per_cell, region.left_px, line.web.mm_per_px)
    median, highest = float(np.median(maps)), float(cells.max())
    words, mark = (
        f"this frame's median is {median:.1f} sigma, good web's near 0; its highest {highest:.1f}",
        "ok",
    )
    if limit is not None and not highest <= limit.limit_sigma:
        mark, words = "warn", f"{words} is above the limit of {limit.limit_sigma:.2f}: look at the web"
    if not median < FAR_SIGMA:
        unlike = "as a whole it is unlike what the recipe learnt: another fabric, other light, out of focus"
        mark, words = "warn", f"{words}; {unlike}"
    return mark, words


def _lay_grid(
    line: Line, engine: EngineInfo, camera: CameraInfo, frame: Frame, limit: Limits | None
) -> tuple[Grid, Region]:
    """How tiles lie, and what a run would judge of the frame. Raises InspectorError."""
    calibrated_mm = None if limit is None else limit.region_mm
    grid = _fitting_grid(line, engine, camera, calibrated_mm)
    if limit is not None:
        limits.refuse_other_columns(limit, line, limit.line, camera.width_px)
        Judge(limit.levels, line.judging.min_defect_mm, line.lanes, line.web, grid)
    return grid, _columns(line, frame, grid, calibrated_mm)


def _columns(line: Line, frame: Frame, grid: Grid, calibrated_mm: tuple[float, float] | None) -> Region:
    """What a run would judge of a frame. Raises CameraError when there is less than a tile of it."""
    if _is_calibrated(line) and calibrated_mm is not None:
        left, right = (round(edge / line.web.mm_per_px) for edge in calibrated_mm)
        return Region(left, right, 0, len(frame.pixels))
    return _web_in(frame, line, grid)


def _fitting_grid(
    line: Line, engine: EngineInfo, camera: CameraInfo, calibrated_mm: tuple[float, float] | None
) -> Grid:
    """The grid, if a run would not refuse it. Raises InspectorError."""
    grid = grid_for(line, engine)
    check_channels(camera, engine)
    Tiler.for_line(grid, line, camera, calibrated_mm)
    return grid


def _web_in(frame: Frame, line: Line, grid: Grid) -> Region:
    """Where the web is in a frame. Raises CameraError when there is less than a tile of it."""
    region = region_finder(line)(frame.pixels)
    if region is None:
        raise CameraError(
            "no web in view; light the web, or set region.kind = 'fixed' with left_mm and right_mm"
        )
    if min(region.width_px, region.height_px) < grid.tile_px:
        raise CameraError(
            f"only {region.width_px} x {region.height_px} px of web in view, less than a tile of {grid.tile_px} px; "
            f"show more of it, or use a recipe with smaller tiles"
        )
    return region
