"""Ways to run one graph on the same cores: requests, streams, pinned threads, and a whole strip instead of its tiles.

    python tools/bench_ways.py [--preset faster] [--rounds 7] [--epochs 10] [--page docs/speed.md]

All ways take turns, round after round; rates and ratios are medians over rounds. A strip is the web of nine tiles with
their margins and overlaps: the networks look at it at once, and all that comes after them is done for each tile's part,
with the constants that tiles gave. Elsewhere a tile's margin ends in the networks' zero padding and here it doesn't, so
the scores differ, and by how much is printed, on web of the loom with faults in it. For that the students learn from a
little good web of it first, which has no bearing on the rates.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from engine_graphs import CONTENDERS
from engine_runners import OPENVINO, Call, precisions, rate, side_by_side
from marked import put_between
from torch import Tensor, nn
from workfolder import told

from inspector.cameras.loom import Loom
from inspector.config import FaultMix
from inspector.learning.cells import Shape
from inspector.learning.distill import Course, as_pixels, distill, look
from inspector.learning.export import OPSET, InspectionGraph, build_graph, mirrored, to_onnx
from inspector.learning.folding import fold
from inspector.learning.fusion import evened
from inspector.learning.students import build_students
from inspector.learning.teachers import load_teachers
from inspector.records import F32, U8

SHAPE = Shape(256, 32, 1)
TILES, OVERLAP_PX = 9, 32
STARTS_PX = range(0, TILES * (SHAPE.tile_px - OVERLAP_PX), SHAPE.tile_px - OVERLAP_PX)
STRIP_PX = (SHAPE.side_px, STARTS_PX[-1] + SHAPE.side_px)  # 320 x 2112
MM_PER_PX = 0.2
LEARNT, HELD_BACK, ASKED = range(100, 106), range(200, 203), range(300, 304)  # the loom's seeds
FAULTS_PER_M = 30.0  # about two a strip
BEGIN, END = "<!-- ways to run a graph: tools/bench_ways.py -->", "<!-- end of ways to run a graph -->"


@dataclass(frozen=True, slots=True)
class Way:
    """How a graph is run."""

    of: str  # "tile" | "strip"
    requests: str  # "as a line runs them" | "one after the other" | "side by side"
    streams: int = 0  # 0: OpenVINO's own choice for throughput
    pinned: bool | None = None  # None: OpenVINO's own choice


AS_A_LINE = Way("tile", "as a line runs them")
WAYS = (
    AS_A_LINE,
    *(
        Way("tile", requests, streams, pinned)
        for requests in ("one after the other", "side by side")
        for streams in (1, 2)
        for pinned in (True, False)
    ),
    *(Way("strip", "side by side", streams, True) for streams in (1, 2)),
)


class Strip(nn.Module):
    """A graph's scores of the tiles of a strip, whose networks look at the whole strip at once."""

    def __init__(self, graph: InspectionGraph) -> None:
        super().__init__()
        self.inspection = graph

    def forward(self, strips: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [1, S, W] to maps float32 [TILES, cells, cells] and scores [TILES], in sigma."""
        body, shape = self.inspection.disagreement, self.inspection.disagreement.shape
        pixels = strips.float().unsqueeze(1)
        taught = [tap for teacher in body.teachers for tap in teacher(pixels)]
        layers = body.students.distances(taught, body.students(pixels))
        maps = [
            blur(_cut(layer[:, :kinds], SHAPE.side_px // layer.shape[2]))
            for blur, layer, kinds in zip(body.blurs, layers, body.kinds, strict=True)
        ]
        tiles = _cut(pixels, 1)
        sides = mirrored(tiles, shape)
        maps_of_tiles = evened(torch.cat(maps, 1), body.shares)
        sigma = self.inspection.scoring(maps_of_tiles, sides) + self.inspection.light(tiles)
        if self.inspection.tone is not None:
            sigma = sigma + self.inspection.tone(tiles, sides)
        return sigma, sigma.amax((1, 2))


def _cut(strip: Tensor, px: int) -> Tensor:
    """[1, L, rows, columns] of ``px`` pixels each to every tile's part with its margins, [TILES, L, rows, rows]."""
    side = SHAPE.side_px // px
    return torch.cat([strip[..., start // px : start // px + side] for start in STARTS_PX])


def strip_onnx(graph: InspectionGraph) -> bytes:
    """A graph over strips as ONNX, exported as ``to_onnx`` does."""
    strip = Strip(copy.deepcopy(graph)).eval()
    body = strip.inspection.disagreement
    for network in (*body.teachers, body.students):
        fold(network, as_pixels(np.zeros((2, *SHAPE.tile_shape), np.uint8)))
    with _quietly():
        program = torch.onnx.export(
            strip,
            (torch.zeros((1, *STRIP_PX), dtype=torch.uint8),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["tiles"],
            output_names=["map", "score"],
            verbose=False,
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """torch's exporter calls what torch has deprecated, and misses torchvision."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def web(seed: int, faults_per_m: float = 0.0) -> U8:
    """A strip of the loom's cloth, uint8 [320, 2112]."""
    return Loom(STRIP_PX[1], MM_PER_PX, "plain", seed, FaultMix(per_m=faults_per_m)).rows(STRIP_PX[0])


def tiles_of(strip: U8) -> U8:
    """Its tiles with their margins, uint8 [TILES, 320, 320]."""
    return np.stack([strip[:, start : start + SHAPE.side_px] for start in STARTS_PX])


def taught(preset: str, epochs: int) -> InspectionGraph:
    """A preset's graph that knows the loom's cloth a little."""
    lesson, held_back = (
        np.concatenate([tiles_of(web(seed)) for seed in seeds]) for seeds in (LEARNT, HELD_BACK)
    )
    teachers, _ = load_teachers(preset, SHAPE.channels)
    students, say = build_students(preset, SHAPE.channels, 0), told("a little of the loom's cloth")
    with tempfile.TemporaryDirectory(prefix="bench-ways-") as folder:
        learnt, validation = (look(teachers, tiles, say) for tiles in (lesson, held_back))
        distill(students, learnt, validation, Course(epochs, 0, "bench_ways"), Path(folder), say)
    return build_graph(teachers, students, held_back, SHAPE, [lesson], pair=preset)


def compiled(graph: bytes, shape: tuple[int, ...], way: Way) -> Any:
    """OpenVINO's graph, on all cores."""
    core = openvino.Core()
    model = core.read_model(graph, b"")
    model.reshape({"tiles": [1, *shape]})
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": OPENVINO[precisions()[0]],
        "INFERENCE_NUM_THREADS": os.cpu_count() or 1,
        "PERFORMANCE_HINT": "THROUGHPUT",
    }
    if way.streams:
        settings["NUM_STREAMS"] = way.streams
    if way.pinned is not None:
        settings["ENABLE_CPU_PINNING"] = way.pinned
    return core.compile_model(model, "CPU", settings)


def runner(graph: bytes, pixels: U8, way: Way) -> Call:
    """Run a graph on ``pixels``, uint8 [1, rows, columns], as often as told to."""
    made = compiled(graph, pixels.shape[1:], way)
    if way.requests == "one after the other":
        request = made.create_infer_request()

        def one_by_one(times: int) -> None:
            for _ in range(times):
                request.infer({0: pixels}, share_inputs=True)

        return one_by_one
    return side_by_side(made, pixels)


def take_turns(graphs: dict[str, bytes], rounds: int) -> dict[Way, list[float]]:
    """Tiles/s of every way, one figure a round."""
    strip = web(ASKED[0])[None]
    pixels = {"tile": tiles_of(strip[0])[:1], "strip": strip}
    counts = {"tile": 1, "strip": TILES}
    calls = {way: runner(graphs[way.of], pixels[way.of], way) for way in WAYS}
    rates: dict[Way, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        for way, call in calls.items():
            seen = rate(call, counts[way.of])
            if number:  # the first warms up
                rates[way].append(seen)
        print(f"round {number} of {rounds}", file=sys.stderr)
    return rates


def rate_table(rates: dict[Way, list[float]]) -> list[str]:
    """Medians with spread, and ratios to what a line does, turn by turn."""
    head = ["requests", "streams", "threads pinned", "tiles/s", "times as a line runs them"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for way, seen in rates.items():
        low, middle, high = np.percentile(seen, [10, 50, 90])
        of = f"strips of {STRIP_PX[0]}x{STRIP_PX[1]} px" if way.of == "strip" else "tiles"
        cells = [
            f"{of}, {way.requests}",
            str(way.streams or "OpenVINO's choice"),
            "OpenVINO's choice" if way.pinned is None else "yes" if way.pinned else "no",
            f"{middle:.1f} ({low:.1f} to {high:.1f})",
            f"{np.median(np.divide(seen, rates[AS_A_LINE])):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def scores(graph: bytes, pixels: U8) -> tuple[F32, F32]:
    """Maps [N, cells, cells] and scores [N] of what is given, request by request."""
    made = compiled(graph, pixels.shape[1:], AS_A_LINE)
    found = [made({0: pixels[number : number + 1]}) for number in range(len(pixels))]
    maps, highest = (np.concatenate([one[place].copy() for one in found]) for place in (0, 1))
    return maps, highest


def difference(graphs: dict[str, bytes]) -> list[str]:
    """What a strip's scores differ by from its tiles', within what is judged."""
    strips = [web(seed, FAULTS_PER_M) for seed in ASKED]
    by_tile, of_tile = scores(graphs["tile"], np.concatenate([tiles_of(strip) for strip in strips]))
    by_strip, of_strip = scores(graphs["strip"], np.stack(strips))
    apart = np.abs(by_strip - by_tile)
    middle, most, worst = np.percentile(apart, [50, 99, 100])
    changed = np.abs(of_strip - of_tile) / of_tile
    return [
        f"Judged cells of {len(of_tile)} tiles, strip against tile: {middle:.2f} sigma apart in the median,",
        f"{most:.2f} for one in a hundred, {worst:.1f} at most; by tile they deviate by {by_tile.std():.2f} sigma.",
        f"Tiles' scores, {of_tile.min():.1f} to {of_tile.max():.1f} sigma by tile: {np.median(changed):.1%} apart",
        f"in the median, {changed.max():.0%} at most.",
    ]


def main() -> int:
    """Teach, take turns, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ours = sorted({one.preset for one in CONTENDERS if one.margin_px})
    parser.add_argument("--preset", choices=ours, default="faster")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--page", type=Path, help="write the figures into it")
    given = parser.parse_args()
    graph = taught(given.preset, given.epochs)
    graphs = {"tile": to_onnx(graph), "strip": strip_onnx(graph)}
    text = "\n".join(
        [
            f"Preset {given.preset}, OpenVINO {precisions()[0]}, {os.cpu_count()} threads,",
            f"{given.rounds} interleaved rounds, medians (10 % to 90 %).",
            "",
            *rate_table(take_turns(graphs, given.rounds)),
            "",
            *difference(graphs),
        ]
    )
    print(text)
    if given.page:
        put_between(given.page, BEGIN, END, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
