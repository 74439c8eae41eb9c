"""Figures of merit against their definitions, worked out the slow way."""

from __future__ import annotations

import numpy as np
import pytest

from inspector.evaluating.metrics import BINS, PixelFigures, auroc


def slow_auroc(scores: np.ndarray, faulty: np.ndarray) -> float:
    good, bad = scores[~faulty][:, None], scores[faulty][None, :]
    return float(((bad > good) + 0.5 * (bad == good)).mean())


def regions(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """8-connected pieces by flood fill."""
    left, found = set(zip(*np.nonzero(mask), strict=True)), []
    while left:
        todo, piece = [left.pop()], []
        while todo:
            row, column = todo.pop()
            piece.append((int(row), int(column)))
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            todo += near
        found.append(piece)
    return found


def slow_aupro(maps: list[np.ndarray], masks: list[np.ndarray], judged: list[np.ndarray]) -> float:
    pieces = [
        [maps[i][at] for at in piece] for i, mask in enumerate(masks) for piece in regions(mask & judged[i])
    ]
    good = np.concatenate([m[j & ~k] for m, j, k in zip(maps, judged, masks, strict=True)])
    rates, overlaps = [0.0], [0.0]
    for limit in np.unique(np.concatenate([m[j] for m, j in zip(maps, judged, strict=True)]))[::-1]:
        rates.append(float((good >= limit).mean()))
        overlaps.append(float(np.mean([(np.array(piece) >= limit).mean() for piece in pieces])))
    area = 0.0
    for (x0, y0), (x1, y1) in zip(
        zip(rates, overlaps, strict=True), list(zip(rates, overlaps, strict=True))[1:], strict=False
    ):
        end = min(x1, 0.3)
        if end > x0:
            area += (end - x0) * (y0 + y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2
    return area / 0.3


@pytest.mark.parametrize("levels", [3, 40, 10**6])
def test_auroc_counts_pairs_and_halves_ties(levels: int) -> None:
    random = np.random.default_rng(levels)
    faulty = random.random(300) < 0.3
    scores = random.integers(levels, size=300) + faulty * levels // 4
    assert auroc(scores, faulty) == pytest.approx(slow_auroc(scores, faulty), abs=1e-12)


def test_auroc_of_one_class_is_undefined() -> None:
    assert auroc([1.0, 2.0], [True, True]) is None
    assert auroc([1.0, 2.0], [False, False]) is None
    assert auroc([], []) is None
    assert auroc([1.0, 2.0], [False, True]) == 1.0
    assert auroc([2.0, 2.0], [False, True]) == 0.5


def pack(seed: int, step: float) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Five images, two of them good, faults touching at corners, scores in steps so that ties occur."""
    random = np.random.default_rng(seed)
    maps, masks, judged = [], [], []
    for number in range(5):
        mask = np.zeros((24, 31), np.bool_)
        if number < 3:
            mask[4:9, 5:8], mask[9:12, 8:13], mask[20, 20 + number] = True, True, True
        scores = random.normal(0, 3, mask.shape) + 4 * mask * random.random(mask.shape)
        maps.append((np.round(scores / step) * step).astype(np.float32))
        masks.append(mask)
        inside = np.ones_like(mask)
        inside[:, :6] = number % 2 == 0
        judged.append(inside)
    return maps, masks, judged


@pytest.mark.parametrize(("seed", "step"), [(1, 0.5), (2, 0.01), (3, 2.0)])
def test_pixel_figures_are_those_of_the_definition(seed: int, step: float) -> None:
    maps, masks, judged = pack(seed, step)
    figures = PixelFigures()
    for one in zip(maps, masks, judged, strict=True):
        figures.add(*one)
    scores = np.concatenate([m[j] for m, j in zip(maps, judged, strict=True)])
    faulty = np.concatenate([m[j] for m, j in zip(masks, judged, strict=True)])
    assert figures.auroc() == pytest.approx(slow_auroc(scores, faulty), abs=1e-9)
    assert figures.aupro() == pytest.approx(slow_aupro(maps, masks, judged), abs=1e-9)
    assert figures.faults == sum(len(regions(m & j)) for m, j in zip(masks, judged, strict=True))


def test_pixel_figures_at_their_ends() -> None:
    mask = np.zeros((10, 10), np.bool_)
    mask[2:4, 2:4] = True
    everywhere = np.ones_like(mask)
    perfect, blind = PixelFigures(), PixelFigures()
    perfect.add(mask.astype(np.float32) * 9, mask, everywhere)
    blind.add(np.zeros((10, 10), np.float32), mask, everywhere)
    assert (perfect.auroc(), perfect.aupro()) == (1.0, 1.0)
    assert blind.auroc() == 0.5
    assert blind.aupro() == pytest.approx(0.15)  # the diagonal: half of 0.3, normalised


def test_pixel_figures_without_faults_are_undefined() -> None:
    figures = PixelFigures()
    assert (figures.auroc(), figures.aupro()) == (None, None)
    figures.add(np.ones((4, 4), np.float32), np.zeros((4, 4), np.bool_), np.ones((4, 4), np.bool_))
    assert (figures.auroc(), figures.aupro()) == (None, None)


def test_a_fault_unlike_any_other_does_not_blur_the_small_differences() -> None:
    """Bins spread evenly to the highest score would put all of this web into one."""
    scores = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    mask = scores > 0.5
    scores[0, 0] = 1e5
    figures = PixelFigures()
    figures.add(scores, mask, np.ones_like(mask))
    assert figures.auroc() == pytest.approx(slow_auroc(scores.ravel(), mask.ravel()), abs=1e-12)
    assert BINS > 1000
