"""From trained students to one ONNX graph: uint8 tiles in, score map and tile score out.

    tiles ─▶ teachers ─┐
       ├───▶ students ─┴▶ distances a layer ─▶ cells ─▶ blur ─▶ evened ─▶ sigma a map ─▶ one map ─▶ sigma ─┐
       ├───▶ tone against the tile's own ──────────────────────────────────────────────────────────────────┤
       └───▶ brightness beyond good web's ────────────────────────────────────────────────────────────────┴▶ map, score

Every constant comes from validation tiles of good web and is the same for every tile: a tile's score depends
on that tile alone. The graph sees for itself which sides of a tile are the web's own edge: there the margin equals
the pixels inside it, bit for bit. This module knows nothing of training, images or files.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.errors import ArtefactError
from inspector.images.reading import PX_PER_CELL
from inspector.learning.cells import Blur, Shape
from inspector.learning.distance import Students
from inspector.learning.distill import LOOK, as_pixels
from inspector.learning.light import Light
from inspector.learning.normal import SIDES, Normal, measure
from inspector.learning.teachers import Teacher
from inspector.learning.tone import Tone, ToneSigma
from inspector.records import U8

OPSET = 18
MOST_TILES_AT_ONCE = 1024
BLUR_PX = 4.0  # sigma of the Gaussian, as in MixedTeacher
COMPARED_PX = 8  # of a margin, to tell whether it is a mirror image
# Light and focus change what students get wrong over a whole tile, faults seldom do: so much of what a tile shows
# throughout is taken off. Not all: a fault may be wider than a tile.
EVENED_SHARE = 0.75
EVENED_CELLS = 8  # side of the blocks whose median tells what a tile shows throughout


class Disagreement(nn.Module):
    """Tiles to blurred layer maps of the judged interior, and which sides are mirrored."""

    def __init__(
        self, teachers: Sequence[Teacher], students: Students, shape: Shape, evened_share: float
    ) -> None:
        super().__init__()
        self.teachers = nn.ModuleList(teachers)
        self.students = students
        self.shape = shape
        self.evened_share = evened_share
        self.blur = Blur(BLUR_PX, shape)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels float32 [N, channels, S, S] on 0..255 to maps [N, L, cells, cells] and sides [N, 4] of 0 or 1."""
        taught = [tap for teacher in self.teachers for tap in teacher(pixels)]
        layers = self.students.distances(taught, self.students(pixels))
        size = self.shape.side_px // PX_PER_CELL
        maps = [
            F.interpolate(layer, size=(size, size), mode="bilinear", align_corners=False) for layer in layers
        ]
        return evened(self.blur(torch.cat(maps, 1)), self.evened_share), self._mirrored(pixels)

    def _mirrored(self, pixels: Tensor) -> Tensor:
        """1 where a side's margin is a mirror image of what lies inside it, else 0."""
        margin, tile, width = self.shape.margin_px, self.shape.tile_px, min(COMPARED_PX, self.shape.margin_px)
        if width == 0:
            return torch.ones_like(pixels[:, 0, 0, :SIDES])
        last = margin + tile - 1
        # Where the web ends inside a cell, the tile is filled up and the mirror stands up to a cell further in.
        ends = range(last - PX_PER_CELL + 1, last + 1)
        sides = [
            torch.stack([_folds(pixels, dimension, axis, width) for axis in axes]).amax(0)
            for dimension in (2, 3)
            for axes in ((margin,), ends)
        ]
        return torch.stack(sides, 1)


def evened(maps: Tensor, share: float) -> Tensor:
    """Take off a share of what each tile shows throughout, the median over blocks of its maps [N, L, c, c]."""
    if not share:
        return maps
    blocks = F.avg_pool2d(maps, min(EVENED_CELLS, maps.shape[-1])).flatten(2)
    upper_half = torch.topk(blocks, blocks.shape[2] // 2 + 1, dim=2).values
    return maps - share * upper_half[:, :, -1, None, None]


def _folds(pixels: Tensor, dimension: int, axis: int, width: int) -> Tensor:
    """[N]: 1 where whole-numbered pixels on both sides of a row or column are equal, else 0."""
    away = torch.arange(1, width + 1)
    one, other = pixels.index_select(dimension, axis - away), pixels.index_select(dimension, axis + away)
    return 1.0 - (one - other).abs().amax((1, 2, 3)).clamp(max=1.0)


class Scoring(nn.Module):
    """Maps to sigma: each map's own, then that of all together."""

    def __init__(self, each: Normal, together: Normal) -> None:
        super().__init__()
        self.each = each
        self.together = together

    @classmethod
    def of(cls, maps: Tensor, sides: Tensor, shape: Shape) -> Scoring:
        """Take all constants from good tiles' maps [N, L, cells, cells] and their sides [N, 4]."""
        each = Normal(measure(maps, sides, shape.zone), shape)
        # Near a side all maps are uncertain at once, which no map's own constants tell.
        all_in_one = joined(each(maps, sides))[:, None]
        return cls(each, Normal(measure(all_in_one, sides, shape.zone), shape))

    def forward(self, maps: Tensor, sides: Tensor) -> Tensor:
        """Sigma above good tiles, [N, cells, cells]."""
        sigma: Tensor = self.together(joined(self.each(maps, sides))[:, None], sides)
        return sigma[:, 0]


def joined(sigmas: Tensor) -> Tensor:
    """Geometric mean over maps of 1 + sigma, less 1, [N, L, c, c] to [N, c, c]; below good web's mean counts as at it.

    A product, as the paper's, but one that no map can bring to nothing. What several maps see a little of counts
    more than what one map alone sees much of.
    """
    mean = (1 + sigmas.clamp(min=0)).log().mean(1)
    # A runtime's clamp may turn a NaN into 0; a sum never does. It weighs nothing otherwise.
    return mean.exp() - 1 + 0.0 * sigmas.sum(1)


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
    as_published: bool = False,
) -> InspectionGraph:
    """Put the graph together and set its constants from good validation tiles, uint8 [N, S, S(, 3)].

    The range of brightness is that of these and of ``learnt``, further good tiles of that shape. ``as_published``,
    maps are not evened and tone counts for nothing.

    Raises ArtefactError where a weight or constant is no finite number: a runtime's ReLU may turn a NaN
    inside into 0, so it must not get in; and where every tile looks exactly alike to a layer.
    """
    disagreement = Disagreement(teachers, students, shape, 0.0 if as_published else EVENED_SHARE).eval()
    tone = Tone(shape)
    batches = [as_pixels(validation[start : start + LOOK]) for start in range(0, len(validation), LOOK)]
    with torch.inference_mode():
        seen = [(*disagreement(pixels), tone(pixels)) for pixels in batches]
    maps, sides, tones = (torch.cat(kind).clone() for kind in zip(*seen, strict=True))
    scoring = Scoring.of(maps, sides, shape)
    toned = None if as_published else ToneSigma.of(tone, tones, sides, scoring(maps, sides))
    light = Light.of([validation, *learnt], shape.margin_px)
    graph = InspectionGraph(disagreement, scoring, toned, light).eval()
    for name, value in graph.state_dict().items():
        if not torch.isfinite(value).all() or (
            name.endswith("deviation") and (value <= 0).any() and "more" not in name
        ):
            raise ArtefactError(
                f"the trained graph can't be used: {name} is not a finite, positive number; "
                "train again with other or more images"
            )
    return graph


def to_onnx(graph: InspectionGraph) -> bytes:
    """Return the graph as ONNX: input ``tiles``, outputs ``map`` and ``score``, any batch size."""
    shape = graph.disagreement.shape
    side = shape.side_px
    example = torch.zeros((2, side, side) if shape.channels == 1 else (2, side, side, 3), dtype=torch.uint8)
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
