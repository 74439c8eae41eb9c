"""What filters made for the loom's faults find of them: something to hold what a recipe misses against.

    python tools/matched.py [--metres 20]

Weaves METRES of good web and METRES with faults, those of limit_trial.py, and takes both through filters that know
what is looked for: lines as thick as a yarn against their neighbours, of four lengths, across and along, and round
spots of four sizes. A fault is found where any filter says more of it than the same filter says of good web anywhere,
by its highest on all of that. That flatters them three times: no detector knows beforehand which filter will be right,
each filter alone has its false alarm in such a piece of web, and a hundred metres have a higher highest than twenty.
Still they are no bound: networks see more than lines and spots. Prints how many are found by how visible they are
(visible.py), and those that good web itself hides from these filters.
Takes some minutes.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator

import cv2
import numpy as np
from limit_trial import (
    FAULTS_PER_M,
    FAULTY_SEEDS,
    GOOD_SEEDS,
    HEIGHT_PX,
    MM_PER_PX,
    PIECE_M,
    VISIBLE,
    WIDTH_PX,
)
from visible import visibilities

from inspector import config
from inspector.cameras.loom import Loom
from inspector.cameras.truth import Fault
from inspector.records import F32

YARNS_PX = (2.0, 3.0)  # sigma across a line
BESIDE = 4.0  # times that: sigma of the neighbours that it is held against
LENGTHS_PX = (6.0, 12.0, 24.0, 48.0)  # sigma along it
SPOTS_PX = (3.0, 6.0, 12.0, 24.0)
REACH = 3.0  # sigma


def filtered(web: F32) -> Iterator[tuple[str, F32]]:
    """Each filter's name and what it says of a web, [rows, columns] of absolute greys."""
    for width in YARNS_PX:
        reach = round(REACH * BESIDE * width)
        near, beside = (cv2.getGaussianKernel(2 * reach + 1, sigma) for sigma in (width, BESIDE * width))
        for length in LENGTHS_PX:
            along = cv2.getGaussianKernel(2 * round(REACH * length) + 1, length)
            yield f"pick {width:g} x {length:g}", np.abs(cv2.sepFilter2D(web, -1, along, near - beside))
            yield f"end {width:g} x {length:g}", np.abs(cv2.sepFilter2D(web, -1, near - beside, along))
    for size in SPOTS_PX:
        near, wide = (cv2.GaussianBlur(web, (0, 0), sigma) for sigma in (size, REACH * size))
        yield f"spot {size:g}", np.abs(near - wide)


def woven(seed: int, per_m: float) -> tuple[F32, list[Fault]]:
    """A piece of web, [rows, columns] of greys, and its faults."""
    loom = Loom(WIDTH_PX, MM_PER_PX, "plain", seed, config.FaultMix(per_m=per_m))
    frames = int(PIECE_M * 1000 / MM_PER_PX / HEIGHT_PX)
    web = np.concatenate([loom.rows(HEIGHT_PX) for _ in range(frames)]).astype(np.float32)
    return web, loom.truth(0.0, len(web) * MM_PER_PX / 1000)


def highest(metres: float) -> dict[str, float]:
    """Filter -> the most that it says of good web."""
    most: dict[str, float] = {}
    for seed in range(GOOD_SEEDS, GOOD_SEEDS + pieces(metres)):
        for name, said in filtered(woven(seed, 0.0)[0]):
            most[name] = max(most.get(name, 0.0), float(said.max()))
    return most


def pieces(metres: float) -> int:
    """How many webs of PIECE_M that is."""
    return max(1, round(metres / PIECE_M))


def shares(web: F32, faults: list[Fault], most: dict[str, float]) -> list[tuple[float, str]]:
    """For each fault the filter that tells it best, and what it says there as a share of its most on good web."""
    best = [(0.0, "")] * len(faults)
    for name, said in filtered(web):
        for number, one in enumerate(faults):
            top, left = (int(mm / MM_PER_PX) for mm in (one.y_m * 1000, one.x_mm))
            rows, columns = (int(mm / MM_PER_PX) + 1 for mm in (one.h_mm, one.w_mm))
            here = float(said[top : top + rows, left : left + columns].max(initial=0.0))
            best[number] = max(best[number], (here / most[name], name))
    return best


def main() -> None:
    """Weave, filter, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--metres", type=float, default=20.0)
    given = parser.parse_args()
    most = highest(given.metres)
    faults, found = Counter[float](), Counter[float]()
    hidden: list[str] = []
    for seed in range(FAULTY_SEEDS, FAULTY_SEEDS + pieces(given.metres)):
        web, woven_in = woven(seed, FAULTS_PER_M)
        metres = len(web) * MM_PER_PX / 1000
        visible = visibilities(WIDTH_PX, MM_PER_PX, seed, FAULTS_PER_M, metres)
        for one, amount, (share, name) in zip(woven_in, visible, shares(web, woven_in, most), strict=True):
            least = max(edge for edge in VISIBLE if amount >= edge)
            faults[least] += 1
            found[least] += share > 1
            if share <= 1:
                hidden.append(f"{one.kind} {amount:.0f} ({share:.2f}, {name})")
    print(f"| d' | faults | found by the best of {len(most)} filters, chosen with hindsight |\n|---|---|---|")
    for edge in VISIBLE:
        if faults[edge]:
            print(f"| from {edge:g} | {faults[edge]} | {found[edge]} |")
    print(f"| all | {faults.total()} | {found.total()} |\n\nhidden by good web: {', '.join(sorted(hidden))}")


if __name__ == "__main__":
    main()
