"""How fast the loom weaves, on one core: Mpx/s for each weave, good cloth and with faults.

    python tools/bench_loom.py [--width 2048] [--metres 20] [--faults-per-m 1]

Weaves are interleaved and the median of three rounds is printed, so that a busy machine disturbs all
of them alike.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time

import cv2

from inspector.cameras.loom import Loom
from inspector.cameras.weave import DRAFTS
from inspector.config import FaultMix

ROWS = 1024  # a frame
MM_PER_PX = 0.2
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=2048, help="columns (default %(default)s)")
    parser.add_argument("--metres", type=float, default=20.0, help="of web a round (default %(default)s)")
    parser.add_argument("--faults-per-m", type=float, default=1.0, help="(default %(default)s)")
    args = parser.parse_args()

    cv2.setNumThreads(1)
    frames = max(1, round(args.metres * 1000 / MM_PER_PX / ROWS))
    cases = [(weave, per_m) for weave in DRAFTS for per_m in (0.0, args.faults_per_m)]
    set_up: dict[tuple[str, float], float] = {}
    speeds: dict[tuple[str, float], list[float]] = {case: [] for case in cases}
    for _ in range(ROUNDS):
        for case in cases:
            began = time.process_time()
            loom = Loom(args.width, MM_PER_PX, case[0], 1, FaultMix(per_m=case[1]))  # type: ignore[arg-type]
            ready = time.process_time()
            for _ in range(frames):
                loom.rows(ROWS)
            set_up[case] = ready - began
            speeds[case].append(frames * ROWS * args.width / 1e6 / (time.process_time() - ready))

    metres = frames * ROWS * MM_PER_PX / 1000
    print(f"{args.width} px wide, {metres:.1f} m a round, CPU time of one core, median of {ROUNDS} rounds")
    for case, found in speeds.items():
        middle = statistics.median(found)
        per_min = middle * 1e6 / args.width * MM_PER_PX / 1000 * 60
        print(
            f"{case[0]:<6} {case[1]:4.1f} faults/m: {middle:6.1f} Mpx/s ({min(found):.0f} to {max(found):.0f}), "
            f"{per_min:6.0f} m/min; set up in {set_up[case] * 1000:.0f} ms"
        )
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
