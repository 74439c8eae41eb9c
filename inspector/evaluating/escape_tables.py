"""The tables of a report that say what escapes. Every number is one of ``Evaluation.to_json``, rounded."""

from __future__ import annotations

import html
from collections.abc import Sequence

from inspector.evaluating.cells import cell, counted, table
from inspector.evaluating.escapes import Escapes, KindEscapes, SizeEscapes
from inspector.evaluating.operating import OperatingPoint
from inspector.evaluating.report import Evaluation, span
from inspector.images.plots import bar

SHARES = (
    "Below a count stands the 95 % interval of the share that escapes (bootstrap over images). There is none for a "
    "single image, nor where none escaped, or all: so few images promise nothing."
)


def by_kind(e: Evaluation) -> str:
    """Escapes at the limit, a row for each type of fault."""
    if e.at_limit is None or not e.at_limit.escapes.by_kind:
        return ""
    rows = [
        [
            cell(kind),
            _images(one),
            bar(one.images_escaped, one.images),
            str(one.images_off_fault),
            _faults(one) if one.faults else "no masks",
            bar(one.faults_escaped, one.faults) if one.faults else "",
        ]
        for kind, one in e.at_limit.escapes.by_kind.items()
    ]
    heads = ("type", "images escaped", "", "above, but off the fault", "faults escaped", "")
    return (
        '<section id="by-kind"><h2>Escapes at the limit, by type</h2><p class="lead">Blue found, orange escaped. An '
        "image escapes if no cell of it is above the limit; a fault (a connected piece of the mask) if none is that "
        f"lies on it or within {e.tolerance_px} px. Images above the limit, but off the fault, are right by "
        f"chance. {SHARES}</p>{table(heads, rows, numbers=(1, 3, 4))}</section>"
    )


def by_size(e: Evaluation) -> str:
    """Escapes at the limit by the faults' extent."""
    if e.at_limit is None or not e.at_limit.escapes.faults:
        return ""
    rows = [
        [*_extent(one), _faults(one), bar(one.faults_escaped, one.faults) if one.faults else ""]
        for one in e.at_limit.escapes.by_size
    ]
    note = (
        f"mm by line {html.escape(str(e.line))}, {e.mm_per_px:g} mm/px."
        if e.mm_per_px is not None
        else "Without --line nobody knows how many mm a pixel is."
    )
    squeezed = f", in images squeezed to {e.resize} px" if e.resize is not None else ""
    return (
        '<section id="by-size"><h2>Escapes at the limit, by size</h2><p class="lead">Size is the longer side of the '
        f"upright box around a fault{squeezed}. {note}</p>"
        f"{table(('extent, px', 'extent, mm', 'faults escaped', ''), rows, numbers=(2,))}</section>"
    )


def points(e: Evaluation) -> str:
    """Escapes at fixed rates of false alarms: in all, by type and by size."""
    shown = [(one, one.escapes) for one in e.evaluation_operating_points if one.escapes is not None]
    heads = (
        e.evaluation_operating_points[0].unit,
        "good tiles allowed above",
        "evaluation threshold, sigma",
        "images escaped",
        "",
        "faults escaped",
        "",
    )
    rows = [_point(one) for one in e.evaluation_operating_points]
    tables = table(heads, rows, numbers=(0, 1, 2, 3, 5))
    if shown:
        tables += _points_by_kind(shown)
    if any(found.faults for _, found in shown):
        tables += _points_by_size(shown)
    return (
        '<section id="points"><h2>Escapes at fixed rates of false alarms</h2><p class="lead"><b>Evaluation operating '
        "points, no limits.</b> Each threshold is read off the good test tiles themselves, so it flatters. It compares "
        "engines; a line's limit comes from calibration alone. Where a rate allows no tile above, these tiles are too "
        "few to show it. Windows, for what is large and faint, take no part below half of their own limit. Intervals "
        "hold that good tiles were drawn, too: each drawing of images has its own threshold."
        f"</p>{tables}</section>"
    )


def _point(one: OperatingPoint) -> list[str]:
    start = [one.figure, f"{one.good_tiles_allowed}"]
    if one.evaluation_threshold_sigma is None or one.escapes is None:
        return [*start, "–", one.why_unshown, "", "", ""]
    found = one.escapes
    return [
        *start,
        f"{one.evaluation_threshold_sigma:.2f}",
        _images(found),
        bar(found.images_escaped, found.images),
        _faults(found) if found.faults else "no masks",
        bar(found.faults_escaped, found.faults) if found.faults else "",
    ]


def _points_by_kind(shown: Sequence[tuple[OperatingPoint, Escapes]]) -> str:
    rows = []
    for kind in shown[0][1].by_kind:
        row = [cell(kind)]
        for _, found in shown:
            one = found.by_kind[kind]
            row += [_images(one), _faults(one) if one.faults else "no masks"]
        rows.append(row)
    heads = ["type"]
    for point, _ in shown:
        heads += [f"{what} escaped at {point.figure}" for what in ("images", "faults")]
    return f"<h3>By type</h3>{table(heads, rows, numbers=range(1, len(heads)))}"


def _points_by_size(shown: Sequence[tuple[OperatingPoint, Escapes]]) -> str:
    rows = [
        [*_extent(of_size[0]), *(_faults(one) for one in of_size)]
        for of_size in zip(*(found.by_size for _, found in shown), strict=True)
    ]
    heads = ["extent, px", "extent, mm"]
    heads += [f"faults escaped at {point.figure}" for point, _ in shown]
    return f"<h3>By size</h3>{table(heads, rows, numbers=range(2, len(heads)))}"


def _images(one: Escapes | KindEscapes) -> str:
    return counted(one.images_escaped, one.images, one.images_escaped_share_ci95)


def _faults(one: Escapes | KindEscapes | SizeEscapes) -> str:
    return counted(one.faults_escaped, one.faults, one.faults_escaped_share_ci95)


def _extent(one: SizeEscapes) -> list[str]:
    mm = "–" if one.from_mm is None else span(one.from_mm, one.to_mm)
    return [span(one.from_px, one.to_px), mm]
