"""Is the promise kept? Line 2's loom for many metres, with faults it knows: false alarms against the rate the limits
were asked for, escapes per 100 m of web with so many faults, recall by kind and by size.

    python tools/loom_runs.py --work DIR [--runs 10] [--metres 500] [--faults-per-m 0.2] [--speed-m-min 30]
        [--recipe demo] [--table runs.md]

Every run weaves another web (seeds 301, 302, ...: none that a recipe has seen) and goes through the whole line: loom,
tiling, engine, judging, bus, as `inspector run --line 2 --truth` does, in a temporary plant whose line 2 differs in
nothing but seed, number of faults, speed and recipe. What the engine can't keep up with is NOT_INSPECTED and counts for
nothing: take a speed that it can (README). 500 m at 30 m/min take 17 minutes; runs are kept in the work folder, so ten
of them may be done in several goes. Bounds of a rate are the wider of two: Garwood's, exact where alarms come by
themselves (Biometrika 28, 1936), and percentiles of webs drawn with replacement (Davison and Hinkley, Bootstrap Methods
and their Application, 1997, section 5.3.1), for a web's own yarns alarm again and again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from plant import ROOT, demo_plant, write_plant
from workfolder import outside_repository

from inspector.backends.artifact import sha256_of, write_atomically
from inspector.cameras.truth import poisson_bounds

LINE = "2"
FIRST_SEED = 301  # no web that a recipe of make_demo_engine.py learnt from or has its limits from
CONFIDENCE = 0.9  # two-sided
RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of web, and what looks at it."""

    recipe: str
    seed: int
    metres: float
    faults_per_m: float
    speed_m_min: float

    @property
    def vouched(self) -> str:
        """Hash of the model and the limits that it is looked at with."""
        return sha256_of(
            (ROOT / "engines" / self.recipe / "model.onnx").read_bytes() + limits_of(self.recipe).read_bytes()
        )

    @property
    def name(self) -> str:
        """Of the file that it is kept in."""
        how = f"{self.seed}-{self.metres:g}-{self.faults_per_m:g}-{self.speed_m_min:g}"
        return f"{self.recipe}-{self.vouched[:12]}-{how}.json"


def limits_of(recipe: str) -> Path:
    """The limits file of the loom's line."""
    return ROOT / "calibration" / f"line-{LINE}.{recipe}.toml"


def plant_of(folder: Path, asked: Run) -> None:
    """Write a plant that is line 2 of the demo, with its engines and limits in place."""
    line = demo_plant()["line"][LINE]
    line["recipe"] = asked.recipe
    line["camera"] |= {"seed": asked.seed, "faults": {"per_m": asked.faults_per_m}}
    line["web"]["speed_m_min"] = asked.speed_m_min
    line["bus"] = {part: f"ipc://{folder}/{part}" for part in ("verdicts", "maps", "replay")}
    write_plant(folder, {"plant": "loom runs", "line": {LINE: line}})


def kept(work: Path, asked: Run) -> dict[str, Any]:
    """A run's summary, from the work folder if it was done with this very model and limits."""
    file = work / asked.name
    if not file.is_file():
        write_atomically(file, json.dumps(done(asked)).encode())
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def done(asked: Run) -> dict[str, Any]:
    """Let the line run; what `inspector run --summary` wrote."""
    with tempfile.TemporaryDirectory(prefix="loom-") as name:
        folder = Path(name)
        plant_of(folder, asked)
        seconds, summary = asked.metres / asked.speed_m_min * 60, folder / "summary.json"
        command = [sys.executable, "-m", "inspector", "run", "--line", LINE, "--truth"]
        command += ["--seconds", f"{seconds:g}", "--summary", str(summary)]
        if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode:
            raise SystemExit(1)
        found: dict[str, Any] = json.loads(summary.read_text())
        return found


def bounds(count: int) -> tuple[float, float]:
    """Garwood's bounds of a Poisson mean of which ``count`` were seen."""
    return poisson_bounds(count, CONFIDENCE)


def bounds_by_web(counts: Sequence[int], metres: Sequence[float]) -> tuple[float, float]:
    """Bounds of a rate a metre: percentiles of as many webs, drawn with replacement."""
    drawn = np.random.default_rng(0).integers(0, len(counts), (RESAMPLES, len(counts)))
    rates = np.asarray(counts)[drawn].sum(1) / np.asarray(metres)[drawn].sum(1)
    low, high = np.quantile(rates, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)


def per_100m(counts: Sequence[int], metres: Sequence[float]) -> str:
    """The rate of all webs with its bounds, in words; one count and length a web."""
    whole = sum(metres)
    one, other = (bound / whole for bound in bounds(sum(counts))), bounds_by_web(counts, metres)
    (low, low_web), (high, high_web) = zip(one, other, strict=True)
    found = f"{100 * sum(counts) / whole:.2f} per 100 m"
    between = f"{100 * min(low, low_web):.2f} and {100 * max(high, high_web):.2f}"
    return f"{found} ({CONFIDENCE:.0%} sure between {between})"


def told(runs: list[dict[str, Any]], asked_per_100m: float) -> list[str]:
    """Of all runs' truth together: false alarms against the rate asked for, and escapes against the web's faults."""
    metres, alarms, faults, found = (
        [one["truth"][key] for one in runs] for key in ("inspected_m", "false_alarms", "faults", "found")
    )
    escaped = [of - seen for of, seen in zip(faults, found, strict=True)]
    recall = f"{sum(found) / sum(faults):.1%}" if sum(faults) else "-"
    each = ", ".join(str(count) for count in alarms)
    return [
        f"{len(runs)} webs, {sum(metres):.0f} m inspected: {sum(alarms)} false alarms, {per_100m(alarms, metres)};",
        f"web by web {each}. Asked for: {asked_per_100m:g}.",
        f"{sum(escaped)} of {sum(faults)} faults escaped (recall {recall}): {per_100m(escaped, metres)}.",
        f"The webs have {100 * sum(faults) / sum(metres):.1f} faults per 100 m.",
    ]


def added(runs: list[dict[str, Any]], key: str) -> dict[str, Counter[str]]:
    """Faults and found of all runs, by the classes of ``key``."""
    total: dict[str, Counter[str]] = {}
    for one in runs:
        for name, counts in one["truth"][key].items():
            total.setdefault(name, Counter()).update({k: counts[k] for k in ("faults", "found")})
    return total


def table(total: dict[str, Counter[str]], head: str) -> list[str]:
    """Recall by class, as Markdown."""
    lines = [f"| {head} | faults | found | recall |", "|---|---|---|---|"]
    for name, counts in total.items():
        share = f"{counts['found'] / counts['faults']:.0%}" if counts["faults"] else "-"
        lines.append(f"| {name} | {counts['faults']} | {counts['found']} | {share} |")
    return lines


def main() -> int:
    """Run, add up, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder outside the repository")
    parser.add_argument("--recipe", default="demo", help="any that has limits for line 2")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--metres", type=float, default=500.0, help="of each run")
    parser.add_argument("--faults-per-m", type=float, default=0.2)
    parser.add_argument("--speed-m-min", type=float, default=30.0)
    parser.add_argument("--table", type=Path, help="write the Markdown there too")
    given = parser.parse_args()
    work = outside_repository(given.work)
    if not limits_of(given.recipe).is_file():
        raise SystemExit(
            f"recipe {given.recipe} has no limits for line {LINE}: make_demo_engine.py --recipe sets them"
        )
    runs = []
    for number in range(given.runs):
        seed = FIRST_SEED + number
        asked = Run(given.recipe, seed, given.metres, given.faults_per_m, given.speed_m_min)
        runs.append(kept(work, asked))
        truth = runs[-1]["truth"]
        print(
            f"run {number + 1}, seed {seed}: {truth['inspected_m']:.1f} m inspected, "
            f"{truth['false_alarms']} false alarms, {truth['not_inspected']} faults not inspected",
            flush=True,
        )
    limits = tomllib.loads(limits_of(given.recipe).read_text())
    by_size = dict(
        sorted(added(runs, "recall_by_size_mm").items(), key=lambda one: float(one[0].split()[-1]))
    )
    lines = [
        *told(runs, limits["provenance"]["false_alarms_per_100m"]),
        "",
        *table(added(runs, "recall_by_kind"), "kind"),
        "",
        *table(by_size, "longer side, mm"),
    ]
    print("\n" + "\n".join(lines))
    if given.table:
        given.table.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
