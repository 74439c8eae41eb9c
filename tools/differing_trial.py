"""Is a limit's promise kept where good images differ from each other? On scores that are drawn, with the truth at hand.

    python tools/differing_trial.py [--runs 40] [--blocks 432]

Blocks of an image are drawn from Gumbel, gamma and lognormal distributions and multiplied by a factor of their image,
whose logarithm is Gauss-like with the spread of each row. Limits are set from so many images, by the tail alone
(`find_limit`) and raised for what images differ by (`raised`), at one false alarm in 100 m of a web of 2048 px. Told:
how often the true rate of false alarms is no more than asked for (80 % is promised), the mean of that rate in units of
what was asked for, and how much higher the raised limit is, in the median.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable

import numpy as np

from inspector.calibrating.differing import raised
from inspector.calibrating.tail import find_limit

RATE = 2.8e-6  # blocks of 64 px
SPREADS, IMAGES = (0.0, 0.1, 0.2, 0.3), (10, 40)
FACTORS = 4000  # images that the truth is averaged over
Draw = Callable[[np.random.Generator, int], np.ndarray]
Above = Callable[[np.ndarray], np.ndarray]


def gamma_above(score: np.ndarray) -> np.ndarray:
    """Share of gamma's scores (shape 9, scale 0.4) above each."""
    x = score / 0.4
    terms = [x**k / math.factorial(k) for k in range(9)]
    return np.asarray(np.exp(-x) * np.sum(terms, axis=0))


KINDS: dict[str, tuple[Draw, Above]] = {
    "Gumbel": (
        lambda rng, count: rng.gumbel(3, 0.6, count),
        lambda score: 1 - np.exp(-np.exp(-(score - 3) / 0.6)),
    ),
    "gamma": (lambda rng, count: rng.gamma(9, 0.4, count), gamma_above),
    "lognormal": (
        lambda rng, count: np.exp(rng.normal(1.1, 0.2, count)),
        lambda score: np.array([math.erfc((math.log(one) - 1.1) / 0.2 / math.sqrt(2)) / 2 for one in score]),
    ),
}


def main() -> int:
    """Draw, set limits, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--blocks", type=int, default=432, help="of an image")
    given = parser.parse_args()
    print("| scores | spread | images | the tail alone: kept, mean rate | raised: kept, mean rate | limit |")
    print("|---|---|---|---|---|---|")
    for kind, (draw, above) in KINDS.items():
        for spread in SPREADS:
            factors = np.exp(np.random.default_rng(1).normal(0, spread, FACTORS))
            for images in IMAGES:
                rates, times = [], []
                for run in range(given.runs):
                    rng = np.random.default_rng(run)
                    scores = [
                        draw(rng, given.blocks) * math.exp(rng.normal(0, spread)) for _ in range(images)
                    ]
                    alone = find_limit(scores, RATE)
                    both = raised(alone, scores, RATE)
                    rates.append([above(one.limit / factors).mean() / RATE for one in (alone, both)])
                    times.append(both.limit / alone.limit)
                kept, mean = np.mean(np.array(rates) <= 1, axis=0), np.mean(rates, axis=0)
                print(
                    f"| {kind} | {spread:.0%} | {images} | {kept[0]:.0%}, {mean[0]:.1f} | {kept[1]:.0%}, "
                    f"{mean[1]:.1f} | x{np.median(times):.2f} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
