"""Speed against detection, preset by preset: from what `bench_engine.py` and `ablation.py` wrote.

    python tools/pareto.py --rates build/bench/rates.json --figures docs/ablation.json [--page docs/speed.md]

Tiles/s are OpenVINO's on all cores, a tile at a time as on a line: at the best precision that is no int8, and in int8
where the ablation has a row of it. Detection is the mean over the packs that every preset has figures for: AUROC of
images (AITEX: of tiles), and AUPRO where masks are fine enough.
--page puts the table between the marks of that page, and the plot beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from marked import put_between
from packs import PACKS
from roofline import COLOURS, GRID_COLOUR, line, text

# Contender of the bench, whether in int8, and its row of the ablation.
ROWS = (
    ("paper's graph", False, "paper"),
    ("reduced", False, "reduced: ResNet18 4 8"),
    ("balanced", False, "**default**: L4 L8 L16 L32 M4 M8 M16"),
    ("balanced", True, "preset balanced, int8"),
    ("fast", False, "preset fast: L4 L8 L16"),
    ("fast", True, "preset fast, int8"),
    ("faster", False, "preset faster: L8 L16 L32"),
    ("faster", True, "preset faster, int8"),
    ("fastest", False, "preset fastest: L8 L16 L32"),
    ("fastest", True, "preset fastest, int8"),
)
RATE = re.compile(r"(?P<name>.+), OpenVINO (?P<precision>\w+), batch 1, (?P<threads>\d+) threads")
BEGIN, END = "<!-- speed against detection: tools/pareto.py -->", "<!-- end of speed against detection -->"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 440, 320, 44, 16, 44, 44
DOT_PX, CHAR_PX, LINE_PX = 5, 6.5, 15  # radius; of a name's letters and lines, roughly


@dataclass(frozen=True, slots=True)
class Preset:
    """One preset's speed and detection."""

    name: str
    precision: str
    tiles_per_s: float
    auroc: float  # %
    aupro: float  # %


def presets(
    rates: dict[str, float], figures: dict[str, dict[str, list[float]]]
) -> tuple[list[Preset], list[str]]:
    """Those that both files know, and the packs that all of these have."""
    rated = fastest(rates)
    known = [
        (name, int8, figures[row]) for name, int8, row in ROWS if row in figures and (name, int8) in rated
    ]
    packs = [pack for pack in PACKS if all(pack in of_packs for _, _, of_packs in known)]
    masked = [pack for pack in packs if PACKS[pack][2]]
    made = []
    for name, int8, of_packs in known:
        precision, rate = rated[name, int8]
        auroc = float(np.mean([of_packs[pack][0] for pack in packs]))
        aupro = float(np.mean([of_packs[pack][2] for pack in masked]))
        made.append(Preset(name, precision, rate, auroc, aupro))
    return sorted(made, key=lambda one: one.tiles_per_s), packs


def fastest(rates: dict[str, float]) -> dict[tuple[str, bool], tuple[str, float]]:
    """Precision and tiles/s of each contender on OpenVINO a tile at a time, in int8 and otherwise."""
    found: dict[tuple[str, bool], tuple[str, float]] = {}
    for key, rate in rates.items():
        way = RATE.fullmatch(key)
        if way is not None:
            kind = way["name"], way["precision"] == "int8"
            found[kind] = max(found.get(kind, ("", 0.0)), (way["precision"], rate), key=lambda one: one[1])
    return found


def table(found: list[Preset], packs: list[str]) -> list[str]:
    """Markdown, slowest first."""
    return [
        f"Means over {', '.join(packs)}, of the figures that the ablation keeps.",
        "",
        "| preset | tiles/s | AUROC of images or tiles | AUPRO |",
        "|---|---|---|---|",
        *(
            f"| {one.name} ({one.precision}) | {one.tiles_per_s:.1f} | {one.auroc:.1f} | {one.aupro:.1f} |"
            for one in found
        ),
    ]


def drawn(found: list[Preset]) -> str:
    """Two panes: AUROC and AUPRO against tiles/s, as SVG. What lies above and to the right is better."""
    panes = [
        _pane(found, [one.auroc for one in found], "mean AUROC, %", 0),
        _pane(found, [one.aupro for one in found], "mean AUPRO, %", WIDTH),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><title>Speed against detection</title>{"".join(panes)}</svg>\n'
    )


def _pane(found: list[Preset], values: list[float], title: str, shift: int) -> str:
    left, right, bottom = shift + LEFT, shift + WIDTH - RIGHT, HEIGHT - BOTTOM
    low, high = math.floor(min(values)) - 1, math.ceil(max(values)) + 1
    slowest, fastest = 0.5 * found[0].tiles_per_s, 1.5 * found[-1].tiles_per_s

    def down(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - TOP)

    def across(rate: float) -> float:
        return left + math.log(rate / slowest) / math.log(fastest / slowest) * (right - left)

    key = "filled: float; hollow: int8"
    parts = [text(left, 16, title, "start"), text(right, 16, key, "end")]
    parts += [text((left + right) / 2, HEIGHT - 8, "tiles/s, a tile at a time", "middle")]
    for mark in range(low, high + 1, max(1, (high - low) // 5)):
        parts += [line((left, down(mark)), (right, down(mark)), GRID_COLOUR)]
        parts += [text(left - 6, down(mark) + 4, str(mark), "end")]
    for rate in (value * 10.0**power for power in range(5) for value in (1, 2, 5)):
        if slowest < rate < fastest:
            x = across(rate)
            parts += [line((x, TOP), (x, bottom), GRID_COLOUR), text(x, bottom + 16, f"{rate:g}", "middle")]
    names = list(dict.fromkeys(one.name for one in found))
    places = [(across(one.tiles_per_s), down(value)) for one, value in zip(found, values, strict=True)]
    for one, (x, y) in zip(found, places, strict=True):
        colour = COLOURS[names.index(one.name) % len(COLOURS)]
        fill = "#ffffff" if one.precision == "int8" else colour
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT_PX}" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
        ]
    for name, (x, y) in zip(names, labelled(names, found, places), strict=True):
        parts += [text(x, y, name, "middle")]
    return "".join(parts)


def labelled(
    names: list[str], found: list[Preset], places: list[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Where each preset's name goes: over the middle of its dots, and as far up as nothing else is there."""
    taken = [(x - DOT_PX, y - DOT_PX, x + DOT_PX, y + DOT_PX) for x, y in places]
    made = []
    for name in names:
        own = [place for one, place in zip(found, places, strict=True) if one.name == name]
        x, y = float(np.mean([x for x, _ in own])), min(y for _, y in own) - 2 * DOT_PX
        half = CHAR_PX * len(name) / 2
        while any(
            x - half < right and left < x + half and y - LINE_PX < bottom and top < y
            for left, top, right, bottom in taken
        ):
            y -= 1
        taken.append((x - half, y - LINE_PX, x + half, y))
        made.append((x, y))
    return made


def main() -> int:
    """Read both, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", type=Path, required=True)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    found, packs = presets(json.loads(given.rates.read_text()), json.loads(given.figures.read_text()))
    lines = "\n".join(table(found, packs))
    print(lines)
    if given.page:
        put_between(given.page, BEGIN, END, lines)
        given.page.with_name("speed-detection.svg").write_text(drawn(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
