"""Confidence intervals against resampling done the slow way, and against all resamples there are."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.evaluating import bootstrap
from inspector.evaluating.bootstrap import auroc_ci95, pixel_ci95
from inspector.evaluating.metrics import PixelFigures, auroc


def singly(values: np.ndarray) -> list[np.ndarray]:
    """One item an image."""
    return [np.array([value]) for value in values]


def image_ci(scores: np.ndarray, faulty: np.ndarray) -> tuple[float, float] | None:
    return auroc_ci95(singly(scores), singly(faulty), faulty)


def test_interval_is_that_of_all_resamples_there_are() -> None:
    """Three good and three faulty images can be drawn in 27 times 27 equally likely ways."""
    good, faulty = np.array([1.0, 2.0, 5.0]), np.array([3.0, 4.0, 9.0])
    draws = list(product(range(3), repeat=3))
    labels = np.repeat([False, True], 3)
    all_ = [
        auroc(np.concatenate([good[list(a)], faulty[list(b)]]), labels) for a, b in product(draws, repeat=2)
    ]
    interval = image_ci(np.concatenate([good, faulty]), labels)
    assert interval is not None
    low, high = interval
    assert np.quantile(all_, 0.015) <= low <= np.quantile(all_, 0.035)
    assert high == np.quantile(all_, 0.975) == 1.0


def test_tiles_are_drawn_with_their_images() -> None:
    """All tiles of an image are alike here: the interval is that of images, not of 40 times as many tiles."""
    random = np.random.default_rng(3)
    faulty = np.arange(24) % 2 == 1
    scores = random.normal(0, 1, 24) + faulty
    tiles = [np.full(40, score) for score in scores]
    labels = [np.full(40, label) for label in faulty]
    assert auroc_ci95(tiles, labels, faulty) == pytest.approx(image_ci(scores, faulty), abs=1e-12)
    apart = auroc_ci95(singly(np.concatenate(tiles)), singly(np.concatenate(labels)), np.concatenate(labels))
    assert apart is not None
    whole = image_ci(scores, faulty)
    assert whole is not None
    assert apart[1] - apart[0] < 0.4 * (whole[1] - whole[0])


def test_good_tiles_of_a_faulty_image_are_drawn_with_it() -> None:
    random = np.random.default_rng(4)
    tiles = [random.normal(0, 1, count) for count in (5, 3, 7, 4)]
    labels = [np.zeros(5, bool), np.zeros(3, bool), np.arange(7) < 2, np.arange(4) < 1]
    faulty_images = np.array([False, False, True, True])
    figures = []
    for good, faulty in product(product((0, 1), repeat=2), product((2, 3), repeat=2)):
        drawn = [*good, *faulty]
        figures.append(
            auroc(np.concatenate([tiles[i] for i in drawn]), np.concatenate([labels[i] for i in drawn]))
        )
    interval = auroc_ci95(tiles, labels, faulty_images)
    assert interval == (
        pytest.approx(min(figures)),
        pytest.approx(max(figures)),
    )  # each comes in 6 % and more


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.integers(-3, 3), min_size=2, max_size=12),
    st.lists(st.integers(-3, 3), min_size=2, max_size=12),
)
def test_the_interval_holds_the_figure(good: list[int], faulty: list[int]) -> None:
    scores = np.array([*good, *faulty], np.float64)
    labels = np.array([False] * len(good) + [True] * len(faulty))
    figure, interval = auroc(scores, labels), image_ci(scores, labels)
    assert figure is not None
    assert interval is not None
    assert 0 <= interval[0] <= figure <= interval[1] <= 1
    assert image_ci(scores, labels) == interval


@pytest.mark.parametrize(("good", "faulty"), [(0, 0), (1, 5), (5, 1), (0, 5), (5, 0)])
def test_where_nothing_can_be_drawn_there_is_no_interval(good: int, faulty: int) -> None:
    labels = np.array([False] * good + [True] * faulty, np.bool_)
    assert image_ci(np.arange(good + faulty, dtype=np.float64), labels) is None


def pixel_pack(seed: int) -> tuple[list[tuple[np.ndarray, np.ndarray, np.ndarray]], np.ndarray]:
    """Four good and five faulty images; scores of whole sigma, that wide bins tell apart as fine ones do."""
    random = np.random.default_rng(seed)
    pack = []
    for number in range(9):
        mask = np.zeros((20, 30), np.bool_)
        if number >= 4:
            mask[3:7, 4:9], mask[12, 5 + number] = True, True
        scores = np.round(random.normal(0, 2, mask.shape) + (random.random() + 1) * 2 * mask)
        pack.append((scores.astype(np.float32), mask, np.ones_like(mask)))
    return pack, np.arange(9) >= 4


def test_pixel_intervals_are_those_of_images_added_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same draws, but with every drawn image put through PixelFigures as often as it was drawn."""
    pack, faulty = pixel_pack(1)
    draws = next(bootstrap.draws(faulty))[:40]
    assert (draws[:, faulty].sum(axis=1) == 5).all()
    assert (draws[:, ~faulty].sum(axis=1) == 4).all()
    whole = PixelFigures()
    for one in pack:
        whole.add(*one)
    slow = []
    for times in draws.astype(int):
        again = PixelFigures()
        for one in np.repeat(np.arange(9), times):
            again.add(*pack[one])
        slow.append((again.auroc(), again.aupro()))
    monkeypatch.setattr(bootstrap, "draws", lambda image_faulty: iter([draws]))
    both = pixel_ci95(whole.images, faulty, whole.auroc(), whole.aupro())
    for interval, figures in zip(both, zip(*slow, strict=True), strict=True):
        assert interval == pytest.approx(tuple(np.quantile(figures, (0.025, 0.975))), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_pixel_intervals_hold_their_figures(seed: int) -> None:
    pack, faulty = pixel_pack(seed)
    figures = PixelFigures()
    for one in pack:
        figures.add(*one)
    pixel_auroc, aupro = figures.auroc(), figures.aupro()
    both = pixel_ci95(figures.images, faulty, pixel_auroc, aupro)
    for interval, figure in zip(both, (pixel_auroc, aupro), strict=True):
        assert interval is not None
        assert figure is not None
        assert interval[0] < figure < interval[1]
    assert pixel_ci95(figures.images, faulty, pixel_auroc, aupro) == both


def test_pixel_figures_that_are_undefined_have_no_interval() -> None:
    figures = PixelFigures()
    for _ in range(3):
        figures.add(np.ones((4, 4), np.float32), np.zeros((4, 4), np.bool_), np.ones((4, 4), np.bool_))
    assert pixel_ci95(figures.images, np.zeros(3, bool), None, None) == (None, None)
