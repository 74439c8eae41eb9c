"""The graph: its contract on every runtime, and what a score may and may not depend on.

Teachers are random but seeded, and the cloth is a weave that looks the same turned by 90 degrees: what is
tested is the graph, not how well real teachers see.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from inspector.backends.typed import networks
from inspector.errors import ArtefactError
from inspector.learning.cells import Shape
from inspector.learning.distill import Course, as_pixels, distill, look
from inspector.learning.export import InspectionGraph, Scoring, build_graph, mirrored, to_onnx
from inspector.learning.halved import halved
from inspector.learning.normal import measure
from inspector.learning.students import build_students
from inspector.learning.teachers import random_teachers
from inspector.records import F32, U8, Grid, Region
from inspector.tiling import cut_region

TILE, MARGIN, CELLS = 64, 32, 16
EPOCHS = 12  # the fewest that `train` takes by itself
SIDE = TILE + 2 * MARGIN
SHAPE = Shape(TILE, MARGIN, 1)
GRID = Grid(TILE, MARGIN, 0, 4)


class Made(NamedTuple):
    graph: InspectionGraph
    onnx: bytes


def cloth(seed: int, size: int = 320) -> U8:
    """Plain weave of period 8 px with noise."""
    rows, columns = np.mgrid[:size, :size]
    threads = 30 * np.sin(rows * np.pi / 4) * np.sin(columns * np.pi / 4)
    noise = np.random.default_rng(seed).normal(0, 12, (size, size))
    return np.clip(128 + threads + noise, 0, 255).astype(np.uint8)


def tiles_of(pixels: U8) -> U8:
    return cut_region(GRID, pixels, Region(0, pixels.shape[1], 0, pixels.shape[0]))[0]


def inner_tiles(pixels: U8) -> U8:
    """Tiles whose margins are all real."""
    starts = range(0, pixels.shape[0] - SIDE + 1, TILE)
    return np.stack([pixels[r : r + SIDE, c : c + SIDE] for r in starts for c in starts])


def nothing(done: int, total: int, note: str = "") -> None:
    pass


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    torch.set_num_threads(1)  # two threads that share their cores with others wait for each other, tenfold
    teachers, students = random_teachers("balanced", 1, 0), build_students("balanced", 1, 1)
    learnt, validation = (np.concatenate([tiles_of(cloth(s)) for s in seeds]) for seeds in ((1, 2), (3,)))
    lessons = look(teachers, learnt, nothing), look(teachers, validation, nothing)
    distill(students, *lessons, Course(EPOCHS, 0, "test"), tmp_path_factory.mktemp("course"), nothing)
    graph = build_graph(teachers, students, validation, SHAPE)
    return Made(graph, to_onnx(graph))


def in_torch(made: Made, tiles: U8) -> tuple[F32, F32]:
    with torch.inference_mode():
        maps, scores = made.graph(torch.from_numpy(tiles))
    return maps.numpy(), scores.numpy()


def in_onnxruntime(model: bytes, tiles: U8) -> tuple[F32, F32]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    maps, scores = session.run(["map", "score"], {"tiles": tiles})
    return maps, scores


def in_openvino(model: bytes, tiles: U8) -> tuple[F32, F32]:
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    seen = compiled({"tiles": tiles})
    return np.array(seen["map"]), np.array(seen["score"])


def test_the_contract(made: Made) -> None:
    model = onnx.load_from_string(made.onnx)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 18
    (tiles,) = model.graph.input
    assert (tiles.name, tiles.type.tensor_type.elem_type) == ("tiles", onnx.TensorProto.UINT8)
    assert [d.dim_value for d in tiles.type.tensor_type.shape.dim] == [0, SIDE, SIDE]
    assert [out.name for out in model.graph.output] == ["map", "score"]
    # Shape reads how many tiles there are, not what is in them.
    first = [node.op_type for node in model.graph.node if "tiles" in node.input and node.op_type != "Shape"]
    assert first == ["Cast"], "uint8 is cast before anything else"
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)


def test_halved_weights_say_the_same_in_little_more_than_half_the_file(made: Made) -> None:
    half = halved(made.onnx)
    assert len(half) < 0.65 * len(made.onnx)
    tiles = tiles_of(cloth(4))[:4].copy()
    tiles[0, 60:64, 40:90] = 20
    expected = in_onnxruntime(made.onnx, tiles)
    for run in (in_onnxruntime, in_openvino):
        for whole, stored in zip(expected, run(half, tiles), strict=True):
            np.testing.assert_allclose(stored, whole, atol=0.05, rtol=5e-3)  # sigma


def test_weights_keep_the_names_that_fp16_goes_by(made: Made) -> None:
    """backends/typed.py tells a network's convolutions from those that blur by the exporter's names."""
    graph = onnx.load_from_string(made.onnx)
    nodes = [graph.graph.node[index] for index in networks(graph)]
    learnt = {node.input[1] for node in nodes if node.op_type == "Conv"}
    named = [
        name for name, module in made.graph.disagreement.named_modules() if isinstance(module, nn.Conv2d)
    ]
    assert {f"disagreement.{name}.weight" for name in named} == learnt


@pytest.mark.parametrize("count", [1, 2, 9])
def test_runtimes_agree(made: Made, count: int) -> None:
    tiles = tiles_of(cloth(4))[:count].copy()
    tiles[0, 60:64, 40:90] = 20
    maps, scores = in_torch(made, tiles)
    assert (maps.shape, scores.shape) == ((count, CELLS, CELLS), (count,))
    assert maps.dtype == scores.dtype == np.float32
    assert np.array_equal(scores, maps.max((1, 2)))
    for seen in (in_onnxruntime(made.onnx, tiles), in_openvino(made.onnx, tiles)):
        assert [s.dtype for s in seen] == [np.float32, np.float32]
        # float32 sums in another order: a rounding of 1e-7, divided by a deviation of good web near 1e-3.
        np.testing.assert_allclose(seen[0], maps, rtol=1e-4, atol=2e-3)
        np.testing.assert_allclose(seen[1], scores, rtol=1e-4, atol=2e-3)


def test_a_score_depends_on_its_tile_alone(made: Made) -> None:
    tiles = tiles_of(cloth(5))[:6].copy()
    alone = np.concatenate([in_onnxruntime(made.onnx, tiles[i : i + 1])[1] for i in range(6)])
    faulty = np.concatenate([tiles, np.full_like(tiles[:1], 255), np.zeros_like(tiles[:1])])
    for order in (np.arange(8), np.arange(8)[::-1], np.array([6, 0, 1, 7, 2, 3, 4, 5])):
        together = in_onnxruntime(made.onnx, faulty[order])[1]
        by_tile = together[np.argsort(order)][:6]
        # Not bit for bit: a runtime may add up in another order for another batch size.
        np.testing.assert_allclose(by_tile, alone, rtol=1e-5, atol=1e-4)


def line_scores(made: Made, seed: int) -> list[float]:
    """A line over the full height of the tile: upright, lying, and both once more from the other side."""
    tile = inner_tiles(cloth(seed))[0].copy()
    centre = MARGIN + TILE // 2
    tile[:, centre : centre + 4] = 30
    turned = np.stack([np.rot90(tile, turn) for turn in range(4)])
    return [float(score) for score in in_onnxruntime(made.onnx, turned)[1]]


def test_a_line_across_the_whole_tile_scores_alike_in_every_direction(made: Made) -> None:
    good = in_onnxruntime(made.onnx, inner_tiles(cloth(6)))[1].max()
    for seed in (7, 8):
        up, left, down, right = line_scores(made, seed)
        assert min(up, left, down, right) > 1.5 * good
        # Random filters are not symmetric: even one line upside down scores 1.5 times itself, so both ways are
        # taken together. Normalised over its own direction, as in the authors' code, a line is lost.
        assert 1 / 2.5 < (up + down) / (left + right) < 2.5


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("grey", [0, 250])
def test_a_fault_scores_alike_at_centre_edge_and_corner(made: Made, size: int, grey: int) -> None:
    """One spot in one piece of web, which the grid cuts at nine places of its tile."""
    good = in_onnxruntime(made.onnx, inner_tiles(cloth(6)))[1].max()
    web = cloth(9)
    at = 160
    web[at : at + size, at : at + size] = grey
    # Steps of 16 px, the deepest stride: what is left to differ is how far the fault is from the borders.
    places = (MARGIN, MARGIN + TILE // 4, MARGIN + TILE - 16)
    cuts = [web[at - row :, at - column :][:SIDE, :SIDE] for row in places for column in places]
    scores = in_onnxruntime(made.onnx, np.stack(cuts))[1]
    assert scores.min() > 2 * good
    # A margin of 32 px is less than the networks see, so their zero padding still shows: 1.3 at most here.
    assert scores.max() / scores.min() < 1.5


@pytest.mark.parametrize("cut", [inner_tiles, tiles_of], ids=["real margins", "the web's own edges"])
def test_borders_of_good_tiles_do_not_light_up(made: Made, cut: object) -> None:
    maps = np.concatenate([in_torch(made, cut(cloth(seed)))[0] for seed in (10, 11, 12, 13)])  # type: ignore[operator]
    border = np.ones((CELLS, CELLS), bool)
    border[2:-2, 2:-2] = False
    assert abs(maps[:, border].mean() - maps[:, ~border].mean()) < 0.5  # sigma
    assert maps[:, border].max() < 1.5 * maps[:, ~border].max()


@pytest.mark.parametrize("width", [64, 125, 126, 127, 128])
def test_the_graph_knows_the_webs_own_edges(made: Made, width: int) -> None:
    pixels = cloth(14)[:128, :width].copy()
    tiles = tiles_of(pixels)
    sides = mirrored(as_pixels(tiles), made.graph.disagreement.shape).numpy()
    columns = 1 if width == 64 else 2
    expected = [
        [row == 0, row == 1, column == 0, column == columns - 1]
        for row in range(2)
        for column in range(columns)
    ]
    assert np.array_equal(sides, np.array(expected, np.float32))
    assert not mirrored(as_pixels(inner_tiles(cloth(14))), made.graph.disagreement.shape).any()


def random_maps(count: int) -> torch.Tensor:
    """Two layers."""
    return torch.rand(count, 2, CELLS, CELLS, generator=torch.Generator().manual_seed(0))


def test_a_layer_counts_the_same_whatever_its_scale() -> None:
    maps, sides = random_maps(8), torch.zeros(8, 4)
    larger = maps * torch.tensor([1.0, 4.0]).view(1, 2, 1, 1)
    one, other = (Scoring.of(m, sides, SHAPE, (0.5, 0.5))(m, sides) for m in (maps, larger))
    assert torch.allclose(one, other, atol=1e-4)


def test_a_side_no_tile_showed_takes_what_the_others_did() -> None:
    maps = random_maps(6)
    sides = torch.zeros(6, 4)
    sides[:3, 0] = 1
    maps[:3, :, :4] += 5
    constants = measure(maps, sides, 4)
    real, edges = constants.zone_mean
    assert torch.equal(edges[:, 0], edges[:, 3])
    assert (edges > 5).all()
    assert torch.allclose(real, torch.full_like(real, 0.5), atol=0.2)
    assert torch.allclose(constants.mean, torch.full((2,), 0.5), atol=0.1)


@pytest.mark.parametrize(
    ("zone", "free", "is_alone"), [(20, 1, False), (20, 8, False), (4, 1, False), (4, 8, True)]
)
def test_a_side_is_known_from_all_tiles_that_show_it(zone: int, free: int, is_alone: bool) -> None:
    """A single tile without mirrored sides outweighs no others; eight do in small tiles, where such sides reach far."""
    maps = torch.rand(24, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    sides = torch.zeros(24, 4)
    sides[free:, 0] = 1
    maps[:free, :, :, :zone] += 3  # what these tiles happen to show at their left
    real, _ = measure(maps, sides, zone).zone_mean
    left = 0.5 + (3 if is_alone else 3 * free / 24)
    assert torch.allclose(real[:, 2], torch.full_like(real[:, 2], left), atol=0.1)


def test_what_shines_through_a_real_margin_is_taken_off() -> None:
    """A deep layer sees past the margin into zero padding: every tile's border would draw the grid."""
    maps = random_maps(8)
    maps[:, 1, :, -3:] += 4
    fused = Scoring.of(maps, torch.zeros(8, 4), SHAPE, (0.5, 0.5))(maps, torch.zeros(8, 4))
    assert abs(fused[..., -3:].mean() - fused[..., :-3].mean()) < 0.5
    assert torch.allclose(measure(maps, torch.zeros(8, 4), 4).mean, torch.full((2,), 0.5), atol=0.1)


def test_nan_comes_out_as_nan(made: Made) -> None:
    tiles = tiles_of(cloth(4))[:2]
    # The last weights before the distance; further inside, a runtime's ReLU may swallow it: the next test.
    for name in ("disagreement.students.heads.0.weight", "scoring.each.mean"):
        model = onnx.load_from_string(made.onnx)
        (tensor,) = (t for t in model.graph.initializer if t.name == name)
        values = numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[0] = np.nan
        tensor.CopyFrom(numpy_helper.from_array(values, name))
        for run in (in_onnxruntime, in_openvino):
            maps, scores = run(model.SerializeToString(), tiles)
            assert np.isnan(maps).all()
            assert np.isnan(scores).all()


def test_weights_that_are_no_numbers_never_become_a_graph() -> None:
    teachers, students = random_teachers("balanced", 1, 0), build_students("balanced", 1, 1)
    with torch.no_grad():
        next(students.parameters()).view(-1)[0] = float("nan")
    with pytest.raises(ArtefactError, match=r"is not a finite.*train again"):
        build_graph(teachers, students, tiles_of(cloth(3, 128)), SHAPE)


def test_colour_tiles(tmp_path: Path) -> None:
    teachers, students = random_teachers("fast", 3, 0), build_students("fast", 3, 1)
    tiles = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    graph = build_graph(teachers, students, tiles, Shape(32, 16, 3), pair="fast")
    model = to_onnx(graph)
    maps, scores = in_onnxruntime(model, tiles)
    with torch.inference_mode():
        expected = graph(torch.from_numpy(tiles))
    np.testing.assert_allclose(maps, expected[0].numpy(), rtol=1e-3, atol=2e-2)  # sigma
    assert scores.shape == (3,)
    swapped = in_onnxruntime(model, np.ascontiguousarray(tiles[..., ::-1]))[1]
    assert not np.allclose(scores, swapped), "red and blue are not the same"
