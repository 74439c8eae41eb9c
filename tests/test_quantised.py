"""int8 by Q/DQ: what is rounded, what that does to features and scores, and that every runtime takes the same file.

Teachers are random and cut off at stride 8, so that a graph is exported in seconds.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto
from torch import nn

from inspector.backends import build_engine, golden, open_backend
from inspector.backends.artifact import SCHEMA, Recipe, Training, load_recipe, sha256_of, write_recipe
from inspector.backends.engine import score_loose
from inspector.backends.proving import GOLDEN, score_with_reference, trial_tiles
from inspector.backends.runtime import Means, Unsuited
from inspector.backends.typed import in_fp16
from inspector.errors import ArtefactError, ConfigError
from inspector.learning import teachers as known
from inspector.learning.cells import Shape
from inspector.learning.distill import Course, as_pixels, distill, look
from inspector.learning.export import InspectionGraph, build_graph, to_onnx
from inspector.learning.halved import halved
from inspector.learning.networks import SameConv2d
from inspector.learning.quantised import WEIGHT_MOST, QuantisedConv2d, quantise
from inspector.learning.students import build_students
from inspector.learning.teachers import Teacher, TeacherSpec, random_teachers
from inspector.learning.train import refuse_int8
from inspector.records import U8
from tests.graphs import write_tiny_recipe
from tests.random_weights import write_random_weights
from tests.small_recipe import PLANT
from tests.test_train import inspector, training

SHAPE = Shape(64, 32, 1)
INT8 = golden.TOLERANCES["int8"]
NETWORKS = ("disagreement.teachers.", "disagreement.students.")
IN_FLOAT = ("conv_stem.", "stem.0.0.", "heads.")


def cloth(seed: int, count: int) -> U8:
    """Tiles of a plain weave of period 8 px with noise, each with a dark spot where ``seed`` is 0."""
    side = SHAPE.side_px
    rows, columns = np.mgrid[:side, :side]
    threads = 30 * np.sin(rows * np.pi / 4) * np.sin(columns * np.pi / 4)
    noise = np.random.default_rng(seed).normal(0, 12, (count, side, side))
    web = np.clip(128 + threads + noise, 0, 255).astype(np.uint8)
    for number, tile in enumerate(web[: count if seed == 0 else 0]):
        tile[50 : 58 + 2 * number, 60:72] = 40
    return web


def nothing(done: int, total: int, note: str = "") -> None:
    pass


class Made(NamedTuple):
    before: Teacher
    teacher: Teacher
    graph: InspectionGraph
    onnx: bytes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Distilled against the quantised teacher as `train` does it, but soon."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(known.PAIRS, "tiny", (TeacherSpec("efficientnet_lite0", (4, 8)),))
        (teacher,) = random_teachers("tiny", 1, 0)
        before = copy.deepcopy(teacher)
        learnt, validation = cloth(1, 16), cloth(2, 8)
        quantise(teacher, learnt)
        students = build_students("tiny", 1, 1, width=8)
        lessons = look([teacher], learnt, nothing), look([teacher], validation, nothing)
        distill(students, *lessons, Course(4, 0, "test"), tmp_path_factory.mktemp("course"), nothing)
        quantise(students, learnt)
        graph = build_graph([teacher], students, validation, SHAPE, [learnt], pair="tiny")
        yield Made(before, teacher, graph, halved(to_onnx(graph)))


@pytest.fixture(scope="module")
def plant(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe's folder, without engines."""
    folder = tmp_path_factory.mktemp("engines") / "cloth8"
    learnt = Training(
        date_utc="2026-11-24T02:00:00+00:00",
        inspector="0.1.0",
        preset="fast",
        int8=True,
        data="good",
        learnt={},
        validation={},
        seed=0,
        epochs=4,
    )
    folder.mkdir()
    (folder / "model.onnx").write_bytes(made.onnx)
    write_recipe(
        folder,
        Recipe(
            schema=SCHEMA,
            name="cloth8",
            tile_px=SHAPE.tile_px,
            margin_px=SHAPE.margin_px,
            px_per_cell=4,
            channels=1,
            teachers=("efficientnet_lite0",),
            onnx_sha256=sha256_of(made.onnx),
            training=learnt,
        ),
    )
    return folder


def off(said: torch.Tensor, before: torch.Tensor) -> float:
    """Root mean square of a deviation, against the features' own spread."""
    return float((said - before).square().mean().sqrt() / before.std())


def test_a_quantised_teacher_says_nearly_what_it_said(made: Made) -> None:
    with torch.inference_mode():
        pixels = as_pixels(cloth(3, 4))
        deviations = [
            off(said, before) for said, before in zip(made.teacher(pixels), made.before(pixels), strict=True)
        ]
    assert 0.001 < max(deviations) < 0.1  # nothing at all would mean that nothing was rounded


def test_what_is_quantised_and_what_is_not(made: Made) -> None:
    for network in (made.teacher, made.graph.disagreement.students):
        assert not [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
        left = [name for name, one in network.named_modules() if isinstance(one, nn.Conv2d)]
        assert left
        assert all(f"{name}.".endswith(IN_FLOAT[:2]) or name.startswith(IN_FLOAT[2]) for name in left)
        rounded = [one for one in network.modules() if isinstance(one, QuantisedConv2d)]
        for one in rounded:
            # 16 bits hold two products of a uint8 and such a weight.
            assert int(one.weight.abs().max()) == WEIGHT_MOST
            assert one.weight.dtype == torch.int8
            assert one.input_step > 0
    assert 2 * 255 * WEIGHT_MOST < 2**15


def test_folding_batchnorm_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """BatchNorm that has learnt: means, deviations, factors."""
    monkeypatch.setattr("inspector.learning.quantised._inner", lambda network: [])
    students = build_students("fast", 1, 0)
    with torch.no_grad():
        for _ in range(3):
            students(as_pixels(cloth(4, 8)))
        students.eval()
        before = students(as_pixels(cloth(5, 2)))
        quantise(students, cloth(4, 2))
        for said, was in zip(students(as_pixels(cloth(5, 2))), before, strict=True):
            assert off(said, was) < 1e-5


def initial(model: ModelProto) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def test_the_onnx_has_q_dq_on_every_inner_convolution(made: Made) -> None:
    model = onnx.load_from_string(made.onnx)
    onnx.checker.check_model(model, full_check=True)
    stored, by_output = initial(model), {name: node for node in model.graph.node for name in node.output}
    inner = 0
    for node in (one for one in model.graph.node if one.op_type == "Conv"):
        taken, weight = by_output.get(node.input[0]), by_output.get(node.input[1])
        name = node.input[1] if weight is None else weight.input[0]
        if not name.startswith(NETWORKS) or any(one in name for one in IN_FLOAT):
            assert taken is None or taken.op_type != "DequantizeLinear"
            continue
        inner += 1
        assert taken is not None
        assert weight is not None
        assert (taken.op_type, by_output[taken.input[0]].op_type) == ("DequantizeLinear", "QuantizeLinear")
        assert stored[taken.input[2]].data_type == TensorProto.INT8, "TensorRT takes no uint8"
        assert weight.op_type == "DequantizeLinear"
        assert stored[name].data_type == TensorProto.INT8, "a byte a weight in the file"
    networks = (made.teacher, made.graph.disagreement.students)
    claimed = [one for net in networks for one in net.modules() if isinstance(one, QuantisedConv2d)]
    assert inner == len(claimed) > 15
    counts = Counter(node.op_type for node in model.graph.node)
    assert (counts["QuantizeLinear"], counts["DequantizeLinear"]) == (inner, 2 * inner)


def test_torch_onnxruntime_and_openvino_agree(made: Made, plant: Path) -> None:
    recipe, tiles = load_recipe(plant), np.concatenate([cloth(0, 4), cloth(6, 4)])
    with torch.inference_mode():
        maps, scores = (one.numpy() for one in made.graph(torch.from_numpy(tiles)))
    reference = score_with_reference(recipe, made.onnx, trial_tiles(recipe, tiles))[GOLDEN]
    assert golden.deviation(reference, (maps, scores), INT8) <= 1
    for backend in ("onnxruntime", "openvino"):
        built = build_engine(plant, backend).engines[backend]
        assert built.precision == "int8"
        engine = open_backend(plant, backend)
        seen = score_loose(engine, tiles)
        assert golden.deviation((seen.scores, seen.tile_scores), (maps, scores), INT8) <= 1
        engine.close()
    assert scores[:4].min() > 2 * scores[4:].max(), "spots are seen"


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_score_depends_on_its_tile_alone(plant: Path, backend: str) -> None:
    build_engine(plant, backend)
    engine = open_backend(plant, backend)
    tiles = np.concatenate([cloth(7, 3), cloth(0, 3)])
    together = score_loose(engine, tiles).tile_scores
    alone = np.concatenate([score_loose(engine, tile[None]).tile_scores for tile in tiles])
    engine.close()
    np.testing.assert_allclose(together, alone, atol=1e-4, rtol=1e-5)


def test_a_recipe_of_int8_has_no_other_precision(plant: Path) -> None:
    with pytest.raises(ArtefactError, match="recipe cloth8 is of int8, by its graph; leave --precision out"):
        build_engine(plant, "openvino", "fp32")


def test_a_recipe_that_is_not_of_int8_has_none(tmp_path: Path) -> None:
    write_tiny_recipe(tmp_path / "tiny")
    with pytest.raises(ArtefactError, match="recipe tiny is not of int8; `inspector train --int8` makes one"):
        build_engine(tmp_path / "tiny", "openvino", "int8")


def test_an_engine_that_deviates_is_refused(plant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(golden.TOLERANCES, "int8", golden.Tolerance(1e-9, 1e-9))
    with pytest.raises(Unsuited, match=r"the int8 engine scores golden tiles .* train without --int8"):
        build_engine(plant, "openvino")


def test_fp16_is_refused_with_a_reason(made: Made) -> None:
    with pytest.raises(Unsuited, match="of int8 already"):
        in_fp16(made.onnx)


def test_tensorrt_builds_it(made: Made, plant: Path) -> None:
    """Parsed and built, as far as that goes without a GPU: nothing is run."""
    from inspector.backends import tensorrt

    try:
        tensorrt.library_version()
    except ArtefactError as error:
        pytest.skip(str(error))
    recipe = load_recipe(plant)
    network = tensorrt.blueprint(recipe, made.onnx, "int8", Means()).network
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    rounding = sum(isinstance(one, QuantisedConv2d) for one in made.graph.modules())
    kinds = Counter((one.type.name, one.get_output(0).dtype.name) for one in layers)
    assert kinds["QUANTIZE", "INT8"] == rounding
    assert len(tensorrt.build_plan(recipe, made.onnx, "int8", Means())) > len(made.onnx) / 2


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_padding_that_is_uneven_moves_nothing(kernel: int, stride: int) -> None:
    conv = SameConv2d(8, 8, kernel, stride, groups=8)
    pixels = torch.rand(1, 8, 20, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert off(QuantisedConv2d(conv, 1.0)(pixels), conv(pixels)) < 0.05


def test_a_channel_that_weighs_nothing_keeps_its_bias_within_int32() -> None:
    conv = nn.Conv2d(8, 4, 1)
    with torch.no_grad():
        conv.weight[0] = 0.0
        conv.bias.fill_(3.0)
    rounded = QuantisedConv2d(conv, 6.0)
    with torch.no_grad():
        assert float((conv.bias / (rounded.input_step * rounded.weight_step)).abs().max()) < 2**31
        assert torch.isfinite(rounded(torch.rand(1, 8, 4, 4))).all()


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_quantised(poison: float) -> None:
    students = build_students("fast", 1, 0).eval()
    with torch.no_grad():
        next(students.stem.parameters())[0, 0, 0, 0] = poison
    with pytest.raises(ArtefactError, match=r"int8: .* takes what is no finite number"):
        quantise(students, cloth(1, 2))


@pytest.mark.parametrize("preset", ["paper", "reduced"])
def test_what_is_kept_as_published_is_not_quantised(preset: str) -> None:
    with pytest.raises(ConfigError, match=f"preset '{preset}' is kept as published, in float32; leave out"):
        refuse_int8(preset)


def test_train_says_so_before_it_looks_at_images(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(PLANT)
    done = inspector(tmp_path, "train", "good", "--recipe", "x", "--preset", "paper", "--int8")
    sentence = "preset 'paper' is kept as published, in float32; leave out --int8, or take another"
    assert (done.returncode, done.stderr) == (2, f"inspector: {sentence}\n")


@pytest.mark.slow
def test_train_int8_leaves_a_recipe_that_a_line_can_run(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(PLANT.replace('"stripes"', '"cloth"'))
    (tmp_path / "good").mkdir()
    for number in range(5):
        web = cloth(number + 1, 1)[0]  # four tiles
        assert cv2.imwrite(str(tmp_path / "good" / f"{number}.png"), web)
    (lite0,) = write_random_weights(tmp_path, "faster")
    done = inspector(tmp_path, *training("cloth", [lite0], "--preset", "faster", "--int8", "--epochs", "2"))
    assert done.returncode == 0, done.stderr
    assert "int8 on" in done.stdout
    assert "golden tiles agree" in done.stdout
    recipe = load_recipe(tmp_path / "engines" / "cloth")
    assert (recipe.training.preset, recipe.training.int8) == ("faster", True)
    open_backend(tmp_path / "engines" / "cloth", "openvino").close()
