"""Runs one line: the corridor. It alone knows the order, and starts threads; output.py's write its log.

    acquire thread ──triggers──▶ inspect thread ──verdicts──▶ publish thread
                                        └────────maps────────▶

Every trigger gets exactly one verdict per lane, in order. An exception in any thread is a fault: what was
triggered before gets its verdicts, the state Error goes out, heartbeats end, the exit code says which room
it came from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from inspector import config
from inspector.backends.rate import TOO_SLOW
from inspector.bus.publisher import HeartbeatData, Publisher
from inspector.bus.wire import State
from inspector.cameras.loom import LoomCamera
from inspector.cameras.truth import Unseen, score
from inspector.channel import Channel, FrameChannel
from inspector.config import Site
from inspector.errors import ConfigError, InspectorError, LineFault
from inspector.interfaces import Camera
from inspector.judging import Unlike
from inspector.parts import Parts, describe, identity, is_patient, open_parts, slowness
from inspector.records import (
    Acquired,
    EndOfWeb,
    Frame,
    LostFrame,
    Outcome,
    Reason,
    ScoreMap,
    Strip,
    Timings,
    Verdict,
)
from inspector.tally import Snapshot, Tally

READ_TIMEOUT_S = 0.2
HEARTBEAT_S = 0.1
SHOW_S = 0.25
JOIN_S = 1.2  # SIGTERM to the last state on the bus must stay under 2 s
UNFIT = (Reason.FRAME_LOST, Reason.FRAME_INCOMPLETE)  # of a frame that came: as good as lost
SLOW_SEVERITY = 500  # what comes of it, dropped frames, is counted anyway
UNLIKE_SEVERITY = 700  # between a client turned away and a line that stops
HEAR_OUT_S = 0.5  # who knocks while a line fails to start is let in, to hear why
HAND_OVER_S = 2.0  # without room for a verdict: who publishes hangs. A burst of lost frames has room sooner
STUCK_S = 30.0  # an engine that chews on one frame for this long is dead


class Onlooker(Protocol):
    """Whoever watches the line (view.py)."""

    def show(self, snapshot: Snapshot, now_s: float) -> None:
        """The line as it stands."""

    def say(self, text: str) -> None:
        """One remarkable thing."""


@dataclass(frozen=True, slots=True)
class Ending:
    """When a run ends by itself; None: never."""

    frames: int | None = None
    seconds: float | None = None


@dataclass
class Report:
    """How a run went."""

    line_id: str
    snapshot: Snapshot
    start_up_s: float
    fault: InspectorError | None = None
    truth: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "line_id": self.line_id,
            "start_up_s": round(self.start_up_s, 3),
            "fault": str(self.fault) if self.fault else None,
            **self.snapshot.as_dict(),
            "truth": self.truth,
        }

    def text(self) -> str:
        """A few lines for a person."""
        s = self.snapshot
        counts = ", ".join(f"{v} {k}" for k, v in s.outcomes.items())
        lines = [
            (
                f"line {self.line_id}: {s.metres:.2f} m in {s.seconds:.1f} s, "
                f"{s.triggers} triggers, {counts}, {s.defects} defects"
            )
        ]
        if s.reasons:
            lines.append(
                "not PASS because of: " + ", ".join(f"{k} {v}" for k, v in sorted(s.reasons.items()))
            )
        if s.unlike_m:
            lines.append(
                f"{s.unlike_m:.2f} m of web were as a whole unlike what the recipe learnt: another fabric, other light "
                "or focus?"
            )
        if self.truth is not None:
            lines.append(self.truth["text"])
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the inspect thread hands to the publish thread for one trigger."""

    verdicts: list[Verdict]
    strip: Strip
    scores: ScoreMap | None


def run_line(
    site: Site, line_id: str, onlooker: Onlooker, ending: Ending | None = None, *, with_truth: bool = False
) -> Report:
    """Run a line until its ending, SIGINT or SIGTERM; return what it did.

    Raises InspectorError when the line can't start; a fault after the start is in the report.
    """
    started_s = time.monotonic()
    line = site.line(line_id)
    if with_truth and not isinstance(line.camera, config.LoomCamera):
        raise ConfigError(
            f"line {line_id}: --truth needs a camera of kind 'loom'; only the loom knows its faults"
        )
    with _signals() as is_asked_to_stop:
        publisher = Publisher(site, line_id)
        try:
            publisher.publish_state(State.INITIALIZED)
            parts = open_parts(site, line_id)
        except BaseException as error:
            try:
                publisher.publish_alarm(
                    800, type(error).__name__, str(error), "mend it and start the line again"
                )
                publisher.hear_out(HEAR_OUT_S)
            finally:
                publisher.close(State.ERROR)
            raise
        publisher.identify(identity(parts))
        slow = slowness(parts)
        if slow:
            publisher.publish_alarm(SLOW_SEVERITY, "slow", slow, TOO_SLOW)
            onlooker.say(f"{slow}; {TOO_SLOW}")
        publisher.publish_state(State.READY)
        corridor = Corridor(parts, publisher, ending or Ending(), is_asked_to_stop=is_asked_to_stop)
        if with_truth:
            corridor.keep_verdicts()
        start_up_s = time.monotonic() - started_s
        onlooker.say(f"line {line_id} ready after {start_up_s:.1f} s: {describe(parts)}")
        fault = corridor.run(onlooker)
    snapshot = corridor.snapshot()
    truth = None
    if corridor.kept is not None:
        inspected_m = sum(snapshot.metres_by_outcome.values()) - snapshot.metres_by_outcome["NOT_INSPECTED"]
        truth = _score_truth(parts.camera, corridor.kept, inspected_m, line.web.encoder_counts_per_m)
    return Report(line_id, snapshot, start_up_s, fault, truth)


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT, SIGTERM or a closed terminal came since; the old handlers come back afterwards.

    A handler takes no lock, and so sets no event: it may run while its own thread holds that lock.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: bool(came)
        return
    endings = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: the line is to outlive its terminal
        endings.append(signal.SIGHUP)
    old = {number: signal.signal(number, lambda number, _: came.append(number)) for number in endings}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@dataclass
class Corridor:
    """The three threads and what lies between them."""

    parts: Parts
    publisher: Publisher
    ending: Ending
    stop: threading.Event = field(default_factory=threading.Event)
    is_asked_to_stop: Callable[[], bool] = lambda: False  # by whoever runs the process
    faults: list[BaseException] = field(default_factory=list)
    kept: list[Verdict] | None = None

    def __post_init__(self) -> None:
        overload = self.parts.config.overload
        self.is_patient = is_patient(self.parts.config)
        self.frames = FrameChannel(overload.frames, patient=self.is_patient, stopping=self.stop.is_set)
        self.verdicts: Channel[_Judged] = Channel(overload.verdicts)
        self.maps: Channel[_Judged] = Channel(overload.maps)
        counts_per_m = self.parts.config.web.encoder_counts_per_m
        self.tally = Tally(counts_per_m)
        self.unlike = Unlike(counts_per_m)
        self.tiling_s = 0.0  # CPU time of the inspect thread
        self.busy_since_s = math.inf  # when the inspect thread took up its present frame
        self.web_ended = False
        self.next_beat_s = 0.0  # the publish thread's
        # Tiler, judge and frames belong to whoever holds this: the inspect thread, except while its engine works.
        self.turn = threading.Lock()
        self.strips: list[Strip] = []  # of the present frame, without a verdict yet
        self.is_finished = False  # every trigger has its verdicts: what an engine brings now comes too late

    def keep_verdicts(self) -> None:
        """Remember every verdict, for the truth's scorecard."""
        self.kept = []

    def snapshot(self) -> Snapshot:
        """The line as it stands."""
        return self.tally.snapshot(self.frames.waiting(), self.frames.peak, time.monotonic())

    # -- the main thread -------------------------------------------------------------------------

    def run(self, onlooker: Onlooker) -> InspectorError | None:
        """Start the threads, watch them, end them; return the fault if there was one."""
        threads = [
            self._thread("publish", self._publish, self.verdicts),
            self._thread("inspect", self._inspect, self.verdicts),
            self._thread("acquire", self._acquire, self.frames),
        ]
        process_s, main_s = time.process_time(), time.thread_time()
        for thread in threads:
            thread.start()
        publish, inspect, acquire = threads
        began_s = time.monotonic()
        while publish.is_alive() and not self.stop.wait(SHOW_S):
            now_s = time.monotonic()
            onlooker.show(self.snapshot(), now_s)
            is_over = self.ending.seconds is not None and now_s - began_s >= self.ending.seconds
            if is_over or self.is_asked_to_stop():
                self.stop.set()
            if now_s - self.busy_since_s > STUCK_S:
                self._fault(
                    LineFault(
                        f"line {self.parts.line_id}: the engine has been at one frame for {STUCK_S:.0f} s"
                    )
                )
        self.stop.set()
        acquire.join(JOIN_S)
        self.frames.close()  # from a camera that hangs no more is to come
        inspect.join(JOIN_S)
        self._answer_for_the_engine()
        publish.join(JOIN_S)
        self._count_cpu(time.process_time() - process_s, time.thread_time() - main_s)
        onlooker.show(self.snapshot(), math.inf)
        # All is said. An engine that is closed at its work takes the process down with it.
        now_s = time.monotonic()
        inspect.join(max(0.0, min(self.busy_since_s, now_s) + STUCK_S - now_s))
        self.parts.close(engine=not inspect.is_alive())
        return self._first_fault()

    def _answer_for_the_engine(self) -> None:
        """Give whatever has no verdict one: a line that stops says so in time, however long a frame takes."""
        with self.turn:
            if self.is_finished:  # it came back in the meantime
                return
            try:
                self._give_up("the line was stopped while the engine was at this frame")
                while (item := self.frames.take(0.0)) is not None:
                    self._answer(item)
                self._finish()
            except Exception as error:
                self._fault(error)
                self._end()

    def _count_cpu(self, process_s: float, main_s: float) -> None:
        """What no thread of ours took, the libraries' own did: the engine's, but for a little of ZeroMQ."""
        cpu_s = self.tally.cpu_s
        cpu_s["main"] = main_s
        cpu_s["tiling"] = self.tiling_s
        cpu_s["inspect"] = cpu_s.get("inspect", self.tiling_s) - self.tiling_s
        cpu_s["engine"] = max(0.0, process_s - sum(cpu_s.values()))

    def _thread(self, name: str, body: Callable[[], None], channel: Channel[Any]) -> threading.Thread:
        """Runs ``body``; then nothing more goes into ``channel``, whose other side finds a fault told already."""

        def guarded() -> None:
            try:
                body()
            except BaseException as error:
                self._fault(error)
            finally:
                channel.close()
                self.tally.cpu_s[name] = time.thread_time()

        # daemon: a driver that hangs in a system call must not keep the process from ending
        return threading.Thread(target=guarded, name=name, daemon=True)

    def _fault(self, error: BaseException) -> None:
        """Stop the line; the channels stay open for what is in them."""
        self.faults.append(error)
        self.stop.set()

    def _first_fault(self) -> InspectorError | None:
        if not self.faults:
            return None
        first = self.faults[0]
        if isinstance(first, InspectorError):
            return first
        fault = LineFault(f"line {self.parts.line_id}: {type(first).__name__}: {first}")
        fault.__cause__ = first
        return fault

    # -- the acquire thread ----------------------------------------------------------------------

    def _acquire(self) -> None:
        self.parts.camera.start()
        triggers = 0
        while not self.stop.is_set():
            item = self.parts.camera.read(READ_TIMEOUT_S)
            if isinstance(item, EndOfWeb):
                self.web_ended = True
                break
            if item is None:
                continue
            self.tally.trigger(time.monotonic(), item.stamp)
            if not self.frames.put(item):
                if self.stop.is_set():
                    break
                raise LineFault(
                    f"line {self.parts.line_id}: no trigger was taken up for long; the inspect thread is dead"
                )
            triggers += 1
            if triggers == self.ending.frames:
                break

    # -- the inspect thread ----------------------------------------------------------------------

    def _inspect(self) -> None:
        while True:
            with self.turn:
                if self.is_finished:
                    return
                if self.frames.drained:
                    self._finish()
                    return
                item = self.frames.take(READ_TIMEOUT_S)
                if item is not None:
                    self.busy_since_s = time.monotonic()
                    self._answer(item)
                    self.busy_since_s = math.inf

    def _answer(self, item: Acquired) -> None:
        """Give a trigger its verdicts, also where that is a fault."""
        if self.stop.is_set() and isinstance(item, Frame):
            item = LostFrame(item.stamp, Reason.STATE, "the line was stopped before this frame's turn")
        try:
            for judged in self._judge(item):
                self._hand_over(judged)
        except Exception as error:
            self._fault(error)
            self._give_up("the line broke down at this frame")

    def _give_up(self, detail: str) -> None:
        """Answer for the rest of the present frame, at which nobody will look any more."""
        while self.strips:
            strip = self.strips.pop(0)
            verdicts = self.parts.judge.not_inspected(strip, Reason.STATE, detail)
            self._hand_over(_Judged(verdicts, strip, None))

    def _finish(self) -> None:
        """The last verdicts: of rows that were seen and wait for more."""
        for strip in self.parts.tiler.finish("the web ended" if self.web_ended else "the line ended"):
            verdicts = self.parts.judge.not_inspected(strip, strip.reason, strip.detail)
            self._hand_over(_Judged(verdicts, strip, None))
        self._end()

    def _end(self) -> None:
        self.is_finished = True
        self.verdicts.close()

    def _judge(self, item: Acquired) -> Iterator[_Judged]:
        taken_us = _now_us()
        if isinstance(item, LostFrame) and item.reason is not Reason.STATE:  # stopping loses nothing
            self.tally.lost(item.reason)
        self.strips = self._tile(item)
        if isinstance(item, Frame) and (unfit := [s.reason for s in self.strips if s.reason in UNFIT]):
            self.tally.lost(unfit[-1])
        while self.strips:
            strip = self.strips[0]
            scores, failed = self._score(strip)
            if self.is_finished:
                return
            timings = Timings((taken_us - strip.stamp.captured_us) / 1000, (_now_us() - taken_us) / 1000)
            if failed is None:
                verdicts = self.parts.judge.judge(strip, scores)
            else:
                verdicts = self.parts.judge.not_inspected(strip, Reason.ENGINE_ERROR, str(failed))
            del self.strips[0]
            yield _Judged([dataclasses.replace(v, timings=timings) for v in verdicts], strip, scores)
            if failed is not None:
                raise failed

    def _tile(self, item: Acquired) -> list[Strip]:
        """A tiler that throws is a fault, but its trigger gets its verdict first."""
        began_s = time.thread_time()
        try:
            strips = self.parts.tiler.push(item)
        except Exception as error:
            self._fault(error)
            lost = LostFrame(item.stamp, Reason.STATE, "the line broke down at this frame")
            strips = self.parts.tiler.push(lost)
        self.tiling_s += time.thread_time() - began_s
        return strips

    def _score(self, strip: Strip) -> tuple[ScoreMap | None, BaseException | None]:
        """An engine that throws is a fault, but its frame gets its verdict first."""
        if strip.batch is None:
            return None, None
        self.turn.release()
        try:
            scores = self.parts.backend.infer(strip.batch)
        except Exception as error:
            return None, error
        finally:
            self.turn.acquire()
        self.tally.inspected(len(scores.tile_scores))
        return scores, None

    def _hand_over(self, judged: _Judged) -> None:
        if self.verdicts.offer(judged, HAND_OVER_S):
            self.maps.push_out(judged)
            return
        self.verdicts.close()  # so that whatever else there is to say waits no more
        if not self.faults:
            raise LineFault(
                f"line {self.parts.line_id}: verdicts wait unpublished; the publish thread is dead"
            )

    # -- the publish thread ----------------------------------------------------------------------

    def _publish(self) -> None:
        final = State.HALTED
        try:
            self._say(State.CONTINUOUS)
            while not self.verdicts.drained:
                self._send_what_is_due(HEARTBEAT_S / 4)
                self._send_maps()
                self.publisher.serve(0.0)
            # A web that ended by itself: every defect that a verdict named is told. Whoever stops it can't wait.
            while not self.stop.is_set() and self._send_maps():
                pass
            if self.faults:
                final = State.ERROR
                self._say_why()
        except BaseException as error:
            final = State.ERROR
            self._fault(error)
            with contextlib.suppress(Exception):  # what broke down may be the bus itself
                self._say_why()
            raise
        finally:
            self.tally.state = final.value
            self.publisher.close(final)

    def _say_why(self) -> None:
        fault = self._first_fault()
        self.publisher.publish_alarm(
            900, type(fault).__name__, str(fault), "mend it and start the line again"
        )

    def _send_what_is_due(self, patience_s: float = 0.0) -> None:
        """Verdicts, the first of them waited for so long, and the heartbeat when it is time."""
        while (judged := self.verdicts.take(patience_s)) is not None:
            self._send(judged)
            self._beat_if_due()
            patience_s = 0.0
        self._beat_if_due()

    def _beat_if_due(self) -> None:
        if time.monotonic() >= self.next_beat_s:
            self.next_beat_s = time.monotonic() + HEARTBEAT_S
            self.publisher.heartbeat(self._beat())

    def _say(self, state: State) -> None:
        self.tally.state = state.value
        self.publisher.publish_state(state)

    def _send(self, judged: _Judged) -> None:
        verdicts = []
        for verdict in judged.verdicts:
            verdicts.append(self._at_last(verdict))
            self.publisher.publish_verdict(verdicts[-1])
        self.tally.verdicts(verdicts, time.monotonic())
        self._watch_likeness(verdicts)
        if self.kept is not None:
            self.kept.extend(verdicts)

    def _at_last(self, verdict: Verdict) -> Verdict:
        """A verdict as it goes out: after its deadline it is none, since nobody may act on it."""
        now_us, stamp = _now_us(), verdict.stamp
        total_ms = (now_us - stamp.captured_us) / 1000
        verdict = dataclasses.replace(
            verdict, timings=dataclasses.replace(verdict.timings, total_ms=total_ms)
        )
        if self.is_patient or now_us <= stamp.deadline_us or verdict.outcome is Outcome.NOT_INSPECTED:
            return verdict
        detail = f"the verdict came {(now_us - stamp.deadline_us) / 1000:.0f} ms after its deadline"
        return dataclasses.replace(verdict, outcome=Outcome.NOT_INSPECTED, reason=Reason.LATE, detail=detail)

    def _watch_likeness(self, verdicts: list[Verdict]) -> None:
        """Say once where the web as a whole is none that the recipe knows, and once where it is again."""
        changed = self.unlike.add(verdicts)
        self.tally.unlike(self.unlike.share, self.unlike.metres)
        line, recipe = f"line {self.parts.line_id}", self.parts.config.recipe
        if changed:
            self.publisher.publish_alarm(
                UNLIKE_SEVERITY,
                "unlike",
                f"{line}: {self.unlike.share:.0%} of the last metre of web is as a whole unlike what recipe "
                f"{recipe!r} learnt",
                "look for another fabric, other light or a lens out of focus; mend that, load the fabric's recipe, "
                "or teach it",
            )
        elif changed is False:
            self.publisher.publish_alarm(
                1, "unlike", f"{line}: the web is again as recipe {recipe!r} learnt it", "nothing to do"
            )

    def _send_maps(self) -> bool:
        """Publish the evidence of one trigger, which delays no verdict; False when none waits."""
        judged = self.maps.take(0.0)
        if judged is None:
            return False
        try:
            limits = self.parts.judge.column_limits(judged.strip)
            self.publisher.publish_evidence(
                judged.strip, judged.scores, judged.verdicts, limits, self._send_what_is_due
            )
        except Exception as error:  # a fault, but no picture may cost a verdict
            self._fault(error)
        return True

    def _beat(self) -> HeartbeatData:
        snapshot = self.snapshot()
        return HeartbeatData(
            enc_now=self.tally.encoder_now,
            y_decided_m=self.tally.y_decided_m,
            queue_depth=snapshot.queue,
            drops=sum(snapshot.lost.values()),
            late=snapshot.late,
            tiles_per_s=snapshot.tiles_per_s,
            speed_m_min=snapshot.speed_m_min,
        )


def _now_us() -> int:
    return time.monotonic_ns() // 1000


def _score_truth(
    camera: Camera, verdicts: list[Verdict], inspected_m: float, counts_per_m: float
) -> dict[str, Any]:
    """Set what the line said beside what the loom wove."""
    assert isinstance(camera, LoomCamera)
    decided_m = max((v.encoder_end / counts_per_m for v in verdicts), default=0.0)
    unseen = [
        Unseen(v.encoder_start / counts_per_m, v.encoder_end / counts_per_m, v.x_start_mm, v.x_end_mm)
        for v in verdicts
        if v.outcome is Outcome.NOT_INSPECTED
    ]
    judged = [v for v in verdicts if v.outcome is not Outcome.NOT_INSPECTED]
    columns_mm = (
        min((v.x_start_mm for v in judged), default=-math.inf),
        max((v.x_end_mm for v in judged), default=math.inf),
    )
    defects = [d for v in verdicts for d in v.defects]
    faults = camera.truth(0.0, decided_m + 1.0)
    return score(faults, defects, inspected_m, decided_m, unseen, columns_mm).as_dict()
