"""A line that talks without camera or engine: a real Publisher in a thread of its own, on ports the system chose."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import zmq

from inspector import config
from inspector.bus.publisher import HeartbeatData, Publisher
from inspector.bus.wire import State
from inspector.config import Bus, Site
from inspector.records import (
    Defect,
    Outcome,
    Reason,
    Region,
    ScoreMap,
    Stamp,
    Strip,
    TileBatch,
    Timings,
    Verdict,
)
from inspector.tally import Snapshot

T = TypeVar("T")
COUNTS_PER_M = 10_000
FRAME_COUNTS = 1024
ANY_PORT = "tcp://127.0.0.1:*"
PATIENCE_S = 10.0

LINE = """\
[line.{line_id}]
recipe = "cloth"
camera = {{ kind = "folder", path = "frames" }}
web = {{ width_mm = 51.2, mm_per_px = 0.2, encoder_counts_per_m = 10000, speed_m_min = 6 }}
tiles = {{ size_mm = 12.8, overlap_mm = 0 }}
reject_distance_m = 1.5
bus = {{ verdicts = "{verdicts}", maps = "{maps}", replay = "{replay}", keys = "{keys}" }}
"""


def make_site(folder: Path, *, host: str = "127.0.0.1", keys: str = "") -> Site:
    """A plant with lines 1 and 12."""
    endpoint = f"tcp://{host}:*"
    lines = [
        LINE.format(line_id=line_id, verdicts=endpoint, maps=endpoint, replay=endpoint, keys=keys)
        for line_id in ("1", "12")
    ]
    return _write(folder / "config.toml", lines)


def site_of(publisher: Publisher, folder: Path, *, line_id: str = "1", keys: str = "") -> Site:
    """A plant whose config names the ports that a publisher really has: what its subscribers read."""
    verdicts, maps, replay = publisher.endpoints
    line = LINE.format(line_id=line_id, verdicts=verdicts, maps=maps, replay=replay, keys=keys)
    return _write(folder / "subscriber.toml", [line])


def bus_of(publisher: Publisher, *, keys: str = "") -> Bus:
    """A publisher's real endpoints."""
    verdicts, maps, replay = publisher.endpoints
    return Bus(verdicts=verdicts, maps=maps, replay=replay, keys=keys)


def _write(file: Path, lines: list[str]) -> Site:
    file.write_text('plant = "test"\n' + "".join(lines))
    return config.load(file)


BEAT = HeartbeatData(
    enc_now=4096, y_decided_m=0.1, queue_depth=1, drops=2, late=3, tiles_per_s=60.5, speed_m_min=6.0
)


class Quiet:
    """Nobody looks on."""

    def show(self, snapshot: Snapshot, now_s: float) -> None:
        pass

    def say(self, text: str) -> None:
        pass


class TalkingLine:
    """Owns a publisher as the publish thread does: heartbeats, serves, and runs what ``do`` is given."""

    def __init__(self, publisher: Publisher, *, heartbeats: bool = True) -> None:
        self.publisher = publisher
        self._heartbeats = heartbeats
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="talking line")
        self._thread.start()

    def do(self, job: Callable[[Publisher], T]) -> T:
        """Run ``job`` in the publisher's thread; return what it returns, raise what it raises."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(job(self.publisher))
            except BaseException as error:
                done.set_exception(error)

        self._jobs.put(run)
        return done.result(PATIENCE_S)

    def mute(self) -> None:
        """No heartbeat from now on."""
        self._heartbeats = False

    def end(self, final: State | None = State.HALTED) -> None:
        """Stop the thread and close the publisher."""
        self._stop.set()
        self._thread.join(PATIENCE_S)
        self.publisher.close(final)

    def _run(self) -> None:
        next_beat_s = 0.0
        while not self._stop.is_set():
            while not self._jobs.empty():
                self._jobs.get()()
            if self._heartbeats and time.monotonic() >= next_beat_s:
                next_beat_s = time.monotonic() + 0.1
                self.publisher.heartbeat(BEAT)
            self.publisher.serve(0.005)


@contextmanager
def talking(site: Site, line_id: str = "1", *, heartbeats: bool = True) -> Iterator[TalkingLine]:
    """A line in ContinuousExecution."""
    line = TalkingLine(Publisher(site, line_id), heartbeats=heartbeats)
    try:
        line.do(lambda p: p.publish_state(State.CONTINUOUS))
        yield line
    finally:
        line.end()


class Listener:
    """A bare SUB socket, as a stranger would write it."""

    def __init__(self, endpoint: str, prefix: str = "inspector/1/line/1/", *, hwm: int = 10_000) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.SUB)
        self.socket.rcvhwm = hwm
        self.socket.connect(endpoint)
        self.socket.subscribe(prefix)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def next(self, kind: str, timeout_s: float = PATIENCE_S) -> tuple[dict[str, Any], list[bytes]]:
        """The next message of a kind: its header and payload. Fails when none comes."""
        until_s = time.monotonic() + timeout_s
        while (left_s := until_s - time.monotonic()) > 0:
            if not self.socket.poll(round(left_s * 1000)):
                break
            topic, header, *payload = self.socket.recv_multipart()
            if topic.split(b"/")[-2] == kind.encode():
                return json.loads(header), payload
        raise AssertionError(f"no {kind} message within {timeout_s} s")


def ask(endpoint: str, *requests: bytes) -> tuple[list[tuple[str, dict[str, Any]]], list[dict[str, Any]]]:
    """Put requests to a replay socket; return the (topic, header)s it gave, and the end of each answer."""
    context = zmq.Context()
    try:
        socket = context.socket(zmq.DEALER)
        socket.connect(endpoint)
        given, ends = [], []
        for request in requests:
            socket.send(request)
            while True:
                assert socket.poll(round(PATIENCE_S * 1000)), f"no answer to {request[:80]!r}"
                topic, header, *_ = socket.recv_multipart()
                if not topic:
                    ends.append(json.loads(header))
                    break
                given.append((topic.decode(), json.loads(header)))
        return given, ends
    finally:
        context.destroy(linger=0)


def stamp(number: int = 0) -> Stamp:
    """Of the trigger with this number; captured now."""
    now_us = time.monotonic_ns() // 1000
    start = number * FRAME_COUNTS
    return Stamp("1", "SIM1", number, number + 7, start, start + FRAME_COUNTS, now_us, now_us + 1_000_000)


def defect(defect_id: str = "1-0-0", phase: str = "new", y_m: float = 0.05) -> Defect:
    return Defect(defect_id, 14.0, y_m, 4.0, 2.0, 6.5, 4.25, 1.5, 9.75, phase)


def verdict(number: int = 0, lane: int = 0, outcome: Outcome = Outcome.PASS, score: float = 3.5) -> Verdict:
    at = stamp(number)
    reasons = {
        Outcome.PASS: Reason.NONE,
        Outcome.FAIL: Reason.SCORE,
        Outcome.NOT_INSPECTED: Reason.FRAME_LOST,
    }
    return Verdict(
        at,
        lane,
        outcome,
        reasons[outcome],
        at.encoder_start,
        at.encoder_end,
        x_start_mm=25.6 * lane,
        x_end_mm=25.6 * (lane + 1),
        score=score,
        limit=7.0,
        n_tiles=4,
        n_tiles_inspected=0 if outcome is Outcome.NOT_INSPECTED else 4,
        defects=(defect(),) if outcome is Outcome.FAIL else (),
        timings=Timings(1.25, 20.5, 31.0625),
    )


TILE_PX, MARGIN_PX, CELL_PX = 64, 8, 8


def evidence(hot: int = 2) -> tuple[Strip, ScoreMap]:
    """A strip of one row of four tiles, each of its own grey; the tile ``hot`` is above a limit of 7."""
    at = stamp()
    origins = np.array([[0, 64 * i] for i in range(4)], np.int32)
    side = TILE_PX + 2 * MARGIN_PX
    pixels = np.stack([np.full((side, side), 40 + 50 * i, np.uint8) for i in range(4)])
    scores = np.random.default_rng(5).uniform(0, 6, (4, 8, 8)).astype(np.float32)
    scores[hot, 3, 4] = 12.3
    strip = Strip(
        at,
        at.encoder_start,
        at.encoder_end,
        TileBatch(at, pixels, origins, MARGIN_PX),
        Region(0, 256, 0, 64),
        piece=0,
        decided_px=64,
        canvas_cells=(8, 32),
        row_marks=((0, at.encoder_start), (64, at.encoder_end)),
    )
    return strip, ScoreMap(at, scores, scores.max((1, 2)), CELL_PX, origins)
