"""Plots as inline SVG: histograms of scores, curves, bars. Text in, text out; nothing is loaded from anywhere."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inspector.records import F64

# Blue and orange stay apart for colour-blind eyes and on a grey printer.
GOOD_COLOUR, BESIDE_COLOUR, FAULTY_COLOUR, OTHER_COLOUR = "#2b7a9b", "#8a9ba8", "#e07b2a", "#5b4b8a"
LIMIT_COLOUR = "#1a1a1a"
GRID_COLOUR, COIN_COLOUR, TEXT_COLOUR = "#dcdfe3", "#a3abb5", "#3a4048"
FEWEST_BINS, MOST_BINS = 12, 48
BEYOND = 4.0  # times the limit (or the highest good score): higher scores share the last bin
LOG_FROM = 30  # items in a bin: with more, one item would be too low a bar to be seen
MOST_POINTS = 240  # of a curve

HISTOGRAM_PX, PANE_PX, LABEL_PX = 540, 72, 20
CURVE = 360, 300  # width, height


@dataclass(frozen=True, slots=True)
class Group:
    """Items of a histogram that are drawn together."""

    name: str
    scores: F64  # [N], sigma
    colour: str


@dataclass(frozen=True, slots=True)
class Series:
    """One curve of a plot."""

    name: str
    x: F64  # [K], rising
    y: F64  # [K]
    colour: str


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where data lie in a picture: x to the right, y upwards."""

    left: float
    right: float
    top: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def histogram(groups: Sequence[Group], limit_sigma: float | None, items: str) -> str:
    """Draw how many items score how high, a pane for each group, all over the same sigma.

    Args:
        groups: the first is good web: bins reach to four times its highest score, or the limit's.
        limit_sigma: drawn as a line; None for none.
        items: what is counted, in the plural.

    Returns:
        An <svg>; bars are logarithmic where a bin holds more than 30 items, and the axis says so. What lies
        beyond the bins is counted in the last one.
    """
    edges, beyond = _edges([one.scores for one in groups], limit_sigma)
    counts = [np.histogram(np.minimum(one.scores, edges[-1]), edges)[0] for one in groups]
    logarithmic = max(int(one.max()) for one in counts) > LOG_FROM
    width, height = HISTOGRAM_PX, 14 + (LABEL_PX + PANE_PX) * len(groups) + 36
    left, right, bottom = 52.0, width - 14.0, 0.0
    parts, labels = [], []
    for place, (group, one) in enumerate(zip(groups, counts, strict=True)):
        top = 14.0 + (LABEL_PX + PANE_PX) * place + LABEL_PX
        bottom = top + PANE_PX
        highest = max(1, int(one.max()))
        y_range = 0.0, _height(highest, logarithmic) * 1.05
        frame = _Frame(left, right, top, bottom, (edges[0], edges[-1]), y_range)
        for tick in [10**power for power in range(7)] if logarithmic else _whole(highest):
            if tick <= highest:
                at = frame.y(_height(tick, logarithmic))
                parts.append(_line(left, at, right, at, GRID_COLOUR, 0.6))
                parts.append(_text(left - 6, at + 4, f"{tick:g}", "end"))
        parts += _bars(frame, one, edges, group.colour, logarithmic)
        parts.append(_line(left, bottom, right, bottom, TEXT_COLOUR))
        labels.append(
            _text(right, top - 4, f"{len(group.scores)} {group.name}", "end", group.colour, bold=True)
        )
    for tick in _ticks(edges[0], edges[-1], 8):
        parts.append(_line(frame.x(tick), bottom, frame.x(tick), bottom + 4, TEXT_COLOUR))
        parts.append(_text(frame.x(tick), bottom + 16, f"{tick:g}", "middle"))
    if limit_sigma is not None:
        at = frame.x(limit_sigma)
        parts.append(_line(at, 12, at, bottom, LIMIT_COLOUR, 1.4, "5 3"))
        parts.append(_text(at + 4, 10, f"limit {limit_sigma:.2f}", "start", LIMIT_COLOUR, bold=True))
    parts += labels  # over the limit's line
    over = "score, sigma" + (f"; the last bin holds all from {edges[-2]:.3g} on" if beyond else "")
    parts.append(_text((left + right) / 2, bottom + 32, over, "middle"))
    scale = ", log scale" if logarithmic else ""
    parts.append(_text(12, (18 + bottom) / 2, f"{items} per bin{scale}", "middle", turned=True))
    return _svg(width, height, parts, f"histogram of the scores of {items}")


def curves(
    series: Sequence[Series],
    x_name: str,
    y_name: str,
    x_to: float,
    mark: tuple[float, float] | None,
    title: str,
) -> str:
    """Draw curves over 0 to ``x_to``.

    Args:
        series: what to draw, at most a handful.
        x_name: label of the axis.
        y_name: label of the axis; it runs from 0 to 1.
        x_to: where the x axis ends.
        mark: a point to be marked as that of the limit.
        title: for readers who can't see it.

    Returns:
        An <svg>.
    """
    width, height = CURVE
    frame = _Frame(52, width - 14, 12, height - 46, (0, x_to), (0, 1))
    parts = []
    for tick in _ticks(0, x_to, 6):
        parts.append(_line(frame.x(tick), frame.top, frame.x(tick), frame.bottom, GRID_COLOUR, 0.6))
        parts.append(_text(frame.x(tick), frame.bottom + 16, f"{tick:g}", "middle"))
    for tick in _ticks(0, 1, 6):
        parts.append(_line(frame.left, frame.y(tick), frame.right, frame.y(tick), GRID_COLOUR, 0.6))
        parts.append(_text(frame.left - 6, frame.y(tick) + 4, f"{tick:g}", "end"))
    parts.append(_line(frame.x(0), frame.y(0), frame.x(x_to), frame.y(x_to), COIN_COLOUR, 1, "4 4"))
    for place, one in enumerate(series):
        x, y = _thinned(one, x_to)
        points = " ".join(f"{frame.x(a):.1f},{frame.y(b):.1f}" for a, b in zip(x, y, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{one.colour}" stroke-width="2"/>')
        at = frame.bottom - 14 - 16 * (len(series) - 1 - place)
        parts.append(_line(frame.right - 16, at - 4, frame.right - 2, at - 4, one.colour, 2.5))
        parts.append(_text(frame.right - 22, at, one.name, "end", one.colour, bold=True))
    if mark is not None:
        at_x, at_y = frame.x(mark[0]), frame.y(mark[1])
        parts.append(f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="4.5" fill="#fff" stroke="{LIMIT_COLOUR}"/>')
        beside = (at_x + 9, "start") if mark[0] < x_to * 0.7 else (at_x - 9, "end")
        parts.append(_text(beside[0], max(at_y + 14, frame.top + 14), "images at the limit", beside[1]))
    parts.append(_line(frame.left, frame.bottom, frame.right, frame.bottom, TEXT_COLOUR))
    parts.append(_line(frame.left, frame.top, frame.left, frame.bottom, TEXT_COLOUR))
    parts.append(_text((frame.left + frame.right) / 2, height - 8, x_name, "middle"))
    parts.append(_text(12, (frame.top + frame.bottom) / 2, y_name, "middle", turned=True))
    return _svg(width, height, parts, title)


def trend(
    points: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]],
    x_name: str,
    y_name: str,
    title: str,
) -> str:
    """Draw measured points and a line through and beyond them.

    Args:
        points: (x, y), all above 0; each bears its y.
        line: (x, y), drawn dashed.
        x_name: label of the axis, which begins at 0.
        y_name: label of the axis, which begins at 0.
        title: for readers who can't see it.

    Returns:
        An <svg> that stands for itself.
    """
    width, height = CURVE
    x_to, y_to = 1.05 * max(x for x, _ in [*points, *line]), 1.2 * max(y for _, y in [*points, *line])
    frame = _Frame(58, width - 14, 12, height - 46, (0, x_to), (0, y_to))
    parts = ["<style>text{font-family:sans-serif}</style>", '<rect width="100%" height="100%" fill="#fff"/>']
    for tick in _ticks(0, x_to, 6):
        parts.append(_line(frame.x(tick), frame.top, frame.x(tick), frame.bottom, GRID_COLOUR, 0.6))
        parts.append(_text(frame.x(tick), frame.bottom + 16, f"{tick:g}", "middle"))
    for tick in _ticks(0, y_to, 6):
        parts.append(_line(frame.left, frame.y(tick), frame.right, frame.y(tick), GRID_COLOUR, 0.6))
        parts.append(_text(frame.left - 6, frame.y(tick) + 4, f"{tick:g}", "end"))
    drawn = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in line)
    parts.append(
        f'<polyline points="{drawn}" fill="none" stroke="{BESIDE_COLOUR}" stroke-width="2" stroke-dasharray="5 3"/>'
    )
    for x, y in points:
        parts.append(f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="4" fill="{GOOD_COLOUR}"/>')
        parts.append(_text(frame.x(x), frame.y(y) - 9, f"{y:.3g}", "middle", GOOD_COLOUR, bold=True))
    parts.append(_line(frame.left, frame.bottom, frame.right, frame.bottom, TEXT_COLOUR))
    parts.append(_line(frame.left, frame.top, frame.left, frame.bottom, TEXT_COLOUR))
    parts.append(_text((frame.left + frame.right) / 2, height - 8, x_name, "middle"))
    parts.append(_text(12, (frame.top + frame.bottom) / 2, y_name, "middle", turned=True))
    return _svg(width, height, parts, title)


def bar(escaped: int, total: int) -> str:
    """Draw which part of a total was found, and which escaped: a small <svg>."""
    width, height = 160, 12
    at = width * (1 - escaped / total) if total else 0.0
    found = f'<rect width="{at:.1f}" height="{height}" fill="{GOOD_COLOUR}"/>' if at > 0 else ""
    missed = (
        f'<rect x="{at:.1f}" width="{width - at:.1f}" height="{height}" fill="{FAULTY_COLOUR}"/>'
        if total and escaped
        else ""
    )
    return _svg(width, height, [found, missed], f"{escaped} of {total} escaped")


def _edges(values: Sequence[F64], limit_sigma: float | None) -> tuple[F64, bool]:
    """Return the bins' edges, and whether the last bin also holds what lies beyond."""
    everything = np.concatenate(values)
    good = values[0] if len(values[0]) else everything
    low = min(0.0, math.floor(float(everything.min())))
    highest = float(everything.max())
    top = BEYOND * max(limit_sigma or 0.0, float(good.max()), 1.0)
    beyond = highest > top
    high = top if beyond else max(highest * 1.02, (limit_sigma or 0.0) * 1.1, low + 1.0)
    bins = int(np.clip(2 * math.sqrt(len(everything)), FEWEST_BINS, MOST_BINS))
    return np.linspace(low, high, bins + 1), beyond


def _height(count: float, logarithmic: bool) -> float:
    """Of a bar; on the log scale a single item is still to be seen."""
    return math.log10(count) + 0.3 if logarithmic and count else float(count)


def _bars(
    frame: _Frame, counts: npt.NDArray[np.intp], edges: F64, colour: str, logarithmic: bool
) -> list[str]:
    bars = []
    for count, low, high in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        if count:
            top = frame.y(_height(count, logarithmic))
            bars.append(
                f'<rect x="{frame.x(low) + 0.3:.1f}" y="{top:.1f}" width="{frame.x(high) - frame.x(low) - 0.6:.1f}" '
                f'height="{frame.bottom - top:.1f}" fill="{colour}"/>'
            )
    return bars


def _thinned(one: Series, x_to: float) -> tuple[F64, F64]:
    """The curve up to ``x_to`` with at most MOST_POINTS points, evenly along its length."""
    inside = one.x <= x_to
    x = np.append(one.x[inside], x_to)
    y = np.append(one.y[inside], np.interp(x_to, one.x, one.y))
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) / x_to + np.abs(np.diff(y)))])
    places = np.searchsorted(along, np.linspace(0, along[-1], MOST_POINTS))
    # Corners lie at the end of a level stretch; without the point before it a step would become a slope.
    kept = np.unique(np.clip(np.concatenate([places - 1, places, [0, len(x) - 1]]), 0, len(x) - 1))
    return x[kept], y[kept]


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers from low to high, about so many."""
    rough = (high - low) / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(one for one in (power, 2 * power, 2.5 * power, 5 * power, 10 * power) if one >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * number, 10) for number in range(first, last + 1)]


def _whole(highest: int) -> list[float]:
    return [tick for tick in _ticks(0, highest, 4) if tick == int(tick)]


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.0, dashes: str = ""
) -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width:g}"{dashed}/>'
    )


def _text(
    x: float,
    y: float,
    said: str,
    anchor: str,
    colour: str = TEXT_COLOUR,
    *,
    bold: bool = False,
    turned: bool = False,
) -> str:
    weight = ' font-weight="600" paint-order="stroke" stroke="#fff" stroke-width="3"' if bold else ""
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {where} fill="{colour}"{weight}{turn}>{html.escape(said)}</text>'


def _svg(width: int, height: int, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-size="11"><title>{html.escape(title)}</title>{"".join(parts)}</svg>'
    )
