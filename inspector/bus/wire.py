"""What goes on the wire: ``[topic][JSON header][payload ...]`` (docs/wire.md is the reference).

Headers are msgspec structs, so that encoding, decoding and checking are one definition. Times on the
wire are integer microseconds UTC; numbers that are not finite are null, since JSON has no NaN.
"""

from __future__ import annotations

import math
import time
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

import cv2
import msgspec
import numpy as np

from inspector.errors import BusError
from inspector.records import F32, Defect, Outcome, Reason, Verdict

VERSION = 1
MAP_STEP_SIGMA = 0.25  # of the uint8 map on the wire: 255 is 63.75 sigma or more


class State(StrEnum):
    """State names of OPC 40100-1."""

    PREOPERATIONAL = "Preoperational"
    HALTED = "Halted"
    ERROR = "Error"
    INITIALIZED = "Operational.Initialized"
    READY = "Operational.Ready"
    SINGLE = "Operational.SingleExecution"
    CONTINUOUS = "Operational.ContinuousExecution"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What every message says of itself."""

    schema: str  # "inspector.<kind>/1"
    line_id: str
    epoch: int  # new at every start: microseconds UTC of it
    seq: int  # per topic, +1, no holes
    t_acq_us: int  # UTC; when the pixels were captured, or the event arose
    t_pub_us: int  # UTC
    mono_us: int  # the publisher's monotonic clock
    state: State
    job_id: str
    recipe_id: str
    recipe_rev: str  # first 12 digits of the ONNX graph's sha256
    part_id: str  # the roll
    engine_sha256: str
    calibration_sha256: str
    is_simulated: bool


class VerdictHeader(Header, frozen=True, kw_only=True):
    """PASS, FAIL or NOT_INSPECTED for an encoder interval of a lane."""

    result_id: str  # no other verdict of any line or run bears it
    lane: int
    enc_start: int  # counts, half-open, contiguous with the one before
    enc_end: int
    y_start_m: float
    y_end_m: float
    x_start_mm: float
    x_end_mm: float
    verdict: Outcome
    reason: Reason
    detail: str
    score: float | None  # sigma; null when nothing was seen, or not a number
    limit: float
    n_tiles: int
    n_tiles_inspected: int
    defect_ids: tuple[str, ...]
    reject_enc: int  # count when the end of this web is at the ejector
    deadline_enc: int  # count after which this verdict is too late
    sequence: int  # of the trigger
    block_id: int  # the camera's count
    acq_ms: float
    infer_ms: float
    total_ms: float


class DefectHeader(Header, frozen=True, kw_only=True):
    """A defect, or what became of it; the payload, if any, is an image of the tile it lies in."""

    defect_id: str
    phase: Literal["new", "update", "end"]
    lane: int
    x_mm: float
    y_m: float
    w_mm: float
    h_mm: float
    area_mm2: float
    length_mm: float
    width_mm: float
    peak: float  # sigma
    image: str = ""  # media type of the payload; empty: none


class TileHeader(Header, frozen=True, kw_only=True):
    """One tile's score map; the payload is the map, C order."""

    row: int  # of the tile in this verdict's web
    col: int
    x_mm: float
    y_m: float
    w_mm: float
    h_mm: float
    mm_per_px: float
    score: float | None  # sigma
    map: MapShape


class MapShape(msgspec.Struct, frozen=True, kw_only=True):
    """How to read a map: sigma = value * scale, and ``saturated`` means "that or more"."""

    dtype: str
    shape: tuple[int, int]
    scale: float
    saturated: int


class StateHeader(Header, frozen=True, kw_only=True):
    """The line changed its state."""

    detail: str


class HeartbeatHeader(Header, frozen=True, kw_only=True):
    """Ten times a second: the line lives, and how far it is."""

    enc_now: int
    y_decided_m: float  # everything before it has its verdict
    last_seq: dict[str, int]  # by kind, heartbeats left out; a kind that was never sent is absent
    queue_depth: int
    drops: int
    late: int
    tiles_per_s: float
    speed_m_min: float


class AlarmHeader(Header, frozen=True, kw_only=True):
    """Something a person should do something about."""

    severity: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    code: str
    text: str
    action: str  # what to do


KINDS: dict[str, type[Header]] = {
    "verdict": VerdictHeader,
    "tile": TileHeader,
    "defect": DefectHeader,
    "state": StateHeader,
    "hb": HeartbeatHeader,
    "alarm": AlarmHeader,
}

REPLAYED = ("verdict", "state", "alarm")  # kinds that the replay socket has again

AnyHeader: TypeAlias = VerdictHeader | TileHeader | DefectHeader | StateHeader | HeartbeatHeader | AlarmHeader


class Event(msgspec.Struct, frozen=True):
    """A decoded message."""

    kind: str
    header: AnyHeader
    payload: tuple[bytes, ...] = ()


def topic(line_id: str, kind: str) -> bytes:
    """``inspector/1/line/<id>/<kind>/``: the slash at the end keeps line 1 apart from line 12."""
    return f"inspector/{VERSION}/line/{line_id}/{kind}/".encode()


def encode(header: Header) -> bytes:
    """JSON; NaN and infinity become null, and what is not UTF-8 of a name is spelt out."""
    try:
        return msgspec.json.encode(header)
    except UnicodeEncodeError:
        told = {
            name: value.encode("utf-8", "backslashreplace").decode()
            for name, value in msgspec.structs.asdict(header).items()
            if isinstance(value, str)
        }
        return msgspec.json.encode(msgspec.structs.replace(header, **told))


def decode(frames: list[bytes]) -> Event:
    """Check and decode a message. Raises BusError that says what is wrong with it."""
    if len(frames) < 2:
        raise BusError(f"a message of {len(frames)} parts; expected [topic][JSON header][payload ...]")
    parts = frames[0].split(b"/")
    kind = parts[-2].decode("ascii", "replace") if len(parts) == 6 else ""
    if kind not in KINDS or frames[0] != topic(parts[3].decode("ascii", "replace"), kind):
        raise BusError(f"unknown topic {frames[0][:80]!r}; this inspector speaks inspector/{VERSION}")
    try:
        header = msgspec.json.decode(frames[1], type=KINDS[kind])
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, bad UTF-8 is too
        raise BusError(f"a garbled {kind} message: {error}") from None
    if header.schema != schema(kind):
        raise BusError(f"schema {header.schema!r} where {schema(kind)!r} was expected; update the older side")
    if frames[0] != topic(header.line_id, kind):
        raise BusError(f"a {kind} of line {header.line_id} under the topic {frames[0].decode()}")
    return Event(kind, header, tuple(frames[2:]))  # type: ignore[arg-type]  # KINDS holds AnyHeader's members


def schema(kind: str) -> str:
    """Name of a kind's header."""
    return f"inspector.{kind}/{VERSION}"


def finite(value: float) -> float | None:
    """The number, or None where JSON has no word for it."""
    return float(value) if math.isfinite(value) else None


def verdict_fields(
    verdict: Verdict, result_id: str, counts_per_m: float, reject_counts: int
) -> dict[str, object]:
    """A verdict as the fields of its header.

    ``reject_enc`` is where the end of this web reaches the ejector; ``deadline_enc`` where its start does.
    """
    stamp, timings = verdict.stamp, verdict.timings
    return {
        "result_id": result_id,
        "lane": verdict.lane,
        "enc_start": verdict.encoder_start,
        "enc_end": verdict.encoder_end,
        "y_start_m": verdict.encoder_start / counts_per_m,
        "y_end_m": verdict.encoder_end / counts_per_m,
        "x_start_mm": verdict.x_start_mm,
        "x_end_mm": verdict.x_end_mm,
        "verdict": verdict.outcome,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "score": finite(verdict.score),
        "limit": verdict.limit,
        "n_tiles": verdict.n_tiles,
        "n_tiles_inspected": verdict.n_tiles_inspected,
        "defect_ids": tuple(defect.defect_id for defect in verdict.defects),
        "reject_enc": verdict.encoder_end + reject_counts,
        "deadline_enc": verdict.encoder_start + reject_counts,
        "sequence": stamp.sequence,
        "block_id": stamp.block_id,
        "acq_ms": round(timings.acq_ms, 3),
        "infer_ms": round(timings.infer_ms, 3),
        "total_ms": round(timings.total_ms, 3),
    }


def defect_fields(defect: Defect, lane: int) -> dict[str, object]:
    """A defect as the fields of its header."""
    return {
        "defect_id": defect.defect_id,
        "phase": defect.phase,
        "lane": lane,
        "x_mm": defect.x_mm,
        "y_m": defect.y_m,
        "w_mm": defect.w_mm,
        "h_mm": defect.h_mm,
        "area_mm2": defect.area_mm2,
        "length_mm": defect.length_mm,
        "width_mm": defect.width_mm,
        "peak": defect.peak_sigma,
    }


def pack_map(scores: F32) -> tuple[MapShape, bytes]:
    """A score map [h, w] as uint8 in steps of MAP_STEP_SIGMA; below zero is 0, NaN is 255."""
    steps = np.nan_to_num(scores / MAP_STEP_SIGMA, nan=255.0, posinf=255.0, neginf=0.0)
    packed = np.clip(np.rint(steps), 0, 255).astype(np.uint8)
    shape = MapShape(
        dtype="uint8", shape=(packed.shape[0], packed.shape[1]), scale=MAP_STEP_SIGMA, saturated=255
    )
    return shape, packed.tobytes()


def pack_image(pixels: np.ndarray) -> bytes:
    """An image [H, W] or RGB [H, W, 3] as PNG."""
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, png = cv2.imencode(".png", pixels)
    return png.tobytes()


class Clock:
    """Monotonic time inside, UTC on the wire: one offset for a whole run, so that intervals stay true."""

    def __init__(self) -> None:
        self._offset_us = time.time_ns() // 1000 - self.mono_us()

    def mono_us(self) -> int:
        """Now, monotonic microseconds."""
        return time.monotonic_ns() // 1000

    def utc_us(self, mono_us: int) -> int:
        """A monotonic moment in UTC microseconds."""
        return mono_us + self._offset_us
