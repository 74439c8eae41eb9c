"""`inspector events` and the Subscriber behind it: filters, holes, restarts, silence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import msgspec
import pytest
import zmq
from click.testing import CliRunner, Result

from inspector import config
from inspector.bus import publisher as publishing
from inspector.bus import subscriber as hearing
from inspector.bus.publisher import Publisher
from inspector.bus.subscriber import Subscriber, as_text
from inspector.bus.wire import State
from inspector.cli import main
from inspector.config import Bus, Site
from inspector.errors import BusError, SilentLine
from inspector.records import Outcome
from tests.talking_line import (
    PATIENCE_S,
    TalkingLine,
    bus_of,
    evidence,
    make_site,
    site_of,
    talking,
    verdict,
)
from tests.test_bus_hearing import read_until, seqs


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def events(site: Site, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["events", "--line", "1", "--config", str(site.file), *arguments])


def keep_talking(publisher: Publisher) -> None:
    """One verdict of every outcome and lane, a defect, an alarm."""
    for lane in (0, 1):
        for outcome in Outcome:
            publisher.publish_verdict(verdict(0, lane, outcome))
    strip, scores = evidence()
    publisher.publish_evidence(strip, scores, [verdict(outcome=Outcome.FAIL)], 7.0)
    publisher.publish_alarm(300, "dust", "dust on the lens", "wipe it")


class Talker(TalkingLine):
    """Says everything again and again, so that a command in another process hears it whenever it comes."""

    def _run(self) -> None:
        while not self._stop.is_set():
            keep_talking(self.publisher)
            self.publisher.serve(0.02)


@pytest.fixture
def talker(site: Site, tmp_path: Path):
    line = Talker(Publisher(site, "1"))
    yield site_of(line.publisher, tmp_path)
    line.end()


def test_events_prints_a_line_for_each(talker: Site) -> None:
    result = events(talker, "--count", "40")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 40
    text = result.stdout
    assert "PASS" in text
    assert "FAIL (score)" in text
    assert "NOT_INSPECTED (frame_lost)" in text
    assert "ALARM 300 dust" in text
    assert "dust on the lens; wipe it" in text
    assert "defect new" in text
    assert "heartbeat" not in text
    assert "tile " not in text


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("--lane", "1", "--kind", "verdict"), {"lane": 1}),
        (("--outcome", "FAIL"), {"verdict": "FAIL", "schema": "inspector.verdict/1"}),
        (("--outcome", "NOT_INSPECTED", "--lane", "0"), {"verdict": "NOT_INSPECTED", "lane": 0}),
        (("--kind", "alarm"), {"schema": "inspector.alarm/1", "code": "dust"}),
        (("--kind", "defect"), {"schema": "inspector.defect/1", "defect_id": "1-0-0"}),
        (("--kind", "tile"), {"schema": "inspector.tile/1", "col": 2}),
    ],
)
def test_filters(talker: Site, arguments: tuple[str, ...], wanted: dict[str, object]) -> None:
    result = events(talker, "--json", "--count", "5", *arguments)
    assert result.exit_code == 0, result.output
    headers = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(headers) == 5
    for header in headers:
        assert header | wanted == header


def test_json_is_the_header_as_on_the_wire(talker: Site) -> None:
    result = events(talker, "--json", "--count", "3", "--kind", "verdict")
    lines = result.stdout.splitlines()
    context = zmq.Context()
    try:
        socket = context.socket(zmq.DEALER)
        socket.connect(talker.line("1").bus.replay)
        seq = json.loads(lines[0])["seq"]
        request = {"want": "events", "kind": "verdict", "first": seq, "last": seq}
        socket.send(json.dumps(request).encode())
        assert socket.poll(round(PATIENCE_S * 1000))
        assert socket.recv_multipart()[1].decode() == lines[0]
    finally:
        context.destroy(linger=0)


def test_heartbeats_are_printed_on_request(site: Site, tmp_path: Path) -> None:
    with talking(site) as line:
        result = events(site_of(line.publisher, tmp_path), "--kind", "hb", "--count", "2")
    assert result.exit_code == 0
    assert result.stdout.count("heartbeat") == 2


def test_a_line_that_goes_silent_is_exit_code_8(site: Site, tmp_path: Path) -> None:
    """A real process hears a real line fall dumb, its sockets still open."""
    with talking(site) as line:
        plant = site_of(line.publisher, tmp_path)
        command = [sys.executable, "-m", "inspector", "events", "--line", "1", "--config", str(plant.file)]
        with subprocess.Popen(
            [*command, "--silence", "0.5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert "Operational.ContinuousExecution" in process.stdout.readline()
            line.mute()
            _, err = process.communicate(timeout=30)
    assert process.returncode == 8
    assert err.startswith("inspector: line 1 has been silent for 0.5 s: not running")
    assert "Traceback" not in err


def test_whoever_reads_on_no_more_ends_it(talker: Site) -> None:
    """``inspector events | head -1``: what has no end of its own ends there, and well."""
    command = [sys.executable, "-m", "inspector", "events", "--line", "1", "--config", str(talker.file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_a_line_that_was_never_there_is_exit_code_8(site: Site, tmp_path: Path) -> None:
    publisher = Publisher(site, "1")
    plant = site_of(publisher, tmp_path)
    publisher.close(None)
    result = events(plant, "--silence", "0.2")
    assert result.exit_code == 8
    assert "try `inspector check --line 1` there" in result.stderr


def test_heartbeats_alone_keep_it_listening(site: Site, tmp_path: Path) -> None:
    with talking(site) as line, Subscriber(bus_of(line.publisher), "1", site.root, ("hb",)) as subscriber:
        beats = []
        for event in subscriber.events(0.35):
            beats.append(event)
            if len(beats) == 10:
                break
        line.mute()
        with pytest.raises(SilentLine):
            deque(subscriber.events(0.3), maxlen=0)


# -- holes -------------------------------------------------------------------------------------------


class Thinned:
    """Stands in for a SUB socket's network: every message but those of ``lost`` seqs gets through."""

    def __init__(self, socket: zmq.Socket[bytes], lost: set[int]) -> None:
        self._socket = socket
        self._lost = lost

    def recv_multipart(self) -> list[bytes]:
        while True:
            frames = self._socket.recv_multipart()
            if not (frames[0].endswith(b"/verdict/") and json.loads(frames[1])["seq"] in self._lost):
                return frames


def lossy(subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch, lost: set[int]) -> None:
    real = subscriber._poller.poll
    monkeypatch.setattr(
        subscriber._poller, "poll", lambda ms: [(Thinned(socket, lost), mask) for socket, mask in real(ms)]
    )


def test_a_hole_is_filled_from_replay_in_order(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "MOST_PER_ANSWER", 3)  # so that one answer is not enough
    warnings: list[str] = []
    with (
        talking(site) as line,
        Subscriber(bus_of(line.publisher), "1", site.root, warn=warnings.append) as subscriber,
    ):
        read_until(subscriber, "state", 1)
        lossy(subscriber, monkeypatch, {2, 4, 5, 6, 7, 8, 9, 10, 11})
        line.do(lambda p: [p.publish_verdict(verdict(n)) for n in range(12)])
        heard = read_until(subscriber, "verdict", 12)
    assert seqs(heard, "verdict") == list(range(1, 13))
    assert warnings == []


def test_a_hole_that_replay_cannot_fill_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "KEPT", 4)
    warnings: list[str] = []
    with (
        talking(site) as line,
        Subscriber(bus_of(line.publisher), "1", site.root, warn=warnings.append) as subscriber,
    ):
        read_until(subscriber, "state", 1)
        lossy(subscriber, monkeypatch, set(range(2, 10)))
        line.do(lambda p: [p.publish_verdict(verdict(n)) for n in range(10)])
        heard = read_until(subscriber, "verdict", 10)
    assert seqs(heard, "verdict") == [1, 7, 8, 9, 10]
    assert warnings == ["line 1: 5 messages (verdict) before seq 10 are lost"]


@pytest.mark.parametrize(("kinds", "is_told"), [(("verdict",), False), (("verdict", "hb"), True)])
def test_heartbeats_are_missed_by_whoever_asked_for_them(
    site: Site, kinds: tuple[str, ...], is_told: bool
) -> None:
    """They come along to tell silence; verdicts have their own seq and replay."""
    warnings: list[str] = []
    with (
        talking(site) as line,
        Subscriber(bus_of(line.publisher), "1", site.root, kinds, warn=warnings.append) as subscriber,
    ):
        assert next(subscriber.events(PATIENCE_S)).kind == "hb"
        line.do(lambda p: p._seq.update(hb=999))
        read_until(subscriber, "hb", 1000)
    assert [w.endswith("(hb) before seq 1000 are lost") for w in warnings] == [True] * is_told


def test_a_dumb_replay_costs_a_second_and_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "REPLAY_S", 0.1)
    warnings: list[str] = []
    with talking(site) as line, zmq.Context() as context, context.socket(zmq.ROUTER) as dumb:
        port = dumb.bind_to_random_port("tcp://127.0.0.1")
        real = bus_of(line.publisher)
        bus = Bus(verdicts=real.verdicts, maps=real.maps, replay=f"tcp://127.0.0.1:{port}")
        with Subscriber(bus, "1", site.root, warn=warnings.append) as subscriber:
            read_until(subscriber, "state", 1)
            lossy(subscriber, monkeypatch, {2, 4})
            line.do(lambda p: [p.publish_verdict(verdict(n)) for n in range(5)])
            heard = read_until(subscriber, "verdict", 5)
        dumb.linger = 0
    assert seqs(heard, "verdict") == [1, 3, 5]
    assert warnings == [f"line 1: 1 messages (verdict) before seq {n} are lost" for n in (3, 5)]


def test_events_tells_of_a_hole_on_stderr(site: Site, tmp_path: Path) -> None:
    """Four alarms vanish without a trace, from replay too."""
    with talking(site, heartbeats=False) as line:
        plant = site_of(line.publisher, tmp_path)
        line.do(lambda p: p.publish_alarm(300, "heat", "hot", "cool"))
        line.do(lambda p: p.publish_alarm(300, "dust", "dust", "wipe"))
        line.do(lambda p: p._kept["alarm"].clear())
        line.do(lambda p: p._seq.update(alarm=6))
        line.do(lambda p: p.publish_alarm(300, "oil", "oil", "mop"))
        result = events(plant, "--count", "3", "--kind", "alarm")
    assert result.exit_code == 0
    assert result.stdout.count("ALARM") == 3
    assert result.stderr == "inspector: line 1: 4 messages (alarm) before seq 7 are lost\n"


def test_a_subscriber_may_wait_for_ever(talker: Site) -> None:
    result = events(talker, "--count", "3", "--silence", "1e300")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 3)


@pytest.mark.parametrize(
    ("days", "begins"), [(0, r"\d\d:\d\d:\d\d\.\d{3}  line 1  "), (3, r"\d{4}-\d\d-\d\d \d\d:")]
)
def test_an_event_of_another_day_bears_its_date(talker: Site, days: int, begins: str) -> None:
    """An open alarm is told to whoever comes, days later, too."""
    with Subscriber(talker.line("1").bus, "1", talker.root) as subscriber:
        event = next(subscriber.events(PATIENCE_S))
    earlier_us = event.header.t_pub_us - days * 86_400 * 10**6
    event = msgspec.structs.replace(event, header=msgspec.structs.replace(event.header, t_pub_us=earlier_us))
    assert re.match(begins, as_text(event))


# -- restarts and strangers --------------------------------------------------------------------------


@pytest.mark.parametrize("back_h", [0, 1], ids=["", "the machine's clock was set back"])
def test_a_line_started_anew_is_heard_from_its_first_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back_h: int
) -> None:
    """An epoch is the start's UTC: a later one may be lower."""
    site = make_site(tmp_path)
    with talking(site) as line:
        bus = bus_of(line.publisher)
        subscriber = Subscriber(bus, "1", site.root)
        first = read_until(subscriber, "state", 1)[-1].header.epoch
    text = site.file.read_text()
    for name in ("verdicts", "maps", "replay"):
        text = text.replace(f'{name} = "tcp://127.0.0.1:*"', f'{name} = "{getattr(bus, name)}"', 1)
    site.file.write_text(text)
    utc_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: utc_ns() - back_h * 3600 * 10**9)
    with subscriber, talking(config.load(site.file)) as line:
        line.do(lambda p: p.publish_state(State.READY))
        line.do(lambda p: [p.publish_verdict(verdict(n)) for n in range(3)])
        heard = []
        until_s = time.monotonic() + PATIENCE_S
        while not any(e.kind == "state" and e.header.epoch != first for e in heard):
            assert time.monotonic() < until_s
            heard += subscriber.read(0.1)
        line.do(lambda p: p.publish_verdict(verdict(3)))
        heard += read_until(subscriber, "verdict", 4)
    again = [e for e in heard if e.header.epoch != first]
    assert seqs(again, "state") == [1, 2]
    assert seqs(again, "verdict") == [1, 2, 3, 4]


def test_a_message_of_another_version_is_told_not_swallowed(site: Site) -> None:
    warnings: list[str] = []
    context = zmq.Context()
    try:
        stranger = context.socket(zmq.XPUB)
        port = stranger.bind_to_random_port("tcp://127.0.0.1")
        endpoint = f"tcp://127.0.0.1:{port}"
        bus = Bus(verdicts=endpoint, maps=endpoint, replay=endpoint)
        with Subscriber(bus, "1", site.root, ("state",), warn=warnings.append) as subscriber:
            while stranger.recv() != b"\x01inspector/1/line/1/state/":
                pass
            stranger.send_multipart([b"inspector/1/line/1/state/", b'{"schema": "inspector.state/9"}'])
            assert subscriber.read(PATIENCE_S) == []
    finally:
        context.destroy(linger=0)
    assert len(warnings) == 1
    assert warnings[0].startswith("line 1: a message left out: a garbled state message:")


def test_an_endpoint_to_nowhere_is_one_sentence(site: Site) -> None:
    with pytest.raises(BusError, match=r"tcp://127\.0\.0\.1:\*: can't connect \(Invalid argument\); mend"):
        Subscriber(site.line("1").bus, "1", site.root)
