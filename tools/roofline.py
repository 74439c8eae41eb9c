"""A roofline plot (Williams, Waterman & Patterson 2009) as SVG: work a byte against work a second, both logarithmic."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 1000, 440, 64, 48, 24, 264
KEY_PX, LINE_PX, DOT_PX = (WIDTH - RIGHT + 24, 10), 19, 7  # where the points' names are listed
NAME_PX = 76  # of a peak: two may be as high as each other
INTENSITIES = (2.0, 1000.0)  # FLOP a byte
COLOURS = ("#2b7a9b", "#e07b2a", "#5b4b8a", "#3c8d5a")
ROOF_COLOUR, GRID_COLOUR, TEXT_COLOUR = "#1a1a1a", "#dcdfe3", "#3a4048"


@dataclass(frozen=True, slots=True)
class Roof:
    """What a machine can do at best."""

    flops: dict[str, float]  # FLOP/s by precision
    bytes_s: float

    def attainable(self, precision: str, intensity: float) -> float | None:
        """FLOP/s at so many FLOP a byte; None where the precision's peak is not known."""
        peak = self.flops.get(precision)
        return None if peak is None else min(peak, intensity * self.bytes_s)


@dataclass(frozen=True, slots=True)
class Point:
    """A graph on a runtime."""

    name: str
    intensity: float  # FLOP a byte
    flops: float  # FLOP/s


def drawn(roof: Roof, points: Sequence[Point]) -> str:
    """The plot as SVG."""
    highest = 2 * max([*roof.flops.values(), *(one.flops for one in points)])
    lowest = min(one.flops for one in points) / 1.5
    x0, x1 = map(math.log10, INTENSITIES)
    y0, y1 = math.log10(lowest), math.log10(highest)

    def at(intensity: float, flops: float) -> tuple[float, float]:
        x = LEFT + (math.log10(intensity) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (math.log10(flops) - y0) / (y1 - y0) * (HEIGHT - BOTTOM - TOP)
        return x, y

    parts = [
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "FLOP a byte of operands", "middle"),
        text(4, 14, "GFLOP/s", "start"),
    ]
    for step in _steps(0, 3):
        if INTENSITIES[0] <= step <= INTENSITIES[1]:
            x, _ = at(step, highest)
            parts += [
                line((x, TOP), (x, HEIGHT - BOTTOM), GRID_COLOUR),
                text(x, HEIGHT - BOTTOM + 16, f"{step:g}", "middle"),
            ]
    for step in _steps(9, 14):
        if lowest < step < highest:
            _, y = at(INTENSITIES[0], step)
            parts += [
                line((LEFT, y), (WIDTH - RIGHT, y), GRID_COLOUR),
                text(LEFT - 6, y + 4, f"{step / 1e9:g}", "end"),
            ]
    for place, (name, peak) in enumerate(roof.flops.items()):
        knee = peak / roof.bytes_s
        start = max(INTENSITIES[0], lowest / roof.bytes_s)
        parts += [
            line(at(start, start * roof.bytes_s), at(knee, peak), ROOF_COLOUR),
            line(at(knee, peak), at(INTENSITIES[1], peak), ROOF_COLOUR),
            text(WIDTH - RIGHT - place * NAME_PX, at(INTENSITIES[1], peak)[1] - 6, f"peak, {name}", "end"),
        ]
    for number, one in enumerate(sorted(points, key=lambda point: -point.flops), start=1):
        left, top = KEY_PX
        parts += _numbered(*at(one.intensity, one.flops), number)
        parts += _numbered(left, top + number * LINE_PX, number)
        parts += [text(left + 2 * DOT_PX, top + number * LINE_PX + 4, one.name, "start")]
    height = max(HEIGHT, KEY_PX[1] + (len(points) + 1) * LINE_PX)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12">'
        f"<title>Roofline</title>{''.join(parts)}</svg>\n"
    )


def _steps(first: int, last: int) -> list[float]:
    """1, 2, 5 times the powers of ten from one to before another."""
    return [value * 10.0**power for power in range(first, last) for value in (1, 2, 5)]


def _numbered(x: float, y: float, number: int) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    return [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT_PX}" fill="{colour}" stroke="#ffffff"/>',
        f'<text x="{x:.1f}" y="{y + 3.5:.1f}" text-anchor="middle" font-size="10" fill="#ffffff">{number}</text>',
    ]


def line(start: tuple[float, float], end: tuple[float, float], colour: str) -> str:
    """A line of a picture."""
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def text(x: float, y: float, words: str, anchor: str) -> str:
    """Words in a picture."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{TEXT_COLOUR}">{html.escape(words)}</text>'
