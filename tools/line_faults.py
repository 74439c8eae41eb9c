"""Do line faults along and across the web score alike? On a web that is the same both ways, where they should.

    python tools/line_faults.py [--work FOLDER] [--epochs 12] [--preset balanced]

Weaves a web whose ends and picks are alike (a plain weave of round yarns with grain, no direction favoured), trains a
preset on it as `inspector train` does (some minutes), and draws lines over whole tiles of web that it has not
seen: dark and bright, 1 to 8 px wide, along and across at the same places. A cloth of a real loom differs along and
across by itself; this one doesn't, so what is left is the method's own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from workfolder import told

from inspector.learning.train import train
from inspector.records import F32, U8

IMAGES, SIDE_PX, TILE_PX, MARGIN_PX = 12, 768, 256, 32
PITCH_PX = 5.3  # of the yarns
WIDTHS_PX, DEPTHS = (1, 2, 3, 5, 8), (-60, -30, 30, 60)  # grey values
TILES = 48  # yarns at a line's place differ along and across, so lines at one place scatter by a third


def web(seed: int, side: int = SIDE_PX) -> U8:
    """Good web, uint8 [side, side]; its transpose is as likely."""
    rng = np.random.default_rng(seed)
    ends, picks = (_yarns(side, rng) for _ in range(2))
    over = np.sin(ends[None, :]) * np.sin(picks[:, None])
    grain = cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), 1.2)
    cloud = cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), 12.0)
    pixels = 120 + 35 * over + 25 * grain + 60 * cloud + rng.normal(0, 4, (side, side))
    return np.asarray(np.clip(pixels, 0, 255).round(), np.uint8)


def _yarns(side: int, rng: np.random.Generator) -> np.ndarray:
    """Phase of a set of yarns, each of its own width, [side]."""
    count = round(side / PITCH_PX) + 8
    edges = np.cumsum(PITCH_PX * (1 + rng.normal(0, 0.06, count))) - rng.uniform(0, 2 * PITCH_PX)
    phase: np.ndarray = np.interp(np.arange(side), edges, np.pi * np.arange(count))
    return phase


def lined(tile: U8, place: int, width: int, depth: int, *, upright: bool) -> U8:
    """A tile with a line over all of it."""
    drawn = tile.astype(np.int16)
    span = slice(place, place + width)
    if upright:
        drawn[:, span] += depth
    else:
        drawn[span] += depth
    return np.clip(drawn, 0, 255).astype(np.uint8)


def scores(session: onnxruntime.InferenceSession, tiles: list[U8]) -> F32:
    """Of some tiles, [N] sigma."""
    parts = [
        session.run(["score"], {"tiles": np.stack(tiles[at : at + 8])})[0] for at in range(0, len(tiles), 8)
    ]
    return np.concatenate(parts)


def main() -> int:
    """Weave, train, draw, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="keep web and recipe here")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--preset", default="balanced")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="line-faults-") as temporary:
        work = given.work or Path(temporary)
        (work / "good").mkdir(parents=True, exist_ok=True)
        for seed in range(IMAGES):
            cv2.imwrite(str(work / "good" / f"{seed}.png"), web(seed))
        recipe = f"lines-{given.preset}"
        if not (work / "engines" / recipe / "recipe.toml").is_file():
            train(
                work / "good",
                recipe,
                work / "engines",
                pair=given.preset,
                epochs=given.epochs,
                progress=told("a web alike both ways"),
            )
        session = onnxruntime.InferenceSession(work / "engines" / recipe / "model.onnx")
    print("\n".join(table(session)))
    return 0


def table(session: onnxruntime.InferenceSession) -> list[str]:
    """Scores along, and along in times of across, as Markdown."""
    side = TILE_PX + 2 * MARGIN_PX
    tiles = [web(1000 + number, side) for number in range(TILES)]
    good = scores(session, tiles)
    places = np.random.default_rng(7).integers(MARGIN_PX + 8, side - MARGIN_PX - 16, TILES)
    lines = [
        f"Good tiles: median {np.median(good):.1f}, highest {good.max():.1f} sigma.",
        "",
        "| line, px | grey | along, median sigma | along / across: 10 %, median, 90 % of tiles |",
        "|---|---|---|---|",
    ]
    medians = []
    for width in WIDTHS_PX:
        for depth in DEPTHS:
            along, across = (
                scores(
                    session,
                    [
                        lined(tile, int(place), width, depth, upright=upright)
                        for tile, place in zip(tiles, places, strict=True)
                    ],
                )
                for upright in (True, False)
            )
            low, middle, high = np.quantile(along / across, (0.1, 0.5, 0.9))
            if np.median(along) > 2 * good.max():
                medians.append(middle)
            lines.append(
                f"| {width} | {depth:+d} | {np.median(along):.1f} | {low:.2f}, {middle:.2f}, {high:.2f} |"
            )
    lines += ["", f"All lines that are plain (above twice the highest good tile): {np.median(medians):.2f}"]
    return [*lines[:-1], lines[-1] + f", from {min(medians):.2f} to {max(medians):.2f}."]


if __name__ == "__main__":
    sys.exit(main())
