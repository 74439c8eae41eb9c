"""A line's devices: opened, checked against each other and described. It starts nothing."""

from __future__ import annotations

from dataclasses import dataclass

from inspector import backends, cameras, limits
from inspector.backends.rate import glance_rate, keeps_up
from inspector.bus.publisher import Identity
from inspector.config import Line, Site
from inspector.errors import ConfigError
from inspector.interfaces import Backend, Camera, CameraInfo
from inspector.judging import Judge, beside_lanes
from inspector.tiling import Tiler, check_channels, check_width, grid_for, plan_between, tile_rows


@dataclass(frozen=True, slots=True)
class Parts:
    """A line's devices, open and checked against each other."""

    line_id: str
    config: Line
    camera: Camera
    backend: Backend
    tiler: Tiler
    judge: Judge
    limit: limits.Limits

    def close(self, *, engine: bool = True) -> None:
        """Let go of everything, or of all but an ``engine`` that is still at work; never raises."""
        self.camera.close()
        if engine:
            self.backend.close()


def open_parts(site: Site, line_id: str) -> Parts:
    """Open a line's limits, engine and camera, cheapest first. Raises InspectorError."""
    line = site.line(line_id)
    limit = limits.load_limits(site, line_id, line.recipe)
    backend = backends.open_backend(site.engines / line.recipe, line.engine.backend, line.engine.threads)
    try:
        grid = grid_for(line, backend.info)
        camera = cameras.open_camera(line_id, line, site.root)
    except BaseException:
        backend.close()
        raise
    try:
        check_channels(camera.info, backend.info)
        check_width(camera.info, line)
        tiler = Tiler.for_line(grid, line, camera.info, limit.region_mm)
        limits.refuse_other_columns(limit, line, line_id, camera.info.width_px)
        _refuse_beside_lanes(line, line_id, camera.info, limit)
        judge = Judge(limit.levels, line.judging.min_defect_mm, line.lanes, line.web, grid)
        return Parts(line_id, line, camera, backend, tiler, judge, limit)
    except BaseException:
        camera.close()
        backend.close()
        raise


def _refuse_beside_lanes(line: Line, line_id: str, camera: CameraInfo, limit: limits.Limits) -> None:
    """Refuse lanes that leave out web which the line judges: every lane would say PASS beside a fault there.

    Where images of their own show their web, each of them tells for itself, and the judge with it.

    Raises ConfigError.
    """
    mm = line.web.mm_per_px
    match line.region.kind, line.web.seamless:
        case "whole", _:
            judged_mm = 0.0, camera.width_px * mm
        case "auto", True:
            judged_mm = limit.region_mm
        case _:  # a fixed region is held against the lanes where the config is read
            return
    beside = beside_lanes(line.lanes, *judged_mm, mm)
    if beside:
        raise ConfigError(f"line {line_id}: {beside}")


def describe(parts: Parts) -> str:
    """Who looks and who judges, on one line."""
    camera, engine = parts.camera.info, parts.backend.info
    return (
        f"{camera.vendor} {camera.model} {camera.serial} {camera.width_px}x{camera.height_px} {camera.pixel_format}, "
        f"recipe {engine.recipe} on {engine.backend} {engine.precision}, limit {parts.limit.limit_sigma:.1f} sigma"
    )


def slowness(parts: Parts) -> str:
    """A sentence where the engine, at a glance, won't keep up with the web; empty where it will, or the web waits."""
    line, engine = parts.config, parts.backend
    if is_patient(line):
        return ""
    grid, height_px = grid_for(line, engine.info), parts.camera.info.height_px
    plan = plan_between(grid, line, *parts.limit.region_mm, height_px)
    rows = tile_rows(grid, height_px, seamless=line.web.seamless)
    try:
        rate = glance_rate(engine, rows * plan.tiles_across)
    except RuntimeError:  # what fails at noise will fail at web: then it is a fault with its verdicts
        return ""
    if keeps_up(rate, plan.tiles_per_s):
        return ""
    return (
        f"line {parts.line_id}: {line.web.speed_m_min:g} m/min needs {plan.tiles_per_s:.0f} tiles/s; the engine did "
        f"{rate:.0f} before the start"
    )


def identity(parts: Parts) -> Identity:
    """Whose verdicts they are, for every header on the bus."""
    return Identity(
        recipe_id=parts.config.recipe,
        recipe_rev=parts.limit.onnx_sha256[:12],
        engine_sha256=parts.backend.info.engine_sha256,
        calibration_sha256=limits.digest(parts.limit),
        is_simulated=parts.camera.info.is_simulated,
    )


def is_patient(line: Line) -> bool:
    """A replay as fast as possible waits for the engine; a camera waits for nobody."""
    camera = line.camera
    return getattr(camera, "frames_per_s", None) == 0.0 or getattr(camera, "as_fast_as_possible", False)
