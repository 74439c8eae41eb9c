"""The virtual web: the same in any pieces, its truth exact; and the scorecard built on it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
import time
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inspector import config
from inspector.cameras import pace
from inspector.cameras.faults import APART_MM, KINDS
from inspector.cameras.loom import BUFFERS, Loom, LoomCamera
from inspector.cameras.truth import Fault, Unseen, score
from inspector.cameras.weave import BACKDROP, DRAFTS, Cloth
from inspector.errors import ConfigError
from inspector.line import _score_truth
from inspector.records import U8, Defect, EndOfWeb, Frame, LostFrame, Outcome, Verdict
from tests.talking_line import verdict

WIDTH, MM, ROWS = 320, 0.5, 6000
MANY = config.FaultMix(per_m=12)
WEB = config.Web(width_mm=WIDTH * MM, mm_per_px=MM, encoder_counts_per_m=9973, speed_m_min=60)


@cache
def woven(weave: str = "plain", mix: config.FaultMix = MANY, seed: int = 4) -> tuple[Loom, U8]:
    loom = Loom(WIDTH, MM, weave, seed, mix)  # type: ignore[arg-type]
    pixels = loom.rows(ROWS)
    pixels.flags.writeable = False
    return loom, pixels


# -- cloth -----------------------------------------------------------------------------------------


def test_any_seed_weaves() -> None:
    webs = [Loom(WIDTH, MM, seed=seed).rows(32) for seed in (1, 4_000_000_000, 202611261234)]
    assert all((one != other).any() for one, other in itertools.pairwise(webs))


@pytest.mark.parametrize(
    ("mm_per_px", "web_mm", "sentence"),
    [
        (0.01, 5.0, "can't weave at mm_per_px = 0.01, where a yarn is 100 px thick; 0.017 is the least"),
        (0.2, 3.0, "can't weave a web of 3 mm: that is less than 8 yarns; 7.2 mm are the least"),
    ],
)
def test_a_web_that_has_no_yarns_or_only_thick_ones(mm_per_px: float, web_mm: float, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Loom(512, mm_per_px, web_mm=web_mm)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=8))
@example([1] * 800)
def test_the_web_does_not_depend_on_its_pieces(pieces: list[int]) -> None:
    loom = Loom(WIDTH, MM, "plain", 4, MANY)
    web = np.concatenate([loom.rows(n) for n in pieces])
    assert np.array_equal(web, woven()[1][: len(web)])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 5_000_000), st.integers(1, 90), st.integers(0, 300), st.integers(1, 200))
def test_any_rectangle_is_cut_from_the_same_cloth(y0: int, height: int, x0: int, width: int) -> None:
    cloth = cloth_of("twill")
    x1 = min(x0 + width, WIDTH)
    part = cloth.picture(cloth.reflectance(y0, y0 + height, x0, x1), y0, x0)
    assert np.array_equal(part, cloth.rows(y0, y0 + height)[:, x0:x1])


@cache
def cloth_of(weave: str) -> Cloth:
    return Cloth(WIDTH, MM, weave, 3, 140.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("weave", DRAFTS)
def test_the_same_seed_weaves_the_same_cloth_and_another_does_not(weave: str) -> None:
    first = Loom(WIDTH, MM, weave, 7).rows(300)  # type: ignore[arg-type]
    assert np.array_equal(first, Loom(WIDTH, MM, weave, 7).rows(300))  # type: ignore[arg-type]
    assert not np.array_equal(first, Loom(WIDTH, MM, weave, 8).rows(300))  # type: ignore[arg-type]


def test_the_weave_repeats_as_drafted() -> None:
    """The strongest spatial frequency along the web is the draft's repeat or a harmonic of it."""
    for weave, draft in DRAFTS.items():
        cloth = Cloth(512, 0.1, weave, 3, 51.2)  # type: ignore[arg-type]
        column = cloth.rows(0, 4096)[:, 200:300].astype(float)
        strength = np.abs(np.fft.rfft(column - column.mean(axis=0), axis=0)).mean(axis=1)
        strength[:20] = 0  # thick and thin places
        period = 4096 / strength.argmax()
        repeats = len(draft) * cloth.pick_px / period
        assert repeats == pytest.approx(round(repeats), abs=0.05)


def test_beside_a_narrow_web_lies_the_backdrop() -> None:
    web = cloth_of("twill").rows(0, 500).astype(float)
    left = int(cloth_of("twill").left_px)
    assert left == 20
    assert web[:, : left - 4].mean() == pytest.approx(BACKDROP, abs=5)
    assert web[:, left + 6 : -left - 6].min(axis=0).mean() > BACKDROP + 30


@pytest.mark.parametrize("width", [64, 16384])
def test_narrowest_and_widest_cameras(width: int) -> None:
    loom = Loom(width, 0.2, "satin", 1, config.FaultMix(per_m=5))
    assert loom.rows(20).shape == (20, width)
    assert loom.truth(0, 3)


# -- faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weave", DRAFTS)
def test_the_truth_is_exactly_what_changed(weave: str) -> None:
    loom, pixels = woven(weave)
    good = woven(weave, config.FaultMix(per_m=0))[1]
    changed = pixels != good
    faults = loom.truth(0, ROWS * MM / 1000)
    assert {f.kind for f in faults} == set(KINDS)
    for fault in faults:
        x0, x1 = round(fault.x_mm / MM), round((fault.x_mm + fault.w_mm) / MM)
        y0, y1 = round(fault.y_m * 1000 / MM), round((fault.y_m * 1000 + fault.h_mm) / MM)
        inside = changed[y0:y1, x0:x1]
        if y1 <= ROWS:
            assert inside.any(axis=1)[[0, -1]].all()
            assert inside.any(axis=0)[[0, -1]].all()
            assert inside.sum() * MM * MM == pytest.approx(fault.area_mm2)
            difference = np.abs(pixels[y0:y1, x0:x1].astype(int) - good[y0:y1, x0:x1])
            assert difference[inside].mean() == pytest.approx(fault.contrast_grey)
        changed[y0:y1, x0:x1] = False
    assert not changed.any()


def test_faults_keep_apart() -> None:
    faults = woven()[0].truth(0, ROWS * MM / 1000)
    for n, a in enumerate(faults):
        for b in faults[n + 1 :]:
            across = max(a.x_mm - b.x_mm - b.w_mm, b.x_mm - a.x_mm - a.w_mm)
            along = max(a.y_m * 1000 - b.y_m * 1000 - b.h_mm, b.y_m * 1000 - a.y_m * 1000 - a.h_mm)
            assert max(across, along) >= APART_MM - MM


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_kinds_asked_for(kind: str) -> None:
    loom = Loom(WIDTH, MM, "plain", 4, config.FaultMix(per_m=3, kinds=(kind,)))
    faults = loom.truth(0, 4)
    assert len(faults) > 3
    assert {f.kind for f in faults} == {kind}


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="there is no fault 'tear'; there are: missing_pick, "):
        Loom(WIDTH, MM, "plain", 4, config.FaultMix(kinds=("tear",)))


def test_the_rate_is_about_what_was_asked_for() -> None:
    loom = Loom(1024, 0.4, "plain", 11, config.FaultMix(per_m=1.0))
    assert len(loom.truth(0, 100)) == pytest.approx(100, abs=25)


def test_truth_of_a_stretch_is_what_lies_in_it_even_in_part() -> None:
    loom = woven()[0]
    every = loom.truth(0, 3)
    long = max(every, key=lambda f: f.h_mm)
    middle = long.y_m + long.h_mm / 2000
    assert long in loom.truth(middle, middle + 0.001)
    assert long not in loom.truth(0, long.y_m)


# -- camera ----------------------------------------------------------------------------------------


def camera(fast: bool = True, web: config.Web = WEB) -> LoomCamera:
    settings_ = config.LoomCamera(
        width_px=WIDTH, height_px=100, seed=4, faults=MANY, as_fast_as_possible=fast
    )
    return LoomCamera("2", settings_, web, 1000)


def test_frames_are_the_web_and_faults_cross_their_borders() -> None:
    cam = camera()
    cam.start()
    frames = [cam.read(1) for _ in range(20)]
    assert all(isinstance(f, Frame) for f in frames)
    pixels = np.concatenate([f.pixels for f in frames])  # type: ignore[union-attr]
    assert np.array_equal(pixels, woven()[1][:2000])
    starts = [f.stamp.encoder_start for f in frames]  # type: ignore[union-attr]
    assert starts == [round(n * 100 * MM / 1000 * 9973) for n in range(20)]
    assert cam.truth(0, 1) == woven()[0].truth(0, 1)
    assert any(f.y_m % 0.05 + f.h_mm / 1000 > 0.05 for f in cam.truth(0, 1))
    assert cam.info.is_simulated
    cam.close()
    assert cam.read(0) == EndOfWeb()


def test_at_the_webs_speed_frames_are_captured_on_an_absolute_schedule() -> None:
    cam = camera(fast=False)  # 1 m/s: a frame every 50 ms
    cam.start()
    frames = [item for item in (cam.read(10) for _ in range(4)) if isinstance(item, Frame)]
    assert len(frames) >= 2
    for before, after in itertools.pairwise(f.stamp for f in frames):
        due_us = (after.block_id - before.block_id) * 50_000
        assert after.captured_us - before.captured_us == pytest.approx(due_us, abs=1)
    assert time.monotonic_ns() // 1000 >= frames[-1].stamp.captured_us


def test_nothing_comes_before_its_time_and_close_ends_the_wait() -> None:
    slow = config.Web(width_mm=160, mm_per_px=MM, encoder_counts_per_m=9973, speed_m_min=0.001)
    cam = camera(fast=False, web=slow)
    cam.start()
    assert cam.read(0.01) is None
    got: list[object] = []
    reader = threading.Thread(target=lambda: got.append(cam.read(60)))
    reader.start()
    cam.close()
    reader.join(10)
    assert got == [EndOfWeb()]


def test_frames_that_nobody_takes_are_lost_with_their_web(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(pace, "time", clock)
    cam = camera(fast=False)  # a frame every 50 ms
    cam.start()
    clock.now += 0.051
    assert isinstance(cam.read(0), Frame)
    assert cam.read(0) is None  # woven, but not due
    clock.now += 0.050 * 20
    items = [cam.read(0) for _ in range(20 + 1)]
    assert [type(i) for i in items] == [LostFrame] * (20 - BUFFERS) + [Frame] * BUFFERS + [type(None)]
    for item in items[:-1]:
        assert item.stamp.encoder_start == pytest.approx(item.stamp.sequence * 100 * MM / 1000 * 9973, abs=1)
    for item in items[20 - BUFFERS : -1]:
        place = item.stamp.sequence
        assert np.array_equal(item.pixels, woven()[1][place * 100 : place * 100 + 100])


# -- scorecard -------------------------------------------------------------------------------------


def fault(kind: str, x: float, y: float, w: float = 4, h: float = 4) -> Fault:
    return Fault(kind, x, y, w, h, w * h, 20.0)


def defect(name: str, x: float, y: float, w: float = 4, h: float = 4) -> Defect:
    return Defect(name, x, y, w, h, w * h, max(w, h), min(w, h), 9.0, "new")


def test_scorecard_counts() -> None:
    faults = [
        fault("hole", 10, 1.000),
        fault("slub", 50, 2.000),
        fault("slub", 90, 3.000),  # nobody saw it, and nobody looked
        fault("crease", 10, 9.990, h=40),  # decided in part
        fault("hole", 10, 12.0),  # not yet decided
    ]
    defects = [
        defect("a", 13, 1.005),  # touches the hole
        defect("b", 9, 0.998),  # so does this one: counts once
        defect("c", 200, 5.0),  # a false alarm
    ]
    card = score(faults, defects, inspected_m=10, decided_m=10, unseen=[Unseen(2.9, 3.001)])
    found = card.as_dict()
    assert (found["faults"], found["found"], found["recall"]) == (2, 1, 0.5)
    assert found["recall_by_kind"] == {
        "hole": {"faults": 1, "found": 1, "recall": 1.0},
        "slub": {"faults": 1, "found": 0, "recall": 0.0},
    }
    assert found["recall_by_size_mm"] == {"from 2": {"faults": 2, "found": 1, "recall": 0.5}}
    assert found["not_inspected"] == 2
    assert (found["false_alarms"], found["false_alarms_per_100_m"]) == (1, 10.0)
    assert [e["kind"] for e in found["escapes"]] == ["slub"]
    assert (
        "found 1 of 2 faults (50%), 2 not inspected; 1 false alarms in 10.0 m (10.0 per 100 m"
        in found["text"]
    )
    assert "95 % sure: below 47.4)" in found["text"]
    json.dumps(found)


def test_a_fault_in_uninspected_columns_is_no_escape_but_beside_them_it_is() -> None:
    edge = [Unseen(0, 100, 0, 20)]
    assert score([fault("hole", 10, 1)], [], 10, unseen=edge).not_inspected
    assert score([fault("hole", 30, 1)], [], 10, unseen=edge).escaped


def test_a_fault_beside_the_judged_columns_is_no_escape_but_one_that_reaches_in_is() -> None:
    faults = [
        fault("hole", 10, 1),
        fault("hole", 18, 2),
        fault("missing_pick", 0, 3, w=60),
        fault("hole", 50, 4),
    ]
    card = score(faults, [], 10, columns_mm=(20, 50))
    assert card.not_inspected == (faults[0], faults[3])
    assert card.escaped == (faults[1], faults[2])


def test_the_truth_of_a_line_counts_what_its_verdicts_cover() -> None:
    """Half of the web is judged; a lost frame's verdict bears the whole width and widens nothing."""
    cam, counts_per_m, length_m = camera(), 9973, 3.0

    def said(outcome: Outcome, start_m: float, end_m: float, x_end_mm: float) -> Verdict:
        start, end = round(start_m * counts_per_m), round(end_m * counts_per_m)
        one = verdict(outcome=outcome)
        return dataclasses.replace(one, encoder_start=start, encoder_end=end, x_start_mm=0, x_end_mm=x_end_mm)

    verdicts = [
        said(Outcome.PASS, 0, 2.5, 80),
        said(Outcome.NOT_INSPECTED, 2.5, length_m, 160),
    ]
    told = _score_truth(cam, verdicts, 2.5, counts_per_m)
    faults = [fault for fault in cam.truth(0, length_m) if fault.y_m < length_m]
    seen = [one for one in faults if one.x_mm < 80 and one.y_m + one.h_mm / 1000 <= 2.5]
    assert 0 < len(seen) < len(faults)
    assert [one["x_mm"] for one in told["escapes"]] == [one.x_mm for one in seen]
    assert told["not_inspected"] == len(faults) - len(seen)


def test_a_fault_found_although_part_of_it_was_unseen_is_found() -> None:
    assert score([fault("hole", 10, 1)], [defect("a", 10, 1)], 10, unseen=[Unseen(0, 2)]).found


def test_the_tolerance_decides_what_touches() -> None:
    faults = [fault("hole", 10, 1.0)]
    assert score(faults, [defect("a", 16.9, 1.0)], 10).found
    assert score(faults, [defect("a", 17.1, 1.0)], 10).false_alarms
    assert score(faults, [defect("a", 15, 1.0)], 10, tolerance_mm=0.5).false_alarms


def test_pieces_of_one_defect_are_one() -> None:
    """A defect that grows from frame to frame touches a fault with its later part: no false alarm."""
    parts = [defect("a", 10, 1.0), defect("a", 10, 1.0, h=300)]
    card = score([fault("broken_end", 10, 1.2, w=1, h=100)], parts, 10)
    assert card.found
    assert not card.false_alarms


def test_position_error_is_of_the_place_not_of_the_length() -> None:
    (shifted,) = score([fault("hole", 10, 1.0)], [defect("a", 12, 1.0)], 10).position_errors_mm
    assert shifted == pytest.approx(2.0)
    long = fault("broken_end", 10, 1.0, w=1, h=800)
    (part,) = score([long], [defect("a", 10, 1.3, w=1, h=200)], 10).position_errors_mm
    assert part == pytest.approx(0.0)


def test_nothing_at_all_has_no_rates() -> None:
    found = score([], [], 0).as_dict()
    assert found["recall"] is None
    assert found["false_alarms_per_100_m"] is None
    assert found["position_error_mm"] == {"median": None, "p95": None}
