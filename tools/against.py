"""Is one preset worse than another? Their difference on every pack, with its 95 % interval.

    python tools/against.py --work /tmp/ablation --of faster --against paper [--seed 0] [--packs magnetic_tile ...]

Reads the maps that `ablation.py --trainings paper faster` left in its work folder. Both look at the same test images,
so these are drawn with replacement once for both (paired bootstrap over images, Davison and Hinkley, Bootstrap Methods
and their Application, 1997, section 5.3.1): that a pack is hard makes neither interval wider. An interval that holds 0
says that the pack can't tell them apart. What another seed would change is not in it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from ablation import TILE_PX, fused
from cascade import maps_from, row_of
from packs import PACKS

from inspector.evaluating.bootstrap import TAILS, draws
from inspector.evaluating.metrics import PixelFigures, aupro_of_counts, auroc_of_counts
from inspector.records import F64

FIGURES = ("image or tile AUROC", "pixel AUROC", "AUPRO")


def drawn_figures(work: Path, pack: str, training: str, seed: int) -> F64:
    """The three figures in %, [3, 1 + resamples], of all test images first and of each drawing of them then."""
    maps = maps_from(work, pack, training, seed)
    _, sigmas = fused(row_of(training), maps)
    images, first = np.unique(maps.image, return_index=True)
    faulty = maps.masks.any((1, 2)) if "--resize" not in PACKS[pack][0] else maps.faulty
    levels, places = np.unique(sigmas.max((1, 2)), return_inverse=True)
    pixels = [PixelFigures() for _ in images]  # each image's own, to be weighed
    for number, (sigma, mask) in enumerate(zip(sigmas, maps.masks, strict=True)):
        drawn = cv2.resize(sigma, (TILE_PX, TILE_PX), interpolation=cv2.INTER_LINEAR)
        of_image = pixels[int(np.searchsorted(images, maps.image[number]))]
        of_image.add(drawn, mask.astype(np.bool_), np.ones(mask.shape, np.bool_))
    tiles = [tile for one in pixels for tile in one.images]
    of_tile = np.repeat(np.arange(len(images)), [len(one.images) for one in pixels])
    good, bad, overlap = (
        np.stack([getattr(tile, name) for tile in tiles]).astype(np.float64)
        for name in ("good", "faulty", "overlap")
    )
    faults = np.array([tile.faults for tile in tiles], np.float64)

    def figures(weights: F64) -> list[float]:
        tile_weights, place_weights = weights[of_tile], weights[np.searchsorted(images, maps.image)]
        found = (
            auroc_of_counts(
                np.bincount(places[~faulty], place_weights[~faulty], len(levels)),
                np.bincount(places[faulty], place_weights[faulty], len(levels)),
            ),
            auroc_of_counts(tile_weights @ good, tile_weights @ bad),
            aupro_of_counts(tile_weights @ good, tile_weights @ overlap, float(tile_weights @ faults)),
        )
        return [100 * (value if value is not None else np.nan) for value in found]

    each = [figures(np.ones(len(images)))]
    each += [figures(weights) for block in draws(maps.faulty[first]) for weights in block]
    return np.array(each).T


def cell(difference: F64) -> str:
    """The difference of all images, and where 95 % of the drawings lie."""
    low, high = np.nanquantile(difference[1:], TAILS)
    told = f"{difference[0]:+.1f} ({low:+.1f} to {high:+.1f})"
    return f"**{told}**" if high < 0 else told


def main() -> int:
    """Draw, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="of ablation.py")
    parser.add_argument("--of", default="faster", help="preset that is asked about")
    parser.add_argument("--against", default="paper", help="preset that it is compared with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--packs", nargs="+", choices=PACKS, default=list(PACKS))
    given = parser.parse_args()
    print(f"{given.of} less {given.against}, points; bold where the interval lies below 0.\n")
    print(f"| pack | {' | '.join(FIGURES)} |\n|{'---|' * (1 + len(FIGURES))}")
    for pack in given.packs:
        ours, theirs = (drawn_figures(given.work, pack, one, given.seed) for one in (given.of, given.against))
        count = len(FIGURES) if PACKS[pack][2] else 1
        cells = [cell(difference) for difference in (ours - theirs)[:count]] + ["-"] * (len(FIGURES) - count)
        print(f"| {pack} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
