"""A fault hidden among good images is named at the end of a training, and good images are not."""

from __future__ import annotations

import numpy as np

from inspector.images.far_above import far_above
from inspector.learning.suspects import MOST_NAMED, Suspect, find_suspects, warning
from inspector.records import I32


def images_of(*counts: int) -> I32:
    return np.repeat(np.arange(len(counts)), counts).astype(np.int32)


def test_the_image_far_above_the_others_is_found_and_its_tiles_count_once() -> None:
    rng = np.random.default_rng(0)
    of = images_of(*[5] * 20)
    scores = rng.lognormal(1.2, 0.35, len(of))
    assert find_suspects(scores, of) == []
    scores[17 * 5 : 17 * 5 + 2] = 90.0, 80.0
    scores[3 * 5] = 120.0
    assert find_suspects(scores, of) == [Suspect(3, 120.0), Suspect(17, 90.0)]


def test_few_alike_images_and_a_wide_spread_are_no_reason() -> None:
    assert find_suspects(np.array([3.0, 3.0, 3.0, 3.0, 3.0, 7.0]), images_of(*[1] * 6)) == []
    assert find_suspects(np.array([3.0, 3.0, 3.0, 3.0, 3.0, 9.0]), images_of(*[1] * 6)) == [Suspect(5, 9.0)]
    wide = np.linspace(1, 40, 30)
    assert find_suspects(wide, images_of(*[1] * 30)) == []
    assert find_suspects(np.array([0.1, 0.1, 0.1, 0.9, 0.1]), images_of(*[1] * 5)) == []


def test_the_sentence_names_them_worst_first_and_not_all_of_many() -> None:
    of, names = images_of(*[1] * 40), [f"{n}.png" for n in range(40)]
    scores = np.full(40, 4.0)
    assert warning(find_suspects(scores, of), names, scores, of) == ""
    scores[[7, 9]] = 30.0, 50.0
    assert warning(find_suspects(scores, of), names, scores, of) == (
        "9.png (50 sigma), 7.png (30 sigma): far above the other good images, whose median is 4.0 sigma; look "
        "whether they bear a fault, take out those that do and train again"
    )
    scores[: MOST_NAMED + 2] = 60.0
    assert " and 2 more: far above" in warning(find_suspects(scores, of), names, scores, of)


def test_faults_do_not_hide_each_other() -> None:
    rng = np.random.default_rng(0)
    good = np.exp(rng.normal(2.0, 0.2, 50))
    assert far_above(good) == []
    peaks = good.copy()
    peaks[[3, 10, 11, 12, 30, 44]] = [140, 70, 40, 30, 60, 90]
    assert far_above(peaks) == [3, 44, 10, 30, 11, 12], "worst first"
    assert far_above(np.full(5, 0.3)) == [], "below 1 sigma all are alike"
