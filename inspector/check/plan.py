"""How a line's tiles lie on what its camera shows, drawn and in words, and whether verdicts of them come in time."""

from __future__ import annotations

from pathlib import Path

import cv2

from inspector import backends, limits
from inspector.backends.artifact import write_atomically
from inspector.check.seen import try_camera
from inspector.config import Line, Site
from inspector.errors import CameraError, ConfigError
from inspector.interfaces import CameraInfo, EngineInfo
from inspector.judging import Judge, beside_lanes, lane_edges_mm
from inspector.limits import Limits
from inspector.records import Frame, Grid, Region
from inspector.tiling import (
    Plan,
    Tiler,
    check_channels,
    check_width,
    draw_grid,
    grid_for,
    least_width_px,
    plan_for,
    region_finder,
    rows_waited,
    too_narrow,
)


def draw_tiles(site: Site, line_id: str, picture: Path) -> str:
    """Draw a line's grid onto one frame from its camera, as PNG; return a sentence. Raises InspectorError."""
    if picture.suffix.lower() != ".png":
        raise ConfigError(f"{picture}: the picture is a PNG; give it a name that ends in .png")
    line = site.line(line_id)
    backend = backends.open_backend(site.engines / line.recipe, line.engine.backend, line.engine.threads)
    backend.close()
    calibrated_mm = _calibrated_mm(site, line_id, line)
    seen = try_camera(site, line_id)
    grid = _fitting_grid(line, backend.info, seen.info, calibrated_mm)
    region = _columns(line, seen.frame, grid, calibrated_mm)
    mm = line.web.mm_per_px
    edges_mm = lane_edges_mm(line.lanes, region.left_px * mm, region.right_px * mm)
    drawn = draw_grid(seen.frame.pixels, grid, line, region, edges_mm)
    _, png = cv2.imencode(".png", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
    write_atomically(picture, png.tobytes())
    plan = plan_for(grid, line, region.width_px, seen.info.height_px)
    return f"{picture}: {plan.tiles_across} tiles across {plan.region_width_px} px, {_rows_words(plan)}"


def _calibrated_mm(site: Site, line_id: str, line: Line) -> tuple[float, float] | None:
    """Edges that limits were set on, where a run goes by them and there are any. Raises ArtefactError."""
    if not _is_calibrated(line) or not limits.limits_file(site, line_id, line.recipe).exists():
        return None
    return limits.load_limits(site, line_id, line.recipe).region_mm


def _is_calibrated(line: Line) -> bool:
    """Whether a run judges the columns that its limits were set on (``Tiler.for_line``)."""
    return line.region.kind == "auto" and line.web.seamless


def too_late(line: Line, grid: Grid, height_px: int) -> str:
    """A sentence where a verdict, or its deadline, comes when its web is past the ejector; empty where it doesn't."""
    if not line.reject_distance_m:
        return ""  # warned of already
    waits_m = rows_waited(grid, height_px, seamless=line.web.seamless) * line.web.mm_per_px / 1000
    left_ms = (line.reject_distance_m - waits_m) / (line.web.speed_m_min / 60) * 1000
    deadline_ms = line.overload.deadline_ms
    if left_ms > 0 and deadline_ms <= left_ms:
        return ""
    ask = "`inspector capacity --line` says what fits"
    if left_ms <= 0:
        return (
            f"reject_distance_m = {line.reject_distance_m:g}, but a verdict waits for up to {waits_m:.2f} m of web: "
            f"at {line.web.speed_m_min:g} m/min no verdict is in time; {ask}"
        )
    return (
        f"overload.deadline_ms = {deadline_ms:g}, but {left_ms:.0f} ms after its frame's end the web is at the ejector "
        f"({line.web.speed_m_min:g} m/min): later verdicts count as in time here and come too late there; {ask}"
    )


def _rows_words(plan: Plan) -> str:
    """How rows of tiles lie along the web."""
    if plan.tile_rows is None:
        return f"a row of them every {plan.stride_px} px"
    return f"{plan.tile_rows} row(s) of them in each frame, which joins no other"


def plan_words(plan: Plan, line: Line) -> str:
    """The grid on one line."""
    return (
        f"{plan.tiles_across} across {plan.region_width_px} px, {_rows_words(plan)}, overlap "
        f"{plan.overlap_px} px = {plan.overlap_px * line.web.mm_per_px:.1f} mm, {plan.tiles_per_m:.0f} tiles per m"
    )


def lay_grid(
    line: Line, engine: EngineInfo, camera: CameraInfo, frame: Frame, limit: Limits | None
) -> tuple[Grid, Region]:
    """How tiles lie, and what a run would judge of the frame. Raises InspectorError."""
    calibrated_mm = None if limit is None else limit.region_mm
    grid = _fitting_grid(line, engine, camera, calibrated_mm)
    if limit is not None:
        limits.refuse_other_columns(limit, line, limit.line, camera.width_px)
        Judge(limit.levels, line.judging.min_defect_mm, line.lanes, line.web, grid)
    region = _columns(line, frame, grid, calibrated_mm)
    mm = line.web.mm_per_px
    beside = beside_lanes(line.lanes, region.left_px * mm, region.right_px * mm, mm)
    if beside:
        raise ConfigError(beside)
    return grid, region


def _columns(line: Line, frame: Frame, grid: Grid, calibrated_mm: tuple[float, float] | None) -> Region:
    """What a run would judge of a frame. Raises CameraError when there is less of it than a run would judge."""
    if _is_calibrated(line) and calibrated_mm is not None:
        left, right = (round(edge / line.web.mm_per_px) for edge in calibrated_mm)
        return Region(left, right, 0, len(frame.pixels))
    region = _web_in(frame, line, grid)
    least_px = least_width_px(line, calibrated_mm)
    if region.width_px < least_px:
        raise CameraError(
            f"{too_narrow(region.width_px, least_px)}; a run would not inspect such an image: show all of the web, or "
            "calibrate on what is shown"
        )
    return region


def _fitting_grid(
    line: Line, engine: EngineInfo, camera: CameraInfo, calibrated_mm: tuple[float, float] | None
) -> Grid:
    """The grid, if a run would not refuse it. Raises InspectorError."""
    grid = grid_for(line, engine)
    check_channels(camera, engine)
    check_width(camera, line)
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
