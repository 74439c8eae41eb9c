"""``inspector check``: prove a line before its start, and lay the plan beside what the engine does."""

from __future__ import annotations

import numpy as np

from inspector import backends, limits
from inspector.backends import failures_told
from inspector.backends.engine import score_loose
from inspector.backends.rate import RATE_S, keeps_up, measure_rate, speed_words
from inspector.bus.lock import hold_line
from inspector.bus.publisher import Publisher
from inspector.check.plan import lay_grid, plan_words, too_late
from inspector.check.report import CheckReport
from inspector.check.seen import Seen, camera_words, encoder_words, try_camera
from inspector.config import Line, Site
from inspector.errors import BusError
from inspector.interfaces import Backend, EngineInfo
from inspector.judging import levelled_alone, stitch
from inspector.judging.unlike import FAR_SIGMA
from inspector.limits import Limits
from inspector.records import Frame, Grid, Region
from inspector.tiling import cut_region, plan_for

NO_DISTANCE = (
    "reject_distance_m is 0, so no verdict is ever in time for a receiver; measure it from camera to ejector"
)


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
    if report.first_error is not None and _runs(site, line_id):
        return report  # its camera and its cores are the line's
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
        seen = report.attempt(
            "camera",
            lambda: try_camera(site, line_id, follow=True),
            camera_words,
            lambda seen: "warn" if seen.info.is_simulated else "ok",
        )
        if seen is not None and (counted := encoder_words(line, seen)):
            report.rows.append(("encoder", *counted))
        if backend is not None and seen is not None:
            _check_plan(report, line, backend, seen, limit)
    finally:
        if backend is not None:
            backend.close()
    return report


def _try_ports(site: Site, line_id: str) -> None:
    Publisher(site, line_id).close(None)


def _runs(site: Site, line_id: str) -> bool:
    """Whether another process holds the line."""
    try:
        hold_line(site.file, line_id).close()
    except BusError:
        return True
    return False


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


def _check_plan(report: CheckReport, line: Line, backend: Backend, seen: Seen, limit: Limits | None) -> None:
    """The tile grid, and what the web's speed needs against what the engine does here."""
    laid = report.attempt(
        "tiles",
        lambda: lay_grid(line, backend.info, seen.info, seen.frame, limit),
        lambda laid: plan_words(plan_for(laid[0], line, laid[1].width_px, seen.info.height_px), line),
    )
    if laid is None or report.first_error is not None:
        return
    grid, region = laid
    late = too_late(line, grid, seen.info.height_px)
    if late:
        report.rows.append(("ejector", "warn", late))
    if region.height_px >= grid.tile_px:  # a seamless web's frames may be lower
        report.attempt(
            "web",
            lambda: _look_at_web(line, backend, seen.frame, grid, region, limit),
            lambda looked: looked[1],
            lambda looked: looked[0],
        )
    needed = plan_for(grid, line, region.width_px, seen.info.height_px).tiles_per_s
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
