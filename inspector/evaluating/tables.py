"""The tables of a report. Every number is one of ``Evaluation.to_json``, rounded."""

from __future__ import annotations

import html

from inspector.evaluating.bootstrap import Interval
from inspector.evaluating.cells import between, cell, ratio, table
from inspector.evaluating.escapes import Confusion
from inspector.evaluating.operating import AtLimit
from inspector.evaluating.report import Evaluation

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
    figures = table(("figure", "value", "95 % interval", "how often, or what"), rows, numbers=(1, 2))
    sure = (
        f"Intervals: bootstrap over images, {e.bootstrap_resamples} resamples. They can't know faults and good web "
        "that no image shows. 1 is perfect, 0.5 a coin."
    )
    held = _held(e, e.at_limit) if e.at_limit else f"<p>{html.escape(NO_LIMIT)}</p>"
    return (
        f'<section id="summary">{_cards(e)}<h2>Figures</h2>{figures}<p class="foot">{sure}</p>'
        f"<h2>At the limit</h2>{held}</section>"
    )


def figures_by_kind(e: Evaluation) -> str:
    """What ranks, a row for each type of fault."""
    if not e.figures_by_kind:
        return ""
    rows = [
        [
            cell(kind),
            ratio(one.image_auroc),
            between(one.image_auroc_ci95),
            ratio(one.pixel_auroc),
            between(one.pixel_auroc_ci95),
            ratio(one.aupro),
            between(one.aupro_ci95),
        ]
        for kind, one in e.figures_by_kind.items()
    ]
    sure = "95 % interval"
    heads = ("type", "image AUROC", sure, "pixel AUROC", sure, "AUPRO", sure)
    return (
        '<section id="figures-by-kind"><h2>Figures, by type</h2><p class="lead">Each type against all good images, as '
        "if the others were not there. No interval where a type or good web has a single image, no pixel figures "
        f"where a type has no masks.</p>{table(heads, rows, numbers=range(1, 7))}</section>"
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
    cards = [("image AUROC", ratio(e.image_auroc), between(e.image_auroc_ci95, "95 %: "))]
    cards.append(("AUPRO", ratio(e.aupro), between(e.aupro_ci95, "95 %: ")))
    if e.at_limit is not None:
        at = e.at_limit
        told = f"prec. {ratio(at.image.precision)}, recall {ratio(at.image.recall)}"
        cards.append(("images, F1 at limit", ratio(at.image.f1), told))
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
        "95 % interval",
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
        f"{table(heads, rows, numbers=range(1, 9))}{tiles if at.tile else ''}<p>{html.escape(alarms)}</p>"
    )


def _confusion(items: str, one: Confusion) -> list[str]:
    ratios = [ratio(one.f1), between(one.f1_ci95), ratio(one.precision), ratio(one.recall)]
    counts = (one.true_positives, one.false_negatives, one.false_positives, one.true_negatives)
    return [items, *ratios, *(str(count) for count in counts)]


def _figure(name: str, value: float | None, interval: Interval | None, what: str) -> list[str]:
    return [name, ratio(value), between(interval), what]
