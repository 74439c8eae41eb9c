"""From trained students to one ONNX graph: uint8 tiles in, score map and tile score out.

    tiles ─▶ teachers ─┐
       ├───▶ students ─┴▶ distances a layer ─▶ cells ─▶ blur ─▶ evened ─▶ sigma a map ─▶ one map ─▶ sigma ─┐
       └───▶ brightness beyond good web's ────────────────────────────────────────────────────────────────┴▶ map, score

Every constant comes from validation tiles of good web and is the same for every tile: a tile's score depends
on that tile alone. A map's mean and deviation are those of the tile's middle; towards a side the mean moves, and
the deviation grows, as they do on good tiles: a little where the margin is real, because a deep layer sees past
it into the networks' zero padding, and much where it is a mirror image (the web's own edge), because a mirrored
weave is a fault to every network. The graph sees for itself which sides those are: there the margin equals
the pixels inside it, bit for bit. This module knows nothing of training, images or files.
"""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.errors import ArtefactError
from inspector.images.reading import PX_PER_CELL
from inspector.learning.distance import Students
from inspector.learning.distill import LOOK, as_pixels
from inspector.learning.light import Light
from inspector.learning.teachers import Teacher
from inspector.records import U8

OPSET = 18
MOST_TILES_AT_ONCE = 1024
BLUR_PX = 4.0  # sigma of the Gaussian, as in MixedTeacher
ZONE_CELLS = 12  # from a side, where it shows in a layer of stride 16
SIDES = 4  # top, bottom, left, right
COMPARED_PX = 8  # of a margin, to tell whether it is a mirror image
# Light and focus change what students get wrong over a whole tile, faults seldom do: so much of what a tile shows
# throughout is taken off. Not all: a fault may be wider than a tile.
EVENED_SHARE = 0.75
EVENED_CELLS = 8  # side of the blocks whose median tells what a tile shows throughout


@dataclass(frozen=True, slots=True)
class Shape:
    """A tile's measures, px."""

    tile_px: int
    margin_px: int
    channels: int

    @property
    def side_px(self) -> int:
        """Of a tile with its margins."""
        return self.tile_px + 2 * self.margin_px

    @property
    def cells(self) -> int:
        """Of the map, along one side."""
        return self.tile_px // PX_PER_CELL

    @property
    def zone(self) -> int:
        """Depth of the zone along a side, cells."""
        return min(ZONE_CELLS, self.cells // 4)


@dataclass(frozen=True, slots=True)
class Constants:
    """What good validation tiles look like, a map: each layer's distances. L maps, Z cells of zone."""

    mean: Tensor  # [L] in the middle
    deviation: Tensor  # [L]
    zone_mean: Tensor  # [2, L, 4, Z] by margin (real, mirrored), side and distance from it
    zone_deviation: Tensor  # [2, L, 4, Z]


class Disagreement(nn.Module):
    """Tiles to blurred layer maps of the judged interior, and which sides are mirrored."""

    blur: Tensor

    def __init__(
        self, teachers: Sequence[Teacher], students: Students, shape: Shape, evened_share: float
    ) -> None:
        super().__init__()
        self.teachers = nn.ModuleList(teachers)
        self.students = students
        self.shape = shape
        self.evened_share = evened_share
        radius = math.ceil(3 * BLUR_PX / PX_PER_CELL)
        at = torch.arange(-radius, radius + 1, dtype=torch.float32) * PX_PER_CELL
        line = torch.exp(-0.5 * (at / BLUR_PX) ** 2)
        self.radius = radius
        self.register_buffer("blur", (line[:, None] * line[None, :] / line.sum() ** 2)[None, None])

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels float32 [N, channels, S, S] on 0..255 to maps [N, L, cells, cells] and sides [N, 4] of 0 or 1."""
        taught = [tap for teacher in self.teachers for tap in teacher(pixels)]
        layers = self.students.distances(taught, self.students(pixels))
        size = self.shape.side_px // PX_PER_CELL
        maps = [
            F.interpolate(layer, size=(size, size), mode="bilinear", align_corners=False) for layer in layers
        ]
        return evened(self._blurred(torch.cat(maps, 1)), self.evened_share), self._mirrored(pixels)

    def _blurred(self, maps: Tensor) -> Tensor:
        """2-D Gaussian over real neighbours: of the margin, only what the blur reaches for is kept."""
        layers = maps.shape[1]
        margin, cells, reach = self.shape.margin_px // PX_PER_CELL, self.shape.cells, self.radius
        kept = min(margin, reach)
        inner = slice(margin - kept, margin + cells + kept)
        maps = F.pad(maps[:, :, inner, inner], (reach - kept,) * 4, mode="replicate")
        return F.conv2d(maps, self.blur.expand(layers, 1, -1, -1), groups=layers)

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


class Normal(nn.Module):
    """Maps to sigma, each in its own deviations above good tiles."""

    mean: Tensor
    deviation: Tensor
    more_mean: Tensor
    more_deviation: Tensor

    def __init__(self, constants: Constants, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("mean", constants.mean.view(1, -1, 1, 1))
        self.register_buffer("deviation", constants.deviation.view(1, -1, 1, 1))
        more_mean = constants.zone_mean - constants.mean.view(-1, 1, 1)
        more_deviation = (constants.zone_deviation - constants.deviation.view(-1, 1, 1)).clamp(min=0)
        self.register_buffer("more_mean", _laid_out(more_mean, shape.cells))
        self.register_buffer("more_deviation", _laid_out(more_deviation, shape.cells))

    def forward(self, maps: Tensor, sides: Tensor) -> Tensor:
        """[N, L, cells, cells] and sides [N, 4] to sigma, [N, L, cells, cells]."""
        down, across = _by_axis(self._more(self.more_mean, sides))
        mean = self.mean + down.sum(2) + across.sum(2)
        down, across = _by_axis(self._more(self.more_deviation, sides))
        deviation = self.deviation + torch.maximum(down.amax(2), across.amax(2))
        return (maps - mean) / deviation

    def _more(self, more: Tensor, sides: Tensor) -> Tensor:
        """[N, L, 4, cells]: what each side adds along its own axis, be it real or mirrored."""
        real, mirrored = more[:1], more[1:]
        return real + sides[:, None, :, None] * (mirrored - real)


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


def _laid_out(zone: Tensor, cells: int) -> Tensor:
    """Lay [2, L, 4, Z], by distance from a side, out along the cells of that side's axis: [2, L, 4, cells]."""
    near, far = F.pad(zone, (0, cells - zone.shape[-1])), F.pad(zone.flip(-1), (cells - zone.shape[-1], 0))
    return torch.stack([near[:, :, 0], far[:, :, 1], near[:, :, 2], far[:, :, 3]], 2)


def _by_axis(lines: Tensor) -> tuple[Tensor, Tensor]:
    """Top and bottom [N, L, 2, cells, 1], left and right [N, L, 2, 1, cells], of [N, L, 4, cells]."""
    return lines[:, :, :2, :, None], lines[:, :, 2:, None, :]


class InspectionGraph(nn.Module):
    """The whole of a recipe: what becomes model.onnx."""

    def __init__(self, disagreement: Disagreement, scoring: Scoring, light: Light) -> None:
        super().__init__()
        self.disagreement = disagreement
        self.scoring = scoring
        self.light = light

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [N, S, S] or [N, S, S, 3] to map float32 [N, cells, cells] and score float32 [N], in sigma."""
        pixels = tiles.float()  # before any permute: TensorRT refuses to transpose uint8
        pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        sigma = self.scoring(*self.disagreement(pixels)) + self.light(pixels)
        # Some runtimes' maximum loses a NaN; the sum never does. It weighs nothing otherwise.
        return sigma, sigma.amax((1, 2)) + 0.0 * sigma.sum((1, 2))


def build_graph(
    teachers: Sequence[Teacher],
    students: Students,
    validation: U8,
    shape: Shape,
    learnt: Sequence[U8] = (),
    *,
    evened_share: float = EVENED_SHARE,
) -> InspectionGraph:
    """Put the graph together and set its constants from good validation tiles, uint8 [N, S, S(, 3)].

    The range of brightness is that of these and of ``learnt``, further good tiles of that shape. The paper's
    graph takes off nothing, ``evened_share`` 0.

    Raises ArtefactError where a weight or constant is no finite number: a runtime's ReLU may turn a NaN
    inside into 0, so it must not get in; and where every tile looks exactly alike to a layer.
    """
    disagreement = Disagreement(teachers, students, shape, evened_share).eval()
    with torch.inference_mode():
        seen = [
            disagreement(as_pixels(validation[start : start + LOOK]))
            for start in range(0, len(validation), LOOK)
        ]
    maps = torch.cat([m for m, _ in seen]).clone()
    sides = torch.cat([s for _, s in seen]).clone()
    scoring = Scoring.of(maps, sides, shape)
    light = Light.of([validation, *learnt], shape.margin_px)
    graph = InspectionGraph(disagreement, scoring, light).eval()
    for name, value in graph.state_dict().items():
        if not torch.isfinite(value).all() or (
            name.endswith("deviation") and (value <= 0).any() and "more" not in name
        ):
            raise ArtefactError(
                f"the trained graph can't be used: {name} is not a finite, positive number; "
                "train again with other or more images"
            )
    return graph


def measure(maps: Tensor, sides: Tensor, zone: int) -> Constants:
    """Take the constants from good tiles' maps [N, L, cells, cells] and their mirrored sides [N, 4]."""
    cells = maps.shape[-1]
    inner = slice(zone, cells - zone)
    middle = maps[:, :, inner, inner].transpose(0, 1).flatten(1)  # [L, values]
    mean, deviation = middle.mean(1), middle.std(1)
    # What lies along a side, without the corners: there two sides would be mixed.
    strips = [maps, maps.flip(2), maps.transpose(2, 3), maps.transpose(2, 3).flip(2)]
    along = [strip[:, :, :zone, inner] for strip in strips]
    mirrored, real = sides > 0.5, sides < 0.5
    # In small tiles a mirrored side reaches the one across, so tiles without any are better where there are some.
    free = real.all(1, keepdim=True)
    zones = [
        _zones([strip[chosen] for strip, chosen in zip(along, on.T, strict=True)], mean, deviation)
        for on in (real & free if free.any() else real, mirrored)
    ]
    means, deviations = (torch.stack(kind) for kind in zip(*zones, strict=True))
    return Constants(mean, deviation, means, deviations)


def _zones(strips: Sequence[Tensor], mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [L, 4, Z] along the sides, from one [n, L, Z, values] each.

    A side that no tile shows gets what the others show, taken together; where no side shows any, the middle's.
    """
    together = torch.cat(list(strips))
    means, deviations = [], []
    for strip in strips:
        of = strip if len(strip) else together
        if len(of):
            line = of.permute(1, 2, 0, 3).flatten(2)  # [L, Z, values]
            means.append(line.mean(2))
            deviations.append(line.std(2))
        else:
            means.append(mean[:, None].expand(-1, strip.shape[2]))
            deviations.append(deviation[:, None].expand(-1, strip.shape[2]))
    return torch.stack(means, 1), torch.stack(deviations, 1)


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
