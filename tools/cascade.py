"""What a cascade would bring: the cheap preset looks at every tile, the default only at those that it suspects.

    python tools/cascade.py --work /tmp/ablation [--first faster]

Reads the maps that `ablation.py --trainings default faster` left in its work folder (same tiles, same seed) and
builds no engine. The gate is a quantile of the cheap preset's scores on good validation tiles; a tile below it scores
0, whatever the default says of it. Printed for every pack and share: how many of the test's good and faulty tiles pass
the gate, what is left of the default's AUROC, and how many of the faulty tiles that the default has above every good
tile of the test the gate lets go. Test tiles set nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from ablation import Maps, Row, file_of, fused, kept, rows
from packs import PACKS

from inspector.evaluating.metrics import auroc
from inspector.records import F32

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)  # of good validation tiles that are suspected
LAST = "default"
HEAD = (
    "pack",
    "suspected of good validation tiles",
    "of the test's good",
    "of its faulty",
    "AUROC of tiles: first, last, cascade",
    "lost of those found",
)


def row_of(training: str) -> Row:
    """The row that is a preset as it is."""
    return next(row for row in rows() if row.training == training)


def maps_from(work: Path, pack: str, training: str, seed: int) -> Maps:
    """What ablation.py left there."""
    maps = kept(file_of(work, pack, training, seed), with_drawn=False)
    if maps is None:
        raise SystemExit(
            f"no maps of {training} on {pack} in {work}: run ablation.py --trainings {training} first"
        )
    return maps


def tile_scores(training: str, maps: Maps) -> tuple[F32, F32]:
    """Highest cell of every validation tile and of every test tile."""
    good, test = fused(row_of(training), maps)
    return good.max((1, 2)), test.max((1, 2))


def main() -> int:
    """Ask the maps, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="of ablation.py")
    parser.add_argument("--first", default="faster", help="preset that looks at every tile")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for pack in PACKS:
        gate_good, first = tile_scores(given.first, maps_from(given.work, pack, given.first, given.seed))
        maps = maps_from(given.work, pack, LAST, given.seed)
        _, last = tile_scores(LAST, maps)
        faulty = maps.masks.any((1, 2)) if PACKS[pack][2] else maps.faulty
        found = faulty & (last > last[~faulty].max())
        for share in SHARES:
            suspected = first > np.quantile(gate_good, 1 - share)
            both = np.where(suspected, last, 0.0)
            figures = " ".join(f"{100 * (auroc(one, faulty) or 0):.1f}" for one in (first, last, both))
            passed = f"{suspected[~faulty].mean():.1%} | {suspected[faulty].mean():.1%}"
            lost = f"{(found & ~suspected).sum()} of {found.sum()}"
            print(f"| {pack} | {share:.0%} | {passed} | {figures} | {lost} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
