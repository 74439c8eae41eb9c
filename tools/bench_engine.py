"""`make bench-engine`: every preset against the paper's graph, on every runtime and precision that this machine has.

    python tools/bench_engine.py [--rounds 7] [--presets fast ...] [--work build/bench] [--page docs/speed.md]

Graphs have random weights: this is about time alone (see engine_graphs.py). All ways to run them with one batch size
take turns, round after round, so that what disturbs the machine disturbs them alike; then those with the next, for all
at once don't fit into memory. Ratios are taken round by round at batch 1, which is how a line runs its tiles: those
rounds lie seconds apart. The best batch was measured in other rounds, so it stands beside them without a ratio. In the
same run the machine's peaks are measured (peaks.py), for the share of its roof (Williams, Waterman & Patterson 2009)
that each comes to. --page puts the tables between the marks of that page, and the plot beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
from engine_graphs import CONTENDERS, REFERENCE, TILE_PX, Built, Contender, build
from engine_runners import OPENVINO, Call, graph_of, precisions, rate, runners
from marked import put_between
from peaks import CHANNELS, SIDE, roof_of
from plant import ROOT
from roofline import Point, Roof, drawn

BATCHES = [1, 4, 8]
AS_RUN = 1  # batch of a request on a line
LAYERS = 6  # dearest operations of a table
BEGIN, END = "<!-- figures: make bench-engine -->", "<!-- end of figures -->"


@dataclass(frozen=True, slots=True)
class Way:
    """A contender on a runtime."""

    contender: str
    runtime: str  # "OpenVINO fp32, batch 4"
    threads: int
    batch: int


Rates = dict[Way, list[float]]  # tiles/s, one a round


def main() -> int:
    """Build, take turns, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--presets", nargs="+", choices=sorted({one.preset for one in CONTENDERS[1:]}))
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--page", type=Path, help="write the figures into it")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    asked = [one for one in CONTENDERS if one is REFERENCE or one.preset in (given.presets or [one.preset])]
    built = {one: build(one) for one in asked}
    cores = os.cpu_count() or 1
    rates = take_turns(built, sorted({1, cores}), given.rounds)
    roof = roof_of(cores)
    medians = {
        f"{way.contender}, {way.runtime}, {way.threads} threads": float(np.median(r))
        for way, r in rates.items()
    }
    (given.work / "rates.json").write_text(json.dumps(medians, indent=1) + "\n")
    text = "\n".join(
        [
            f"{device()}, {cores} threads, {given.rounds} interleaved rounds, medians (10 % to 90 %). "
            f"Peaks of products of {SIDE}x{SIDE} in torch (int8: of such or of 3x3 convolutions of {CHANNELS} "
            "channels in OpenVINO): "
            + ", ".join(f"{name} {flops / 1e9:.0f} GFLOP/s" for name, flops in roof.flops.items())
            + f"; copying: {roof.bytes_s / 1e9:.1f} GB/s.",
            "",
            *as_run_table(built, rates, roof, cores),
            "",
            *all_table(built, rates),
            *(
                line
                for one in asked[1:]
                if one.tile_px == TILE_PX
                for precision in profiled()
                for line in layer_table(one, built[one], precision)
            ),
        ]
    )
    print(text)
    if given.page:
        put_between(given.page, BEGIN, END, text)
        given.page.with_suffix(".svg").write_text(drawn(roof, points(built, rates, cores)))
    return 0


def device() -> str:
    """The processor as OpenVINO names it."""
    return str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


def take_turns(built: dict[Contender, Built], threads: Sequence[int], rounds: int) -> Rates:
    """Tiles/s of every way to run every contender, one figure a round."""
    rates: Rates = {}
    for batch in BATCHES:
        ways: dict[Way, tuple[Call, float]] = {}
        for contender, graph in built.items():
            if batch not in batches_of(contender):
                continue
            for count in threads:
                for name, call in runners(contender, graph, batch, count).items():
                    ways[Way(contender.name, name, count, batch)] = (call, contender.tiles_each)
        for number in range(rounds + 1):
            for way, (call, tiles_each) in ways.items():
                seen = rate(call, way.batch) * tiles_each
                if number:  # the first warms up
                    rates.setdefault(way, []).append(seen)
            print(f"batch {batch}: round {number} of {rounds}", file=sys.stderr)
    return rates


def batches_of(contender: Contender) -> list[int]:
    """A large tile is a batch by itself."""
    return BATCHES if contender.tile_px == TILE_PX else [1]


def way_of(contender: str, precision: str, threads: int, batch: int) -> Way:
    """On OpenVINO."""
    return Way(contender, f"OpenVINO {precision}, batch {batch}", threads, batch)


def best_of(rates: Rates, contender: str, precision: str, threads: int) -> Way:
    """The batch that is fastest on OpenVINO."""
    ways = [way_of(contender, precision, threads, batch) for batch in BATCHES]
    return max((way for way in ways if way in rates), key=lambda way: float(np.median(rates[way])))


def as_run_table(built: dict[Contender, Built], rates: Rates, roof: Roof, threads: int) -> list[str]:
    """Each contender and precision one tile at a time, against the reference at the first precision, turn by turn."""
    against = precisions()[0]
    reference = rates[way_of(REFERENCE.name, against, threads, AS_RUN)]
    head = [
        "OpenVINO, a tile at a time as on a line",
        "GFLOP a tile",
        "tiles/s",
        f"times {REFERENCE.name} in {against}",
        "GFLOP/s",
        "share of its roof",
        "best batch, tiles/s",
    ]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for contender, graph in built.items():
        for precision in precisions():
            seen = rates[way_of(contender.name, precision, threads, AS_RUN)]
            low, middle, high = np.percentile(seen, [10, 50, 90])
            flops = graph.gflop * 1e9 * middle
            roofed = roof.attainable(precision, graph.intensity(precision))
            best = best_of(rates, contender.name, precision, threads)
            cells = [
                f"{contender.name}, {precision} ({contender.note})",
                f"{graph.gflop:.2f}",
                f"{middle:.1f} ({low:.1f} to {high:.1f})",
                f"**{np.median(np.divide(seen, reference)):.2f}**",
                f"{flops / 1e9:.0f}",
                "-" if roofed is None else f"{flops / roofed:.0%}",
                f"{best.batch}: {np.median(rates[best]):.1f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def all_table(built: dict[Contender, Built], rates: Rates) -> list[str]:
    """Medians of every way, batches side by side."""
    lines = [
        f"| tiles/s, batch {' / '.join(map(str, BATCHES))} | threads | {' | '.join(one.name for one in built)} |",
        "|---|---|" + "---|" * len(built),
    ]
    for kind in dict.fromkeys(way.runtime.rpartition(", ")[0] for way in rates):
        for threads in sorted({way.threads for way in rates}):
            cells = []
            for one in built:
                medians = [
                    float(np.median(rates[Way(one.name, f"{kind}, batch {batch}", threads, batch)]))
                    for batch in batches_of(one)
                ]
                cells.append(" / ".join(f"{median:.1f}" for median in medians))
            lines.append(f"| {kind} | {threads} | {' | '.join(cells)} |")
    return lines


def profiled() -> tuple[str, str]:
    """The precision that a line takes here by itself, and int8."""
    return precisions()[0], "int8"


def layer_table(contender: Contender, built: Built, precision: str) -> list[str]:
    """Where OpenVINO spends a tile's time, on one thread: the dearest operations."""
    core = openvino.Core()
    model = core.read_model(graph_of(built, precision), b"")
    model.reshape({"tiles": [1, *contender.shape.tile_shape]})
    settings = {
        "PERF_COUNT": True,
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": OPENVINO[precision],
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    spent: dict[tuple[str, str], list[float]] = {}
    for _ in range(10):
        request.infer({"tiles": contender.tiles(1)})
        for one in request.profiling_info:
            ms = one.real_time.total_seconds() * 1e3
            if ms:
                spent.setdefault((one.node_name, f"{one.node_type}, {one.exec_type}"), []).append(ms)
    medians = sorted(((float(np.median(ms)), key) for key, ms in spent.items()), reverse=True)
    total = sum(ms for ms, _ in medians)
    lines = [
        "",
        f"| {contender.name}: {total:.1f} ms a tile, {precision}, one thread | ms | share |",
        "|---|---|---|",
    ]
    lines += [f"| {name} ({kind}) | {ms:.2f} | {ms / total:.0%} |" for ms, (name, kind) in medians[:LAYERS]]
    return lines


def points(built: dict[Contender, Built], rates: Rates, threads: int) -> list[Point]:
    """Contenders as they lie under their roofs, a tile at a time."""
    return [
        Point(
            f"{contender.name} {precision}",
            graph.intensity(precision),
            graph.gflop * 1e9 * float(np.median(rates[way_of(contender.name, precision, threads, AS_RUN)])),
        )
        for contender, graph in built.items()
        for precision in precisions()
    ]


if __name__ == "__main__":
    sys.exit(main())
