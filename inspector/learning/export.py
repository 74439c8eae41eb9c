"""From trained students to one ONNX graph: uint8 tiles in, score map and tile score out.

    tiles ─▶ teachers ─┐
       ├───▶ students ─┴▶ distances a layer ─▶ cells ─▶ blur ─▶ evened ─▶ sigma a map ─▶ one map ─▶ sigma ─┐
       ├───▶ tone against the tile's own ──────────────────────────────────────────────────────────────────┤
       └───▶ brightness beyond good web's ────────────────────────────────────────────────────────────────┴▶ map, score

Every constant comes from tiles of good web (those of the networks' maps from such as no student learnt from), and is
the same for every tile: a tile's score depends on that tile alone. The graph sees for itself which sides of a tile are
the web's own edge: there the margin equals the pixels inside it, bit for bit. This module knows nothing of training,
images or files.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence

import onnx
import torch
from torch import Tensor, nn

from inspector.errors import ArtefactError
from inspector.images.reading import PX_PER_CELL
from inspector.learning.cells import Shape, Smoothing
from inspector.learning.distance import Students
from inspector.learning.distill import LOOK, as_pixels
from inspector.learning.folding import fold
from inspector.learning.fusion import (
    Counted,
    Scoring,
    counted_layers,
    evened,
    power_of,
    shares_of,
    weights_of,
)
from inspector.learning.light import Light
from inspector.learning.normal import SIDES
from inspector.learning.teachers import AS_PUBLISHED, Teacher, pair_layers, tone_px
from inspector.learning.tone import Tone, ToneSigma
from inspector.records import U8

OPSET = 18
MOST_TILES_AT_ONCE = 1024
BLUR_PX = 4.0  # sigma of the Gaussian, as in MixedTeacher
COMPARED_PX = 8  # of a margin, to tell whether it is a mirror image


class Disagreement(nn.Module):
    """Tiles to blurred layer maps of the judged interior, and which sides are mirrored.

    Args:
        teachers: of a pair.
        students: theirs.
        shape: of the tiles.
        strides: of the layers, px of the tile per cell.
        layers: how each counts.
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        students: Students,
        shape: Shape,
        strides: Sequence[int],
        layers: Sequence[Counted],
    ) -> None:
        super().__init__()
        self.teachers = nn.ModuleList(teachers)
        self.students = students
        self.shape = shape
        self.kinds = [layer.kinds for layer in layers]
        self.shares = shares_of(layers)
        self.blurs = nn.ModuleList(Smoothing(BLUR_PX, shape, stride) for stride in strides)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels float32 [N, channels, S, S] on 0..255 to maps [N, L, cells, cells] and sides [N, 4] of 0 or 1."""
        taught = [tap for teacher in self.teachers for tap in teacher(pixels)]
        layers = self.students.distances(taught, self.students(pixels))
        maps = [
            blur(layer[:, :kinds]) for blur, layer, kinds in zip(self.blurs, layers, self.kinds, strict=True)
        ]
        return evened(torch.cat(maps, 1), self.shares), mirrored(pixels, self.shape)


def mirrored(pixels: Tensor, shape: Shape) -> Tensor:
    """[N, 4]: 1 where a side's margin is a mirror image of what lies inside it, else 0; pixels [N, channels, S, S]."""
    margin, tile, width = shape.margin_px, shape.tile_px, min(COMPARED_PX, shape.margin_px)
    if width == 0:
        return torch.ones_like(pixels[:, 0, 0, :SIDES])
    last = margin + tile - 1
    # Where the web ends inside a cell, the tile is filled up and the mirror stands up to a cell further in.
    axes = torch.tensor([margin, *range(last - PX_PER_CELL + 1, last + 1)])
    sides = []
    for dimension in (2, 3):
        folds = _folds(pixels, dimension, axes, width)
        sides += [folds[:, 0], folds[:, 1:].amax(1)]
    return torch.stack(sides, 1)


def _folds(pixels: Tensor, dimension: int, axes: Tensor, width: int) -> Tensor:
    """[N, axes]: 1 where whole-numbered pixels on both sides of a row or column are equal, else 0."""
    away = torch.arange(1, width + 1)
    before, behind = (axes[:, None] - away).flatten(), (axes[:, None] + away).flatten()
    apart = (pixels.index_select(dimension, before) - pixels.index_select(dimension, behind)).abs()
    by_axis = apart.amax((1, 5 - dimension)).view(-1, len(axes), width)
    return 1.0 - by_axis.amax(2).clamp(max=1.0)


class InspectionGraph(nn.Module):
    """The whole of a recipe: what becomes model.onnx."""

    def __init__(
        self, disagreement: Disagreement, scoring: Scoring, tone: ToneSigma | None, light: Light
    ) -> None:
        super().__init__()
        self.disagreement = disagreement
        self.scoring = scoring
        self.tone = tone
        self.light = light

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [N, S, S] or [N, S, S, 3] to map float32 [N, cells, cells] and score float32 [N], in sigma."""
        pixels = tiles.float()  # before any permute: TensorRT refuses to transpose uint8
        pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        maps, sides = self.disagreement(pixels)
        sigma = self.scoring(maps, sides) + self.light(pixels)
        if self.tone is not None:
            sigma = sigma + self.tone(pixels, sides)
        # Some runtimes' maximum loses a NaN; the sum never does. It weighs nothing otherwise.
        return sigma, sigma.amax((1, 2)) + 0.0 * sigma.sum((1, 2))


def build_graph(
    teachers: Sequence[Teacher],
    students: Students,
    validation: U8,
    shape: Shape,
    learnt: Sequence[U8] = (),
    *,
    pair: str = "balanced",
) -> InspectionGraph:
    """Put the graph together and set its constants from good validation tiles, uint8 [N, S, S(, 3)].

    Brightness and tone, which no network learns, have theirs from these and from ``learnt``, further good tiles of
    that shape. ``pair`` is what teachers and students are; one that is kept as published is not evened, and tone counts
    for nothing.

    Raises ArtefactError where a weight or constant is no finite number: a runtime's ReLU may turn a NaN
    inside into 0, so it must not get in; and where every tile looks exactly alike to a layer.
    """
    layers, strides = counted_layers(pair), [layer.stride for layer in pair_layers(pair)]
    disagreement = Disagreement(teachers, students, shape, strides, layers).eval()
    maps, sides = in_batches(disagreement, validation)
    scoring = Scoring.of(maps, sides, shape, weights_of(layers), power_of(pair))
    tone = None
    if pair not in AS_PUBLISHED:
        tone = tone_of(Tone(shape, tone_px(pair)), [validation, *learnt], scoring(maps, sides))
    light = Light.of([validation, *learnt], shape, tone_px(pair))
    graph = InspectionGraph(disagreement, scoring, tone, light).eval()
    for name, value in graph.state_dict().items():
        if not torch.isfinite(value).all() or (
            name.endswith("deviation") and (value <= 0).any() and "more" not in name
        ):
            raise ArtefactError(
                f"the trained graph can't be used: {name} is not a finite, positive number; "
                "train again with other or more images"
            )
    return graph


def tone_of(tone: Tone, good: Sequence[U8], sigma: Tensor) -> ToneSigma:
    """Set tone's constants from good tiles, uint8 [N, S, S(, 3)] each; ``sigma`` [M, cells, cells] is the networks'."""
    parts = [toned(one, tone) for one in good if len(one)]
    seen, sides = (torch.cat(kind) for kind in zip(*parts, strict=True))
    return ToneSigma.of(tone, seen, sides, sigma)


def toned(tiles: U8, tone: Tone) -> tuple[Tensor, Tensor]:
    """Tone of tiles, [N, 7, cells, cells], and which sides are mirrored, [N, 4]."""
    return in_batches(lambda pixels: (tone(pixels), mirrored(pixels, tone.shape)), tiles)


def in_batches(of: Callable[[Tensor], tuple[Tensor, Tensor]], tiles: U8) -> tuple[Tensor, Tensor]:
    """What ``of`` makes of tiles, LOOK at a time, without gradients."""
    with torch.inference_mode():
        parts = [of(as_pixels(tiles[start : start + LOOK])) for start in range(0, len(tiles), LOOK)]
    first, second = (torch.cat(kind) for kind in zip(*parts, strict=True))
    return first, second


def to_onnx(graph: InspectionGraph) -> bytes:
    """Return the graph as ONNX: input ``tiles``, outputs ``map`` and ``score``, any batch size."""
    shape = graph.disagreement.shape
    example = torch.zeros((2, *shape.tile_shape), dtype=torch.uint8)
    graph = copy.deepcopy(graph)
    # The exporter folds BatchNorm too, but only after it has followed every part of the networks: fewer take less time.
    for network in (*graph.disagreement.teachers, graph.disagreement.students):
        fold(network, as_pixels(example.numpy()))
    with warnings.catch_warnings(), _quiet_exporter():
        # torch's own exporter calls what torch itself has deprecated; nothing here can change that.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["tiles"],
            output_names=["map", "score"],
            dynamic_shapes=({0: torch.export.Dim("N", min=1, max=MOST_TILES_AT_ONCE)},),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter from telling a person at the terminal that torchvision is not installed."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
