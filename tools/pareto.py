"""Speed against detection, preset by preset: from what `bench_engine.py` and `ablation.py` wrote.

    python tools/pareto.py --rates build/bench/rates.json --figures ablation.json [--page docs/speed.md]

Tiles/s are OpenVINO's at the best batch, at the best precision that is no int8, on all cores. Detection is the mean
over the packs that every preset has figures for: AUROC of images (AITEX: of tiles), and AUPRO where masks are fine
enough.
--page puts the table between the marks of that page, and the plot beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from marked import put_between
from packs import PACKS
from roofline import COLOURS, GRID_COLOUR, line, text

ROWS = {  # of the ablation, by contender of the bench
    "paper's graph": "paper",
    "reduced": "reduced: ResNet18 4 8",
    "balanced": "**default**: L4 L8 L16 L32 M4 M8 M16",
    "fast": "preset fast: L4 L8 L16",
    "fastest": "preset fastest: L8 L16 L32",
}
BEGIN, END = "<!-- speed against detection: tools/pareto.py -->", "<!-- end of speed against detection -->"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 380, 300, 48, 110, 28, 44


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
    named = {name: figures[row] for name, row in ROWS.items() if row in figures}
    packs = [pack for pack in PACKS if all(pack in of_packs for of_packs in named.values())]
    masked = [pack for pack in packs if PACKS[pack][2]]
    made = []
    for name, of_packs in named.items():
        own = {
            key: rate
            for key, rate in rates.items()
            if key.startswith(f"{name}, OpenVINO") and "int8" not in key
        }
        if own:
            best = max(own, key=lambda key: own[key])
            auroc = float(np.mean([of_packs[pack][0] for pack in packs]))
            aupro = float(np.mean([of_packs[pack][2] for pack in masked]))
            made.append(Preset(name, best.split(", OpenVINO ")[1].split(",")[0], own[best], auroc, aupro))
    return sorted(made, key=lambda one: one.tiles_per_s), packs


def table(found: list[Preset], packs: list[str]) -> list[str]:
    """Markdown, slowest first."""
    return [
        f"Means over {', '.join(packs)}; one seed.",
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
    fastest = 1.1 * max(one.tiles_per_s for one in found)
    low, high = math.floor(min(values)) - 1, math.ceil(max(values)) + 1

    def down(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - TOP)

    parts = [text(left, TOP - 12, title, "start"), text((left + right) / 2, HEIGHT - 8, "tiles/s", "middle")]
    for mark in range(low, high + 1, max(1, (high - low) // 5)):
        parts += [line((left, down(mark)), (right, down(mark)), GRID_COLOUR)]
        parts += [text(left - 6, down(mark) + 4, str(mark), "end")]
    for rate in np.arange(0, fastest, 20 if fastest < 150 else 100):
        x = left + rate / fastest * (right - left)
        parts += [line((x, TOP), (x, bottom), GRID_COLOUR), text(x, bottom + 16, f"{rate:.0f}", "middle")]
    for number, (one, value) in enumerate(zip(found, values, strict=True)):
        x, colour = left + one.tiles_per_s / fastest * (right - left), COLOURS[number % len(COLOURS)]
        parts += [f'<circle cx="{x:.1f}" cy="{down(value):.1f}" r="5" fill="{colour}"/>']
        parts += [text(x + 8, down(value) + 4, one.name, "start")]
    return "".join(parts)


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
