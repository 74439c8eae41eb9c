"""How layers' maps become one: what is taken off, what each weighs."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from inspector.learning.cells import Shape
from inspector.learning.export import build_graph
from inspector.learning.fusion import (
    FINE,
    POWER,
    PUBLISHED,
    TURNED,
    WIDE,
    WIDE_AT_HALF,
    Scoring,
    counted_layers,
    evened,
    joined,
    log_by_roots,
    power_of,
    shares_of,
    weights_of,
)
from inspector.learning.students import build_students
from inspector.learning.teachers import AS_PUBLISHED, pair_layers, random_teachers
from tests.conftest import ROOT


def test_a_layer_counts_by_its_stride_and_a_published_pair_as_published() -> None:
    for pair, wide in (("balanced", WIDE), ("faster", WIDE_AT_HALF), ("fastest", WIDE_AT_HALF)):
        strides = [layer.stride for layer in pair_layers(pair)]
        counted = [replace(layer, weight=1.0) for layer in counted_layers(pair)]
        assert counted == [wide if stride == 32 else FINE for stride in strides]
        assert wide in counted
    for pair in AS_PUBLISHED:
        assert counted_layers(pair) == [PUBLISHED] * len(pair_layers(pair))


def layer_weights(pair: str) -> list[float]:
    layers = counted_layers(pair)
    weights = iter(weights_of(layers))
    sums = [sum(next(weights) for _ in range(layer.kinds)) for layer in layers]
    assert next(weights, None) is None
    return sums


def test_a_stride_of_one_teacher_weighs_as_two_layers_and_a_turned_teachers_more() -> None:
    upright: dict[int, float] = {}
    turned: dict[int, float] = {}
    for layer, weight in zip(pair_layers("balanced"), layer_weights("balanced"), strict=True):
        (turned if layer.turned else upright)[layer.stride] = weight
    one = upright[4]
    assert upright == {4: one, 8: pytest.approx(one), 16: pytest.approx(one), 32: pytest.approx(2 * one)}
    assert turned == {stride: pytest.approx(TURNED * one) for stride in (4, 8, 16)}
    assert sum(upright.values()) + sum(turned.values()) == pytest.approx(1)


@pytest.mark.parametrize("pair", ["faster", "fastest"])
def test_of_tiles_at_half_of_their_size_every_map_weighs_the_same(pair: str) -> None:
    weights = weights_of(counted_layers(pair))
    assert weights == [pytest.approx(1 / 5)] * 5


def test_a_logarithm_by_roots_is_one() -> None:
    x = torch.logspace(0, 6, 2001)
    exact = x.double().log()
    apart = (log_by_roots(x).double() - exact).abs()
    assert (apart <= 1e-4 * exact + 2e-6).all()
    assert log_by_roots(torch.tensor([1.0])) == 0
    assert torch.isnan(log_by_roots(torch.tensor([float("nan")]))).all()
    assert (log_by_roots(torch.logspace(0, 38, 500)).diff() > 0).all(), "what is higher stays higher"


@pytest.mark.parametrize("pair", AS_PUBLISHED)
def test_every_layer_of_a_published_pair_weighs_the_same(pair: str) -> None:
    assert layer_weights(pair) == pytest.approx([1 / len(pair_layers(pair))] * len(pair_layers(pair)))


def test_a_published_pair_is_joined_as_a_product_in_graph_and_ablation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)
    for pair, power in (("reduced", 1.0), ("faster", POWER)):
        graph = build_graph(
            random_teachers(pair, 1, 0), build_students(pair, 1, 1), tiles, Shape(32, 16, 1), pair=pair
        )
        assert power_of(pair) == graph.scoring.power == power
    monkeypatch.syspath_prepend(ROOT / "tools")
    for row in importlib.import_module("ablation").rows():
        if row.training in AS_PUBLISHED:
            assert row.power == power_of(row.training)


def test_the_ablation_judges_every_preset_as_the_graph_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    ablation = importlib.import_module("ablation")
    rows = list(ablation.rows())
    for training in ("default", "fast", "faster", "fastest", *AS_PUBLISHED):
        row = next(row for row in rows if row.training == training)  # the first is the preset as it is
        pair = ablation.TRAININGS[training].pair
        assert row.power == power_of(pair)
        judged = dict(zip(row.layers, ablation.counted_of(row), strict=True))
        names = [f"{ablation.SHORT[layer.network]}{layer.stride}" for layer in pair_layers(pair)]
        assert weights_of([judged[name] for name in names]) == pytest.approx(weights_of(counted_layers(pair)))
        assert shares_of([judged[name] for name in names]) == shares_of(counted_layers(pair))


def test_the_constants_of_all_maps_together_are_of_what_they_are_joined_to() -> None:
    maps = torch.rand(8, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    sides = torch.zeros(8, 4)
    for power in (1.0, POWER):
        sigma = Scoring.of(maps, sides, Shape(64, 16, 1), (0.5, 0.5), power)(maps, sides)
        assert abs(float(sigma.mean())) < 0.1
        assert float(sigma.std()) == pytest.approx(1.0, abs=0.1)


def test_each_map_loses_its_share_of_what_the_tile_shows_throughout() -> None:
    maps = torch.zeros(1, 3, 32, 32) + 2.0
    maps[:, :, :8, :8] = 50.0  # a fault in one block of sixteen moves no median
    left = evened(maps, (1.0, 0.5, 0.0))
    assert left[0, :, -1, -1].tolist() == [0.0, 1.0, 2.0]
    assert left[0, :, 0, 0].tolist() == [48.0, 49.0, 50.0]


def of(*sigmas: float, weights: tuple[float, ...] = (0.5, 0.5), power: float = POWER) -> float:
    return float(joined(torch.tensor(sigmas).view(1, -1, 1, 1), torch.tensor(weights), power))


def test_joined_lies_between_a_product_and_the_highest() -> None:
    assert of(8.0, 0.0, power=1.0) == pytest.approx(2.0)
    assert of(8.0, 0.0) == of(8.0, -5.0) == pytest.approx(9**0.5 ** (1 / POWER) - 1)
    assert 2.0 < of(8.0, 0.0) < of(8.0, 0.0, power=4.0) < of(8.0, 0.0, power=64.0) < 8.0


def test_no_map_brings_what_the_others_see_to_nothing() -> None:
    assert of(8.0, 8.0) == pytest.approx(8.0)
    assert of(0.0, 0.0) == of(-1.0, -9.0) == 0.0
    assert of(3.0, 3.0) > of(6.0, 0.0), "a little in both counts more than the same sum in one"
    assert of(8.0, 0.0, weights=(1.0, 0.0)) == pytest.approx(8.0)
    assert torch.isnan(
        joined(torch.tensor([float("nan"), 1.0]).view(1, 2, 1, 1), torch.tensor([0.5, 0.5]))
    ).all()
