"""The figures as rows for a terminal of 100 columns, each with its verdict where there is one."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict, dataclass, replace
from typing import Any

from inspector.backends.rate import HEADROOM
from inspector.capacity.asked import Asked
from inspector.capacity.figures import (
    BYTES_PER_VALUE,
    PEAK_SHARE,
    SEEN_PX,
    Camera,
    Figures,
    GpuNeed,
    Reach,
    figure,
    finest_mm_per_px,
)
from inspector.capacity.presets import CORES, MACHINE

WIDTH = 100
EVEN_MS = 1e-6  # 407 ms can be 406.99999999999994 in floating point and must not become 406
MEASURE = (
    "give --recipe NAME, and its engine's rate is measured here, or --tiles-per-s with the rate that `inspector check` "
    "tells"
)
LIGHTER = "a recipe of --preset fast, faster or fastest, less overlap, or more mm per px"
ALONE = 0.9  # an engine that got less of its cores shared them with other work
FITS, NOT, UNKNOWN, TOLD = "fits", "NOT", "?", ""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that a web needs."""

    mark: str  # FITS | NOT | UNKNOWN | TOLD
    what: str
    sentence: str


def rows(asked: Asked, needs: Figures) -> list[Row]:
    """What is needed, what does not fit and what to change."""
    return [
        *_optics(asked, needs),
        *_tiles(asked, needs),
        *_cameras(asked, needs),
        *(_engine(asked, needs) if asked.is_on_gpu else _cores(asked, needs)),
        *_gpus(asked, needs),
        *_storage(asked, needs),
        *_ejector(asked, needs),
    ]


def table(asked: Asked, needs: Figures) -> list[str]:
    """Lines of text, the last of which says whether all fits."""
    told = rows(asked, needs)
    lines = [line for row in told for line in _wrapped(row)]
    verdict = "fits, as far as it was asked"
    missing = ", ".join(dict.fromkeys(row.what for row in told if row.mark == NOT))
    if missing:
        verdict = f"does NOT fit: {missing}; what to change stands above"
    unknown = ", ".join(row.what for row in told if row.mark == UNKNOWN)
    return [*lines, verdict + (f"; not told: {unknown}" if unknown else "")]


def as_dict(asked: Asked, needs: Figures) -> dict[str, Any]:
    """What was asked, what it comes to, and the rows, for JSON; units are in the names."""
    return {
        "asked": asdict(asked),
        "figures": asdict(needs),
        "rows": [asdict(row) for row in rows(asked, needs)],
    }


def _wrapped(row: Row) -> list[str]:
    head = f"{row.mark:4}  {row.what:10}"
    return textwrap.wrap(
        row.sentence,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _number(value: float) -> str:
    """To three digits, without a power of ten."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _down(value: float) -> str:
    """To two digits or more, never more than there is."""
    step = 10 ** (math.floor(math.log10(value)) - 1) if 0 < value < 100 else 1
    return f"{math.floor(value / step + 1e-9) * step:g}"


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{_number(count / size)} {unit}"
    return f"{_number(count / 1e3)} kB"


def _optics(asked: Asked, needs: Figures) -> list[Row]:
    lines = f"{_number(needs.lines_per_s / 1000)} kHz of {needs.width_px} px"
    longest, line_us = _number(needs.longest_exposure_us), _number(1e6 / needs.lines_per_s)
    return [
        Row(TOLD, "web", f"{asked.width_mm:g} mm at {asked.speed_m_min:g} m/min, {asked.mm_per_px:g} mm/px"),
        Row(TOLD, "line rate", f"{lines}: {_number(needs.mpx_per_s)} Mpx/s"),
        Row(
            TOLD,
            "exposure",
            f"{longest} us at most: half a pixel of travel (a line lasts {line_us} us)",
        ),
        _fault(asked, needs),
    ]


def _fault(asked: Asked, needs: Figures) -> Row:
    if asked.smallest_fault_mm is None or needs.fault_px is None:
        return Row(UNKNOWN, "fault", "how many pixels the smallest is across: give --smallest-fault-mm")
    size = f"{asked.smallest_fault_mm:g} mm is {needs.fault_px:.1f} px across"
    if needs.fault_px >= SEEN_PX - 1e-6:  # 0.6 / 0.2 is 2.9999999999999996 in floating point
        return Row(FITS, "fault", f"{size}; {SEEN_PX} are wanted")
    finest = finest_mm_per_px(asked.smallest_fault_mm)
    why = f"one under {SEEN_PX} px seldom is seen"
    return Row(NOT, "fault", f"does NOT fit: {size}, and {why}; give --mm-per-px {finest} or less")


def _tiles(asked: Asked, needs: Figures) -> list[Row]:
    grid, least = asked.grid, needs.least_frame_rows
    every = f"a row every {grid.stride_px} px ({_number(grid.stride_px * asked.mm_per_px)} mm)"
    if not asked.seamless:
        every = f"{needs.tile_rows} row(s) in each frame of {asked.frame_rows} px, which joins no other (web.seamless)"
    tiles = (
        f"{_number(needs.tiles_per_s)} tiles/s: {needs.tiles_across} of {grid.tile_px} px across, {every}; "
        f"without the overlap of {grid.overlap_px} px {_number(needs.tiles_per_s_without_overlap)}"
    )
    frame_m = _number(asked.frame_rows * asked.mm_per_px / 1000)
    frames = f"{asked.frame_rows} rows are {frame_m} m of web, {_number(needs.frames_per_s)} a second"
    fits = Row(FITS, "frames", frames)
    if asked.frame_rows < least:
        what = "a tile and its margin take" if asked.seamless else "a tile takes"
        advice = f"{what} {least} rows; give --frame-rows {least} or more"
        fits = Row(NOT, "frames", f"does NOT fit: {frames}, and {advice}")
    return [Row(TOLD, "tiles", tiles), fits]


def _cameras(asked: Asked, needs: Figures) -> list[Row]:
    a_seam = _number(needs.tiles_per_s / needs.tiles_across)
    note = (
        f"whole sensors are read; neighbours overlap by {asked.grid.overlap_px} px, lenses and seams want some of "
        f"what is to spare; two cameras are two lines in the config, and a seam adds up to {a_seam} tiles/s; "
        f"whether a camera does this line rate stands in its data sheet"
    )
    told = [Row(TOLD, "cameras", _camera(camera, asked.mm_per_px)) for camera in needs.cameras]
    return [*told, Row(TOLD, "", note)]


def _camera(camera: Camera, mm_per_px: float) -> str:
    spare = f"{_number(camera.spare_px * mm_per_px)} mm to spare"
    grey = f"grey {_number(camera.grey_mb_s)} MB/s each, {_link(camera.grey_link)}"
    colour = f"colour {_number(camera.colour_mb_s)} MB/s, {_link(camera.colour_link)}"
    return f"{camera.count} x {camera.sensor_px} px, {spare}; {grey}; {colour}"


def _link(name: str) -> str:
    return name or "no link known here"


def _cores(asked: Asked, needs: Figures) -> list[Row]:
    rate, cores = asked.rate, needs.cores
    if rate is None or cores is None:
        return _cores_by_preset(needs)
    wanted = (
        f"{cores.needed} for {_number(needs.tiles_per_s)} tiles/s x {HEADROOM:g}, at {_number(rate.tiles_per_s)} "
        f"tiles/s on {cores.here} ({rate.source}), if rate grows with cores (not measured)"
    )
    busy = ""
    if rate.got_cores is not None and rate.got_cores < ALONE * cores.here:
        got = f"{rate.got_cores:.1f} of these {cores.here}"
        busy = f"; other work left the engine {got}, so the rate is too low: stop that and measure again"
    if cores.fits:
        return [Row(FITS, "cores", f"{wanted}; those {cores.here} are enough{busy}")]
    slow = f"{_down(cores.most_speed_m_min)} m/min"
    advice = f"those {cores.here} carry {slow}; take more cores, a GPU, {LIGHTER}"
    return [Row(NOT, "cores", f"does NOT fit: {wanted}; {advice}{busy}")]


def _engine(asked: Asked, needs: Figures) -> list[Row]:
    """In place of cores where the line's engine runs on a GPU: more of them would change nothing."""
    rate, one = asked.rate, needs.one_gpu
    if rate is None or one is None:
        return [Row(UNKNOWN, "engine", f"whether it keeps up: {MEASURE}")]
    wanted = (
        f"{_number(needs.tiles_per_s)} tiles/s x {HEADROOM:g}, at {_number(rate.tiles_per_s)} tiles/s on the line's "
        f"GPU ({rate.source})"
    )
    if one.fits:
        return [Row(FITS, "engine", f"{wanted}; that is enough")]
    slow = f"{_down(one.most_speed_m_min)} m/min"
    return [Row(NOT, "engine", f"does NOT fit: {wanted}; that carries {slow}; take a faster GPU, {LIGHTER}")]


def _cores_by_preset(needs: Figures) -> list[Row]:
    """What presets would take, and that nothing is known of this machine."""
    if not needs.presets:
        return [Row(UNKNOWN, "cores", f"how many: {MEASURE}")]
    wanted = f"{_number(needs.tiles_per_s)} tiles/s x {HEADROOM:g}"
    told = []
    for one in needs.presets:
        rate = f"{_number(one.preset.tiles_per_s)} tiles/s on {CORES}, measured there"
        told.append(
            Row(TOLD, "cores", f"{one.cores.needed} with preset {one.preset.name}: {wanted}, at {rate}")
        )
    there = f"there: on {MACHINE}, OpenVINO fp32, a tile at a time; if rate grows with cores (not measured)"
    return [*told, Row(TOLD, "", there), Row(UNKNOWN, "own cores", f"whether they are enough: {MEASURE}")]


def _gpus(asked: Asked, needs: Figures) -> list[Row]:
    work = asked.work
    if work is None:
        return _gpus_by_preset(needs)
    fused, unfused = (_bytes(values * BYTES_PER_VALUE) for values in (work.values_fused, work.values_unfused))
    note = (
        f"{_number(work.flop / 1e9)} GFLOP a tile at {PEAK_SHARE:.0%} of the peak (assumed); memory moves {unfused} "
        f"a tile in fp16 if nothing is fused, which the number of GPUs is for, and {fused} if all is"
    )
    return [*map(_gpu, needs.gpus), Row(TOLD, "", note)]


def _gpus_by_preset(needs: Figures) -> list[Row]:
    if not needs.presets:
        return [
            Row(UNKNOWN, "GPUs", "how many: give --recipe NAME, whose graph is counted; it needs no GPU here")
        ]
    told = []
    for one in needs.presets:
        choice = " or ".join(
            f"{need.needed} x {need.gpu.name} ({_number(need.least_tiles_per_s)} to "
            f"{_number(need.most_tiles_per_s)} tiles/s each)"
            for need in one.gpus
        )
        told.append(
            Row(TOLD, "GPUs", f"{choice} with preset {one.preset.name}; computed, not run on hardware")
        )
    work = ", ".join(f"{one.preset.name} {_number(one.preset.work.flop / 1e9)}" for one in needs.presets)
    note = (
        f"GFLOP a tile: {work}; at {PEAK_SHARE:.0%} of the peak (assumed), memory traffic in fp16 from nothing fused, "
        "which the number of GPUs is for, to all fused; --recipe NAME has its own graph counted"
    )
    return [*told, Row(TOLD, "", note)]


def _gpu(need: GpuNeed) -> Row:
    rate = f"{_number(need.least_tiles_per_s)} to {_number(need.most_tiles_per_s)} tiles/s each"
    sheet = f"{need.gpu.tflops:g} TFLOPS, {need.gpu.gb_s:g} GB/s; bound by {need.bound}"
    return Row(
        TOLD, "GPUs", f"{need.needed} x {need.gpu.name}: {rate} ({sheet}); computed, not run on hardware"
    )


def _storage(asked: Asked, needs: Figures) -> list[Row]:
    kept = needs.storage
    verdicts = f"{_bytes(kept.verdicts_gb_day * 1e9)} a day of 24 h"
    defect, in_colour = _bytes(kept.grey_defect_bytes), _bytes(kept.colour_defect_bytes)
    frames, colour = _bytes(kept.grey_gb_day * 1e9), _bytes(kept.colour_gb_day * 1e9)
    evidence = f"a defect within a tile, with picture and score map: {defect} at most, colour {in_colour}"
    return [
        Row(TOLD, "storage", f"verdicts of {asked.lanes} lane(s): {verdicts}; {evidence}"),
        Row(TOLD, "", f"every frame: {frames} a day, colour {colour}. The line itself keeps none of it"),
    ]


def _ejector(asked: Asked, needs: Figures) -> list[Row]:
    reach = needs.reach
    spent = (
        f"{_number(reach.filling_s)} s at worst until a row's tile and frame are full, {_number(reach.engine_s)} s for "
        f"a frame's tiles, on an engine that keeps up"
    )
    least = f"{_least_ejector_m(asked, reach):.2f} m or more behind the camera"
    if reach.available_s is None or reach.slack_s is None:
        return [Row(UNKNOWN, "ejector", f"{spent}: it must be {least}; give --ejector-m")]
    there = f"{asked.ejector_m:g} m are {_number(reach.available_s)} s; {spent}"
    if not _in_time(reach):
        late = f"{_number(-reach.slack_s)} s too late"
        if reach.slack_s >= 0:
            late = "not a whole millisecond is left for overload.deadline_ms to be in"
        advice = f"put it {least}, or {_sooner(asked, needs)}"
        return [Row(NOT, "ejector", f"does NOT fit: {there}: {late}; {advice}")]
    left = f"{_number(max(0.0, round(reach.slack_s, 4)))} s are left for the bus and the PLC"
    return [Row(FITS, "ejector", f"{there}: {left}"), _deadline(asked, needs)]


def _least_deadline_ms(reach: Reach) -> int:
    """The least that overload.deadline_ms may be, in whole ms: what a frame's tiles take."""
    return math.ceil(reach.engine_s * 1000 - EVEN_MS)


def _most_deadline_ms(reach: Reach) -> int:
    """The most, in whole ms, where the ejector's distance is known; less than the least if none is in time."""
    return math.floor((reach.most_deadline_ms or 0.0) + EVEN_MS)


def _in_time(reach: Reach) -> bool:
    """Whether verdicts come before their web is at the ejector, with a deadline that can be set between."""
    return _least_deadline_ms(reach) <= _most_deadline_ms(reach)


def _least_ejector_m(asked: Asked, reach: Reach) -> float:
    """The nearest whole cm at which an ejector is ``_in_time``: never nearer than it may be."""
    least_s = reach.filling_s + _least_deadline_ms(reach) / 1000
    return math.ceil(least_s * asked.speed_m_min / 60 * 100) / 100


def _sooner(asked: Asked, needs: Figures) -> str:
    """What else would do. Not a slower web: rows are waited for, and they take as long a way at any speed."""
    fewest = min(asked.frame_rows, needs.least_frame_rows)
    if not _in_time(figure(replace(asked, frame_rows=fewest)).reach):
        return "use smaller tiles"
    return f"take frames of fewer rows ({needs.least_frame_rows} at least)"


def _deadline(asked: Asked, needs: Figures) -> Row:
    """The line's own: it calls a verdict late only after that, counted from the frame's end."""
    least_ms, most_ms = _least_deadline_ms(needs.reach), _most_deadline_ms(needs.reach)
    key, between = "overload.deadline_ms", f"between {least_ms} and {most_ms}"
    if asked.deadline_ms is None:
        return Row(TOLD, "deadline", f"set the line's {key} {between}")
    if least_ms <= asked.deadline_ms <= most_ms:
        return Row(FITS, "deadline", f"{key} = {asked.deadline_ms:g} is {between}")
    why = "so long after its frame a verdict is in time for the line and too late for the ejector"
    if asked.deadline_ms < least_ms:
        why = "a frame's tiles can take longer"
    return Row(NOT, "deadline", f"does NOT fit: {key} = {asked.deadline_ms:g}, and {why}; set it {between}")
