"""A line's voice: three sockets, used by one thread.

    verdicts XPUB   verdict, state, hb, alarm: small, never held up by anything
    maps     XPUB   tile maps, defects with their images: bulky, may be dropped
    replay   ROUTER the last state, verdicts and alarms again, and messages that a subscriber missed

A subscriber that comes late gets the last state and the open alarms at once (last-value cache; they bear
the seq they had). An alarm stays open until its line ends or another of its code takes its place. What a
stalled subscriber misses shows as a hole in seq, and replay has it.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import zmq

from inspector.bus import evidence, security, wire
from inspector.bus.lock import hold_line, is_taken
from inspector.bus.wire import Clock, State, StateHeader
from inspector.config import Site
from inspector.errors import BusError
from inspector.records import F32, ScoreMap, Strip, Verdict

ZMTP_HEARTBEAT_MS = 500
ZMTP_TIMEOUT_MS = 1500
VERDICTS_HWM = 4096  # messages for one subscriber; more are missed and replayed
MAPS_HWM = 64
LAST_WORDS_MS = 300  # how long closing waits for subscribers to take the last state
KEPT = 10_000  # messages of each replayed kind
CACHED = ("state", "alarm")
MOST_PER_ANSWER = 1000  # replayed messages; a greedy client must not hold up the line
MOST_WELCOMES = 100  # subscriptions taken up at once, for the same reason


class HeartbeatData(msgspec.Struct, frozen=True, kw_only=True):
    """What a heartbeat tells of the line; units as in wire.HeartbeatHeader."""

    enc_now: int
    y_decided_m: float
    queue_depth: int
    drops: int
    late: int
    tiles_per_s: float
    speed_m_min: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Who judges, for the header of every message. Simulated until a real camera is known to look."""

    recipe_id: str = ""
    recipe_rev: str = ""
    engine_sha256: str = ""
    calibration_sha256: str = ""
    is_simulated: bool = True


class Publisher:
    """Owns a line's sockets. Used by one thread at a time.

    Raises:
        BusError: the line runs already, an endpoint can't be bound, or it is open to others without keys.
    """

    def __init__(self, site: Site, line_id: str) -> None:
        line = site.line(line_id)
        self._line_id = line_id
        self._counts_per_m = line.web.encoder_counts_per_m
        self._mm_per_px = line.web.mm_per_px
        self._reject_counts = round(line.reject_distance_m * line.web.encoder_counts_per_m)
        self._identity = Identity(recipe_id=line.recipe)
        self._clock = Clock()
        self._epoch = self._clock.utc_us(self._clock.mono_us())
        self._seq: defaultdict[str, int] = defaultdict(int)
        self._state = State.PREOPERATIONAL
        self._cache: dict[tuple[str, str], list[bytes]] = {}
        self._kept: dict[str, deque[tuple[int, list[bytes]]]] = {
            kind: deque(maxlen=KEPT) for kind in wire.REPLAYED
        }
        self._last_verdict: dict[int, list[bytes]] = {}
        self._all_tiles_until_s = -math.inf  # monotonic
        self._lock = hold_line(site.file, line_id)
        self._context = zmq.Context()
        try:
            guard = security.guard_for(self._context, line.bus, site.root, line_id)
            self._guard = guard
            self._verdicts = self._open(zmq.XPUB, line.bus.verdicts, VERDICTS_HWM, "verdicts")
            self._maps = self._open(zmq.XPUB, line.bus.maps, MAPS_HWM, "maps")
            self._replay = self._open(zmq.ROUTER, line.bus.replay, VERDICTS_HWM, "replay")
        except BaseException:
            self._context.destroy(linger=0)
            self._lock.close()
            raise

    @property
    def endpoints(self) -> tuple[str, str, str]:
        """Where the sockets really are: verdicts, maps, replay (a port ``*`` has become a number)."""
        verdicts, maps, replay = (
            socket.getsockopt_string(zmq.LAST_ENDPOINT)
            for socket in (self._verdicts, self._maps, self._replay)
        )
        return verdicts, maps, replay

    def identify(self, identity: Identity) -> None:
        """From now on messages bear these names."""
        self._identity = identity

    def publish_state(self, state: State, detail: str = "") -> None:
        """The line is now in this state."""
        self._state = state
        self._send("state", StateHeader, {"detail": detail})

    def publish_alarm(self, severity: int, code: str, text: str, action: str) -> None:
        """Something a person should act on; severity 1 to 1000."""
        fields = {"severity": severity, "code": code, "text": text, "action": action}
        self._send("alarm", wire.AlarmHeader, fields, cache=code)

    def publish_verdict(self, verdict: Verdict) -> None:
        """One trigger and lane."""
        result_id = f"{self._line_id}-{self._epoch}-{self._seq['verdict'] + 1}"
        fields = wire.verdict_fields(verdict, result_id, self._counts_per_m, self._reject_counts)
        frames = self._send("verdict", wire.VerdictHeader, fields, acquired_us=verdict.stamp.captured_us)
        self._last_verdict[verdict.lane] = frames

    def publish_evidence(
        self,
        strip: Strip,
        scores: ScoreMap | None,
        verdicts: list[Verdict],
        limit: float | F32,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        """Maps of the tiles above the limit (of all, while somebody asks for them), defects with images.

        Args:
            strip: where the tiles lie.
            scores: what the engine saw in them; None: nothing.
            verdicts: whose defects are told.
            limit: sigma; one for all cells, or [columns] of the strip's canvas.
            between: called after every message: a picture takes up to tens of milliseconds to pack.
        """
        acquired_us = strip.stamp.captured_us
        if time.monotonic() < self._all_tiles_until_s:
            limit = -math.inf
        maps = (
            ()
            if scores is None
            else evidence.tiles(strip, scores, limit, self._mm_per_px, self._counts_per_m)
        )
        for fields, payload in maps:
            self._send("tile", wire.TileHeader, fields, payload, acquired_us)
            between()
        for fields, payload in evidence.defects(strip, verdicts, self._mm_per_px, self._counts_per_m):
            self._send("defect", wire.DefectHeader, fields, payload, acquired_us)
            between()

    def heartbeat(self, data: HeartbeatData) -> None:
        """Say that the line lives; ten times a second."""
        fields = msgspec.structs.asdict(data) | {"last_seq": self._last_seq()}
        self._send("hb", wire.HeartbeatHeader, fields)

    def serve(self, timeout_s: float) -> None:
        """Answer subscriptions, replay requests and handshakes that wait; block at most ``timeout_s``."""
        poller = zmq.Poller()
        for socket in (self._verdicts, self._maps, self._replay, *self._guard.sockets):
            poller.register(socket, zmq.POLLIN)
        for socket, _ in poller.poll(round(timeout_s * 1000)):
            if socket is self._verdicts or socket is self._maps:
                self._welcome(socket)
            elif socket is self._replay:
                self._answer()
        refused = self._guard.serve()
        if refused:
            self.publish_alarm(
                600, "handshake", refused, "add the client's key to the line's clients, or stop it"
            )

    def hear_out(self, seconds: float) -> None:
        """Let in who waits behind keys, for so long; handshakes are answered by ``serve`` alone. Else do nothing."""
        until_s = time.monotonic() + seconds
        while self._guard.sockets and time.monotonic() < until_s:
            self.serve(max(0.0, until_s - time.monotonic()))

    def close(self, final: State | None) -> None:
        """Publish the last state (None: nothing), give subscribers a moment to take it, and let go."""
        if self._verdicts.closed:
            return
        if final is not None:
            self.publish_state(final)
        for socket in (self._verdicts, self._maps, self._replay):
            socket.close(linger=LAST_WORDS_MS if final is not None else 0)
        self._guard.close()
        self._context.term()
        self._lock.close()

    # -- sockets ---------------------------------------------------------------------------------

    def _open(self, kind: int, endpoint: str, hwm: int, name: str) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.linger = 0
        socket.sndhwm = hwm
        socket.heartbeat_ivl = ZMTP_HEARTBEAT_MS
        socket.heartbeat_timeout = ZMTP_TIMEOUT_MS
        if kind == zmq.XPUB:
            socket.xpub_verbose = True
        socket.ipv6 = "[" in endpoint
        self._guard.protect(socket)
        try:
            if is_taken(endpoint):
                raise zmq.ZMQError(zmq.EADDRINUSE)
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            socket.close()
            remedy = "change the endpoint, or make what it names (an ipc path's folder, an address of this machine)"
            if error.errno == zmq.EADDRINUSE:
                remedy = "does another program use it? end it, or change the endpoint"
            raise BusError(
                f"line {self._line_id}: bus.{name} = {endpoint} can't be bound ({zmq.strerror(error.errno or 0)}); "
                f"{remedy}"
            ) from None
        return socket

    def _welcome(self, socket: zmq.Socket[bytes]) -> None:
        """New subscriptions: repeat what they should know. Others see a seq they know, and ignore it."""
        wanted: set[bytes] = set()
        with contextlib.suppress(zmq.Again):
            for _ in range(MOST_WELCOMES):
                request = socket.recv(zmq.NOBLOCK)
                if request[:1] == b"\x01":
                    wanted.add(request[1:])
        if socket is self._maps:
            return
        for frames in self._cache.values():
            if any(frames[0].startswith(prefix) for prefix in wanted):
                socket.send_multipart(frames)

    def _answer(self) -> None:
        """One request (Snapshot, Missed or AllTiles): the messages found, then the end of the answer."""
        client, *rest = self._replay.recv_multipart()
        try:
            request = msgspec.json.decode(rest[-1] if rest else b"", type=Snapshot | Missed | AllTiles)
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, bad UTF-8 is too
            self._reply(client, {"error": f"a garbled request: {error}"})
            return
        found: list[list[bytes]] = []
        match request:
            case Snapshot():
                found = [*self._cache.values(), *self._last_verdict.values()]
            case Missed(kind=kind, first=first, last=last):
                found = [frames for seq, frames in self._kept[kind] if first <= seq <= last][:MOST_PER_ANSWER]
            case AllTiles(seconds=seconds):
                self._all_tiles_until_s = time.monotonic() + seconds
        for frames in found:
            self._replay.send_multipart([client, *frames])
        self._reply(
            client, {"end": True, "count": len(found), "epoch": self._epoch, "last_seq": self._last_seq()}
        )

    def _reply(self, client: bytes, answer: dict[str, Any]) -> None:
        self._replay.send_multipart([client, b"", msgspec.json.encode(answer)])

    # -- messages --------------------------------------------------------------------------------

    def _last_seq(self) -> dict[str, int]:
        return {kind: seq for kind, seq in self._seq.items() if kind != "hb"}

    def _send(
        self,
        kind: str,
        header: type[wire.Header],
        fields: dict[str, Any],
        payload: list[bytes] | None = None,
        acquired_us: int | None = None,
        cache: str = "",
    ) -> list[bytes]:
        now_us = self._clock.mono_us()
        self._seq[kind] += 1
        identity = self._identity
        message = header(
            schema=wire.schema(kind),
            line_id=self._line_id,
            epoch=self._epoch,
            seq=self._seq[kind],
            t_acq_us=self._clock.utc_us(now_us if acquired_us is None else acquired_us),
            t_pub_us=self._clock.utc_us(now_us),
            mono_us=now_us,
            state=self._state,
            job_id="",
            recipe_id=identity.recipe_id,
            recipe_rev=identity.recipe_rev,
            part_id="",
            engine_sha256=identity.engine_sha256,
            calibration_sha256=identity.calibration_sha256,
            is_simulated=identity.is_simulated,
            **fields,
        )
        frames = [wire.topic(self._line_id, kind), wire.encode(message), *(payload or [])]
        if kind in ("tile", "defect"):
            self._maps.send_multipart(frames)
            return frames
        if kind in CACHED:
            self._welcome(self._verdicts)  # who has just come must hear the older ones first
            self._cache.pop((kind, cache), None)  # so that the cache stays in the order of seq
            self._cache[kind, cache] = frames
        self._verdicts.send_multipart(frames)
        if kind in wire.REPLAYED:
            self._kept[kind].append((message.seq, frames))
        return frames


class Snapshot(msgspec.Struct, frozen=True, tag_field="want", tag="snapshot"):
    """The last state, the open alarms, and each lane's last verdict."""


class Missed(msgspec.Struct, frozen=True, tag_field="want", tag="events"):
    """Messages of a kind again, ``first`` and ``last`` included; at most MOST_PER_ANSWER, oldest first."""

    kind: Literal["verdict", "state", "alarm"]
    first: int
    last: int


class AllTiles(msgspec.Struct, frozen=True, tag_field="want", tag="tiles"):
    """The maps of all tiles, not only of those above the limit, for this long."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=60)]
