"""Limits where good images differ from each other, on scores whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inspector.calibrating.differing import Differing, raised
from inspector.calibrating.tail import Tail, find_limit
from inspector.records import F64

RATE = 1e-5
BLOCKS = 400


def scores(spread: float, images: int, seed: int) -> list[F64]:
    rng = np.random.default_rng(seed)
    return [rng.gumbel(3, 0.6, BLOCKS) * math.exp(rng.normal(0, spread)) for _ in range(images)]


def true_rate(limit: float, spread: float) -> float:
    factors = np.exp(np.random.default_rng(1).normal(0, spread, 4000))
    return float(np.mean(1 - np.exp(-np.exp(-(limit / factors - 3) / 0.6))))


def test_a_tail_tells_the_share_above_what_it_tells_as_a_quantile() -> None:
    for shape in (0.0, 0.2):
        tail = Tail(5.0, 40, 0.1, 0.7, shape)
        for rate in (0.05, 1e-3, 1e-6):
            assert tail.share_above(tail.quantile(rate)) == pytest.approx(rate)
        assert tail.share_above(5.0) == pytest.approx(0.1)


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.3])
def test_the_spread_is_that_of_images_without_what_medians_scatter_by(spread: float) -> None:
    found = [Differing.of(scores(spread, 40, seed)) for seed in range(10)]
    spreads = [one.spread for one in found if one is not None]
    assert len(spreads) == 10
    assert np.mean(spreads) == pytest.approx(spread, abs=0.03)


def test_a_limit_and_its_rate_are_two_sides() -> None:
    found = Differing.of(scores(0.2, 20, 0))
    assert found is not None
    limit = found.quantile(RATE, 0.2)
    assert found.rate_above(limit, 0.2) == pytest.approx(RATE, rel=0.01)
    assert true_rate(limit, 0.2) == pytest.approx(RATE, rel=0.9)
    assert found.bound(RATE) > found.quantile(RATE, found.spread)


def test_the_promise_is_kept_where_images_differ() -> None:
    """Eighty in a hundred limits are to bring no more false alarms than asked for; the tail alone kept a few."""
    alone, both = [], []
    for seed in range(25):
        drawn = scores(0.25, 12, seed)
        found = find_limit(drawn, RATE)
        alone.append(true_rate(found.limit, 0.25) <= RATE)
        both.append(true_rate(raised(found, drawn, RATE).limit, 0.25) <= RATE)
    assert np.mean(alone) < 0.5
    assert np.mean(both) >= 0.7


def test_the_promise_is_kept_where_images_differ_by_offsets() -> None:
    """Means over windows move up and down as a whole; rate of new images' blocks by a million draws."""
    random, rate = np.random.default_rng(3), 1e-3
    truth = np.sort(random.normal(0, 2.0, 10**6) + random.gumbel(0, 0.5, 10**6))
    alone, both, limits = [], [], []
    for _ in range(25):
        drawn = [offset + random.gumbel(0, 0.5, 32) for offset in random.normal(0, 2.0, 10)]
        found = find_limit(drawn, rate)
        higher = raised(found, drawn, rate, by_offsets=True)
        alone.append(float((truth > found.limit).mean()) <= rate)
        both.append(float((truth > higher.limit).mean()) <= rate)
        limits.append(higher.limit / found.limit)
    assert np.mean(alone) < 0.5
    assert np.mean(both) >= 0.75
    assert np.median(limits) < 1.5, "not at any price"


def test_images_that_are_alike_leave_the_limit_as_it_is() -> None:
    drawn = scores(0.0, 12, 0)
    found = find_limit(drawn, RATE)
    assert raised(found, drawn, RATE) == found


def test_an_image_of_few_blocks_does_not_hide_how_the_others_differ() -> None:
    drawn = scores(0.25, 12, 0)
    found, short = Differing.of(drawn), Differing.of([*drawn, drawn[0][:6]])
    assert found is not None
    assert short is not None
    assert (short.spread, short.images) == (found.spread, found.images)


@pytest.mark.parametrize(
    "drawn", [[np.arange(1.0, 90.0)], [np.arange(1.0, 6.0)] * 12, [np.full(50, 3.0)] * 3]
)
def test_what_does_not_tell_how_images_differ(drawn: list[F64]) -> None:
    assert Differing.of(drawn) is None
