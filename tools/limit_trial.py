"""What limits from few good tiles are worth, and what zones and windows find: on the loom, where the truth is known.

    python tools/limit_trial.py --work /tmp/limits [--metres 20] [--recipe demo]

Weaves METRES of good web and METRES/2 with faults, as line 2 of the demo plant has them, through the recipe's engine
(about 3 s a metre), and keeps the maps in the work folder. Then:

- the tail: subsets of the good images, the limit found in them, in times of the score that just as many tiles of all
  web exceed as are asked for, and the false alarms it brings; from tiles' peaks and from blocks';
- the windows: faults found at limits that bring as many false alarms, from cells alone, with each shape, with all;
- visibility: the faults that are missed with all windows, beside those found that are as hard to see (visible.py).

All limits are set by the functions that `calibrate` uses.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from plant import ROOT
from visible import visibilities

from inspector import config
from inspector.backends import open_backend
from inspector.calibrating.blocks import block_peaks, blocks_per_100m
from inspector.calibrating.good_web import WIDE_SHARE
from inspector.calibrating.tail import find_limit
from inspector.calibrating.wide import WINDOWS, find_wide
from inspector.cameras.loom import Loom
from inspector.cameras.truth import Fault
from inspector.config import Line
from inspector.interfaces import Backend
from inspector.judging import levelled, stitch
from inspector.records import F32, F64, Frame, Grid, Levels, Stamp, WideLimit
from inspector.tiling import Tiler, grid_for
from inspector.tiling.region import fixed_columns

WIDTH_PX, HEIGHT_PX, MM_PER_PX, CELL = 2048, 512, 0.2, 4
GOOD_SEEDS, FAULTY_SEEDS, PIECE_M = 902, 802, 10.0
FAULTS_PER_M = 5.0
IMAGE_ROWS = 64  # cells; an image of nine tiles
LONG_ROWS = 256  # of an image that holds every window
TILES = (51, 85, 240)
RUNS = 30
TOLERANCE_MM = 3.0
ALL = tuple(one.name for one in WINDOWS)
VISIBLE = (0, 20, 25, 30, 40, 60)  # classes of d'


@dataclass(frozen=True, slots=True)
class Woven:
    """A piece of web, seen."""

    seed: int
    cells: F32  # [rows, columns] sigma
    faults: list[Fault]


def weave(seed: int, per_m: float, metres: float, line: Line, backend: Backend, grid: Grid) -> Woven:
    """Weave, score and stitch a piece of web."""
    loom = Loom(WIDTH_PX, MM_PER_PX, "plain", seed, config.FaultMix(per_m=per_m))
    tiler = Tiler(grid, fixed_columns(0, WIDTH_PX), seamless=True)
    counts = round(HEIGHT_PX * MM_PER_PX / 1000 * line.web.encoder_counts_per_m)
    parts: list[F32] = []
    carried = np.zeros((0, WIDTH_PX // CELL), np.float32)
    for number in range(int(metres * 1000 / MM_PER_PX / HEIGHT_PX)):
        stamp = Stamp("2", "", number, number, number * counts, (number + 1) * counts, 0, 0)
        for strip in tiler.push(Frame(stamp, loom.rows(HEIGHT_PX))):
            assert strip.batch is not None
            seen = backend.infer(strip.batch)
            canvas = stitch(seen.scores, seen.origins_px, CELL, strip.canvas_cells)
            np.maximum(canvas[: len(carried)], carried, out=canvas[: len(carried)])
            decided = strip.decided_px // CELL
            parts.append(canvas[:decided])
            carried = canvas[decided:].copy()
    cells = np.concatenate(parts)
    return Woven(seed, cells, loom.truth(0.0, len(cells) * CELL * MM_PER_PX / 1000))


def woven(work: Path, first_seed: int, per_m: float, metres: float, recipe: str) -> list[Woven]:
    """Pieces of web, from the work folder where they are there."""
    site = config.load(ROOT / "config.toml")
    line = site.line("2")
    pieces = []
    backend = open_backend(site.engines / recipe, line.engine.backend, line.engine.threads)
    try:
        grid = grid_for(line, backend.info)
        for seed in range(first_seed, first_seed + max(1, round(metres / PIECE_M))):
            file = work / f"{recipe}-{backend.info.engine_sha256[:12]}-{seed}-{per_m:g}.npz"
            if not file.exists():
                print(f"weaving {file.name}", flush=True)
                piece = weave(seed, per_m, PIECE_M, line, backend, grid)
                columns = [
                    [getattr(one, key) for key in ("x_mm", "y_m", "w_mm", "h_mm")] for one in piece.faults
                ]
                kinds = [one.kind for one in piece.faults]
                np.savez(file, cells=piece.cells, places=np.array(columns).reshape(-1, 4), kinds=kinds)
            with np.load(file) as held:
                faults = [
                    Fault(
                        str(kind),
                        float(place[0]),
                        float(place[1]),
                        float(place[2]),
                        float(place[3]),
                        0.0,
                        0.0,
                    )
                    for kind, place in zip(held["kinds"], held["places"], strict=True)
                ]
                pieces.append(Woven(seed, held["cells"], faults))
    finally:
        backend.close()
    return pieces


def images_of(pieces: list[Woven], rows: int) -> list[F32]:
    """Cut pieces of web into images."""
    return [
        one.cells[top : top + rows] for one in pieces for top in range(0, len(one.cells) - rows + 1, rows)
    ]


def tail_table(good: list[Woven]) -> list[str]:
    """Limits from subsets of good images, and what they bring on all of them."""
    images = images_of(good, IMAGE_ROWS)
    tile, stride = 64, 56
    tiles = [
        np.array([one[:, left : left + tile].max() for left in range(0, WIDTH_PX // CELL - tile + 1, stride)])
        for one in images
    ]
    tiles_per_100m = 20090
    blocks = [block_peaks(one, CELL).ravel() for one in images]
    every = np.sort(np.concatenate(tiles))[::-1]
    lines = [
        "| false alarms per 100 m | tiles | from | limit / true: 10 %, median, 90 % | alarms / asked: mean, 90 % |",
        "|---|---|---|---|---|",
    ]
    for asked in (1.0, 10.0):
        above = int(asked * len(every) / tiles_per_100m)  # tiles that such a rate lets be above, here
        true = float(every[min(len(every) - 1, above)])
        for count in TILES:
            for name, scores, per_100m in (
                ("tiles", tiles, float(tiles_per_100m)),
                ("blocks", blocks, blocks_per_100m(WIDTH_PX, MM_PER_PX)),
            ):
                limits = _limits(scores, asked / per_100m, round(count / 9))
                alarms = [float((every > one).mean()) * tiles_per_100m / asked for one in limits]
                low, middle, high = np.quantile(limits, (0.1, 0.5, 0.9)) / true
                of_true = f"{low:.2f}, {middle:.2f}, {high:.2f}" if above else "too little web to know"
                lines.append(
                    f"| {asked:g} | {count} | {name} | {of_true} | "
                    f"{np.mean(alarms):.2f}, {np.quantile(alarms, 0.9):.2f} |"
                )
    return lines


def _limits(scores: list[F64], rate: float, images: int) -> list[float]:
    random = np.random.default_rng(1)
    chosen = [random.choice(len(scores), images, replace=False) for _ in range(RUNS)]
    return [find_limit([scores[place] for place in places], rate).limit for places in chosen]


def windows_table(good: list[Woven], faulty: list[Woven], asked: float) -> list[str]:
    """Faults found by kind, at limits from the good web; what such limits bring on other web is in ``tail_table``."""
    images = images_of(good, LONG_ROWS)
    kinds = Counter(fault.kind for piece in faulty for fault in piece.faults)
    lines = [
        f"| at {asked:g} false alarms per 100 m | all | " + " | ".join(kinds) + " |",
        "|" + "---|" * (len(kinds) + 2),
    ]
    for names in ((), *((one.name,) for one in WINDOWS), ALL):
        levels = _levels(images, asked, names)
        limited = {one.name for one in levels.wide}
        told = "".join(f" + {one}" if one in limited else f" ({one}: no limit)" for one in names)
        found_by_kind = Counter(fault.kind for piece in faulty for fault in _found(levels, piece))
        lines.append(
            f"| cells{told} | {found_by_kind.total()} of {kinds.total()} | "
            + " | ".join(f"{found_by_kind[kind]} of {count}" for kind, count in kinds.items())
            + " |"
        )
    return lines


def visibility_table(good: list[Woven], faulty: list[Woven], asked: float) -> list[str]:
    """Faults found with all windows, by how visible they are."""
    levels = _levels(images_of(good, LONG_ROWS), asked, ALL)
    faults, found = Counter[float](), Counter[float]()
    missed: list[tuple[float, str]] = []
    for piece in faulty:
        seen = _found(levels, piece)
        metres = len(piece.cells) * CELL * MM_PER_PX / 1000
        visible = visibilities(WIDTH_PX, MM_PER_PX, piece.seed, FAULTS_PER_M, metres)
        for fault, amount in zip(piece.faults, visible, strict=True):
            least = max(edge for edge in VISIBLE if amount >= edge)
            faults[least] += 1
            found[least] += fault in seen
            if fault not in seen:
                missed.append((amount, fault.kind))
    lines = [f"| d', at {asked:g} false alarms per 100 m | faults | found |", "|---|---|---|"]
    lines += [f"| from {edge:g} | {faults[edge]} | {found[edge]} |" for edge in VISIBLE if faults[edge]]
    return [*lines, "", "missed: " + ", ".join(f"{kind} {amount:.0f}" for amount, kind in sorted(missed))]


def _levels(images: list[F32], asked: float, names: Sequence[str]) -> Levels:
    """Limits of cells and of some windows from good web, at so many false alarms per 100 m in all."""
    peaks = [block_peaks(one, CELL).ravel() for one in images]
    cells_rate = asked * (1 - WIDE_SHARE * len(names)) / blocks_per_100m(WIDTH_PX, MM_PER_PX)
    limit = find_limit(peaks, cells_rate).limit
    wide: list[WideLimit] = []
    for window in WINDOWS:
        if window.name in names:
            rate = asked * WIDE_SHARE / blocks_per_100m(WIDTH_PX, MM_PER_PX, *window.block_px)
            found = find_wide(window, images, CELL, limit, rate).limit
            wide += [] if found is None else [found]
    return Levels(limit, (), tuple(wide))


def _level(levels: Levels, piece: Woven) -> F32:
    return levelled(levels, piece.cells, piece.cells[:0], CELL, 0, MM_PER_PX)


def _found(levels: Levels, piece: Woven) -> list[Fault]:
    """The faults with a cell above the limit in their box or near it."""
    above = _level(levels, piece) > levels.limit_sigma
    mm = CELL * MM_PER_PX
    found = []
    for one in piece.faults:
        top, left = one.y_m * 1000, one.x_mm
        rows = slice(max(0, int((top - TOLERANCE_MM) / mm)), int((top + one.h_mm + TOLERANCE_MM) / mm) + 1)
        columns = slice(
            max(0, int((left - TOLERANCE_MM) / mm)), int((left + one.w_mm + TOLERANCE_MM) / mm) + 1
        )
        if above[rows, columns].any():
            found.append(one)
    return found


def main() -> None:
    """Weave, then print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--metres", type=float, default=20.0)
    parser.add_argument("--recipe", default="demo")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    good = woven(given.work, GOOD_SEEDS, 0.0, given.metres, given.recipe)
    faulty = woven(given.work, FAULTY_SEEDS, FAULTS_PER_M, given.metres / 2, given.recipe)
    tables = [tail_table(good)]
    tables += [windows_table(good, faulty, asked) for asked in (1.0, 10.0)]
    tables += [visibility_table(good, faulty, 1.0)]
    for table in tables:
        print("\n".join(["", *table]), flush=True)


if __name__ == "__main__":
    main()
