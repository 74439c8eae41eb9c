"""The wire: what a message holds, what a decoder refuses, what a payload shows."""

from __future__ import annotations

import json
import math
import time

import cv2
import msgspec
import numpy as np
import pytest

from inspector.bus import wire
from inspector.bus.wire import Clock
from inspector.errors import BusError
from inspector.records import Outcome
from tests.talking_line import defect, verdict

STATE = {
    "schema": "inspector.state/1",
    "line_id": "1",
    "epoch": 1,
    "seq": 1,
    "t_acq_us": 1,
    "t_pub_us": 1,
    "mono_us": 1,
    "state": "Operational.Ready",
    "job_id": "",
    "recipe_id": "cloth",
    "recipe_rev": "",
    "part_id": "",
    "engine_sha256": "",
    "calibration_sha256": "",
    "is_simulated": True,
    "detail": "",
}


def frames(topic: bytes = b"inspector/1/line/1/state/", **changes: object) -> list[bytes]:
    return [topic, json.dumps(STATE | changes).encode()]


def test_topics_end_in_a_slash() -> None:
    assert wire.topic("1", "verdict") == b"inspector/1/line/1/verdict/"
    assert not wire.topic("12", "verdict").startswith(b"inspector/1/line/1/")


def test_a_message_decodes_to_its_header() -> None:
    event = wire.decode([*frames(), b"payload"])
    assert event.kind == "state"
    assert event.header.state is wire.State.READY
    assert event.payload == (b"payload",)


def test_a_name_that_is_not_utf_8_is_spelt_out() -> None:
    """From a file's name on the disk; the line goes on."""
    header = msgspec.structs.replace(wire.decode(frames()).header, detail="b\udce9.tif: can't be read")
    event = wire.decode([frames()[0], wire.encode(header)])
    assert event.header.detail == "b\\udce9.tif: can't be read"
    assert event.header.state is wire.State.READY


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ([b"inspector/1/line/1/state/"], "a message of 1 parts"),
        (frames(b"inspector/1/line/1/state"), "unknown topic"),
        (frames(b"inspector/2/line/1/state/"), "unknown topic"),
        (frames(b"inspector/1/line/1/gossip/"), "unknown topic"),
        (frames(b"\xff\xfe/////"), "unknown topic"),
        (frames(schema="inspector.state/2"), "update the older side"),
        (frames(line_id="12"), "a state of line 12 under the topic inspector/1/line/1/state/"),
        (frames(seq=1.5), "Expected `int`"),
        (frames(epoch="now"), "Expected `int`"),
        (frames(state="Dancing"), "Invalid enum value 'Dancing'"),
        ([frames()[0], b"{"], "garbled state"),
        ([frames()[0], b'{"line_id": "\xff"}'], "garbled state"),
        ([frames()[0], b'{"x":' + b"[" * 100_000], "garbled state"),
        ([frames()[0], frames()[1].replace(b'"epoch"', b'"epoque"')], "missing required field `epoch`"),
    ],
)
def test_a_foreign_message_is_told_in_a_sentence(message: list[bytes], words: str) -> None:
    with pytest.raises(BusError) as caught:
        wire.decode(message)
    assert words in str(caught.value)


def test_a_reason_or_phase_off_the_closed_list_is_refused() -> None:
    fields = STATE | wire.verdict_fields(verdict(), "1", 10_000, 0) | {"schema": "inspector.verdict/1"}
    topic = wire.topic("1", "verdict")
    assert wire.decode([topic, msgspec.json.encode(fields)]).kind == "verdict"
    with pytest.raises(BusError, match="mood"):
        wire.decode([topic, msgspec.json.encode(fields | {"reason": "mood"})])
    fields = STATE | wire.defect_fields(defect(), 0) | {"schema": "inspector.defect/1"}
    with pytest.raises(BusError, match="phase"):
        wire.decode([wire.topic("1", "defect"), msgspec.json.encode(fields | {"phase": "middle"})])


def test_a_score_that_is_no_number_is_null() -> None:
    for score in (math.nan, math.inf):
        fields = wire.verdict_fields(verdict(outcome=Outcome.NOT_INSPECTED, score=score), "1", 10_000, 0)
        assert fields["score"] is None


def test_where_the_ejector_is() -> None:
    """The start of the web must not have reached it when the verdict comes; its end says when to close it."""
    fields = wire.verdict_fields(verdict(3), "1", 10_000, 15_000)
    assert (fields["enc_start"], fields["enc_end"]) == (3072, 4096)
    assert (fields["y_start_m"], fields["y_end_m"]) == (0.3072, 0.4096)
    assert (fields["deadline_enc"], fields["reject_enc"]) == (3072 + 15_000, 4096 + 15_000)


def test_a_map_keeps_its_scores_to_half_a_step() -> None:
    scores = np.random.default_rng(1).uniform(0, 60, (8, 6)).astype(np.float32)
    shape, payload = wire.pack_map(scores)
    read = np.frombuffer(payload, shape.dtype).reshape(shape.shape) * shape.scale
    assert np.abs(read - scores).max() <= shape.scale / 2


def test_a_map_shows_what_is_no_number_as_saturated() -> None:
    scores = np.array([[np.nan, np.inf, -np.inf, -3.0, 1e9]], np.float32)
    shape, payload = wire.pack_map(scores)
    assert list(payload) == [shape.saturated, shape.saturated, 0, 0, shape.saturated]


def test_an_image_keeps_its_colours() -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[..., 0] = 200  # red
    read = cv2.imdecode(np.frombuffer(wire.pack_image(pixels), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read[..., ::-1], pixels)


def test_intervals_stay_true_in_utc() -> None:
    clock = Clock()
    assert clock.utc_us(2_000_000) - clock.utc_us(1_000_000) == 1_000_000


def test_a_clock_that_is_set_moves_no_time_of_a_line_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, utc_ns = Clock(), time.time_ns
    before_us = clock.utc_us(1_000_000)
    monkeypatch.setattr(time, "time_ns", lambda: utc_ns() + 3600 * 10**9)
    assert clock.utc_us(1_000_000) == before_us
    assert abs(Clock().utc_us(1_000_000) - before_us - 3600 * 10**6) < 60 * 10**6  # the next start's
