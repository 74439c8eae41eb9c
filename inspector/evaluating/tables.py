"""The tables of a report. Every number is one of ``Evaluation.to_json``, rounded."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from inspector.evaluating.bootstrap import Interval
from inspector.evaluating.escapes import Confusion, SizeEscapes
from inspector.evaluating.operating import AtLimit
from inspector.evaluating.report import Evaluation
from inspector.images.plots import bar

NO_LIMIT = (
    "No limit: nothing is held against one here. Name a calibrated line with --line, or give a limit with --limit. "
    "A limit never comes from test images."
)


def summary(e: Evaluation) -> str:
    """Key figures, and all of them with their intervals."""
    rows = [
        _figure("image AUROC", e.image_auroc, e.image_auroc_ci95, "a faulty image scores above a good one"),
        _figure(
            "tile AUROC", e.tile_auroc, e.tile_auroc_ci95, "a tile with a pixel of a fault above one without"
        ),
        _figure("pixel AUROC", e.pixel_auroc, e.pixel_auroc_ci95, "a faulty pixel above a good one"),
        _figure("AUPRO", e.aupro, e.aupro_ci95, "every fault alike, false positive rate 0 to 0.3"),
    ]
    figures = _table(("figure", "value", "95 % interval", "how often, or what"), rows, numbers=(1, 2))
    sure = (
        f"Intervals: bootstrap over images, {e.bootstrap_resamples} resamples. They can't know faults and good web "
        "that no image shows. 1 is perfect, 0.5 a coin."
    )
    held = _held(e, e.at_limit) if e.at_limit else f"<p>{html.escape(NO_LIMIT)}</p>"
    return (
        f'<section id="summary">{_cards(e)}<h2>Figures</h2>{figures}<p class="foot">{sure}</p>'
        f"<h2>At the limit</h2>{held}</section>"
    )


def by_kind(e: Evaluation) -> str:
    """Escapes at the limit and AUROC, a row for each type of fault."""
    if not e.image_auroc_by_kind:
        return ""
    if e.at_limit is None:
        rows = [[_cell(kind), _ratio(value)] for kind, value in e.image_auroc_by_kind.items()]
        table = _table(("type", "image AUROC"), rows, numbers=(1,))
        return f"<section><h2>By type of fault</h2>{table}</section>"
    rows = []
    for kind, one in e.at_limit.escapes.by_kind.items():
        faults = [f"{one.faults_escaped} of {one.faults}", bar(one.faults_escaped, one.faults)]
        rows.append(
            [
                _cell(kind),
                _ratio(e.image_auroc_by_kind.get(kind)),
                f"{one.images_escaped} of {one.images}",
                bar(one.images_escaped, one.images),
                str(one.images_off_fault),
                *(faults if one.faults else ["no masks", ""]),
            ]
        )
    heads = (
        "type",
        "image AUROC",
        "images escaped",
        "",
        "above, but off the fault",
        "faults escaped",
        "",
    )
    return (
        '<section id="by-kind"><h2>Escapes at the limit, by type</h2><p class="lead">Blue found, orange escaped. An '
        "image escapes if no cell of it is above the limit; a fault (a connected piece of the mask) if none is that "
        f"lies on it or within {e.tolerance_px} px. Images above the limit, but off the fault, are right by "
        f"chance.</p>{_table(heads, rows, numbers=(1, 2, 4, 5))}</section>"
    )


def by_size(e: Evaluation) -> str:
    """Escapes at the limit by the faults' extent."""
    if e.at_limit is None or not e.at_limit.escapes.faults:
        return ""
    rows = [
        [
            _span(one, "px"),
            _span(one, "mm") if e.mm_per_px is not None else "–",
            f"{one.faults_escaped} of {one.faults}",
            bar(one.faults_escaped, one.faults) if one.faults else "",
        ]
        for one in e.at_limit.escapes.by_size
    ]
    note = (
        f"mm by line {html.escape(str(e.line))}, {e.mm_per_px:g} mm/px."
        if e.mm_per_px is not None
        else "Without --line nobody knows how many mm a pixel is."
    )
    return (
        '<section id="by-size"><h2>Escapes at the limit, by size</h2><p class="lead">Size is the longer side of the '
        f"upright box around a fault. {note}</p>"
        f"{_table(('extent, px', 'extent, mm', 'faults escaped', ''), rows, numbers=(2,))}</section>"
    )


def points(e: Evaluation) -> str:
    """Escapes at fixed rates of false alarms."""
    if e.evaluation_operating_points is None:
        return ""
    rows = []
    for one in e.evaluation_operating_points:
        allowed = f"{one.good_tiles_allowed}"
        if one.evaluation_threshold_sigma is None or one.image is None or one.escapes is None:
            rows.append([f"{one.false_alarms_per_100m:g}", allowed, "–", "can't be shown", "", "", ""])
            continue
        images = one.image.false_negatives, one.image.false_negatives + one.image.true_positives
        faults = one.escapes.faults_escaped, one.escapes.faults
        rows.append(
            [
                f"{one.false_alarms_per_100m:g}",
                allowed,
                f"{one.evaluation_threshold_sigma:.2f}",
                f"{images[0]} of {images[1]}",
                bar(*images),
                f"{faults[0]} of {faults[1]}" if faults[1] else "no masks",
                bar(*faults) if faults[1] else "",
            ]
        )
    heads = (
        "false alarms per 100 m",
        "good tiles allowed above",
        "evaluation threshold, sigma",
        "images escaped",
        "",
        "faults escaped",
        "",
    )
    return (
        '<section id="points"><h2>Escapes at fixed rates of false alarms</h2><p class="lead"><b>Evaluation operating '
        "points, no limits.</b> Each threshold is read off the good test tiles themselves, so it flatters. It compares "
        "engines; a line's limit comes from calibration alone. Where a rate allows no tile above, these tiles are too "
        "few to show it."
        f"</p>{_table(heads, rows, numbers=(0, 1, 2, 3, 5))}</section>"
    )


def provenance(e: Evaluation) -> str:
    """What was measured, with what, how."""
    trained = "native resolution" if e.trained_resize is None else f"squeezed to {e.trained_resize} px square"
    facts = (
        ("recipe", e.recipe),
        ("graph, sha256", e.onnx_sha256),
        ("engine", f"{e.backend} {e.backend_version}, {e.precision}"),
        ("data folder", e.data),
        ("images taken at", "native resolution" if e.resize is None else f"{e.resize} px square, squeezed"),
        ("recipe learnt at", trained + " (as recipe.toml tells)"),
        ("tile overlap", f"{e.overlap_px} px"),
        ("region", e.region),
        (
            "line",
            "none"
            if e.line is None
            else f"{e.line}, {e.mm_per_px:g} mm/px, {e.tiles_per_100m} tiles per 100 m",
        ),
        ("limit", "none" if e.limit_sigma is None else f"{e.limit_sigma:.4f} sigma ({e.limit_source})"),
        ("engine speed", f"{e.tiles_per_second:.1f} tiles/s, reading and cutting left out"),
        ("bootstrap", f"{e.bootstrap_resamples} resamples, seed {e.bootstrap_seed}"),
        ("evaluated", f"{e.date_utc} with inspector {e.inspector}"),
    )
    rows = "".join(f"<tr><th>{name}</th><td>{html.escape(str(value))}</td></tr>" for name, value in facts)
    return f'<section id="provenance"><h2>What was measured</h2><table class="facts">{rows}</table></section>'


def _cards(e: Evaluation) -> str:
    cards = [("image AUROC", _ratio(e.image_auroc), _between(e.image_auroc_ci95, "95 %: "))]
    cards.append(("AUPRO", _ratio(e.aupro), _between(e.aupro_ci95, "95 %: ")))
    if e.at_limit is not None:
        at = e.at_limit
        told = f"prec. {_ratio(at.image.precision)}, recall {_ratio(at.image.recall)}"
        cards.append(("images, F1 at limit", _ratio(at.image.f1), told))
        if at.escapes.faults:
            missed = f"{at.escapes.faults_escaped} of {at.escapes.faults}"
            cards.append(("faults escaped", missed, f"at {at.limit_sigma:.2f} sigma"))
        if at.false_alarms_per_100m is not None:
            cards.append(
                (
                    "false alarms/100 m",
                    f"{at.false_alarms_per_100m:.3g}",
                    f"a single one would be {at.one_alarm_per_100m:.3g}",
                )
            )
    told_ = "".join(f'<div class="card"><span>{a}</span><b>{b}</b><i>{c}</i></div>' for a, b, c in cards)
    return f'<div class="cards">{told_}</div>'


def _held(e: Evaluation, at: AtLimit) -> str:
    rows = [_confusion("images", at.image)]
    if at.tile is not None:
        rows.append(_confusion("tiles", at.tile))
    tiles = (
        '<p class="foot">Tiles are those of all images with a truth; one is faulty that has a pixel of the mask. '
        "Good ones beside a fault may show its blur.</p>"
    )
    heads = (
        "",
        "F1",
        "precision",
        "recall",
        "faulty, above",
        "faulty, escaped",
        "good, above",
        "good, passed",
    )
    alarms = f"False alarms: {at.good_tiles_above} of the {at.good_tiles} tiles of good images"
    if at.false_alarms_per_100m is not None and at.good_web_m is not None:
        alarms += (
            f", which are {at.good_web_m:.2f} m of line {e.line}'s web: {at.false_alarms_per_100m:.3g} per 100 m. "
            f"A single one would be {at.one_alarm_per_100m:.3g} per 100 m; nothing finer can be seen here."
        )
    else:
        alarms += ". Without --line nobody knows how many metres these are."
    return (
        f"<p>Limit <b>{at.limit_sigma:.2f} sigma</b> ({html.escape(e.limit_source)}).</p>"
        f"{_table(heads, rows, numbers=tuple(range(1, 8)))}{tiles if at.tile else ''}<p>{html.escape(alarms)}</p>"
    )


def _confusion(items: str, one: Confusion) -> list[str]:
    ratios = [_ratio(value) for value in (one.f1, one.precision, one.recall)]
    counts = (one.true_positives, one.false_negatives, one.false_positives, one.true_negatives)
    return [items, *ratios, *(str(count) for count in counts)]


def _figure(name: str, value: float | None, interval: Interval | None, what: str) -> list[str]:
    return [name, _ratio(value), _between(interval), what]


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _between(interval: Interval | None, lead: str = "") -> str:
    return "–" if interval is None else f"{lead}{interval[0]:.4f} to {interval[1]:.4f}"


def _span(one: SizeEscapes, unit: str) -> str:
    low, high = (one.from_px, one.to_px) if unit == "px" else (one.from_mm, one.to_mm)
    if high is None:
        return f"{low:.4g} and more"
    return f"{low:.4g} to below {high:.4g}" if low else f"below {high:.4g}"


def _cell(said: str) -> str:
    return html.escape(said)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int]) -> str:
    """Cells are HTML already; columns ``numbers`` are set right."""

    def tag(name: str, place: int, said: str) -> str:
        return f'<{name} class="n">{said}</{name}>' if place in numbers else f"<{name}>{said}</{name}>"

    head = "".join(tag("th", place, said) for place, said in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(tag("td", place, said) for place, said in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
