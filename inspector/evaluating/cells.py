"""Cells and tables of a report, as HTML."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence

from inspector.evaluating.bootstrap import Interval


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int]) -> str:
    """Cells are HTML already; columns ``numbers`` are set right."""

    def tag(name: str, place: int, said: str) -> str:
        return f'<{name} class="n">{said}</{name}>' if place in numbers else f"<{name}>{said}</{name}>"

    head = "".join(tag("th", place, said) for place, said in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(tag("td", place, said) for place, said in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def cell(said: str) -> str:
    """A name from outside."""
    return html.escape(said)


def ratio(value: float | None) -> str:
    """A figure between 0 and 1."""
    return "–" if value is None else f"{value:.4f}"


def between(interval: Interval | None, lead: str = "") -> str:
    """The interval of such a figure."""
    return "–" if interval is None else f"{lead}{interval[0]:.4f} to {interval[1]:.4f}"


def counted(escaped: int, total: int, share_ci95: Interval | None) -> str:
    """How many of how many escaped; below, the interval of the share."""
    told = f"{escaped} of {total}"
    return told if share_ci95 is None else f"{told}<i>{share_ci95[0]:.2f} to {share_ci95[1]:.2f}</i>"
