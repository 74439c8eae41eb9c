"""A web that is as a whole unlike what was learnt: told once, and no fault is taken for it."""

from __future__ import annotations

import dataclasses

import pytest

from inspector.judging import Unlike
from inspector.judging.unlike import BEGINS, ENDS, FAR_SIGMA, OVER_M
from inspector.records import Outcome, Verdict
from tests.talking_line import verdict

COUNTS_PER_M = 10_000.0
STRIP_M = 0.1


def strip(far: bool, lanes: tuple[float, ...] = (1.0,), outcome: Outcome = Outcome.PASS) -> list[Verdict]:
    """0.1 m of web in lanes so many mm wide, the first of which is what ``far`` says."""
    ends = [sum(lanes[: number + 1]) for number in range(len(lanes))]
    return [
        dataclasses.replace(
            verdict(outcome=outcome),
            encoder_start=0,
            encoder_end=round(STRIP_M * COUNTS_PER_M),
            x_start_mm=end - width,
            x_end_mm=end,
            median=FAR_SIGMA if far and number == 0 else 0.9 * FAR_SIGMA,
        )
        for number, (end, width) in enumerate(zip(ends, lanes, strict=True))
    ]


def told(unlike: Unlike, web: str) -> list[tuple[int, bool]]:
    """At which strip it said what; a strip is ``x`` where it is far from what was learnt."""
    said = [(number, unlike.add(strip(one == "x"))) for number, one in enumerate(web)]
    return [(number, word) for number, word in said if word is not None]


def test_it_is_said_once_after_a_metre_and_taken_back_once() -> None:
    unlike = Unlike(COUNTS_PER_M)
    assert told(unlike, "x" * 30) == [(9, True)]
    assert unlike.share == pytest.approx(1.0)
    assert unlike.metres == pytest.approx(3.0), "that before it was told, too"
    assert told(unlike, "." * 30) == [(9, False)]
    assert unlike.share == 0.0
    assert unlike.metres == pytest.approx(3.0), "good web after it doesn't count"
    assert told(unlike, "x" * 30) == [(4, True)]


def test_a_few_strips_are_no_other_fabric() -> None:
    unlike = Unlike(COUNTS_PER_M)
    assert told(unlike, "....x" * 10 + "." * 10 + "xxxx" + "." * 12) == []
    assert unlike.metres == 0.0


def test_between_both_thresholds_it_stays_as_it_was() -> None:
    between = "x...." * 10
    assert ENDS < between.count("x") / len(between) < BEGINS
    unlike = Unlike(COUNTS_PER_M)
    assert told(unlike, between) == []
    assert told(unlike, "x" * 20) != []
    assert told(unlike, between) == []
    assert unlike.share == pytest.approx(0.2)


def test_lanes_count_by_their_width() -> None:
    narrow, wide = Unlike(COUNTS_PER_M), Unlike(COUNTS_PER_M)
    for _ in range(20):
        narrow.add(strip(True, lanes=(20.0, 80.0)))
        wide.add(strip(True, lanes=(80.0, 20.0)))
    assert narrow.share == 0.0
    assert wide.share == pytest.approx(0.8)


def test_web_that_was_not_inspected_says_nothing() -> None:
    unlike = Unlike(COUNTS_PER_M)
    for _ in range(round(OVER_M / STRIP_M) * 2):
        assert unlike.add(strip(True, outcome=Outcome.NOT_INSPECTED)) is None
    assert unlike.add([]) is None
    for _ in range(100):
        still = [dataclasses.replace(one, encoder_end=one.encoder_start) for one in strip(True)]
        assert unlike.add(still) is None, "a web that stands still"
    assert told(unlike, "x" * 12) == [(9, True)]
