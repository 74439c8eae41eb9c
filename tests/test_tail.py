"""The tail's fit against distributions whose tails are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from inspector.calibrating.tail import (
    HIGHEST_SHAPE,
    LOWEST_SHAPE,
    FoundLimit,
    Tail,
    find_limit,
    fit_tail,
    tail_fields,
)
from inspector.images.far_above import far_above
from inspector.limits import Provenance, RunProvenance

RATE = 1e-4


def split(scores: np.ndarray, images: int) -> list[np.ndarray]:
    return list(np.array_split(scores, images))


def test_an_exponential_tail_is_found_and_carried_on() -> None:
    scores = np.random.default_rng(1).exponential(2.0, 20_000)
    tail = fit_tail(scores)
    assert tail.share == pytest.approx(0.1)
    assert abs(tail.shape) < 0.06
    assert tail.quantile(RATE) == pytest.approx(2 * np.log(1 / RATE), rel=0.1)
    assert tail.quantile(0.5) == tail.threshold  # below the threshold the tail says nothing


def test_a_heavy_tail_is_found() -> None:
    """What exceeds any threshold of this distribution (Lomax) has shape 1/4 exactly."""
    scores = np.random.default_rng(2).pareto(4, 50_000)
    assert fit_tail(scores).shape == pytest.approx(0.25, abs=0.05)


def test_the_shape_stays_within_bounds() -> None:
    random = np.random.default_rng(3)
    assert fit_tail(random.uniform(size=5000)).shape == LOWEST_SHAPE  # true shape -1
    assert fit_tail(random.pareto(0.5, 5000)).shape == HIGHEST_SHAPE  # true shape 2


def false_alarms(draw: Callable[[np.random.Generator, int], np.ndarray], images: int) -> np.ndarray:
    """Share of unseen good tiles above the limit, as a multiple of the share asked for; of 25 calibrations."""
    shares = []
    for seed in range(25):
        random = np.random.default_rng(seed)
        limit = find_limit(list(draw(random, images)), 1e-3).limit
        shares.append(float((draw(random, 2000) > limit).mean()) / 1e-3)
    return np.array(shares)


@pytest.mark.parametrize("images", [3, 12])
def test_the_limit_keeps_its_promise_on_web_never_seen(images: int) -> None:
    shares = false_alarms(lambda random, count: random.gamma(4.0, 1.0, (count, 25)), images)
    assert shares.mean() < 1.2
    assert (shares > 1).mean() < 0.4


def test_the_promise_holds_when_images_differ_from_each_other() -> None:
    """Tiles of one image share its light: thirty tiles of ten images are not three hundred of one kind."""

    def draw(random: np.random.Generator, count: int) -> np.ndarray:
        return random.normal(0, 2, count)[:, None] + random.gamma(4.0, 1.0, (count, 30))

    shares = false_alarms(draw, 10)
    assert shares.mean() < 1.2
    assert (shares > 1).mean() < 0.4


def test_more_tiles_bring_the_limit_down_to_the_truth() -> None:
    random = np.random.default_rng(4)
    truth = 2 * np.log(1 / RATE)
    few = np.mean([find_limit(split(random.exponential(2.0, 60), 6), RATE).limit for _ in range(10)])
    many = np.mean([find_limit(split(random.exponential(2.0, 6000), 60), RATE).limit for _ in range(10)])
    assert truth < many < few


def test_the_limit_is_never_below_the_highest_good_tile() -> None:
    scores = np.random.default_rng(5).exponential(1.0, 500)
    found = find_limit(split(scores, 10), 0.2)
    assert found.bound < found.highest == scores.max() == found.limit


def test_a_fault_among_good_images_is_named_and_does_not_raise_the_limit() -> None:
    scores = split(np.random.default_rng(7).gamma(4.0, 1.0, 400), 20)
    clean = find_limit(scores, RATE)
    assert clean.suspects == ()
    scores[13][5] = 300.0
    found = find_limit(scores, RATE)
    assert found.suspects == (13,)
    assert found.blocks == 380
    assert found.limit < 2 * clean.limit


def test_faults_among_good_images_do_not_hide_each_other() -> None:
    """Five of 60 images: the tail of the others, four faults in it, would explain each of them."""
    random = np.random.default_rng(0)
    scores = [random.gumbel(size=200) for _ in range(60)]
    clean = find_limit(scores, RATE)
    assert clean.suspects == ()
    faulty = (44, 30, 20, 10, 3)
    for sigma, place in zip((84.0, 83.0, 82.0, 81.0, 80.0), faulty, strict=True):
        scores[place][7] = sigma
    found = find_limit(scores, RATE)
    assert found.suspects == faulty
    assert found.blocks == 55 * 200
    assert found.limit == pytest.approx(clean.limit, rel=0.15)


def test_more_faults_than_a_tenth_of_the_images_are_suspects_too() -> None:
    scores = split(np.random.default_rng(7).gamma(4.0, 1.0, 400), 20)
    for place in (2, 5, 13, 17):
        scores[place][5] = 90.0 + place
    assert find_limit(scores, RATE).suspects == (17, 13, 5, 2)


def test_a_heavy_tail_explains_what_is_far_above_the_median() -> None:
    """Student's peaks, 3 degrees, scatter more than their middle tells: the rule for all alone would leave six out."""
    far = apart = 0
    for seed in range(6):
        scores = split(np.random.default_rng(seed).standard_t(3, 2000), 40)
        far += len(far_above(np.array([one.max() for one in scores])))
        apart += len(find_limit(scores, RATE).suspects)
    assert (far, apart) == (6, 1)


def test_good_web_is_seldom_suspected() -> None:
    suspected = 0
    for seed in range(30):
        scores = np.random.default_rng(seed).gamma(4.0, 1.0, 200)
        suspected += bool(find_limit(split(scores, 10), RATE).suspects)
    assert suspected <= 2


def test_equal_scores_have_no_tail() -> None:
    with pytest.raises(ValueError, match="all equal"):
        find_limit(split(np.full(200, 3.0), 5), RATE)


def test_the_same_scores_give_the_same_limit() -> None:
    scores = split(np.random.default_rng(8).gamma(4.0, 1.0, 200), 10)
    assert find_limit(scores, RATE) == find_limit(scores, RATE)


def test_a_limits_file_tells_the_same_of_images_and_of_a_run() -> None:
    tail = Tail(threshold=1.234567, scale=0.345678, shape=-0.0456789, share=0.1, exceedances=23)
    fields = tail_fields(FoundLimit(9.9, 230, 4.56789, tail, 6.78912, 7.891234, ()))
    assert fields == {
        "highest_sigma": 4.5679,
        "quantile_sigma": 6.7891,
        "bound_sigma": 7.8912,
        "confidence": 0.8,
        "tail_threshold_sigma": 1.2346,
        "tail_exceedances": 23,
        "tail_scale_sigma": 0.3457,
        "tail_shape": -0.0457,
    }
    assert fields.keys() <= set(Provenance.__struct_fields__) & set(RunProvenance.__struct_fields__)
