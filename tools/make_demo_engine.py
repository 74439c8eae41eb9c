"""`make demo-engine`: train the demo recipe anew, on the loom's own cloth, and set the demo lines' limits.

    python tools/make_demo_engine.py [--keep FOLDER] [--limits-only] [--recipe NAME] [options of `inspector train`]

Weaves good web with seeds that no demo line uses, then runs the same commands a plant would: train,
calibrate (on web the students never saw). Takes a few minutes. The result, recipe and limits,
is committed; the plans are bound to a machine and are not. Another recipe, for comparison (--recipe faster --preset
fastest), is set beside the demo's, for line 2 alone, and is not committed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
from plant import ROOT

from inspector import config
from inspector.cameras.loom import Loom

RECIPE, LINES = "demo", ("1", "2", "3")
OTHERS_LINES = ("2",)  # the loom's
TRAIN_SEEDS = range(100, 106)
CALIBRATE_SEEDS = range(200, 250)
FRAMES_PER_SEED = 2


def weave(folder: Path, seeds: range) -> None:
    """Write frames of good web as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        loom = Loom(2048, 0.2, "plain", seed, config.FaultMix(per_m=0.0))
        for n in range(FRAMES_PER_SEED):
            cv2.imwrite(str(folder / f"seed{seed}_{n}.png"), loom.rows(1024))


def main() -> int:
    """Weave, train, calibrate, build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path, help="keep the woven frames here")
    parser.add_argument("--limits-only", action="store_true", help="the recipe stays; set its limits anew")
    parser.add_argument("--recipe", default=RECIPE)
    given, options = parser.parse_known_args()
    if given.limits_only and options:
        parser.error(f"--limits-only trains nothing, so there is no use for {' '.join(options)}")
    lines = LINES if given.recipe == RECIPE else OTHERS_LINES
    with tempfile.TemporaryDirectory(prefix="inspector-demo-") as temporary:
        data = given.keep or Path(temporary)
        weave(data / "calibrate", CALIBRATE_SEEDS)
        inspector = [sys.executable, "-m", "inspector"]
        recipe = ["--recipe", given.recipe]
        commands = []
        if not given.limits_only:
            weave(data / "train", TRAIN_SEEDS)
            commands += [
                ["train", str(data / "train"), *recipe, "--overwrite", *options]
            ]  # builds the engine too
        calibrations = [["calibrate", str(data / "calibrate"), *recipe, "--line", line] for line in lines]
        if given.recipe == RECIPE:
            # What is committed comes of what every CPU has; then the machine gets its own engine back.
            build = ["build-engine", *recipe]
            calibrations = [[*build, "--precision", "fp32"], *calibrations, build]
        commands += calibrations
        for command in commands:
            print("inspector", *command, flush=True)
            code = subprocess.run([*inspector, *command], cwd=ROOT, check=False).returncode
            if code:
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
