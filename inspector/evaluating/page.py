"""The report of an evaluation as one HTML page beside its pictures. It loads nothing from anywhere else."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inspector.backends.artifact import write_atomically
from inspector.errors import ArtefactError
from inspector.evaluating import gallery
from inspector.evaluating.collect import Curves
from inspector.evaluating.escape_tables import by_kind, by_size, points
from inspector.evaluating.metrics import AUPRO_FPR
from inspector.evaluating.panels import Shown
from inspector.evaluating.peaks import Peaks
from inspector.evaluating.report import Evaluation
from inspector.evaluating.tables import figures_by_kind, provenance, summary
from inspector.images import plots
from inspector.images.plots import BESIDE_COLOUR, FAULTY_COLOUR, GOOD_COLOUR, OTHER_COLOUR, Group, Series
from inspector.images.reading import GOOD
from inspector.records import F64

PAGE_FILE = "index.html"
STYLE = """
:root { color-scheme: light }
* { box-sizing: border-box }
body { font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #22272e; background: #fff;
  max-width: 1180px; margin: 0 auto; padding: 1.6rem 1.4rem 4rem }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; overflow-wrap: anywhere }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .1rem }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; border-bottom: 2px solid #22272e; padding-bottom: .2rem }
p { margin: .3rem 0 .7rem; max-width: 100ch }
.lead, figcaption, td.note, .foot { color: #5c6570 }
table { border-collapse: collapse; margin: .4rem 0 .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .28rem .9rem .28rem 0; border-bottom: 1px solid #e3e6ea; text-align: left; vertical-align: top }
th { font-weight: 600 }
thead th { border-bottom: 1.5px solid #8a929c; vertical-align: bottom }
thead th { max-width: 11em }
td.n, th.n { text-align: right } td.n { white-space: nowrap }
td svg { vertical-align: -1px }
td i { display: block; font-style: normal; font-size: .87rem; color: #5c6570 }
.wide { overflow-x: auto }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: .8rem; margin: 1.1rem 0 }
.card { border: 1px solid #d5dae0; border-radius: 6px; padding: .7rem .9rem }
.card b { display: block; font-size: 1.75rem; line-height: 1.2; font-variant-numeric: tabular-nums }
.card span { display: block; font-weight: 600; font-size: .92rem }
.card i { font-style: normal; color: #5c6570; font-size: .87rem }
.warn { border-left: 4px solid #d08a00; background: #fff6e0; padding: .6rem .9rem; margin: .8rem 0 }
.warn p { margin: 0 }
.plots { display: flex; flex-wrap: wrap; gap: 1rem 1.6rem; align-items: flex-start }
.plots figure { margin: 0; max-width: 100% }
.plots svg { max-width: 100%; height: auto }
.shot { margin: 0 0 1.3rem; break-inside: avoid }
.shot i { font-style: normal; font-variant-numeric: tabular-nums } .shot span { color: #22272e; margin: 0 .5rem }
.shot b { border-radius: 3px; padding: 0 .4rem; color: #fff; font-weight: 600; font-size: .87rem }
.shot b.fine { background: #2b7a9b } .shot b.bad { background: #b8481f } .shot b.plain { background: #5c6570 }
.shot img { max-width: 100%; display: block; margin-top: .25rem; border: 1px solid #e3e6ea }
.facts th { color: #5c6570; font-weight: 400; white-space: nowrap } .facts td { overflow-wrap: anywhere }
code { font-size: .88em }
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt }
  h2, h3, p.lead { break-after: avoid } table, .card, .plots figure { break-inside: avoid }
  .card b, .shot b, .warn { print-color-adjust: exact; -webkit-print-color-adjust: exact }
}
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="lead">{lead}</p>
</header>
{body}
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the page shows."""

    evaluation: Evaluation
    peaks: Sequence[Peaks]  # of every image
    curves: Curves
    shown: Sequence[Shown]


def remove_page(file: Path) -> None:
    """Take away an earlier run's page, before its pictures are drawn anew under it.

    Raises ArtefactError when the folder won't have it.
    """
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ArtefactError(
            f"{file}: can't be removed ({error.strerror}), and would show pictures of two runs; name another folder"
        ) from None


def write_page(file: Path, report: Report) -> None:
    """Write the page. Raises ArtefactError when the disk won't take it."""
    write_atomically(file, page(report).encode())


def page(report: Report) -> str:
    """Return the page as HTML."""
    e = report.evaluation
    kinds = ", ".join(f"{count} {kind}" for kind, count in e.images_by_kind.items())
    limit = e.at_limit.limit_sigma if e.at_limit else None
    body = [_warnings([*e.warnings, *e.remarks()]), summary(e), figures_by_kind(e)]
    body += [by_kind(e), by_size(e), points(e)]
    body += [_scores(report.peaks, limit), _curves(report)]
    if report.shown:
        body.append(gallery.lead(e.limit_sigma, e.limit_source))
    for section in gallery.sections(report.shown, limit):
        figures = "\n".join(gallery.figure(one, limit) for one in section.shown)
        body.append(f'<section><h3>{section.title}</h3><p class="lead">{section.lead}</p>')
        body.append(f"{figures}</section>")
    body.append(provenance(e))
    return PAGE.format(
        title=html.escape(f"{e.data}, seen by recipe {e.recipe}"),
        style=STYLE,
        lead=html.escape(f"{e.images} images ({kinds}), {e.tiles} tiles. Evaluated {e.date_utc[:10]}."),
        body="\n".join(body),
    )


def _warnings(sentences: Sequence[str]) -> str:
    return "\n".join(
        f'<div class="warn"><p>{html.escape(one[0].upper() + one[1:])}.</p></div>' for one in sentences
    )


def _scores(peaks: Sequence[Peaks], limit_sigma: float | None) -> str:
    if not peaks:
        return ""
    groups = [
        Group("good images", _highest(peaks, good=True), GOOD_COLOUR),
        Group("faulty images", _highest(peaks, good=False), FAULTY_COLOUR),
    ]
    drawn = [plots.histogram(groups, limit_sigma, "images")]
    known = [(one.tiles, one.faulty, one.kind == GOOD) for one in peaks if one.faulty is not None]
    if known:
        tiles, faulty = (np.concatenate([one[place] for one in known]) for place in (0, 1))
        of_good = np.repeat([good for _, _, good in known], [len(one) for one, _, _ in known])
        groups = [
            Group("tiles of good images", tiles[of_good], GOOD_COLOUR),
            Group("tiles beside a fault, in faulty images", tiles[~of_good & ~faulty], BESIDE_COLOUR),
            Group("tiles with a fault", tiles[faulty], FAULTY_COLOUR),
        ]
        drawn.append(plots.histogram(groups, limit_sigma, "tiles"))
    figures = "".join(f"<figure>{one}</figure>" for one in drawn)
    held = "" if limit_sigma is None else " What lies above the limit is a fault to the line."
    return (
        f'<section><h2>Scores</h2><p class="lead">Highest cell of each image and tile.{held}</p>'
        f'<div class="plots">{figures}</div></section>'
    )


def _highest(peaks: Sequence[Peaks], *, good: bool) -> F64:
    return np.array([one.highest for one in peaks if (one.kind == GOOD) == good], np.float64)


def _curves(report: Report) -> str:
    e, drawn = report.evaluation, report.curves
    mark = None
    if e.at_limit is not None and e.at_limit.image.recall is not None:
        at = e.at_limit.image
        good = at.false_positives + at.true_negatives
        mark = (at.false_positives / good, e.at_limit.image.recall) if good else None
    rocs = [
        Series(f"{name} {area:.4f}", curve.x, curve.y, colour)
        for name, curve, area, colour in (
            ("images, AUROC", drawn.image_roc, e.image_auroc, FAULTY_COLOUR),
            ("pixels, AUROC", drawn.pixel_roc, e.pixel_auroc, GOOD_COLOUR),
        )
        if curve is not None and area is not None
    ]
    figures = []
    if rocs:
        figures.append(
            plots.curves(
                rocs, "false positive rate", "true positive rate", 1.0, mark, "ROC of images and pixels"
            )
        )
    if drawn.pro is not None and e.aupro is not None:
        series = [Series(f"AUPRO {e.aupro:.4f}", drawn.pro.x, drawn.pro.y, OTHER_COLOUR)]
        figures.append(
            plots.curves(
                series,
                "false positive rate of pixels",
                "mean overlap with each fault",
                AUPRO_FPR,
                None,
                "PRO",
            )
        )
    if not figures:
        return ""
    shown = "".join(f"<figure>{one}</figure>" for one in figures)
    return (
        '<section><h2>ROC and PRO</h2><p class="lead">Over every threshold there is: they rank, and tell nothing of '
        f'the limit but where it lies. Dashed: a coin.</p><div class="plots">{shown}</div></section>'
    )
