"""`make bench`: is the line as fast as its engine, how late are its verdicts, what does it cost?

    python tools/bench_line.py [--rounds 3] [--seconds 20] [--soak-minutes 0] [--recipe demo] [--json FILE]
        [--page docs/speed.md]

Every figure is measured on this machine in this run: the bare engine and the whole line (virtual
GenICam camera, Harvesters, tiling, engine, judging, ZeroMQ) in turn, medians over the rounds.

* bare engine: tiles/s of the recipe's engine on real tiles of the loom, nothing else running.
* whole line, saturated: the camera gives half as many frames again as the engine can take; what the line
  inspects is its throughput.
* whole line at 90 % of the bare engine: frame-to-verdict p50 and p99, drops, CPU by thread.
* memory: resident size of the line's process, at the start and over the soak.
* the soak: at 90 % of what the bare engine does right before it; what it does right after stands beside it.
* bytes that a frame moves: `moved.py`, without an engine.

At the end stands what is wanted of the line, and whether this run kept it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from demo import ensure_engine
from marked import put_between
from moved import measure
from plant import ROOT, demo_plant, write_plant
from wanted import Loaded, wanted

from inspector import backends, config
from inspector.cameras.loom import Loom
from inspector.records import Frame, Region, Stamp, TileBatch
from inspector.tiling import Tiler, grid_for, plan_for

STACKED_FRAMES = 16
LINE = "3"
LOAD = 0.9  # of the bare engine's rate
BEGIN, END = "<!-- the whole line: make bench -->", "<!-- end of the whole line -->"


@dataclass
class Rig:
    """A copy of the demo plant's line 3 in front of a camera that plays stacked frames."""

    folder: Path
    recipe: str
    frames: np.ndarray  # [n, H, W] uint8
    tiles_per_frame: float

    def run(self, frames_per_s: float, seconds: float, sample_memory: bool = False) -> dict[str, Any]:
        """Run the line; return its summary, with the memory samples if asked for."""
        summary = self.folder / "summary.json"
        height, width = self.frames.shape[1:]
        environment = os.environ | {
            "SIMCAM_IMAGES": str(self.folder / "frames.raw"),
            "SIMCAM_WIDTH": str(width),
            "SIMCAM_HEIGHT": str(height),
        }
        plant = demo_plant()
        plant["line"][LINE]["recipe"] = self.recipe
        plant["line"][LINE]["camera"]["features"]["AcquisitionLineRate"] = round(frames_per_s * height, 1)
        config_file = write_plant(self.folder, plant)
        command = [sys.executable, "-m", "inspector", "run", "--config", str(config_file)]
        command += ["--line", LINE, "--seconds", str(seconds), "--summary", str(summary)]
        began_s = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        memory = _watch_memory(process) if sample_memory else []
        output, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"the line failed with code {process.returncode}:\n{output}")
        report: dict[str, Any] = json.loads(summary.read_text())
        if report["p99_ms"] is None:
            raise SystemExit("the line inspected no frame; give it more --seconds")
        report["memory_mb"] = memory
        report["process_s"] = time.monotonic() - began_s
        return report


def _watch_memory(process: subprocess.Popen[str]) -> list[float]:
    """Resident MB of the process, about once a second, until it ends."""
    samples = []
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except FileNotFoundError:
            break
        resident = [line for line in status.splitlines() if line.startswith("VmRSS")]
        if resident:
            samples.append(int(resident[0].split()[1]) / 1024)
        time.sleep(1.0)
    return samples


def make_rig(folder: Path, recipe: str) -> tuple[Rig, TileBatch]:
    """Weave frames to play, and cut the tiles for the bare engine from them."""
    site = config.load(ROOT / "config.toml")
    line = site.line(LINE)
    assert isinstance(line.camera, config.GenicamCamera)
    width, height = int(line.camera.features["Width"]), int(line.camera.features["Height"])
    loom = Loom(width, line.web.mm_per_px, seed=7)
    frames = np.stack([loom.rows(height) for _ in range(STACKED_FRAMES)])
    frames.tofile(folder / "frames.raw")
    backend = backends.open_backend(site.engines / recipe, line.engine.backend, line.engine.threads)
    grid = grid_for(line, backend.info)
    backend.close()
    tiler = Tiler(grid, lambda pixels: Region(0, pixels.shape[1], 0, pixels.shape[0]), seamless=True)
    counts = round(height * line.web.mm_per_px / 1000 * line.web.encoder_counts_per_m)
    batches = []
    for n, pixels in enumerate(frames[:3]):
        stamp = Stamp(LINE, "bench", n, n, n * counts, (n + 1) * counts, 0, 0)
        batches += [strip.batch for strip in tiler.push(Frame(stamp, pixels)) if strip.batch is not None]
    per_m = plan_for(grid, line, width, height).tiles_per_m
    return Rig(folder, recipe, frames, per_m * height * line.web.mm_per_px / 1000), batches[-1]


def bare_engine(recipe: str, batch: TileBatch, seconds: float) -> float:
    """Tiles a second of the engine alone, on one frame's tiles."""
    site = config.load(ROOT / "config.toml")
    line = site.line(LINE)
    backend = backends.open_backend(site.engines / recipe, line.engine.backend, line.engine.threads)
    try:
        backend.infer(batch)
        tiles, began_s = 0, time.monotonic()
        while time.monotonic() - began_s < seconds:
            backend.infer(batch)
            tiles += len(batch.pixels)
        return tiles / (time.monotonic() - began_s)
    finally:
        backend.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument(
        "--soak-minutes", type=float, default=0.0, help="run at 90 %% for this long at the end"
    )
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, help="a page with a place for the tables")
    given = parser.parse_args()
    if given.recipe == "demo" and ensure_engine():
        raise SystemExit(1)
    if not (ROOT / "calibration" / f"line-{LINE}.{given.recipe}.toml").is_file():
        raise SystemExit(
            f"recipe {given.recipe} has no limits for line {LINE}: inspector calibrate sets them"
        )
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="inspector-bench-") as folder:
        rig, batch = make_rig(Path(folder), given.recipe)
        loaded = []
        for n in range(given.rounds):
            print(f"round {n + 1} of {given.rounds} ...", flush=True)
            loaded.append(measure_round(rig, batch, given.seconds, rows))
        print(f"\n{figures(rows)}\n", flush=True)
        if given.soak_minutes:
            loaded.append(soak(rig, batch, given.seconds, given.soak_minutes, rows))
            print(f"\n{figures(rows)}\n")
    kept = wanted(loaded, measure())
    print(kept)
    if given.json:
        medians = {name: statistics.median(values) for name, values in rows.items()}
        given.json.write_text(json.dumps(medians, indent=2) + "\n")
    if given.page:
        put_between(given.page, BEGIN, END, f"{figures(rows)}\n\n{kept}")


def measure_round(rig: Rig, batch: TileBatch, seconds: float, rows: dict[str, list[float]]) -> Loaded:
    """One round: bare engine, saturated line, bare engine again, line at 90 %."""

    def note(name: str, value: float) -> None:
        rows.setdefault(name, []).append(value)

    bare = bare_engine(rig.recipe, batch, seconds / 2)
    full = rig.run(1.5 * bare / rig.tiles_per_frame, seconds)
    bare = statistics.mean([bare, bare_engine(rig.recipe, batch, seconds / 2)])
    inspected = full["tiles"] / full["seconds"]
    calm = rig.run(LOAD * bare / rig.tiles_per_frame, seconds, sample_memory=True)
    loaded = Loaded(calm, bare, rig.tiles_per_frame)
    note("bare engine, tiles/s", bare)
    note("whole line saturated, tiles/s", inspected)
    note("whole line / bare engine", inspected / bare)
    note("saturated: NOT_INSPECTED for overload", full["reasons"].get("overload", 0))
    note("at 90 %: p50 frame to verdict, ms", calm["p50_ms"])
    note("at 90 %: p99 frame to verdict, ms", calm["p99_ms"])
    note("at 90 %: drops", sum(calm["lost"].values()))
    note("at 90 %: engine p50 a frame, ms", calm["infer_p50_ms"])
    for name in calm["cpu_s"]:
        note(f"at 90 %: CPU share of {name}, %", 100 * loaded.share(name))
    note("at 90 %: CPU cores used, of all", sum(calm["cpu_s"].values()) / calm["seconds"])
    note("resident memory, MB", max(calm["memory_mb"]))
    note("start of `run` to Ready, s", calm["start_up_s"])
    return loaded


def figures(rows: dict[str, list[float]]) -> str:
    """Medians with the spread, in Markdown."""
    lines = ["| median of the rounds | | least | most |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |"
        for name, values in rows.items()
    ]
    return "\n".join(lines)


def soak(rig: Rig, batch: TileBatch, seconds: float, minutes: float, rows: dict[str, list[float]]) -> Loaded:
    """Run for long at 90 % of what the bare engine does right before, and watch the memory.

    What the engine does right after tells whether the machine still was the same.
    """
    bare = bare_engine(rig.recipe, batch, seconds)
    report = rig.run(LOAD * bare / rig.tiles_per_frame, minutes * 60, sample_memory=True)
    rows["before the soak: bare engine, tiles/s"] = [bare]
    rows["after the soak: bare engine, tiles/s"] = [bare_engine(rig.recipe, batch, seconds)]
    settled = report["memory_mb"][10:] or report["memory_mb"]
    quarters = [statistics.median(part) for part in np.array_split(settled, 4) if len(part)]
    print(
        f"soak of {minutes:g} min at 90 %: {report['triggers']} triggers, drops {sum(report['lost'].values())},"
    )
    shown = ", ".join(f"{megabytes:.1f}" for megabytes in quarters)
    print(f"resident MB, median of each quarter: {shown}; at most {max(settled):.1f}")
    print("(it rises until replay holds its 10,000 verdicts, and stands still then)")
    rows |= {f"soak quarter {n}: resident memory, MB": [each] for n, each in enumerate(quarters, start=1)}
    return Loaded(report, bare, rig.tiles_per_frame)


if __name__ == "__main__":
    main()
