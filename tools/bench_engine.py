"""Tiles/s of a recipe's bare engine on every backend and precision this machine can do.

Each is built anew in a temporary folder, so the engines that lines use stay as they are. All take turns,
round after round: what disturbs the machine disturbs them alike.

    python tools/bench_engine.py --recipe demo [--engines engines] [--seconds 30] [--tiles 32]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from inspector.backends import BACKENDS, build_engine, golden, open_backend
from inspector.backends.artifact import load_recipe
from inspector.backends.runtime import toolchain
from inspector.errors import ArtefactError
from inspector.interfaces import Backend
from inspector.records import Stamp, TileBatch

WARM_UP_ROUNDS = 2


def main() -> int:
    """Build, take turns, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--engines", type=Path, default=Path(__file__).resolve().parents[1] / "engines")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--tiles", type=int, default=32, help="in each call, about a frame's worth")
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="inspector-bench-") as folder:
            engines = _open_all(given.engines / given.recipe, Path(folder), given.threads)
            rates = _take_turns(engines, _batch(given.engines / given.recipe, given.tiles), given.seconds)
    except ArtefactError as error:
        print(f"bench_engine: {error}", file=sys.stderr)
        return error.exit_code
    _print(rates, given.tiles)
    return 0


def _open_all(recipe_dir: Path, folder: Path, threads: int) -> dict[str, Backend]:
    load_recipe(recipe_dir)
    engines: dict[str, Backend] = {}
    for backend in BACKENDS:
        try:
            toolchain(backend).library_version()
            toolchain(backend).device_name()
        except ArtefactError as error:
            print(f"{backend}: left out: {error}")
            continue
        for precision in toolchain(backend).precisions():
            copy = folder / backend / precision / recipe_dir.name
            shutil.copytree(
                recipe_dir, copy, ignore=shutil.ignore_patterns("plans", "manifest.toml", "training")
            )
            try:
                build_engine(copy, backend, precision)
                began_s = time.perf_counter()
                engines[f"{backend} {precision}"] = open_backend(copy, backend, threads)
                print(f"{backend} {precision}: opens in {time.perf_counter() - began_s:.2f} s")
            except ArtefactError as error:
                print(f"{backend} {precision}: left out: {error}")
    return engines


def _batch(recipe_dir: Path, count: int) -> TileBatch:
    recipe = load_recipe(recipe_dir)
    tiles = golden.made_up_tiles(recipe)
    pixels = tiles[np.arange(count) % len(tiles)]
    stamp = Stamp("", "", 0, 0, 0, 0, 0, 0)
    return TileBatch(stamp, pixels, np.zeros((count, 2), np.int32), recipe.margin_px)


def _take_turns(engines: dict[str, Backend], batch: TileBatch, seconds: float) -> dict[str, list[float]]:
    """Tiles/s of each engine, one figure a round."""
    for engine in engines.values():
        for _ in range(WARM_UP_ROUNDS):
            engine.infer(batch)
    rates: dict[str, list[float]] = {name: [] for name in engines}
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        for name, engine in engines.items():
            began_s = time.perf_counter()
            engine.infer(batch)
            rates[name].append(len(batch.pixels) / (time.perf_counter() - began_s))
    for engine in engines.values():
        engine.close()
    return rates


def _print(rates: dict[str, list[float]], tiles: int) -> None:
    rounds = min(len(one) for one in rates.values())
    print(f"\ntiles/s, {tiles} tiles a call, {rounds} interleaved rounds")
    print(f"{'engine':20} {'median':>8} {'p10':>8} {'p90':>8} {'to ONNX Runtime':>16}")
    for name, one in rates.items():
        low, middle, high = np.percentile(one, [10, 50, 90])
        ratio = np.median(np.divide(one[:rounds], rates["onnxruntime fp32"][:rounds]))
        print(f"{name:20} {middle:8.1f} {low:8.1f} {high:8.1f} {ratio:16.2f}")


if __name__ == "__main__":
    sys.exit(main())
