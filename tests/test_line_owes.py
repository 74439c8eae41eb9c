"""Every trigger has its verdict, whatever breaks down, however many are lost at once; none says PASS too late."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from inspector import config, line
from inspector.bus.publisher import Publisher
from inspector.cameras.stamper import MAX_GAP, Stamper
from inspector.config import Lanes, Overload
from inspector.errors import CameraError, LineFault
from inspector.interfaces import CameraInfo, EngineInfo
from inspector.judging import Judge
from inspector.line import Corridor, Ending
from inspector.parts import Parts
from inspector.records import (
    U8,
    Acquired,
    EndOfWeb,
    Frame,
    Grid,
    Levels,
    Outcome,
    Reason,
    ScoreMap,
    TileBatch,
    Verdict,
)
from inspector.tiling import Tiler, strip
from inspector.tiling.region import whole_frame
from tests.talking_line import PATIENCE_S, Quiet, make_site

ROWS = 64
GRID = Grid(tile_px=32, margin_px=4, overlap_px=0, px_per_cell=4)
NONE_LATE_MS = 1e6

Corridors = Callable[..., Corridor]
alarms: list[str] = []  # that ``Broken`` raised


class Sight:
    """A camera with a script: block ids of frames, and what it says when they are through."""

    info = CameraInfo("genicam", "V", "M", "S", "Mono8", ROWS, ROWS, is_simulated=True)

    def __init__(
        self, ids: list[int], then: Callable[[], EndOfWeb | None] = EndOfWeb, rows: int = ROWS
    ) -> None:
        self._ids, self._then, self._rows = iter(ids), then, rows
        self._waiting: list[Acquired] = []

    def stamp_for(self, of: config.Line) -> None:
        self._stamper = Stamper("1", "S", ROWS, of.web, of.overload.deadline_ms)

    def start(self) -> None:
        pass

    def read(self, timeout_s: float) -> Acquired | EndOfWeb | None:
        if not self._waiting:
            block_id = next(self._ids, None)
            if block_id is None:
                return self._then()
            lost, stamp = self._stamper.stamp(block_id, time.monotonic_ns() // 1000)
            self._waiting = [*lost, Frame(stamp, np.zeros((self._rows, ROWS), np.uint8))]
        return self._waiting.pop(0)

    def close(self) -> None:
        pass


class Engine:
    """Sees good web; ``before`` is called with the number of each batch before it is looked at."""

    info = EngineInfo("cloth", "none", "1", "CPU", "fp32", 32, 4, 4, 1, "")

    def __init__(self, before: Callable[[int], object] = lambda n: None) -> None:
        self._before, self._numbers = before, itertools.count()

    def infer(self, batch: TileBatch) -> ScoreMap:
        self._before(next(self._numbers))
        n = len(batch.pixels)
        return ScoreMap(
            batch.stamp, np.zeros((n, 8, 8), np.float32), np.zeros(n, np.float32), 4, batch.origins_px
        )

    def close(self) -> None:
        pass


@pytest.fixture
def corridors(tmp_path: Path) -> Iterator[Corridors]:
    site = make_site(tmp_path)

    def make(
        camera: Sight,
        engine: Engine,
        publisher: type[Publisher] = Publisher,
        *,
        lanes: int = 1,
        seamless: bool = False,
        ending: Ending | None = None,
        **overload: Any,
    ) -> Corridor:
        settings = Overload(**{"deadline_ms": NONE_LATE_MS, **overload})
        of = msgspec.structs.replace(
            site.line("1"),
            camera=config.GenicamCamera(producer="none.cti"),
            lanes=Lanes(count=lanes),
            overload=settings,
        )
        camera.stamp_for(of)
        tiler = Tiler(GRID, whole_frame, seamless=seamless)
        judge = Judge(Levels(10.0), 0.0, of.lanes, of.web, GRID)
        parts = Parts("1", of, camera, engine, tiler, judge, None)  # type: ignore[arg-type]
        corridor = Corridor(parts, publisher(site, "1"), ending or Ending(), threading.Event())
        corridor.keep_verdicts()
        return corridor

    yield make
    for thread in threading.enumerate():  # what a test held up has been let go by now
        if thread.name in ("acquire", "inspect", "publish"):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def verdicts_of(corridor: Corridor) -> list[Verdict]:
    """What went out: one for every trigger and lane, in order, without a hole in the web."""
    verdicts = corridor.kept
    assert verdicts is not None
    assert [v.stamp.sequence for v in verdicts if v.lane == 0] == list(range(corridor.snapshot().triggers))
    for before, after in itertools.pairwise(v for v in verdicts if v.lane == 0):
        assert before.encoder_end == after.encoder_start
    return verdicts


def test_a_camera_that_goes_leaves_no_trigger_without_a_verdict(corridors: Corridors) -> None:
    gone, at_work = threading.Event(), threading.Event()

    def go() -> None:
        assert at_work.wait(PATIENCE_S)
        gone.set()
        raise CameraError("camera S is gone")

    def hold(number: int) -> None:
        at_work.set()
        assert gone.wait(PATIENCE_S)

    corridor = corridors(Sight(list(range(1, 9)), go), Engine(hold), frames=8)
    fault = corridor.run(Quiet())
    assert isinstance(fault, CameraError)
    verdicts = verdicts_of(corridor)
    assert len(verdicts) == 8
    assert verdicts[0].outcome is Outcome.PASS, "it was with the engine, and good"
    assert {v.reason for v in verdicts[1:]} <= {Reason.STATE, Reason.NONE}
    assert corridor.snapshot().state == "Error"


def _the_web_ends() -> EndOfWeb:
    return EndOfWeb()


def _the_camera_goes() -> EndOfWeb:
    raise CameraError("camera S is gone")


@pytest.mark.parametrize(
    ("then", "ending", "detail"),
    [
        (_the_web_ends, Ending(), "the web ended before"),
        (_the_web_ends, Ending(frames=5), "the line ended before"),
        (_the_camera_goes, Ending(), "the line "),  # ended, or was stopped before its last frames' turn
    ],
    ids=["the web ends", "--frames", "the camera goes"],
)
def test_rows_that_wait_for_more_have_their_verdict_however_a_seamless_line_ends(
    corridors: Corridors, then: Callable[[], EndOfWeb], ending: Ending, detail: str
) -> None:
    corridor = corridors(Sight([1, 2, 3, 4, 5], then), Engine(), seamless=True, ending=ending, frames=64)
    corridor.run(Quiet())
    verdicts = corridor.kept
    assert verdicts is not None
    assert verdicts[-1].encoder_end == corridor.tally.encoder_now, "all that the camera has shown"
    assert (verdicts[-1].outcome, verdicts[-1].reason) == (Outcome.NOT_INSPECTED, Reason.STATE)
    assert verdicts[-1].detail.startswith(detail)
    for before, after in itertools.pairwise(verdicts):
        assert before.encoder_end == after.encoder_start


def test_pictures_of_defects_hold_no_verdict_and_no_heartbeat_up(
    corridors: Corridors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first strip's pictures are packed the second is judged; its verdict goes out between two of them."""
    sent: list[str] = []
    packed, judged = threading.Event(), threading.Event()

    class Slow(Publisher):
        def publish_verdict(self, verdict: Verdict) -> None:
            sent.append(f"verdict {verdict.stamp.sequence}")
            super().publish_verdict(verdict)

        def heartbeat(self, data: Any) -> None:
            sent.append("hb")
            super().heartbeat(data)

        def publish_evidence(self, *what: Any) -> None:
            between = what[4]
            if not packed.is_set():
                sent.append("picture 1")
                packed.set()
                assert judged.wait(PATIENCE_S)
                between()
                sent.append("picture 2")

    def hold(number: int) -> None:
        if number == 1:
            assert packed.wait(PATIENCE_S)

    monkeypatch.setattr(line, "HEARTBEAT_S", 0.0)
    corridor = corridors(Sight([1, 2]), Engine(hold), Slow, frames=8)
    offer = corridor.verdicts.offer

    def told(item: Any, patience_s: float = 0.0) -> bool:
        taken = offer(item, patience_s)
        if item.strip.stamp.sequence == 1:
            judged.set()
        return taken

    monkeypatch.setattr(corridor.verdicts, "offer", told)
    corridor.run(Quiet())
    first, second = sent.index("picture 1"), sent.index("picture 2")
    assert {"verdict 1", "hb"} <= set(sent[first:second])


def test_an_engine_that_never_comes_back_leaves_no_trigger_without_a_verdict(
    corridors: Corridors, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("STUCK_S", 0.2), ("SHOW_S", 0.02), ("JOIN_S", 0.3)):
        monkeypatch.setattr(line, name, value)
    let_go = threading.Event()
    corridor = corridors(
        Sight(list(range(1, 9)), lambda: let_go.wait(0.01) or None),  # type: ignore[arg-type, return-value]
        Engine(lambda n: let_go.wait(PATIENCE_S)),
        frames=8,
    )
    fault = corridor.run(Quiet())
    let_go.set()
    assert isinstance(fault, LineFault)
    assert "the engine has been at one frame" in str(fault)
    verdicts = verdicts_of(corridor)
    assert len(verdicts) == 8
    assert {(v.outcome, v.reason) for v in verdicts} == {(Outcome.NOT_INSPECTED, Reason.STATE)}


def test_judging_that_breaks_down_leaves_no_trigger_without_a_verdict(
    corridors: Corridors, monkeypatch: pytest.MonkeyPatch
) -> None:
    corridor = corridors(Sight(list(range(1, 9))), Engine(), frames=8)
    judge, calls = corridor.parts.judge.judge, itertools.count()

    def breaks_down(*arguments: Any) -> list[Verdict]:
        if next(calls) == 2:
            raise IndexError("no such row")
        return judge(*arguments)

    monkeypatch.setattr(corridor.parts.judge, "judge", breaks_down)
    fault = corridor.run(Quiet())
    assert str(fault) == "line 1: IndexError: no such row"
    verdicts = verdicts_of(corridor)
    outcomes = [v.outcome for v in verdicts]
    assert outcomes == [Outcome.PASS] * 2 + [Outcome.NOT_INSPECTED] * (len(outcomes) - 2)
    assert {v.reason for v in verdicts[2:]} == {Reason.STATE}


def test_tiling_that_breaks_down_leaves_no_trigger_without_a_verdict(
    corridors: Corridors, monkeypatch: pytest.MonkeyPatch
) -> None:
    corridor = corridors(Sight(list(range(1, 9))), Engine(), frames=8)
    tiler = Tiler(GRID, whole_frame, seamless=True)  # where rows wait for the next frame
    corridor.parts = dataclasses.replace(corridor.parts, tiler=tiler)
    cut, calls = strip.cut, itertools.count()

    def breaks_down(*arguments: Any) -> U8:
        if next(calls) == 2:
            raise IndexError("no such row")
        return cut(*arguments)

    monkeypatch.setattr(strip, "cut", breaks_down)
    fault = corridor.run(Quiet())
    assert str(fault) == "line 1: IndexError: no such row"
    verdicts = verdicts_of(corridor)
    assert [v.outcome for v in verdicts[:2]] == [Outcome.PASS] * 2
    assert {v.reason for v in verdicts[2:]} == {Reason.STATE}
    last = verdicts[-1]
    assert last.encoder_end == last.stamp.encoder_end


def test_judging_that_can_say_nothing_any_more_still_ends_the_line(
    corridors: Corridors, monkeypatch: pytest.MonkeyPatch
) -> None:
    corridor = corridors(Sight(list(range(1, 9))), Engine(), frames=8)

    def breaks_down(*_: Any) -> list[Verdict]:
        raise IndexError("no such row")

    monkeypatch.setattr(corridor.parts.judge, "judge", breaks_down)
    monkeypatch.setattr(corridor.parts.judge, "not_inspected", breaks_down)
    fault = corridor.run(Quiet())
    assert str(fault) == "line 1: IndexError: no such row"
    assert corridor.snapshot().state == "Error"


@pytest.mark.parametrize(("gap", "lanes"), [(1000, 4), (MAX_GAP, 1)])
def test_a_burst_of_lost_frames_is_no_fault(corridors: Corridors, gap: int, lanes: int) -> None:
    corridor = corridors(Sight([1, 2, 3 + gap, 4 + gap]), Engine(), lanes=lanes, verdicts=16)
    assert corridor.run(Quiet()) is None
    verdicts = verdicts_of(corridor)
    assert len(verdicts) == lanes * (gap + 4)
    reasons = Counter(v.reason for v in verdicts)
    assert reasons[Reason.FRAME_LOST] == lanes * gap


class Blocked(Publisher):
    """Never comes back from its third verdict until it is let go."""

    let_go = threading.Event()

    def publish_verdict(self, verdict: Verdict) -> None:
        if verdict.stamp.sequence == 2:
            assert self.let_go.wait(PATIENCE_S)
        super().publish_verdict(verdict)


def test_verdicts_that_nobody_publishes_are_a_fault(
    corridors: Corridors, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HAND_OVER_S", 0.1), ("SHOW_S", 0.02), ("JOIN_S", 0.3)):
        monkeypatch.setattr(line, name, value)
    corridor = corridors(Sight(list(range(1, 60))), Engine(), Blocked, verdicts=16)
    fault = corridor.run(Quiet())
    Blocked.let_go.set()
    assert "verdicts wait unpublished" in str(fault)


class Broken(Publisher):
    """Can't publish its third verdict."""

    def publish_verdict(self, verdict: Verdict) -> None:
        if verdict.stamp.sequence == 2:
            raise OSError("no buffer space available")
        super().publish_verdict(verdict)

    def publish_alarm(self, severity: int, code: str, text: str, action: str) -> None:
        alarms.append(text)
        super().publish_alarm(severity, code, text, action)


def test_a_publisher_that_breaks_down_is_the_fault_that_is_told(corridors: Corridors) -> None:
    alarms.clear()
    corridor = corridors(Sight(list(range(1, 200))), Engine(), Broken, verdicts=16)
    fault = corridor.run(Quiet())
    assert str(fault) == "line 1: OSError: no buffer space available"
    assert corridor.snapshot().state == "Error"
    assert alarms == [str(fault)]


class Unpicturesque(Broken):
    """Can pack no evidence."""

    def publish_verdict(self, verdict: Verdict) -> None:
        Publisher.publish_verdict(self, verdict)

    def publish_evidence(self, *what: Any) -> None:
        raise MemoryError("no room for a picture")


def test_a_picture_that_cannot_be_packed_costs_no_verdict(corridors: Corridors) -> None:
    alarms.clear()
    corridor = corridors(Sight(list(range(1, 40))), Engine(), Unpicturesque, frames=64)
    fault = corridor.run(Quiet())
    assert str(fault) == "line 1: MemoryError: no room for a picture"
    assert len(verdicts_of(corridor)) == corridor.snapshot().triggers > 0
    assert corridor.snapshot().state == "Error"
    assert alarms == [str(fault)]


@pytest.mark.parametrize("rows", [20, ROWS])
def test_a_frame_that_came_and_cannot_be_tiled_counts_as_dropped(corridors: Corridors, rows: int) -> None:
    """The lamp goes by the counter: web that is rejected unseen is amber, whatever made it so."""
    corridor = corridors(Sight([1, 2, 3], rows=rows), Engine())
    corridor.run(Quiet())
    snapshot = corridor.snapshot()
    unseen = 0 if rows == ROWS else 3
    assert snapshot.lost == ({"frame_incomplete": unseen} if unseen else {})
    assert snapshot.outcomes.get("NOT_INSPECTED", 0) == unseen


class Slow(Publisher):
    """Takes longer over its first verdict than the others have."""

    def publish_verdict(self, verdict: Verdict) -> None:
        while (
            verdict.stamp.sequence == 0 and time.monotonic_ns() // 1000 < verdict.stamp.deadline_us + 20_000
        ):
            threading.Event().wait(0.01)
        super().publish_verdict(verdict)


def test_a_verdict_that_waits_for_the_bus_beyond_its_deadline_is_no_pass(corridors: Corridors) -> None:
    corridor = corridors(Sight([1, 2]), Engine(), Slow, deadline_ms=100.0)
    assert corridor.run(Quiet()) is None
    second = verdicts_of(corridor)[1]
    assert (second.outcome, second.reason) == (Outcome.NOT_INSPECTED, Reason.LATE)
    assert second.timings.total_ms > 100.0
