"""The pictures of a report, in the order in which a person should look at them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from inspector.evaluating.panels import Shown
from inspector.evaluating.peaks import Peaks
from inspector.images.reading import GOOD
from inspector.judging.unlike import FAR_SIGMA

MOST_FOUND, MOST_ESCAPES, MOST_GOOD = 6, 12, 6

FIGURE = (
    '<figure class="shot"><figcaption><b class="{tone}">{outcome}</b> <span>{name}</span> <i>{told}</i></figcaption>'
    '<a href="{file}"><img loading="lazy" src="{file}" alt="{alt}"></a></figure>'
)


@dataclass(frozen=True, slots=True)
class Section:
    """Pictures that belong together."""

    title: str
    lead: str  # a sentence on what to look for
    shown: tuple[Shown, ...]


def sections(shown: Sequence[Shown], limit_sigma: float | None) -> list[Section]:
    """Sort pictures: each comes once, a section without any is left out.

    Args:
        shown: all pictures.
        limit_sigma: that decides what was found and what escaped; None: nothing decides, scores sort.
    """
    by_score = sorted(shown, key=lambda one: -one.peaks.highest)
    good = [one for one in by_score if one.peaks.kind == GOOD][:MOST_GOOD]
    faulty = [one for one in by_score if one.peaks.kind != GOOD]
    if limit_sigma is None:
        found = faulty[: min(MOST_FOUND, (len(faulty) + 1) // 2)]
        missed = faulty[len(found) :][::-1][:MOST_ESCAPES]
        titles = "Faulty images with the highest scores", "Faulty images with the lowest scores"
        good_title, good_lead = "Good images with the highest scores", "Is it a fault after all?"
    else:
        worst_first = sorted(faulty, key=lambda one: _loss(one.peaks, limit_sigma))
        missed = [one for one in worst_first if _loss(one.peaks, limit_sigma)[0] < 3][:MOST_ESCAPES]
        found = [one for one in faulty if _loss(one.peaks, limit_sigma)[0] == 3][:MOST_FOUND]
        titles = "Best found", "Worst escapes"
        good_title = "Good images nearest the limit"
        good_lead = (
            "Highest score first; what is above the limit is a false alarm, or a fault that nobody marked."
        )
    placed = {one.file for one in (*found, *missed, *good)}
    rest = [one for one in by_score if one.file not in placed]
    all_ = [
        Section(titles[0], "Does the heat lie on the fault?", tuple(found)),
        Section(titles[1], "Is the fault visible at this mm/px at all?", tuple(missed)),
        Section(good_title, good_lead, tuple(good)),
        Section("All others", "Highest score first.", tuple(rest)),
    ]
    return [one for one in all_ if one.shown]


def lead(drawn_limit_sigma: float | None, source: str) -> str:
    """Return the heading over all pictures, as HTML; ``drawn_limit_sigma`` is the one outlined in them."""
    above = "nothing outlined last, for want of a limit"
    if drawn_limit_sigma is not None:
        above = f"in red what exceeds {drawn_limit_sigma:.2f} sigma ({html.escape(source)})"
    return (
        '<section><h2>Pictures</h2><p class="lead">Each shows the image, in green the truth, the heat map in the same '
        f"colours for all, and {above}. A click opens it in full.</p></section>"
    )


def figure(one: Shown, limit_sigma: float | None) -> str:
    """Return a picture with its caption, as HTML."""
    outcome, tone = _outcome(one.peaks, limit_sigma)
    told = f"{one.peaks.highest:.2f} sigma"
    if one.peaks.faults and limit_sigma is not None:
        found = sum(fault.peak_sigma > limit_sigma for fault in one.peaks.faults)
        told += f", {found} of {len(one.peaks.faults)} faults found"
    if one.above is not None and limit_sigma is not None:
        told += f", {100 * one.above:.2g} % of the web above the limit"
    if one.median >= FAR_SIGMA:
        told += f", as a whole unlike what was learnt (median {one.median:.1f})"
    return FIGURE.format(
        tone=tone,
        outcome=outcome,
        name=html.escape(one.peaks.image),
        told=told,
        file=html.escape(quote(one.file)),
        alt=html.escape(f"{one.peaks.image}: image, truth, heat map and what exceeds the limit"),
    )


def _loss(peaks: Peaks, limit_sigma: float) -> tuple[int, float]:
    """How bad the outcome of a faulty image is, worst first: 3 is found; then the score, lowest first."""
    if peaks.highest <= limit_sigma:
        return 0, peaks.highest
    if peaks.faulty is None:
        return 3, peaks.highest
    on_faults = [fault.peak_sigma > limit_sigma for fault in peaks.faults]
    if not any(on_faults):
        return 1, max((fault.peak_sigma for fault in peaks.faults), default=-math.inf)
    return (3 if all(on_faults) else 2), peaks.highest


def _outcome(peaks: Peaks, limit_sigma: float | None) -> tuple[str, str]:
    """In words, and how the page colours it."""
    if limit_sigma is None:
        return ("good", "plain") if peaks.kind == GOOD else ("faulty", "plain")
    if peaks.kind == GOOD:
        return ("false alarm", "bad") if peaks.highest > limit_sigma else ("good, passed", "fine")
    if peaks.faulty is None and peaks.highest > limit_sigma:
        return "above the limit, no mask", "plain"
    return (
        ("escaped", "bad"),
        ("above the limit, but off the fault", "bad"),
        ("found in part", "fine"),
        ("found", "fine"),
    )[_loss(peaks, limit_sigma)[0]]
