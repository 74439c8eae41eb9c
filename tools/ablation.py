"""What each choice of the default recipe is worth: one table over the packs of real images.

    python tools/ablation.py --data ../shared/data --work /tmp/ablation [--table ablation.md] [--json ablation.json]
        [--seeds 0] [--trainings default ...] [--packs mvtec_grid ...]

A training gives maps of every layer that is learnt; which of them are judged, by what distance, how they are
evened and fused, and how a tile's score is taken is then asked of the same maps, so that nothing else differs
between such rows. All runs in torch, in float32: an engine's precision is no part of this; networks of int8 round
here as they do there. Test images are only ever scored, and every row is printed for every pack; the choice is made
on all of them together.
Maps and checkpoints are kept in the work folder (outside the repository): a table that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from packs import PACKS
from torch import Tensor
from workfolder import outside_repository, told

from inspector.evaluating.metrics import PixelFigures, auroc
from inspector.images.reading import GOOD, Cut, canvas, canvas_mask, open_data, read_images, read_mask
from inspector.learning.augment import relit
from inspector.learning.cells import Shape
from inspector.learning.course import course_of
from inspector.learning.distill import distill, look
from inspector.learning.export import Disagreement, in_batches, toned
from inspector.learning.fusion import (
    FINE,
    POWER,
    TURNED,
    WIDE,
    WIDE_AT_HALF,
    WIDE_STRIDE,
    Counted,
    evened,
    joined,
    maps_alike,
    shares_of,
    turned_more,
    weighed_alike,
    weights_of,
)
from inspector.learning.normal import Constants, Normal, measure
from inspector.learning.quantised import quantise
from inspector.learning.split import hold_back
from inspector.learning.students import build_students
from inspector.learning.teachers import AS_PUBLISHED, SLIM, load_teachers, pair_layers, pair_specs, tone_px
from inspector.learning.tone import STREAKS, YARNS, Tone, ToneSigma
from inspector.records import F32, U8, Grid, Region
from inspector.teaching.drawn import KINDS as DRAWN_KINDS
from inspector.teaching.drawn import draw, own_deviation
from inspector.tiling import cut_region, find_region

TILE_PX, MARGIN_PX, CELL_PX = 256, 32, 4
CELLS = TILE_PX // CELL_PX
SHAPE = Shape(TILE_PX, MARGIN_PX, 1)  # of the tiles, as far as scoring asks
KINDS = ("direction", "size")
DRAWN_PX, DRAWN_TRIES, DRAWN_MM_PER_PX = (3, 6, 12, 30), 4, 0.2
SHORT = {"efficientnet_lite0": "L", SLIM: "L", "mobilenet_v2": "M", "resnet18": "R", "efficientnet_b0": "B"}
JUDGED = ("L4", "L8", "L16", "L32", "M4", "M8", "M16")  # of the default


@dataclass(frozen=True)
class Training:
    """How students are trained."""

    pair: str = "balanced"
    relit: bool = True  # a second copy of every tile, in other light
    astray: bool = True  # which is cut off its place
    turned: bool = True  # a teacher that takes rows for columns does so
    hard_share: float | None = None  # of a batch's cells, to learn from; None: the preset's
    width: int | None = None  # of our students at stride 4; None: the preset's
    int8: bool = False  # networks as `train --int8` makes them


TRAININGS = {
    "default": Training(),
    "balanced, int8": Training(int8=True),
    "not relit": Training(relit=False, astray=False),
    "on the grid": Training(astray=False),
    "not turned": Training(turned=False),
    "width 8": Training(width=8),
    "width 16": Training(width=16),
    "width 24": Training(width=24),
    "all cells": Training(hard_share=1.0),
    "worst tenth": Training(hard_share=0.1),
    "fast": Training("fast"),
    "fast, int8": Training("fast", int8=True),
    "faster": Training("faster"),
    "faster, int8": Training("faster", int8=True),
    "fastest": Training("fastest"),
    "fastest, int8": Training("fastest", int8=True),
    "fastest, width 12": Training("fastest", width=12),
    "reduced": Training("reduced", relit=False),
    "paper": Training("paper", relit=False),
}


@dataclass(frozen=True)
class Row:
    """How the maps of a training become scores."""

    name: str
    training: str = "default"
    layers: Sequence[str] = JUDGED
    kinds: Sequence[str] = KINDS[: FINE.kinds]
    evened_share: float = FINE.evened_share
    wide_kinds: Sequence[str] = KINDS[: WIDE.kinds]  # of stride 32
    wide_share: float = WIDE.evened_share
    alike: str = "strides"  # what weighs the same: "strides", "layers" or "maps"
    turned: float = TURNED  # what layers of MobileNetV2 weigh besides
    by_noise: bool = False  # and less, the higher a map's sigma gets on good tiles
    by_drawn: bool = (
        False  # and more, the higher on faults drawn onto good tiles against good tiles themselves
    )
    by_place: bool = (
        True  # constants near a tile's sides are those of that place; else the middle's everywhere
    )
    power: float = POWER  # of the mean over maps; 1: their product
    fusion: str = ""  # as the graph does it; "sum" or "max" of the sigmas
    blur_px: float = 0.0  # sigma, besides the graph's own
    tones: int = YARNS.stop  # so many of them count; 0: no tone
    top_share: float = 0.0  # a tile's score is the mean of so many of its cells; 0: its highest


def rows() -> list[Row]:
    """Every row, in the table's order."""
    default = Row("**default**: L4 L8 L16 L32 M4 M8 M16")
    published = Row(
        "",
        kinds=KINDS[:1],
        evened_share=0.0,
        wide_share=0.0,
        alike="layers",
        turned=1.0,
        tones=0,
        power=1.0,
    )
    at_half = replace(
        default, layers=["L8", "L16", "L32"], alike="maps", wide_share=WIDE_AT_HALF.evened_share
    )
    middle = ["L8", "L16", "M8", "M16"]
    before = replace(default, layers=middle, evened_share=0.75, tones=0, power=1.0, turned=1.0)
    return [
        default,
        replace(default, name="tone of spots and streaks, not of yarns", tones=YARNS.start),
        replace(default, name="tone of spots alone", tones=STREAKS.start),
        replace(default, name="no tone", tones=0),
        replace(default, name="direction alone", kinds=KINDS[:1]),
        replace(default, name="size alone", kinds=KINDS[1:]),
        replace(default, name="L32 by both distances", wide_kinds=KINDS),
        *(replace(default, name=f"evened {share:g}", evened_share=share) for share in (0.0, 0.5, 0.75, 0.9)),
        *(replace(default, name=f"L32 evened {share:g}", wide_share=share) for share in (0.0, 1.0)),
        replace(default, name="L32 weighs as any other layer", alike="layers"),
        *(
            replace(default, name=f"M weighs {times:g} times as much as L", turned=times)
            for times in (1.0, 2.0, 3.0)
        ),
        replace(default, name="maps weigh less, the noisier on good web", by_noise=True),
        replace(default, name="maps weigh more, the more they say of drawn faults", by_drawn=True),
        replace(default, name="constants of the middle everywhere", by_place=False),
        *(replace(default, name=f"{one} alone", layers=[one]) for one in JUDGED),
        replace(default, name="Lite0 alone", layers=["L4", "L8", "L16", "L32"]),
        replace(default, name="MobileNetV2 alone", layers=["M4", "M8", "M16"]),
        replace(default, name="without stride 4", layers=[*middle, "L32"]),
        replace(default, name="without stride 32", layers=["L4", "M4", *middle]),
        replace(default, name="strides 8 and 16 alone", layers=middle),
        replace(before, name="L8 L16 M8 M16, evened 0.75, no tone (the default before)"),
        replace(
            published,
            name="L8 M16, direction, not evened, sum, no tone (the one before that)",
            layers=["L8", "M16"],
            fusion="sum",
        ),
        replace(default, name="product of the sigmas", power=1.0),
        replace(default, name="power 2", power=2.0),
        replace(default, name="sum of the sigmas", fusion="sum"),
        replace(default, name="maximum of the sigmas", fusion="max"),
        replace(default, name="blur of 6 px more", blur_px=6.0),
        replace(default, name="tile score: mean of the top 1 %", top_share=0.01),
        replace(default, name="students learn no relit copies", training="not relit"),
        replace(default, name="relit copies cut on the grid", training="on the grid"),
        replace(default, name="both teachers look upright", training="not turned"),
        *(
            replace(default, name=f"a student of {width} to {4 * width} channels", training=f"width {width}")
            for width in (8, 16, 24)
        ),
        replace(default, name="learnt from all cells alike", training="all cells"),
        replace(default, name="learnt from the worst tenth of cells", training="worst tenth"),
        replace(default, name="preset balanced, int8", training="balanced, int8"),
        replace(default, name="preset fast: L4 L8 L16", training="fast", layers=["L4", "L8", "L16"]),
        replace(default, name="preset fast, int8", training="fast, int8", layers=["L4", "L8", "L16"]),
        replace(at_half, name="preset faster: L8 L16 L32", training="faster"),
        replace(at_half, name="preset faster, int8", training="faster, int8"),
        replace(at_half, name="preset fastest: L8 L16 L32", training="fastest"),
        replace(at_half, name="preset fastest, int8", training="fastest, int8"),
        replace(at_half, name="preset fastest, a student of 12 to 48 channels", training="fastest, width 12"),
        *(
            replace(
                at_half,
                name=f"preset {preset}: strides weigh alike, L32 evened 0.5",
                training=preset,
                alike="strides",
                wide_share=WIDE.evened_share,
            )
            for preset in ("faster", "fastest")
        ),
        replace(published, name="reduced: ResNet18 4 8", training="reduced", layers=["R8", "R16"]),
        replace(published, name="paper", training="paper", layers=["R8", "R16", "B16", "B32"]),
    ]


@dataclass(frozen=True)
class Maps:
    """What a trained pair makes of a pack: blurred maps, not evened. L maps, kind by kind, layer by layer."""

    names: list[str]  # [L], "L16 size"
    validation: F32  # [V, L, cells, cells]
    validation_sides: F32  # [V, 4]
    test: F32  # [N, L, cells, cells]
    test_sides: F32
    good_tone: F32  # [G, 7, cells, cells] of tiles learnt from as well
    good_sides: F32  # [G, 4]
    test_tone: F32
    masks: U8  # [N, tile, tile] of 0 and 1
    image: np.ndarray  # [N], which test image a tile is of
    faulty: np.ndarray  # [N], whether that image is of a kind that is faulty
    drawn: F32  # [D, L, cells, cells] of validation tiles with a fault drawn on them
    drawn_sides: F32  # [D, 4]
    drawn_cells: U8  # [D, cells, cells] of 0 and 1: where that lies


def cut_of(pack: str) -> Cut:
    """How a pack's images become tiles, as in packs.py."""
    squeezed = "--resize" in PACKS[pack][0]
    return Cut(
        TILE_PX, MARGIN_PX, resize=TILE_PX if squeezed else None, region="whole" if squeezed else "auto"
    )


def test_tiles(data: Path, cut: Cut, channels: int) -> tuple[U8, U8, np.ndarray, np.ndarray]:
    """All tiles of the test images, their masks, and which image, faulty or not, each is of."""
    grid = Grid(TILE_PX, cut.margin_px, 0, CELL_PX)
    tiles, masks, image, faulty = [], [], [], []
    for number, file in enumerate(open_data(data).test):
        pixels = read_images([file], channels)[0].pixels
        shown = canvas(pixels, cut)
        whole = Region(0, shown.shape[1], 0, shown.shape[0])
        region = whole if cut.region == "whole" else find_region(shown)
        if region is None:
            continue
        truth = np.zeros(shown.shape[:2], np.bool_)
        if file.kind != GOOD:
            mask = read_mask(file, pixels.shape[:2])
            truth = truth if mask is None else canvas_mask(mask, cut)
        cuts, origins = cut_region(grid, shown, region)
        for tile, (row, column) in zip(cuts, origins, strict=True):
            top, left = region.top_px + int(row), region.left_px + int(column)
            tiles.append(tile)
            masks.append(truth[top : top + TILE_PX, left : left + TILE_PX].astype(np.uint8))
            image.append(number)
            faulty.append(file.kind != GOOD)
    return np.stack(tiles), np.stack(masks), np.array(image), np.array(faulty)


def with_drawn(good: U8) -> tuple[U8, U8]:
    """Good tiles with one fault each, of every kind and size at seeded places, and the cells that it lies on."""
    rng = np.random.default_rng(0)
    tiles, cells = [], []
    for kind in DRAWN_KINDS:
        for size_px in DRAWN_PX:
            for _ in range(DRAWN_TRIES):
                tile = good[int(rng.integers(len(good)))]
                place = MARGIN_PX + rng.uniform(0, TILE_PX - 1, 2)
                drawn, mask = draw(
                    kind, tile, (place[0], place[1]), size_px, DRAWN_MM_PER_PX, own_deviation(tile)
                )
                inner = mask[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
                tiles.append(drawn)
                cells.append(inner.reshape(CELLS, CELL_PX, CELLS, CELL_PX).any((1, 3)).astype(np.uint8))
    return np.stack(tiles), np.stack(cells)


def maps_of(data: Path, pack: str, name: str, seed: int, weights: Sequence[Path], folder: Path) -> Maps:
    """Train on a pack, with checkpoints in a folder, and look at its test images."""
    training = TRAININGS[name]
    cut = cut_of(pack)
    held = hold_back(read_images(open_data(data / pack).good), cut, seed, data / pack)
    depth = held.learnt[0].channels
    lesson = held.learnt_tiles
    if training.relit:
        copies = held.astray_tiles if training.astray else held.learnt_tiles
        lesson = np.concatenate([lesson, relit(copies, seed)])
    teachers, _ = load_teachers(training.pair, depth, weights)
    for teacher, spec in zip(teachers, pair_specs(training.pair), strict=True):
        if spec.turned and not training.turned:
            teacher.trunk.turn()  # back
    if training.int8:
        for teacher in teachers:
            quantise(teacher, lesson)
    students = build_students(training.pair, depth, seed, training.width)
    say = told(f"{pack}, {name}, seed {seed}")
    folder.mkdir(parents=True, exist_ok=True)
    identity = f"{name} " + " ".join(str(tuple(one.shape)) for one in students.parameters())
    course = course_of(training.pair, len(lesson), cut, seed, identity)
    if training.hard_share is not None:
        course = replace(course, hard_share=training.hard_share)
    distill(
        students,
        look(teachers, lesson, say),
        look(teachers, held.validation_tiles, say),
        course,
        folder,
        say,
    )
    shutil.rmtree(folder)
    if training.int8:
        quantise(students, lesson)
    layers = pair_layers(training.pair)
    kinds = KINDS[: 1 if training.pair in AS_PUBLISHED else 2]
    shape = replace(SHAPE, channels=depth)
    tone = Tone(shape, tone_px(training.pair))
    graph = Disagreement(
        teachers,
        students,
        shape,
        [layer.stride for layer in layers],
        [Counted(len(kinds), evened_share=0.0)] * len(layers),
    ).eval()
    tiles, masks, image, faulty = test_tiles(data / pack, cut, depth)
    good = np.concatenate([held.validation_tiles, held.learnt_tiles])
    drawn, drawn_cells = with_drawn(held.validation_tiles)
    return Maps(
        [f"{SHORT[layer.network]}{layer.stride} {kind}" for layer in layers for kind in kinds],
        *as_arrays(in_batches(graph, held.validation_tiles)),
        *as_arrays(in_batches(graph, tiles)),
        *as_arrays(toned(good, tone)),
        as_arrays(toned(tiles, tone))[0],
        masks,
        image,
        faulty,
        *as_arrays(in_batches(graph, drawn)),
        drawn_cells,
    )


def as_arrays(pair: tuple[Tensor, Tensor]) -> tuple[F32, F32]:
    """Two tensors as they are kept."""
    first, second = (tensor.numpy() for tensor in pair)
    return first, second


def file_of(work: Path, pack: str, training: str, seed: int) -> Path:
    """Where maps are kept."""
    return work / f"{pack}-{training.replace(', ', '-').replace(' ', '-')}-{seed}.npz"


def kept(file: Path, *, with_drawn: bool = True) -> Maps | None:
    """Maps from the work folder; None where they are not there, or of an older version of this tool.

    Without ``with_drawn`` those of drawn faults may be missing: then there are none.
    """
    if not file.is_file():
        return None
    missing = {"drawn", "drawn_sides", "drawn_cells"} if not with_drawn else set()
    none = dict.fromkeys(missing, np.zeros((0, 1), np.float32))
    with np.load(file) as stored:
        if set(stored) | missing != {field.name for field in fields(Maps)}:
            return None
        found = {**none, **{key: stored[key] for key in stored}}
        return Maps(**{**found, "names": [str(x) for x in stored["names"]]})


def keep(file: Path, made: Maps) -> Maps:
    """Put maps into the work folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **{**made.__dict__, "names": np.array(made.names)})
    return made


def counted_of(row: Row) -> list[Counted]:
    """How each layer of a row counts, in the order of ``row.layers``."""
    fine = Counted(len(row.kinds), row.evened_share)
    wide = Counted(len(row.wide_kinds), row.wide_share)
    strides = [int(layer[1:]) for layer in row.layers]
    counted = [wide if stride == WIDE_STRIDE else fine for stride in strides]
    match row.alike:
        case "strides":
            counted = weighed_alike(counted, strides)
        case "maps":
            counted = maps_alike(counted)
    return turned_more(counted, [layer[0] == "M" for layer in row.layers], row.turned)


def fused(row: Row, maps: Maps) -> tuple[F32, F32]:
    """Score maps of the validation tiles, [V, cells, cells], and of the test tiles, [N, cells, cells]."""
    counted = counted_of(row)
    are_wide = [int(layer[1:]) == WIDE_STRIDE for layer in row.layers]
    chosen = [
        maps.names.index(f"{layer} {kind}")
        for layer, is_wide in zip(row.layers, are_wide, strict=True)
        for kind in (row.wide_kinds if is_wide else row.kinds)
    ]
    weighed = torch.tensor(weights_of(counted))
    good, test = (
        evened(torch.from_numpy(np.ascontiguousarray(part[:, chosen])).float(), shares_of(counted))
        for part in (maps.validation, maps.test)
    )
    sides = [torch.from_numpy(part) for part in (maps.validation_sides, maps.test_sides)]
    for is_first in (True, False):  # each map, then all in one
        constants = measure(good, sides[0], SHAPE.zone)
        normal = Normal(constants if row.by_place else middle_of(constants), SHAPE)
        good, test = normal(good, sides[0]), normal(test, sides[1])
        if is_first:
            if row.by_noise:
                weighed = quiet_first(weighed, good)
            if row.by_drawn:
                drawn = evened(
                    torch.from_numpy(np.ascontiguousarray(maps.drawn[:, chosen])).float(), shares_of(counted)
                )
                drawn = normal(drawn, torch.from_numpy(maps.drawn_sides))
                weighed = telling_first(weighed, good, drawn, torch.from_numpy(maps.drawn_cells))
            good, test = (_joined(part, weighed, row)[:, None] for part in (good, test))
    sigmas = [good[:, 0], test[:, 0]]
    if row.tones:
        good_tone, test_tone = (torch.from_numpy(part).clone() for part in (maps.good_tone, maps.test_tone))
        for part in (good_tone, test_tone):
            part[:, row.tones :] = 0  # says nothing then
        toned_sigma = ToneSigma.of(Tone(SHAPE), good_tone, torch.from_numpy(maps.good_sides), good[:, 0])
        parts = (good_tone[: len(good)], test_tone)  # good tone has the validation tiles' first
        sigmas = [
            sigma + toned_sigma.added(tone, side)
            for sigma, tone, side in zip(sigmas, parts, sides, strict=True)
        ]
    of_good, of_test = (np.asarray(sigma.numpy(), np.float32) for sigma in sigmas)
    return of_good, of_test


def middle_of(constants: Constants) -> Constants:
    """The middle's mean and deviation everywhere."""
    return replace(
        constants,
        zone_mean=constants.mean.view(-1, 1, 1).expand_as(constants.zone_mean),
        zone_deviation=constants.deviation.view(-1, 1, 1).expand_as(constants.zone_deviation),
    )


def quiet_first(weights: Tensor, good: Tensor) -> Tensor:
    """Weights [L] divided by how high each map gets on good tiles [V, L, c, c], in sigma on average; 1 in all."""
    divided = weights / good.amax((2, 3)).mean(0)
    return divided / divided.sum()


def telling_first(weights: Tensor, good: Tensor, drawn: Tensor, at: Tensor) -> Tensor:
    """Weights [L] times what each map says of drawn faults, against what it says of good tiles; 1 in all.

    Both by the mean of log(1 + sigma) at its highest: on the fault [D, L, c, c] where ``at`` [D, c, c] is 1, and on
    whole good tiles [V, L, c, c].
    """
    on_fault = (drawn * at[:, None]).amax((2, 3)).clamp(min=0).log1p().mean(0)
    times = weights * on_fault / good.amax((2, 3)).clamp(min=0).log1p().mean(0)
    return times / times.sum()


def _joined(sigmas: Tensor, weights: Tensor, row: Row) -> Tensor:
    match row.fusion:
        case "max":
            return sigmas.amax(1)
        case "sum":
            return (sigmas * weights.view(-1, 1, 1)).sum(1)
        case _:
            return joined(sigmas, weights, row.power)


def figures(row: Row, maps: Maps, native: bool) -> tuple[float, float, float]:
    """AUROC of images (native: of tiles), of pixels, and AUPRO, in %."""
    _, scores = fused(row, maps)
    if row.blur_px:
        scores = np.stack([cv2.GaussianBlur(one, (0, 0), row.blur_px / CELL_PX) for one in scores])
    flat = np.sort(scores.reshape(len(scores), -1), axis=1)
    top = flat[:, -max(1, round(row.top_share * flat.shape[1])) :].mean(1)
    if native:
        overall = auroc(top, maps.masks.any((1, 2)))
    else:
        images = np.unique(maps.image)
        highest = np.array([top[maps.image == one].max() for one in images])
        overall = auroc(highest, np.array([maps.faulty[maps.image == one][0] for one in images]))
    pixels = PixelFigures()
    for score, mask in zip(scores, maps.masks, strict=True):
        drawn = cv2.resize(score, (TILE_PX, TILE_PX), interpolation=cv2.INTER_LINEAR)
        pixels.add(drawn, mask.astype(np.bool_), np.ones(mask.shape, np.bool_))
    return tuple(100 * (value or float("nan")) for value in (overall, pixels.auroc(), pixels.aupro()))  # type: ignore[return-value]


def cell(found: Sequence[tuple[float, float, float]], has_masks: bool) -> str:
    """Mean over seeds; the masks of some packs are too coarse for figures by pixel."""
    middle = np.mean(found, axis=0)
    return " / ".join(f"{value:.1f}" for value in (middle if has_masks else middle[:1]))


def keep_figures(file: Path, found: dict[tuple[str, str], list[tuple[float, float, float]]]) -> None:
    """Write means over seeds, row by row and pack by pack, among those that the file holds: trainings take hours."""
    means: dict[str, dict[str, list[float]]] = json.loads(file.read_text()) if file.is_file() else {}
    for (name, pack), each in found.items():
        means.setdefault(name, {})[pack] = [round(float(value), 2) for value in np.mean(each, axis=0)]
    file.write_text(json.dumps(means, indent=1) + "\n")


def main() -> int:
    """Train, ask, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the packs")
    parser.add_argument("--work", type=Path, required=True, help="folder outside the repository")
    parser.add_argument("--table", type=Path, help="write the Markdown there too")
    parser.add_argument(
        "--json", type=Path, help="keep the figures there, with those it has: row, pack, mean over seeds"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--trainings", nargs="+", choices=TRAININGS, default=list(TRAININGS))
    parser.add_argument("--packs", nargs="+", choices=PACKS, default=list(PACKS))
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="weight files of the teachers")
    given = parser.parse_args()
    work = outside_repository(given.work)
    asked = [row for row in rows() if row.training in given.trainings]
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for training in given.trainings:
        for pack in given.packs:
            for seed in given.seeds:
                file = file_of(work, pack, training, seed)
                asks_drawn = any(row.by_drawn for row in asked if row.training == training)
                maps = kept(file, with_drawn=asks_drawn) or keep(
                    file, maps_of(given.data, pack, training, seed, given.weights, file.with_suffix(""))
                )
                for row in asked:
                    if row.training == training:
                        native = "--resize" not in PACKS[pack][0]
                        found.setdefault((row.name, pack), []).append(figures(row, maps, native))
    lines = [f"| | {' | '.join(given.packs)} |", f"|---{'|---' * len(given.packs)}|"]
    for row in asked:
        cells = [cell(found[row.name, pack], PACKS[pack][2]) for pack in given.packs]
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    print("\n".join(lines))
    if given.json:
        keep_figures(given.json, found)
    if given.table:
        given.table.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
