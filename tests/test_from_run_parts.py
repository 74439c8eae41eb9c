"""Parts of `calibrate --from-run`: which strips count, what is refused, how far limits come down."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.bus.publisher import Identity, Publisher
from inspector.bus.wire import State, VerdictHeader
from inspector.calibrating.from_run import Learnt, as_run_leaves, confidence_after, find, lowered, summary
from inspector.calibrating.good_metres import GoodMetres, Stretch
from inspector.calibrating.run_ear import Heard, Wish, listen, refuse_short
from inspector.config import Site
from inspector.errors import ArtefactError, ConfigError, DataError, InspectorError, SilentLine
from inspector.judging import levelled
from inspector.judging.levelled import SHOWN
from inspector.limits import Limits, _check_moved, digest, sealed
from inspector.records import Outcome, Reason, WideLimit, Zone
from tests.talking_line import TalkingLine, make_site, site_of, verdict
from tests.test_limits import LIMITS, LOWERED

STRIP_M = 0.5
LIMIT = 7.0
PASS, FAIL, NOT_INSPECTED = Outcome
SMALL = "passed above the limit"
SEEN = st.sampled_from([PASS, PASS, PASS, PASS, FAIL, NOT_INSPECTED, SMALL])
WEBS = st.integers(1, 3).flatmap(
    lambda lanes: st.lists(st.lists(SEEN, min_size=lanes, max_size=lanes), min_size=1, max_size=30)
)


def header(seq: int, strip: int, lane: int, what: object = PASS, score: float = 3.5) -> VerdictHeader:
    outcome = PASS if what == SMALL else what
    assert isinstance(outcome, Outcome)
    score = {FAIL: LIMIT + 2, SMALL: LIMIT + 1}.get(what, score)  # type: ignore[call-overload]
    return VerdictHeader(
        schema="inspector.verdict/1",
        line_id="3",
        epoch=1,
        seq=seq,
        t_acq_us=0,
        t_pub_us=0,
        mono_us=0,
        state=State.CONTINUOUS,
        job_id="",
        recipe_id="denim",
        recipe_rev="",
        part_id="",
        engine_sha256="",
        calibration_sha256="",
        is_simulated=True,
        result_id=str(seq),
        lane=lane,
        enc_start=strip * 5000,
        enc_end=(strip + 1) * 5000,
        y_start_m=strip * STRIP_M,
        y_end_m=(strip + 1) * STRIP_M,
        x_start_mm=0.0,
        x_end_mm=1.0,
        verdict=outcome,
        reason=Reason.NONE,
        detail="",
        score=None if what is NOT_INSPECTED else score,
        limit=LIMIT,
        n_tiles=1,
        n_tiles_inspected=1,
        defect_ids=(),
        reject_enc=0,
        deadline_enc=0,
        sequence=strip,
        block_id=strip,
        acq_ms=0.0,
        infer_ms=0.0,
        total_ms=0.0,
    )


def headers(web: Sequence[Sequence[object]]) -> list[VerdictHeader]:
    """In the order of a line: strip by strip, lane by lane, each with a score of its own."""
    places = [(strip, lane, what) for strip, lanes in enumerate(web) for lane, what in enumerate(lanes)]
    return [
        header(seq, strip, lane, what, score=1 + seq / 1000)
        for seq, (strip, lane, what) in enumerate(places, start=1)
    ]


def is_above(lanes: Sequence[object]) -> bool:
    return FAIL in lanes or SMALL in lanes


# -- which strips count ------------------------------------------------------------------------------


@settings(deadline=None)
@given(WEBS)
def test_strips_count_that_passed_with_nothing_above_the_limit_beside_them(web: list[list[object]]) -> None:
    metres = GoodMetres("3", len(web[0]))
    for one in headers(web):
        metres.hear(one)
    heard = web[:-1]  # of the last nobody knows yet whether it is whole
    near = [any(is_above(lanes) for lanes in web[max(0, n - 1) : n + 2]) for n in range(len(web))]
    settled = heard[:-1]  # nor of the one before, whether its neighbour is above the limit
    wanted = [n for n, lanes in enumerate(settled) if PASS in lanes and not near[n]]
    assert [round(strip.start_m / STRIP_M) for strip in metres.strips] == wanted
    scores = {(one.sequence, one.lane): one.score for one in headers(web)}
    for n, strip in zip(wanted, metres.strips, strict=True):
        assert list(strip.scores) == [scores[n, lane] for lane, what in enumerate(web[n]) if what is PASS]
    left_out = metres.left_out
    assert left_out.above == sum(map(is_above, heard))
    assert left_out.above_m == pytest.approx(STRIP_M * left_out.above)
    assert left_out.not_inspected == sum(lanes.count(NOT_INSPECTED) for lanes in heard)
    assert left_out.unheard == 0
    waits = bool(heard) and PASS in heard[-1] and not any(map(is_above, heard[-2:]))
    assert len(metres.strips) + left_out.above + left_out.beside + waits + round(
        left_out.unseen_m / STRIP_M
    ) == len(heard)
    assert metres.good_m == pytest.approx(STRIP_M * len(wanted))


@settings(deadline=None)
@given(WEBS, st.data())
def test_what_is_not_heard_never_counts(web: list[list[object]], data: st.DataObject) -> None:
    every = headers(web)
    lost = data.draw(st.sets(st.sampled_from([one.seq for one in every])))
    heard = [one for one in every if one.seq not in lost]
    metres = GoodMetres("3", len(web[0]))
    for one in heard:
        metres.hear(one)
    whole = {
        n
        for n, lanes in enumerate(web)
        if not is_above(lanes) and not any(one.seq in lost for one in every if one.sequence == n)
    }
    assert {round(strip.start_m / STRIP_M) for strip in metres.strips} <= whole
    if heard:
        assert metres.left_out.unheard == heard[-1].seq - heard[0].seq + 1 - len(heard)


@settings(deadline=None)
@given(WEBS, st.floats(0.1, 20))
def test_stretches_keep_every_score_in_order(web: list[list[object]], length_m: float) -> None:
    metres = GoodMetres("3", len(web[0]))
    for one in headers(web):
        metres.hear(one)
    stretches = metres.stretches(length_m)
    scores = [score for strip in metres.strips for score in strip.scores]
    assert [float(score) for one in stretches for score in one.scores] == scores
    for one in stretches:
        assert len(one.scores)
        assert one.end_m - one.start_m < length_m + STRIP_M + 1e-9
    for before, after in itertools.pairwise(stretches):
        assert before.end_m <= after.start_m


def test_other_lanes_than_the_config_has_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"line 3 runs with other lanes than the config has \(lane 1, where 1"
    ):
        [GoodMetres("3", 1).hear(one) for one in headers([[PASS, PASS]])]
    too_few = GoodMetres("3", 3)
    first, second, third, fourth, fifth = headers([[PASS, PASS]] * 3)[:5]
    for one in (
        first,
        second,
        third,
        fourth,
    ):  # of the first strip nobody knows what was said before it was heard
        too_few.hear(one)
    with pytest.raises(ConfigError, match=r"other lanes than the config has \(2 a strip, where 3 are due\)"):
        too_few.hear(fifth)


# -- how far limits come down ------------------------------------------------------------------------

RUN = msgspec.structs.replace(
    LOWERED,
    previous_limit_sigma=8.0,
    limit_sigma=7.0,
    highest_sigma=6.5,
    quantile_sigma=6.8,
    bound_sigma=7.0,
)
ZONED = msgspec.structs.replace(
    LIMITS,
    limit_sigma=LIMIT,
    set_by_hand="A. Person, 2026-11-24: too many alarms",
    zones=(Zone(from_mm=0.0, to_mm=6.4, factor=0.8), Zone(from_mm=6.4, to_mm=99.0, factor=1.3)),
    wide=(
        WideLimit(
            name="blot",
            across_px=32,
            along_px=16,
            clip_sigma=3.5,
            mean_sigma=0.2,
            deviation_sigma=0.3,
            limit_deviations=5.0,
        ),
    ),
)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(SHOWN * LIMIT, LIMIT))
def test_what_scored_above_the_new_limit_on_the_old_scale_fails_on_the_new_one(
    seed: int, wanted: float
) -> None:
    """The highest of zones, cells and windows: what a verdict holds against the limit.

    Cell by cell it isn't so: a cell between both limits fails by itself now, and so counts in no window.
    """
    random = np.random.default_rng(seed)
    cells = random.normal(0.3, random.uniform(0.5, 1.7), (40, 16)).astype(np.float32)
    cells[5:25, 3:12] += random.uniform(0, 2)
    above = np.zeros((0, 16), np.float32)
    new = lowered(ZONED, wanted)
    score = float(levelled(ZONED.levels, cells, above, 4, 0, 0.2).max())
    fails = bool(levelled(new.levels, cells, above, 4, 0, 0.2).max() > new.limit_sigma)
    if abs(score - new.limit_sigma) > 0.005:
        assert fails == (score > new.limit_sigma)
    assert wanted <= new.limit_sigma <= min(LIMIT, wanted + 1e-4)


@settings(deadline=None)
@given(st.floats(LIMIT, 1e6))
def test_limits_never_rise(wanted: float) -> None:
    assert lowered(ZONED, wanted) is ZONED


def test_windows_that_no_verdict_shows_hold_the_limits_up() -> None:
    low = lowered(ZONED, 0.1)
    assert low.limit_sigma == SHOWN * LIMIT
    assert low.wide[0].limit_deviations == SHOWN * 5.0
    assert low.zones == ZONED.zones
    assert lowered(msgspec.structs.replace(ZONED, wide=()), 0.1).limit_sigma == 0.1


DATE = "2026-11-28T03:00:00+00:00"
MEASURED = sealed(
    msgspec.structs.replace(
        ZONED,
        set_by_hand="",
        provenance=msgspec.structs.replace(LIMITS.provenance, bound_sigma=LIMIT, highest_sigma=6.5),
    )
)
WORD = "M. Weber, 3 May: the left selvedge is loose"


def run_after(before: Limits, wanted_sigma: float) -> Limits:
    """As ``calibrate_from_run`` puts it on the disk."""
    moved = lowered(before, wanted_sigma)
    assert moved is not before
    run = msgspec.structs.replace(RUN, previous_set_by_hand=before.set_by_hand, limit_sigma=moved.limit_sigma)
    left = as_run_leaves(before, moved, DATE)
    runs = (*left.provenance.runs, run)
    return msgspec.structs.replace(left, provenance=msgspec.structs.replace(left.provenance, runs=runs))


@pytest.mark.parametrize("limit_sigma", [LIMIT, 6.0, 20.0])
def test_a_limit_that_a_run_lowered_is_no_longer_set_by_hand(limit_sigma: float) -> None:
    before = msgspec.structs.replace(MEASURED, limit_sigma=limit_sigma, set_by_hand=WORD)
    after = run_after(before, 0.9 * limit_sigma)
    assert after.set_by_hand == ""
    assert after == sealed(after)
    by_hand_again = msgspec.structs.replace(after, limit_sigma=after.limit_sigma + 1, set_by_hand=WORD)
    assert run_after(by_hand_again, after.limit_sigma).set_by_hand == ""


@pytest.mark.parametrize(
    "moved",
    [
        {"zones": (ZONED.zones[0], msgspec.structs.replace(ZONED.zones[1], factor=3.0))},
        {"wide": ()},
        {"wide": (msgspec.structs.replace(ZONED.wide[0], limit_deviations=8.0),), "limit_sigma": 9.0},
        {"levels_sha256": ""},  # an older file: nobody can tell
    ],
    ids=["zone", "no window", "window and limit", "older"],
)
def test_zones_and_windows_that_a_person_moved_stay_set_by_hand_through_runs(
    tmp_path: Path, moved: dict[str, Any]
) -> None:
    before = msgspec.structs.replace(MEASURED, set_by_hand=WORD, **moved)
    after = run_after(before, 0.9 * before.limit_sigma)
    assert after.set_by_hand == f"{WORD}; moved by a run on 2026-11-28"
    again = run_after(after, 0.9 * after.limit_sigma)
    assert again.set_by_hand.startswith(WORD), "the first run measured neither zones nor windows"
    for one in (after, again):
        told = summary(Learnt(one, one.provenance.runs[-1], some_heard(), moved=True))
        assert f"\nset by hand: {one.set_by_hand}\n" in told
    if "levels_sha256" not in moved:
        unsaid = msgspec.structs.replace(after, set_by_hand="")
        with pytest.raises(ArtefactError, match="a zone or window isn't what was measured"):
            _check_moved(tmp_path, unsaid, "again")


def test_the_word_that_a_run_made_void_is_told_once_more() -> None:
    before = msgspec.structs.replace(MEASURED, limit_sigma=9.0, set_by_hand=WORD)
    after = run_after(before, LIMIT)
    told = summary(Learnt(after, after.provenance.runs[-1], some_heard(), moved=True))
    assert f"\nbefore set by hand: {WORD}\n" in told


def some_heard() -> Heard:
    """Two strips of good web."""
    metres = GoodMetres("3", 1)
    for one in headers([[PASS]] * 4):
        metres.hear(one)
    return Heard(metres, 1, 0.0, False)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.floats(0.0005, 0.5))
def test_a_limit_is_never_below_the_highest_good_verdict_that_counts(seed: int, rate: float) -> None:
    random = np.random.default_rng(seed)
    stretches = [Stretch(n, n + 1.0, 8 + random.gumbel(0, 0.8, 25)) for n in range(10)]
    found = find(stretches, rate)
    kept = [one.scores for n, one in enumerate(stretches) if n not in found.suspects]
    assert found.limit >= max(float(scores.max()) for scores in kept)


def test_the_more_runs_lowered_a_limit_the_surer_the_next_must_be() -> None:
    """The lowest bound of all runs stays; ten at 80 % each brought twice the alarms asked for, from 20 m each."""
    assert [round(confidence_after(runs), 4) for runs in (0, 1, 9)] == [0.8, 0.9, 0.98]
    random = np.random.default_rng(5)
    limits: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(3):
        lowest = {False: math.inf, True: math.inf}
        for run in range(10):
            stretches = [Stretch(n, n + 1.0, 8 + random.gumbel(0, 0.8, 10)) for n in range(40)]
            for shared in lowest:
                found = find(stretches, 1e-3, confidence_after(run if shared else 0))
                lowest[shared] = min(lowest[shared], found.limit)
        for shared, limit in lowest.items():
            limits[shared].append(limit)
    rates = {
        shared: [1 - math.exp(-math.exp(-(limit - 8) / 0.8)) for limit in of] for shared, of in limits.items()
    }
    assert np.mean(rates[False]) > 1.2e-3
    assert np.mean(rates[True]) < 1.0e-3


@pytest.mark.parametrize(
    ("score", "said"), [(3.0, "strip after strip scores the same"), (-3.0, "the recipe is dead")]
)
def test_dead_web_is_refused(score: float, said: str) -> None:
    random = np.random.default_rng(1)
    spread = 0.0 if score > 0 else 0.01
    with pytest.raises(DataError, match=said):
        find([Stretch(n, n + 1.0, score + spread * random.random(10)) for n in range(10)], 0.01)


@pytest.mark.parametrize("cut", [0.9, 0.99, 0.999, 1.0])
def test_truncated_scores_never_bring_more_alarms_than_before_or_than_asked(cut: float) -> None:
    """Good web whose highest scores failed at the old limit: what is left looks better than it is."""
    random = np.random.default_rng(7)
    truth = 8 + random.gumbel(0, 0.8, 1_000_000)
    old = float(np.quantile(truth, cut)) if cut < 1 else 30.0
    passed = [one[one <= old] for one in (8 + random.gumbel(0, 0.8, (40, 50)))]
    found = find([Stretch(n, n + 1.0, scores) for n, scores in enumerate(passed)], rate=1e-3)
    limit = lowered(msgspec.structs.replace(ZONED, wide=(), limit_sigma=old), found.limit).limit_sigma
    assert limit <= old
    assert (truth > limit).mean() <= max(1e-3, float((truth > old).mean()))
    assert (limit < old) == (cut == 1.0)


# -- what is refused ---------------------------------------------------------------------------------

CLOTH = msgspec.structs.replace(LIMITS, line="1", recipe="cloth", limit_sigma=LIMIT)
IDENTITY = Identity(
    recipe_id="cloth",
    recipe_rev=CLOTH.onnx_sha256[:12],
    engine_sha256="e1",
    calibration_sha256=digest(CLOTH),
    is_simulated=False,
)
FRAME_M = 0.1024


class Weaver(TalkingLine):
    """Says a verdict for every strip, one after the other, and what ``also`` does before the strip."""

    def __init__(self, site: Site, also: Callable[[Publisher, int], None], identity: Identity) -> None:
        self._also = also
        publisher = Publisher(site, "1")
        publisher.identify(identity)
        super().__init__(publisher)

    def _run(self) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            self._also(self.publisher, number)
            self.publisher.serve(0.0005)


def weave(outcome: Callable[[int], Outcome]) -> Callable[[Publisher, int], None]:
    def also(publisher: Publisher, number: int) -> None:
        publisher.publish_verdict(verdict(number, 0, outcome(number), score=3 + number % 7 / 10))

    return also


def good(number: int) -> Outcome:
    return PASS


def hear(
    tmp_path: Path,
    also: Callable[[Publisher, int], None],
    *,
    identity: Identity = IDENTITY,
    wish: Wish | None = None,
    limits: Limits = CLOTH,
    progress: Callable[[float, float], None] = lambda done, total: None,
) -> Heard:
    line = Weaver(make_site(tmp_path), also, identity)
    try:
        return listen(
            site_of(line.publisher, tmp_path),
            "1",
            limits,
            wish or Wish(8.0, 1.0, silence_s=5.0),
            progress=progress,
            say=lambda text: None,
            warn=lambda text: None,
        )
    finally:
        line.end(None)


def refusal(kind: type[InspectorError], *words: object, **more: object) -> str:
    with pytest.raises(kind) as caught:
        hear(*words, **more)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_it_hears_so_many_metres_and_no_more(tmp_path: Path) -> None:
    heard = hear(tmp_path, weave(good))
    assert 8.0 <= heard.web.good_m < 8.0 + FRAME_M
    assert heard.share_above == 0
    assert heard.web.verdicts_per_100m == pytest.approx(100 / FRAME_M)


def test_few_failing_strips_are_counted_and_do_not_end_it(tmp_path: Path) -> None:
    heard = hear(tmp_path, weave(lambda n: FAIL if n % 25 == 0 else PASS))
    assert heard.web.left_out.above in (3, 4)
    assert heard.share_above == pytest.approx(0.04, abs=0.01)


@pytest.mark.parametrize("every", [1, 5])
def test_failing_web_is_refused_at_once(tmp_path: Path, every: int) -> None:
    sentence = refusal(DataError, tmp_path, weave(lambda n: FAIL if n % every == 0 else PASS))
    assert "m of web above the limit to" in sentence
    assert sentence.endswith("more than 10% whatever comes; calibrate from frames of good web instead")


def test_web_that_is_not_inspected_is_no_wait_for_ever(tmp_path: Path) -> None:
    sentence = refusal(DataError, tmp_path, weave(lambda n: NOT_INSPECTED))
    assert "to 0.00 m of good web; see why with `inspector events --line 1" in sentence


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"recipe_id": "denim"}, "line 1 runs recipe 'denim', the config says 'cloth'; start the line anew"),
        ({"recipe_rev": "0" * 12}, "belongs to another training of 'cloth' than the one line 1 runs"),
        ({"calibration_sha256": "0" * 64}, "line-1.cloth.toml: not the limits that line 1 runs with; start"),
    ],
)
def test_a_line_that_is_not_what_the_disk_says(tmp_path: Path, change: dict[str, str], said: str) -> None:
    other = dataclasses.replace(IDENTITY, **change)  # type: ignore[arg-type]
    assert said in refusal(ArtefactError, tmp_path, weave(good), identity=other)


@pytest.mark.parametrize(
    ("key", "said"),
    [("engine_sha256", "engine"), ("recipe_rev", "recipe's training"), ("calibration_sha256", "limits")],
)
def test_what_changes_meanwhile(tmp_path: Path, key: str, said: str) -> None:
    heard, seen = threading.Event(), iter([0])

    def also(publisher: Publisher, number: int) -> None:
        if heard.is_set() and next(seen, None) is not None:
            publisher.identify(dataclasses.replace(IDENTITY, **{key: "0"}))  # type: ignore[arg-type]
        weave(good)(publisher, number)

    sentence = refusal(ArtefactError, tmp_path, also, wish=Wish(1000.0, 1.0), progress=when_some(heard))
    assert f"line 1 changed its {said} after " in sentence
    assert sentence.endswith("of 1000 m of good web; nothing is written, run it again")


def when_some(heard: threading.Event) -> Callable[[float, float], None]:
    """Set it as soon as some web was heard: a line that changes before anyone listens has not changed."""

    def progress(done: float, total: float) -> None:
        if done > 0:
            heard.set()

    return progress


def test_a_line_that_ends(tmp_path: Path) -> None:
    heard, halted = threading.Event(), iter([0])

    def also(publisher: Publisher, number: int) -> None:
        if not heard.is_set():
            weave(good)(publisher, number)
        elif next(halted, None) is not None:
            publisher.publish_state(State.HALTED)

    sentence = refusal(SilentLine, tmp_path, also, wish=Wish(1000.0, 1.0), progress=when_some(heard))
    assert sentence.startswith("line 1 ended (Halted) after ")


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(5.0, 100.0), "judges 0.102 m at once, and 50 times that are wanted; give --metres 6"),
        (Wish(0.5, 100.0), "judges 0.102 m at once, and 50 times that are wanted; give --metres 6"),
        (Wish(8.0, 1000.0), "1000 false alarms per 100 m can't be had: line 1 has 977 verdicts in 100 m"),
    ],
)
def test_what_only_the_lines_strips_tell(tmp_path: Path, wish: Wish, said: str) -> None:
    assert said in refusal(ConfigError, tmp_path, weave(good), wish=wish)


def test_how_many_metres_a_rate_wants() -> None:
    refuse_short(Wish(10.0, 1.0))
    with pytest.raises(
        ConfigError, match=r"9 m of good web are too few for 1 false.*; give --metres 10 or more"
    ):
        refuse_short(Wish(9.0, 1.0))
    with pytest.raises(ConfigError, match=r"give --metres 100 or more"):
        refuse_short(Wish(50.0, 0.1))


@pytest.mark.parametrize(
    ("every", "asked", "said"),
    [
        (10**9, 1.0, ""),
        (150, 1.0, "there are more false alarms than asked for already, and a lower limit brings no fewer"),
        (150, 50.0, ""),
        (25, 1.0, "the limit is too low to learn from, calibrate from frames instead"),
    ],
)
def test_it_says_where_to_look_when_more_is_above_the_limit_than_asked_for(
    tmp_path: Path, every: int, asked: float, said: str
) -> None:
    heard = hear(tmp_path, weave(lambda n: FAIL if n and n % every == 0 else PASS), wish=Wish(40.0, asked))
    run = msgspec.structs.replace(RUN, false_alarms_per_100m=asked)
    text = summary(Learnt(CLOTH, run, heard, moved=True))
    looks = re.search(r"^LOOK: .* strips in 100 m, at ([0-9., ]*) m: if that was good web, (.*)$", text, re.M)
    assert (looks[2] if looks else "") == said
    if looks:
        places = [float(place) for place in looks[1].removesuffix(" ...").split(", ")]
        assert len(places) == min(heard.web.left_out.above, 5)
        assert looks[1].endswith(" ...") == (heard.web.left_out.above > 5)
        for place in places:
            assert round(place / FRAME_M) % every == 0


def unlike(publisher: Publisher, severity: int = 700, code: str = "unlike") -> None:
    """As ``line`` says it."""
    publisher.publish_alarm(severity, code, "line 1: of the last metre of web", "look")


def told_of(heard: Heard, limits: Limits = CLOTH, *, moved: bool = True) -> str:
    """The LOOK lines."""
    run = msgspec.structs.replace(RUN, unlike_m=heard.unlike_m, is_simulated=heard.is_simulated)
    lines = summary(Learnt(limits, run, heard, moved)).splitlines()
    return "\n".join(line for line in lines if line.startswith("LOOK"))


def test_web_that_the_line_itself_calls_unlike_is_told(tmp_path: Path) -> None:
    """Said before anyone listened, and never taken back."""

    def also(publisher: Publisher, number: int) -> None:
        if number == 0:
            unlike(publisher)
        weave(good)(publisher, number)

    heard = hear(tmp_path, also)
    assert heard.unlike_m == pytest.approx(heard.web.good_m)
    look = told_of(heard)
    assert look.startswith(
        f"LOOK: {heard.unlike_m:.2f} m of that web were as a whole unlike what recipe cloth learnt"
    )
    assert "take the committed file back, mend that or train a recipe on such web" in look
    assert "take the committed file back" not in told_of(heard, moved=False)


def test_web_counts_as_unlike_until_the_line_takes_it_back(tmp_path: Path) -> None:
    heard, again = threading.Event(), iter([0])

    def also(publisher: Publisher, number: int) -> None:
        if number == 0:
            unlike(publisher)
        if heard.is_set() and next(again, None) is not None:
            unlike(publisher, severity=1)
        weave(good)(publisher, number)

    found = hear(tmp_path, also, wish=Wish(60.0, 1.0, silence_s=5.0), progress=when_some(heard))
    assert 0 < found.unlike_m < found.web.good_m - 10


@pytest.mark.parametrize(("severity", "code"), [(1, "unlike"), (300, "handshake")])
def test_other_alarms_say_nothing_of_the_web(tmp_path: Path, severity: int, code: str) -> None:
    def also(publisher: Publisher, number: int) -> None:
        if number == 0:
            unlike(publisher, severity, code)
        weave(good)(publisher, number)

    heard = hear(tmp_path, also)
    assert heard.unlike_m == 0.0
    assert told_of(heard) == ""


@pytest.mark.parametrize("is_simulated", [True, False])
def test_verdicts_of_no_real_camera_are_told(tmp_path: Path, is_simulated: bool) -> None:
    heard = hear(tmp_path, weave(good), identity=dataclasses.replace(IDENTITY, is_simulated=is_simulated))
    assert heard.is_simulated is is_simulated
    assert told_of(heard) == (
        "LOOK: line 1 has no real camera (is_simulated): its limits are for trials; calibrate again where its own "
        "camera looks"
        if is_simulated
        else ""
    )
