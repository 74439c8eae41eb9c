"""Intervals of F1 and of escapes against images drawn and counted one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from inspector.evaluating import threshold
from inspector.evaluating.bootstrap import TAILS, draws
from inspector.evaluating.escapes import Escapes
from inspector.evaluating.faults import Fault
from inspector.evaluating.operating import AtLimit, Web, at_limit, operating_points
from inspector.evaluating.peaks import Peaks

LIMIT_SIGMA = 10.0
WEB = Web(mm_per_px=0.25, tiles_per_100m=900)


def pack(seed: int) -> list[Peaks]:
    """Six good images, five holes, four stains of which one has no mask; whole sigma, so scores are often equal."""
    random = np.random.default_rng(seed)
    images = []
    for number, kind in enumerate(["good"] * 6 + ["hole"] * 5 + ["stain"] * 4):
        tiles = np.round(random.normal(8 if kind == "good" else 9, 2, random.integers(3, 8)))
        faulty: np.ndarray | None = np.zeros(len(tiles), bool)
        faults: tuple[Fault, ...] = ()
        if number == 14:
            faulty = None
        elif kind != "good":
            faulty = np.arange(len(tiles)) < 2
            sizes = random.choice([3, 6, 20, 90], random.integers(1, 4))
            faults = tuple(Fault(int(size), int(size), float(round(random.normal(10, 3)))) for size in sizes)
        images.append(Peaks(f"{kind}/{number}", kind, tiles, faulty, faults))
    return images


def counted(images: Sequence[Peaks], sigma: float) -> dict[str, float]:
    """Every ratio of images in which one may stand more than once; NaN where undefined."""

    def ratio(part: float, whole: float) -> float:
        return part / whole if whole else math.nan

    def f1(items: list[tuple[float, bool]]) -> float:
        hits = sum(faulty and peak > sigma for peak, faulty in items)
        return ratio(2 * hits, sum(peak > sigma for peak, _ in items) + sum(faulty for _, faulty in items))

    def share(peaks: list[float]) -> float:
        return ratio(sum(peak <= sigma for peak in peaks), len(peaks))

    bad = [one for one in images if one.kind != "good"]
    faults = [(one.kind, fault) for one in bad for fault in one.faults]
    found = {
        "image F1": f1([(one.highest, one.kind != "good") for one in images]),
        "tile F1": f1(
            [
                (float(peak), bool(faulty))
                for one in images
                if one.faulty is not None
                for peak, faulty in zip(one.tiles, one.faulty, strict=True)
            ]
        ),
        "images": share([one.highest for one in bad]),
        "faults": share([fault.peak_sigma for _, fault in faults]),
    }
    for kind in ("hole", "stain"):
        found[f"{kind} images"] = share([one.highest for one in bad if one.kind == kind])
        found[f"{kind} faults"] = share([fault.peak_sigma for of, fault in faults if of == kind])
    for low, high in ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, math.inf)):
        found[f"{low} px"] = share([fault.peak_sigma for _, fault in faults if low <= fault.extent_px < high])
    return found


def told(escapes: Escapes) -> dict[str, tuple[float, float] | None]:
    """The same ratios' intervals."""
    intervals = {
        "images": escapes.images_escaped_share_ci95,
        "faults": escapes.faults_escaped_share_ci95,
    }
    for kind, one in escapes.by_kind.items():
        intervals[f"{kind} images"] = one.images_escaped_share_ci95
        intervals[f"{kind} faults"] = one.faults_escaped_share_ci95
    return intervals | {f"{one.from_px} px": one.faults_escaped_share_ci95 for one in escapes.by_size}


def check(
    intervals: dict[str, tuple[float, float] | None], drawn: list[dict[str, float]], whole: dict[str, float]
) -> None:
    for name, interval in intervals.items():
        each = [one[name] for one in drawn if not math.isnan(one[name])]
        low, high = np.quantile(each, TAILS) if each else (0, 0)
        if interval is None:
            assert low == high, name
        else:
            assert interval == pytest.approx((min(low, whole[name]), max(high, whole[name])), abs=1e-12), name


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A hundred drawings of the pack instead of a thousand."""
    faulty = np.array([one.kind != "good" for one in pack(0)])
    block = next(draws(faulty))
    monkeypatch.setattr(threshold, "draws", lambda faulty: iter([block]))
    return block


@pytest.mark.parametrize("seed", range(4))
def test_at_the_limit_intervals_are_those_of_images_drawn_one_by_one(
    seed: int, few_draws: np.ndarray
) -> None:
    images = pack(seed)
    again = [np.repeat(np.arange(len(images)), times.astype(int)) for times in few_draws]
    drawn = [counted([images[one] for one in which], LIMIT_SIGMA) for which in again]
    at = at_limit(images, LIMIT_SIGMA, WEB)
    assert at.tile is not None
    assert at.image.f1_ci95 is not None
    intervals = {"image F1": at.image.f1_ci95, "tile F1": at.tile.f1_ci95, **told(at.escapes)}
    assert sum(one is not None for one in intervals.values()) > 6
    check(intervals, drawn, counted(images, LIMIT_SIGMA))


def read_off(images: Sequence[Peaks], rate: float) -> float | None:
    """The threshold of a rate, as the docstring says it."""
    highest_first = sorted((peak for one in images for peak in one.good_tiles), reverse=True)
    allowed = int(len(highest_first) * rate / WEB.tiles_per_100m + 1e-9)
    return highest_first[allowed] if 0 < allowed < len(highest_first) else None


@pytest.mark.parametrize("seed", range(4))
def test_a_threshold_read_off_good_tiles_is_read_off_those_of_each_drawing(
    seed: int, few_draws: np.ndarray
) -> None:
    """About 30 good tiles, of which 100 false alarms in 900 tiles allow three; in some drawings two or four."""
    images = pack(seed)
    drawn, sigmas = [], set()
    for times in few_draws:
        again = [images[one] for one in np.repeat(np.arange(len(images)), times.astype(int))]
        sigma = read_off(again, 100.0)
        assert sigma is not None
        sigmas.add(sigma)
        drawn.append(counted(again, sigma))
    assert len(sigmas) > 1
    point = operating_points(images, WEB)[1]
    assert point.evaluation_threshold_sigma == read_off(images, 100.0)
    assert point.image is not None
    assert point.escapes is not None
    intervals = {"image F1": point.image.f1_ci95, **told(point.escapes)}
    check(intervals, drawn, counted(images, point.evaluation_threshold_sigma or 0.0))


def image(kind: str, peak: float, *faults: float) -> Peaks:
    return Peaks(
        kind, kind, np.array([peak]), np.array([kind != "good"]), tuple(Fault(5, 5, one) for one in faults)
    )


def at_ten(*images: Peaks) -> AtLimit:
    return at_limit(images, LIMIT_SIGMA, None)


def test_a_single_image_of_a_type_has_no_interval() -> None:
    at = at_ten(
        image("good", 1), image("good", 2), image("hole", 30, 30, 5), image("stain", 5), image("stain", 50)
    )
    hole, stain = at.escapes.by_kind["hole"], at.escapes.by_kind["stain"]
    assert (hole.faults_escaped, hole.faults) == (1, 2)
    assert (hole.images_escaped_share_ci95, hole.faults_escaped_share_ci95) == (None, None)
    assert stain.images_escaped_share_ci95 == (0, 1)
    # Both faults are of one image.
    assert at.escapes.faults_escaped_share_ci95 is None
    assert at.escapes.by_size[1].faults_escaped_share_ci95 is None


def test_none_escaped_is_no_promise() -> None:
    at = at_ten(*(image(kind, peak, peak) for kind, peak in (("hole", 30), ("hole", 20), ("hole", 40))))
    assert (at.escapes.images, at.escapes.images_escaped, at.escapes.faults_escaped) == (3, 0, 0)
    assert at.escapes.images_escaped_share_ci95 is None
    assert at.escapes.by_kind["hole"].faults_escaped_share_ci95 is None


def test_a_single_good_image_has_no_interval_of_f1() -> None:
    """Its alarms can't be drawn; what escapes can, at a limit that it has no part in."""
    at = at_ten(image("good", 11), image("hole", 30), image("hole", 5))
    assert at.image.f1 == 0.5
    assert at.image.f1_ci95 is None
    assert at.escapes.images_escaped_share_ci95 == (0, 1)


def test_a_threshold_off_a_single_good_image_has_no_interval() -> None:
    good = Peaks("good/0", "good", np.arange(40.0), np.zeros(40, bool), ())
    point = operating_points([good, image("hole", 30), image("hole", 5)], Web(0.25, 2000))[0]
    assert point.evaluation_threshold_sigma == 19
    assert point.escapes is not None
    assert (point.escapes.images_escaped, point.escapes.images) == (1, 2)
    assert point.escapes.images_escaped_share_ci95 is None
