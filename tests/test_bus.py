"""What a line says on real sockets: every field of every kind, seq, intervals, payloads."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zmq

from inspector.bus import publisher as publishing
from inspector.bus import wire
from inspector.bus.evidence import tiles
from inspector.bus.publisher import Publisher
from inspector.bus.wire import State
from inspector.config import Site
from inspector.records import Outcome
from tests.talking_line import (
    COUNTS_PER_M,
    PATIENCE_S,
    TILE_PX,
    Listener,
    TalkingLine,
    ask,
    defect,
    evidence,
    make_site,
    talking,
    verdict,
)

COMMON = {
    "schema": str,
    "line_id": str,
    "epoch": int,
    "seq": int,
    "t_acq_us": int,
    "t_pub_us": int,
    "mono_us": int,
    "state": str,
    "job_id": str,
    "recipe_id": str,
    "recipe_rev": str,
    "part_id": str,
    "engine_sha256": str,
    "calibration_sha256": str,
    "is_simulated": bool,
}
FIELDS: dict[str, dict[str, type]] = {
    "verdict": {
        "result_id": str,
        "lane": int,
        "enc_start": int,
        "enc_end": int,
        "y_start_m": float,
        "y_end_m": float,
        "x_start_mm": float,
        "x_end_mm": float,
        "verdict": str,
        "reason": str,
        "detail": str,
        "score": float,
        "limit": float,
        "n_tiles": int,
        "n_tiles_inspected": int,
        "defect_ids": list,
        "reject_enc": int,
        "deadline_enc": int,
        "sequence": int,
        "block_id": int,
        "acq_ms": float,
        "infer_ms": float,
        "total_ms": float,
    },
    "tile": {
        "row": int,
        "col": int,
        "x_mm": float,
        "y_m": float,
        "w_mm": float,
        "h_mm": float,
        "mm_per_px": float,
        "score": float,
        "map": dict,
    },
    "defect": {
        "defect_id": str,
        "phase": str,
        "lane": int,
        "x_mm": float,
        "y_m": float,
        "w_mm": float,
        "h_mm": float,
        "area_mm2": float,
        "length_mm": float,
        "width_mm": float,
        "peak": float,
        "image": str,
    },
    "state": {"detail": str},
    "hb": {
        "enc_now": int,
        "y_decided_m": float,
        "last_seq": dict,
        "queue_depth": int,
        "drops": int,
        "late": int,
        "tiles_per_s": float,
        "speed_m_min": float,
    },
    "alarm": {"severity": int, "code": str, "text": str, "action": str},
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def publish_evidence(publisher: Publisher, limit: float = 7.0) -> None:
    strip, scores = evidence()
    publisher.publish_evidence(strip, scores, [verdict(outcome=Outcome.FAIL)], limit)


def one_of_each(line: TalkingLine) -> tuple[dict[str, dict[str, Any]], dict[str, list[bytes]]]:
    """Header and payload of a message of every kind."""
    verdicts, maps, _ = line.publisher.endpoints
    with Listener(verdicts) as small, Listener(maps) as bulky:
        headers = {"state": small.next("state")[0]}
        payloads: dict[str, list[bytes]] = {}
        line.do(lambda p: p.publish_verdict(verdict(outcome=Outcome.FAIL, score=12.25)))
        line.do(lambda p: p.publish_alarm(500, "dust", "dust on the lens", "wipe it"))
        for kind in ("verdict", "alarm", "hb"):
            headers[kind], payloads[kind] = small.next(kind)
        publish_until(line, bulky)
        for kind in ("tile", "defect"):
            headers[kind], payloads[kind] = bulky.next(kind)
    return headers, payloads


def publish_until(line: TalkingLine, bulky: Listener) -> None:
    """Evidence has no last-value cache: say it until the new subscription has taken effect."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        line.do(publish_evidence)
        if bulky.socket.poll(50):
            return
    raise AssertionError("nothing on the maps socket")


# -- what is said ------------------------------------------------------------------------------------


def test_every_kind_has_every_field_of_the_protocol(site: Site) -> None:
    before_us = time.time_ns() // 1000
    with talking(site) as line:
        headers, _ = one_of_each(line)
    assert set(headers) == set(wire.KINDS)
    for kind, header in headers.items():
        expected = COMMON | FIELDS[kind]
        assert {k: type(v) for k, v in header.items()} == expected, kind
        assert header["schema"] == f"inspector.{kind}/1"
        for name in ("epoch", "t_acq_us", "t_pub_us"):
            assert abs(header[name] - before_us) < 60_000_000, f"{kind}.{name} is not microseconds UTC"
            assert header[name] < 2**53  # exact in JavaScript
        assert header["state"] == "Operational.ContinuousExecution"
        assert header["line_id"] == "1"
        assert header["recipe_id"] == "cloth"


def test_identity_stands_in_every_header_from_then_on(site: Site) -> None:
    names = publishing.Identity("denim", "abc123", "e" * 64, "c" * 64, is_simulated=False)
    with talking(site) as line, Listener(line.publisher.endpoints[0]) as listener:
        first, _ = listener.next("state")
        line.do(lambda p: p.identify(names))
        line.do(lambda p: p.publish_verdict(verdict()))
        second, _ = listener.next("verdict")
    assert (first["recipe_id"], first["is_simulated"]) == ("cloth", True)
    assert second["recipe_id"] == "denim"
    assert second["recipe_rev"] == "abc123"
    assert second["engine_sha256"] == "e" * 64
    assert second["calibration_sha256"] == "c" * 64
    assert second["is_simulated"] is False


def test_seq_has_no_holes_and_intervals_join_up(site: Site) -> None:
    with talking(site) as line, Listener(line.publisher.endpoints[0]) as listener:
        listener.next("state")

        def say_all(publisher: Publisher) -> None:
            for number in range(200):
                for lane in (0, 1):
                    publisher.publish_verdict(verdict(number, lane))
                if number % 50 == 0:
                    publisher.publish_alarm(100, f"n{number}", "a number", "none")

        line.do(say_all)
        seqs: dict[str, list[int]] = defaultdict(list)
        lanes: dict[int, list[tuple[int, int]]] = defaultdict(list)
        ids = set()
        while len(seqs["verdict"]) < 400 or len(seqs["hb"]) < 3:
            topic, header, *_ = listener.socket.recv_multipart()
            event = json.loads(header)
            seqs[event["schema"]].append(event["seq"])
            if topic.endswith(b"/verdict/"):
                seqs["verdict"].append(event["seq"])
                lanes[event["lane"]].append((event["enc_start"], event["enc_end"]))
                ids.add(event["result_id"])
            elif topic.endswith(b"/hb/"):
                seqs["hb"].append(event["seq"])
    for kind, numbers in seqs.items():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), kind
    assert seqs["verdict"][0] == 1
    for intervals in lanes.values():
        assert len(intervals) == 200
        assert all(before[1] == after[0] for before, after in pairwise(intervals))
    assert len(ids) == 400


def test_two_verdicts_of_one_trigger_have_ids_of_their_own(site: Site) -> None:
    """A frame at the web's end is decided in pieces: the same trigger and lane, twice."""
    with talking(site) as line, Listener(line.publisher.endpoints[0]) as listener:
        listener.next("state")
        line.do(lambda p: [p.publish_verdict(verdict(3)) for _ in range(2)])
        assert listener.next("verdict")[0]["result_id"] != listener.next("verdict")[0]["result_id"]


def test_a_heartbeat_tells_the_last_seq_of_each_kind(site: Site) -> None:
    with talking(site) as line, Listener(line.publisher.endpoints[0]) as listener:
        listener.next("state")
        line.do(lambda p: [p.publish_verdict(verdict(n)) for n in range(5)])
        while (beat := listener.next("hb")[0])["last_seq"].get("verdict", 0) < 5:
            pass
    assert beat["last_seq"] == {"state": 1, "verdict": 5}
    assert (beat["enc_now"], beat["drops"], beat["late"], beat["queue_depth"]) == (4096, 2, 3, 1)


def test_every_start_has_an_epoch_of_its_own(site: Site, tmp_path: Path) -> None:
    epochs = []
    for _ in range(2):
        with talking(site) as line, Listener(line.publisher.endpoints[0]) as listener:
            header, _ = listener.next("state")
            epochs.append(header["epoch"])
            assert header["seq"] == 1
    assert epochs[0] < epochs[1]


def test_the_last_state_is_heard_behind_all_that_was_said_before(site: Site) -> None:
    publisher = Publisher(site, "1")
    publisher.publish_state(State.CONTINUOUS)
    with Listener(publisher.endpoints[0]) as listener:
        while not listener.socket.poll(0):
            publisher.serve(0.01)
        listener.next("state")
        for number in range(3000):
            publisher.publish_verdict(verdict(number))
        publisher.close(State.HALTED)
        assert listener.next("state")[0]["state"] == "Halted"


# -- payloads ----------------------------------------------------------------------------------------


def test_a_tile_can_be_read_by_its_header_alone(site: Site) -> None:
    with talking(site) as line:
        headers, payloads = one_of_each(line)
    strip, scores = evidence(hot=2)
    header, (payload,) = headers["tile"], payloads["tile"]
    how = header["map"]
    read = np.frombuffer(payload, how["dtype"]).reshape(how["shape"]) * how["scale"]
    np.testing.assert_allclose(read, scores.scores[2], atol=how["scale"] / 2)
    assert np.unravel_index(read.argmax(), read.shape) == (3, 4)
    assert (header["row"], header["col"]) == (0, 2)  # only the tile above the limit came
    assert header["x_mm"] == pytest.approx(2 * TILE_PX * 0.2)
    assert header["y_m"] == strip.stamp.encoder_start / COUNTS_PER_M
    assert header["w_mm"] == header["h_mm"] == pytest.approx(TILE_PX * 0.2)
    assert header["score"] == pytest.approx(12.3)


def test_all_tiles_come_on_request_and_for_as_long_as_asked(site: Site) -> None:
    with talking(site) as line, Listener(line.publisher.endpoints[1]) as bulky:
        publish_until(line, bulky)
        assert bulky.next("tile")[0]["col"] == 2
        ask(line.publisher.endpoints[2], b'{"want": "tiles", "seconds": 60}')
        drain(bulky.socket)
        line.do(publish_evidence)
        assert [bulky.next("tile")[0]["col"] for _ in range(4)] == [0, 1, 2, 3]
        ask(line.publisher.endpoints[2], b'{"want": "tiles", "seconds": 0}')
        drain(bulky.socket)
        line.do(publish_evidence)
        assert bulky.next("tile")[0]["col"] == 2
        assert bulky.next("defect")


def drain(socket: zmq.Socket[bytes]) -> None:
    while socket.poll(50):
        socket.recv_multipart()


def test_a_tile_is_shown_by_the_limit_where_it_lies(site: Site) -> None:
    strip, scores = evidence(hot=2)
    scores.scores[:] = 5.0
    limits = np.full(32, 7.0, np.float32)
    limits[8:10] = 4.0  # columns of the second tile, in a zone where good web scores little
    limits[24:] = 4.0
    scores.scores[3] = 3.9
    told = [fields["col"] for fields, _ in tiles(strip, scores, limits, 0.2, 10_000)]
    assert told == [1]


def test_a_tile_without_a_number_is_shown_as_well(site: Site) -> None:
    strip, scores = evidence(hot=1)
    scores.scores[1] = scores.tile_scores[1] = np.nan
    with talking(site) as line, Listener(line.publisher.endpoints[1]) as bulky:
        publish_until(line, bulky)
        drain(bulky.socket)
        line.do(lambda p: p.publish_evidence(strip, scores, [], 7.0))
        header, (payload,) = bulky.next("tile")
    assert header["col"] == 1
    assert header["score"] is None
    assert set(payload) == {header["map"]["saturated"]}


def test_a_defects_image_is_the_tile_it_lies_in(site: Site) -> None:
    with talking(site) as line:
        headers, payloads = one_of_each(line)
    header, (payload,) = headers["defect"], payloads["defect"]
    assert header["image"] == "image/png"
    image = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.shape == (TILE_PX, TILE_PX)  # no margins
    assert set(image.flat) == {40 + 50}  # the defect's middle is at 16 mm: the second tile


def test_the_end_of_a_defect_that_lay_before_has_no_image(site: Site) -> None:
    strip, scores = evidence()
    gone = dataclasses.replace(verdict(), defects=(defect("1-0-0", "end", y_m=-0.002),))
    with talking(site) as line, Listener(line.publisher.endpoints[1]) as bulky:
        publish_until(line, bulky)
        drain(bulky.socket)
        line.do(lambda p: p.publish_evidence(strip, scores, [gone], 7.0))
        header, payload = bulky.next("defect")
    assert (header["phase"], header["image"], payload) == ("end", "", [])
