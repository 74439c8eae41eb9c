"""Who hears a line: late joiners, those who missed something, and those who must not disturb the others."""

from __future__ import annotations

import errno
import json
import os
import random
import socket as tcp
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import msgspec
import pytest
import zmq

from inspector import config
from inspector.bus import publisher as publishing
from inspector.bus import wire
from inspector.bus.publisher import Publisher
from inspector.bus.subscriber import Subscriber, _reachable, keep_picture, print_events
from inspector.bus.wire import DefectHeader, Event, State
from inspector.config import Site
from inspector.errors import BusError
from inspector.records import Outcome
from tests.talking_line import (
    MARGIN_PX,
    PATIENCE_S,
    Listener,
    TalkingLine,
    ask,
    bus_of,
    defect,
    evidence,
    make_site,
    talking,
    verdict,
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def read_until(subscriber: Subscriber, kind: str, seq: int) -> list[Event]:
    """All events up to the one with this kind and seq."""
    events: list[Event] = []
    until_s = time.monotonic() + PATIENCE_S
    while not any(e.kind == kind and e.header.seq == seq for e in events):
        assert time.monotonic() < until_s, f"no {kind} {seq} among {len(events)} events"
        events += subscriber.read(0.1)
    return events


def seqs(events: list[Event], kind: str) -> list[int]:
    return [event.header.seq for event in events if event.kind == kind]


# -- late joiners ------------------------------------------------------------------------------------


def test_a_late_joiner_gets_the_state_and_the_open_alarms_at_once(site: Site) -> None:
    with talking(site, heartbeats=False) as line:
        line.do(lambda p: p.publish_alarm(300, "dust", "dust", "wipe"))
        line.do(lambda p: p.publish_alarm(500, "heat", "hot", "cool"))
        line.do(lambda p: p.publish_alarm(400, "dust", "more dust", "wipe again"))
        with Listener(line.publisher.endpoints[0]) as late:
            assert late.next("state")[0]["state"] == "Operational.ContinuousExecution"
            alarms = [late.next("alarm")[0] for _ in range(2)]
    assert [(a["code"], a["text"], a["seq"]) for a in alarms] == [
        ("heat", "hot", 2),
        ("dust", "more dust", 3),
    ]


def test_the_second_late_joiner_gets_them_too(site: Site) -> None:
    """XPUB_VERBOSE: without it only the first subscription of a topic is passed up."""
    with talking(site, heartbeats=False) as line:
        endpoint = line.publisher.endpoints[0]
        with Listener(endpoint) as first, Listener(endpoint) as second:
            assert first.next("state")[0]["seq"] == second.next("state")[0]["seq"] == 1


def test_who_is_there_already_does_not_take_the_repeat_for_news(site: Site) -> None:
    with talking(site) as line, Subscriber(bus_of(line.publisher), "1", site.root) as early:
        events = read_until(early, "state", 1)
        with Listener(line.publisher.endpoints[0]) as late:
            late.next("state")
            line.do(lambda p: p.publish_verdict(verdict()))
            events += read_until(early, "verdict", 1)
    assert seqs(events, "state") == [1]


def test_a_late_joiner_hears_of_every_alarm_though_codes_repeat(site: Site) -> None:
    with talking(site) as line:
        for code in ("dust", "heat", "dust", "dust"):
            line.do(lambda p, code=code: p.publish_alarm(300, code, code, "act"))
        warnings: list[str] = []
        with Subscriber(bus_of(line.publisher), "1", site.root, ("alarm",), warn=warnings.append) as late:
            events = read_until(late, "alarm", 4)
    assert seqs(events, "alarm") == [2, 3, 4]
    assert warnings == []


def test_a_subscription_to_line_1_hears_nothing_of_line_12(site: Site) -> None:
    """Both lines on one proxy, as a plant's concentrator would have it."""
    context = zmq.Context()
    try:
        proxy = context.socket(zmq.XPUB)
        port = proxy.bind_to_random_port("tcp://127.0.0.1")
        with talking(site, "1") as one, talking(site, "12") as twelve:
            upstream = context.socket(zmq.SUB)
            upstream.subscribe("inspector/1/line/")
            for line in (one, twelve):
                upstream.connect(line.publisher.endpoints[0])
            with Listener(f"tcp://127.0.0.1:{port}", "inspector/1/line/1/") as listener:
                assert proxy.recv() == b"\x01inspector/1/line/1/"
                passed, heard = set(), set()
                while not {"1", "12"} <= passed or not heard:
                    frames = upstream.recv_multipart()
                    passed.add(json.loads(frames[1])["line_id"])
                    proxy.send_multipart(frames)
                    while listener.socket.poll(20):
                        heard.add(json.loads(listener.socket.recv_multipart()[1])["line_id"])
        assert heard == {"1"}
    finally:
        context.destroy(linger=0)


# -- replay ------------------------------------------------------------------------------------------


def say_verdicts(line: TalkingLine, count: int) -> None:
    line.do(lambda p: [p.publish_verdict(verdict(n)) for n in range(count)])


def test_replay_gives_missed_messages_as_they_were(site: Site) -> None:
    with talking(site) as line, Listener(line.publisher.endpoints[0]) as listener:
        listener.next("state")
        say_verdicts(line, 20)
        live = [listener.next("verdict")[0] for _ in range(20)]
        given, (end,) = ask(
            line.publisher.endpoints[2], b'{"want": "events", "kind": "verdict", "first": 5, "last": 9}'
        )
    assert [header for _, header in given] == live[4:9]
    assert {topic for topic, _ in given} == {"inspector/1/line/1/verdict/"}
    assert end == {
        "end": True,
        "count": 5,
        "epoch": live[0]["epoch"],
        "last_seq": {"state": 1, "verdict": 20},
    }


def test_a_snapshot_is_state_alarms_and_each_lanes_last_verdict(site: Site) -> None:
    with talking(site) as line:
        line.do(lambda p: p.publish_alarm(300, "dust", "dust", "wipe"))
        for number in range(3):
            for lane in (0, 1):
                line.do(lambda p, n=number, lane=lane: p.publish_verdict(verdict(n, lane)))
        given, (end,) = ask(line.publisher.endpoints[2], b'{"want": "snapshot"}')
    assert [header["schema"] for _, header in given] == [
        "inspector.state/1",
        "inspector.alarm/1",
        "inspector.verdict/1",
        "inspector.verdict/1",
    ]
    assert [(h["lane"], h["sequence"]) for _, h in given if "lane" in h] == [(0, 2), (1, 2)]
    assert end["count"] == 4


def test_one_answer_is_bounded_and_the_rest_can_be_asked_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "MOST_PER_ANSWER", 10)
    with talking(site) as line:
        say_verdicts(line, 25)
        given, (end,) = ask(
            line.publisher.endpoints[2], b'{"want": "events", "kind": "verdict", "first": 1, "last": 25}'
        )
    assert end["count"] == len(given) == 10
    assert [header["seq"] for _, header in given] == list(range(1, 11))


GARBAGE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"snapshot"',
    b"\xff\xfe\x00",
    b'{"want": "\xff"}',
    b'{"want": "money"}',
    b'{"want": "events"}',
    b'{"want": "events", "kind": "gossip", "first": 1, "last": 2}',
    b'{"want": "events", "kind": "hb", "first": 1, "last": 2}',
    b'{"want": "events", "kind": "verdict", "first": "1", "last": 2}',
    b'{"want": "tiles", "seconds": 1e9}',
    b'{"want": "tiles", "seconds": -1}',
    b'{"want": "snapshot", "x": ' + b"[" * 100_000,
]


def test_garbled_requests_are_answered_and_the_line_goes_on(site: Site) -> None:
    noise = [random.Random(seed).randbytes(seed * 7) for seed in range(1, 30)]
    with talking(site) as line:
        given, ends = ask(line.publisher.endpoints[2], *GARBAGE, *noise)
        assert given == []
        assert all(end["error"].startswith("a garbled request: ") for end in ends)
        assert ask(line.publisher.endpoints[2], b'{"want": "snapshot"}')[1][0]["count"] == 1
        with Listener(line.publisher.endpoints[0]) as listener:
            listener.next("hb")


def test_a_request_for_what_is_not_there_gets_an_empty_answer(site: Site) -> None:
    requests = [
        b'{"want": "events", "kind": "verdict", "first": 7, "last": 99999999999999999999999}',
        b'{"want": "events", "kind": "alarm", "first": 9, "last": 1}',
    ]
    with talking(site) as line:
        given, ends = ask(line.publisher.endpoints[2], *requests)
    assert given == []
    assert [end["count"] for end in ends] == [0, 0]


def test_noise_on_every_port_does_not_end_the_line(site: Site) -> None:
    """A port scanner, a browser: bytes that aren't ZMTP."""
    with talking(site) as line:
        for endpoint in line.publisher.endpoints:
            port = int(endpoint.rpartition(":")[2])
            for noise in (b"GET / HTTP/1.1\r\n\r\n", random.Random(3).randbytes(4096), b""):
                with tcp.create_connection(("127.0.0.1", port)) as connection:
                    connection.sendall(noise)
        with Listener(line.publisher.endpoints[0]) as listener:
            listener.next("hb")


def test_a_subscriber_that_sends_gets_no_further(site: Site) -> None:
    """An XSUB may send what it likes up to the XPUB."""
    context = zmq.Context()
    try:
        with talking(site) as line:
            chatty = context.socket(zmq.XSUB)
            chatty.connect(line.publisher.endpoints[0])
            for number in range(2000):
                chatty.send(random.Random(number).randbytes(20))
            with Listener(line.publisher.endpoints[0]) as listener:
                listener.next("state")
                listener.next("hb")
    finally:
        context.destroy(linger=0)


# -- the slow ----------------------------------------------------------------------------------------


def test_a_stalled_subscriber_disturbs_nobody_and_replay_has_what_it_missed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "VERDICTS_HWM", 200)
    total = 9000  # kernel buffers hold some thousand messages before anything is dropped
    with talking(site, heartbeats=False) as line:
        endpoint = line.publisher.endpoints[0]
        with Listener(endpoint, hwm=1) as stalled, Listener(endpoint) as quick:
            stalled.next("state")
            quick.next("state")
            for start in range(0, total, 30):  # the quick one keeps up
                line.do(lambda p, start=start: [p.publish_verdict(verdict(start + n)) for n in range(30)])
                assert [quick.next("verdict")[0]["seq"] for _ in range(30)] == list(
                    range(start + 1, start + 31)
                )
            got = []
            while stalled.socket.poll(200):
                topic, header = stalled.socket.recv_multipart()
                if topic.endswith(b"/verdict/"):  # the state comes again for every late joiner
                    got.append(json.loads(header)["seq"])
            assert got == sorted(set(got))
            assert len(got) < total
            missing = sorted(set(range(1, total + 1)) - set(got))
            request = {"want": "events", "kind": "verdict", "first": missing[0], "last": missing[0] + 99}
            given, _ = ask(line.publisher.endpoints[2], json.dumps(request).encode())
            assert [header["seq"] for _, header in given] == list(range(missing[0], missing[0] + 100))


def test_a_stalled_reader_of_maps_holds_up_no_verdict(site: Site) -> None:
    with talking(site, heartbeats=False) as line:
        verdicts, maps, _ = line.publisher.endpoints
        with Listener(maps, hwm=1) as stalled, Listener(verdicts) as quick:
            quick.next("state")
            strip, scores = evidence()
            failed = [verdict(outcome=Outcome.FAIL)]

            def say(publisher: Publisher) -> None:
                for _ in range(100):
                    publisher.publish_evidence(strip, scores, failed, -1.0)
                publisher.publish_verdict(verdict())

            for number in range(20):
                line.do(say)
                assert quick.next("verdict")[0]["seq"] == number + 1
            assert stalled.socket.poll(round(PATIENCE_S * 1000))  # it was there, and did not read


def test_a_stalled_subscriber_does_not_keep_the_line_from_ending(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "VERDICTS_HWM", 10_000)
    line = TalkingLine(Publisher(site, "1"), heartbeats=False)
    with Listener(line.publisher.endpoints[0], hwm=1) as stalled:
        line.do(lambda p: p.publish_state(State.CONTINUOUS))
        stalled.next("state")
        say_verdicts(line, 9000)
        line.end()  # would block for ever with the default linger
    assert line.publisher._context.closed


# -- the line runs once ------------------------------------------------------------------------------


def test_a_port_in_use_is_one_sentence(site: Site, tmp_path: Path) -> None:
    with tcp.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        text = site.file.read_text().replace(
            'maps = "tcp://127.0.0.1:*"', f'maps = "tcp://127.0.0.1:{port}"', 1
        )
        (tmp_path / "taken.toml").write_text(text)
        with pytest.raises(BusError) as caught:
            Publisher(config.load(tmp_path / "taken.toml"), "1")
    assert str(caught.value) == (
        f"line 1: bus.maps = tcp://127.0.0.1:{port} can't be bound (Address already in use); "
        "does another program use it? end it, or change the endpoint"
    )
    Publisher(config.load(tmp_path / "taken.toml"), "1").close(None)  # neither the lock nor a port was kept


def test_one_line_runs_once(site: Site) -> None:
    with talking(site), pytest.raises(BusError) as caught:
        Publisher(site, "1")
    assert str(caught.value) == f"line 1 runs already (process {os.getpid()}); end that one first"


def test_another_process_is_told_whose_line_it_is(site: Site) -> None:
    code = (
        "import sys; from pathlib import Path; from inspector import config; "
        "from inspector.bus.publisher import Publisher; "
        "Publisher(config.load(Path(sys.argv[1])), '1')"
    )
    with talking(site):
        ran = subprocess.run(
            [sys.executable, "-c", code, site.file], check=False, capture_output=True, text=True, timeout=30
        )
    assert f"BusError: line 1 runs already (process {os.getpid()}); end that one first" in ran.stderr


def test_a_service_and_a_shell_see_each_others_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever their session's folders are."""
    with talking(site):
        for name in ("XDG_RUNTIME_DIR", "TMPDIR"):
            monkeypatch.setenv(name, str(site.root / "elsewhere"))
        monkeypatch.setattr(tempfile, "tempdir", None)
        with pytest.raises(BusError, match="line 1 runs already"):
            Publisher(site, "1").close(None)


def test_sockets_of_another_plants_line_are_not_taken_over(site: Site, tmp_path: Path) -> None:
    """A second config with the same ``ipc://`` paths: ZeroMQ itself would hand them over."""
    text = site.file.read_text()
    for name in ("verdicts", "maps", "replay"):
        text = text.replace(f'{name} = "tcp://127.0.0.1:*"', f'{name} = "ipc://{tmp_path}/{name}"', 1)
    site.file.write_text(text)
    (tmp_path / "copy.toml").write_text(text)
    with talking(config.load(site.file)) as line:
        with pytest.raises(BusError) as caught:
            Publisher(config.load(tmp_path / "copy.toml"), "1").close(None)
        with Listener(f"ipc://{tmp_path}/verdicts") as listener:
            line.do(lambda p: p.publish_verdict(verdict()))
            listener.next("hb")
    assert str(caught.value).startswith(
        f"line 1: bus.verdicts = ipc://{tmp_path}/verdicts can't be bound (Address already in use); does another"
    )
    Publisher(config.load(tmp_path / "copy.toml"), "1").close(None)  # what it left behind is free


def test_a_line_on_ipv6_is_heard(tmp_path: Path) -> None:
    with talking(make_site(tmp_path, host="[::1]")) as line:
        assert line.publisher.endpoints[0].startswith("tcp://[::1]:")
        line.do(lambda p: p.publish_verdict(verdict()))
        with Subscriber(bus_of(line.publisher), "1", tmp_path) as subscriber:
            assert read_until(subscriber, "state", 1)


@pytest.mark.parametrize("everywhere", ["*", "0.0.0.0", "[::]"])
def test_what_is_bound_to_all_interfaces_is_heard_here(everywhere: str) -> None:
    here = "[::1]" if everywhere == "[::]" else "127.0.0.1"
    assert _reachable(f"tcp://{everywhere}:5531") == f"tcp://{here}:5531"


def test_other_lines_of_the_plant_run_beside_it(site: Site) -> None:
    with (
        talking(site, "1"),
        talking(site, "12") as other,
        Listener(other.publisher.endpoints[0], "inspector/1/line/12/") as listener,
    ):
        assert listener.next("state")[0]["line_id"] == "12"


def test_a_line_that_ended_can_start_again(site: Site) -> None:
    Publisher(site, "1").close(None)
    Publisher(site, "1").close(None)


def test_closing_twice_is_no_mistake(site: Site) -> None:
    publisher = Publisher(site, "1")
    publisher.close(State.HALTED)
    publisher.close(State.HALTED)


def test_an_endpoint_that_can_not_be_bound_is_one_sentence(site: Site, tmp_path: Path) -> None:
    """No program uses it, so none is asked for."""
    endpoint = f"ipc://{tmp_path}/none/verdicts"
    text = site.file.read_text().replace("tcp://127.0.0.1:*", endpoint, 1)
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(BusError) as caught:
        Publisher(config.load(tmp_path / "bad.toml"), "1")
    assert str(caught.value) == (
        f"line 1: bus.verdicts = {endpoint} can't be bound (No such file or directory); change the endpoint, or make "
        "what it names (an ipc path's folder, an address of this machine)"
    )


# -- pictures of defects -------------------------------------------------------------------------------


def heard_defects(site: Site, folder: Path, count: int) -> list[str]:
    """What `events --kind defect --pictures` prints of a line that has a defect again and again."""
    printed: list[str] = []
    with talking(site) as line:
        listening = threading.Thread(
            target=print_events,
            args=(bus_of(line.publisher), "1"),
            kwargs={
                "root": site.root,
                "as_json": False,
                "kinds": ("defect",),
                "lane": None,
                "outcome": None,
                "count": count,
                "silence_s": PATIENCE_S,
                "pictures": folder,
                "write": printed.append,
                "warn": printed.append,
            },
        )
        listening.start()
        strip, scores = evidence()
        until_s = time.monotonic() + PATIENCE_S
        while listening.is_alive():
            assert time.monotonic() < until_s
            line.do(lambda p: p.publish_evidence(strip, scores, [verdict(outcome=Outcome.FAIL)], 7.0))
            listening.join(0.02)
    return printed


def test_pictures_of_defects_are_kept_and_named(site: Site, tmp_path: Path) -> None:
    printed = heard_defects(site, tmp_path / "out" / "defects", 2)
    files = sorted((tmp_path / "out" / "defects").iterdir(), key=lambda file: file.stat().st_mtime_ns)
    assert len(files) == 2  # the same defect told twice: none takes the other's place
    assert [line.rpartition("  ")[2] for line in printed] == [str(file) for file in files]
    for file in files:
        picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert (picture == evidence()[0].batch.pixels[1, MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]).all()


def test_a_full_disk_leaves_no_half_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def half(file: Path, data: bytes) -> int:
        write(file, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    event = Event("defect", defect_header(), (b"picture",))
    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(BusError, match="No space left"):
        keep_picture(event, tmp_path)
    assert not list(tmp_path.iterdir())


def defect_header() -> DefectHeader:
    return msgspec.convert(
        {
            "schema": "inspector.defect/1",
            **dict.fromkeys(("line_id", "job_id", "recipe_id", "recipe_rev", "part_id"), "x"),
            **dict.fromkeys(("engine_sha256", "calibration_sha256"), "ab" * 32),
            **dict.fromkeys(("epoch", "seq", "t_acq_us", "t_pub_us", "mono_us"), 1),
            **wire.defect_fields(defect("../../1-0-0"), 0),
            "state": "Operational.ContinuousExecution",
            "is_simulated": True,
        },
        DefectHeader,
    )


def test_a_picture_that_cannot_be_written_is_said_and_no_id_leads_out_of_the_folder(tmp_path: Path) -> None:
    header = defect_header()
    event = Event("defect", header, (b"picture",))
    kept = keep_picture(event, tmp_path / "out")
    assert kept is not None
    assert kept.parent == tmp_path / "out"
    assert kept.read_bytes() == b"picture"
    assert keep_picture(Event("defect", header), tmp_path / "out") is None  # one without a picture
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BusError, match=r"file.*can't be written .*; free the disk or mend the path"):
        keep_picture(event, tmp_path / "file")
