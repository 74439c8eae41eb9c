"""Hears a line: decoded events, holes in seq filled from replay, silence noticed."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import zmq

from inspector.bus import security, wire
from inspector.bus.wire import (
    AlarmHeader,
    DefectHeader,
    Event,
    HeartbeatHeader,
    StateHeader,
    TileHeader,
    VerdictHeader,
)
from inspector.config import Bus
from inspector.errors import BusError, SilentLine

ALL_KINDS = tuple(wire.KINDS)
PRINTED_KINDS = ("verdict", "defect", "state", "alarm")
REPLAY_S = 1.0
LONGEST_POLL_S = 3600.0  # ZeroMQ counts milliseconds in 32 bits


class Subscriber:
    """Listens to one line. Used by one thread.

    Args:
        bus: the line's endpoints; ``bus.keys`` with ``client`` names the keys off this machine.
        line_id: the line.
        root: folder that ``bus.keys`` starts at.
        kinds: what to subscribe to; heartbeats always come along.
        client: name of this client's keys in ``bus.keys``, as `inspector keys --client` made them.
        warn: told a sentence for every hole in ``kinds`` that replay can't fill, and for every garbled message.
    """

    def __init__(
        self,
        bus: Bus,
        line_id: str,
        root: Path,
        kinds: tuple[str, ...] = ALL_KINDS,
        client: str = "events",
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._line_id = line_id
        self._bus = bus
        self._kinds = kinds
        self._warn = warn
        self._context = zmq.Context()
        self._keys = (root / bus.keys, client) if bus.keys else None
        on_maps = [kind for kind in kinds if kind in ("tile", "defect")]
        on_verdicts = {kind for kind in kinds if kind not in on_maps} | {"hb"}
        try:
            self._sockets = [self._connect(zmq.SUB, bus.verdicts)]
            for kind in on_verdicts:
                self._sockets[0].subscribe(wire.topic(line_id, kind))
            if on_maps:
                self._sockets.append(self._connect(zmq.SUB, bus.maps))
                for kind in on_maps:
                    self._sockets[1].subscribe(wire.topic(line_id, kind))
            self._replay = self._connect(zmq.DEALER, bus.replay)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self._poller = zmq.Poller()
        for socket in self._sockets:
            self._poller.register(socket, zmq.POLLIN)
        self._seq: dict[str, int] = {}
        self._epoch = 0
        # Epochs before; a later one may be lower, where the machine's clock was set back.
        self._left: set[int] = set()

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the sockets."""
        self._context.destroy(linger=0)

    def read(self, timeout_s: float) -> list[Event]:
        """Return what comes next, with what was missed before it; empty when nothing new came in time.

        Repeats (the last-value cache) are left out; what can't be decoded is told to ``warn``.
        """
        events: list[Event] = []
        for socket, _ in self._poller.poll(round(min(timeout_s, LONGEST_POLL_S) * 1000)):
            event = self._decode(socket.recv_multipart())
            if event is not None:
                events += self._in_order(event)
        return events

    def events(self, silence_s: float) -> Iterator[Event]:
        """Yield events for ever. Raises SilentLine when not even a heartbeat came for ``silence_s``."""
        last_s = time.monotonic()
        while True:
            events = self.read(max(0.0, last_s + silence_s - time.monotonic()))
            if events:
                last_s = time.monotonic()
                yield from events
            elif time.monotonic() - last_s >= silence_s:
                raise SilentLine(
                    f"line {self._line_id} has been silent for {silence_s:g} s: not running, its machine is gone, "
                    f"or the endpoints are others; try `inspector check --line {self._line_id}` there"
                )

    def _decode(self, frames: list[bytes]) -> Event | None:
        try:
            return wire.decode(frames)
        except BusError as error:
            self._warn(f"line {self._line_id}: a message left out: {error}")
            return None

    def _in_order(self, event: Event) -> list[Event]:
        """The event, what was missed before it, or nothing if it is a repeat."""
        header, kind = event.header, event.kind
        if header.epoch in self._left:
            return []
        if header.epoch != self._epoch:
            # The line was started; if anew, nothing of that start shall be missed.
            self._seq = dict.fromkeys(wire.REPLAYED, 0) if self._epoch else {}
            self._left.add(self._epoch)
            self._epoch = header.epoch
        before = self._seq.get(kind)
        if before is not None and header.seq <= before:
            return []
        self._seq[kind] = header.seq
        if before is None or header.seq == before + 1:
            return [event]
        found = self._missed(kind, before + 1, header.seq - 1) if kind in wire.REPLAYED else []
        gone = header.seq - before - 1 - len(found)
        # Heartbeats that nobody asked for are no loss: the next one tells that the line lives.
        if gone and kind in self._kinds:
            self._warn(f"line {self._line_id}: {gone} messages ({kind}) before seq {header.seq} are lost")
        return [*found, event]

    def _missed(self, kind: str, first: int, last: int) -> list[Event]:
        """Ask replay until it has given all it has of ``first`` .. ``last``."""
        found: list[Event] = []
        while first <= last:
            answer = self._fetch(kind, first, last)
            if not answer:
                break
            found += answer
            first = answer[-1].header.seq + 1
        return found

    def _fetch(self, kind: str, first: int, last: int) -> list[Event]:
        """One answer of replay: some of the messages, oldest first; empty when it has none or is dumb."""
        request = {"want": "events", "kind": kind, "first": first, "last": last}
        self._replay.send(msgspec.json.encode(request))
        found: list[Event] = []
        until_s = time.monotonic() + REPLAY_S
        while self._replay.poll(round(max(0.0, until_s - time.monotonic()) * 1000)):
            frames = self._replay.recv_multipart()
            if not frames[0]:
                return found
            event = self._decode(frames)
            if event is not None and event.header.epoch == self._epoch:
                found.append(event)
        self._replay.close()  # an answer that comes after all must not be taken for the next one's
        self._replay = self._connect(zmq.DEALER, self._bus.replay)
        return found

    def _connect(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.linger = 0
        socket.rcvhwm = 10_000
        socket.heartbeat_ivl = 500
        socket.heartbeat_timeout = 1500
        socket.ipv6 = "[" in endpoint
        if self._keys is not None:
            folder, client = self._keys
            security.secure_client(socket, folder / "server.key", folder / f"client-{client}.key_secret")
        try:
            socket.connect(_reachable(endpoint))
        except zmq.ZMQError as error:
            raise BusError(
                f"{endpoint}: can't connect ({zmq.strerror(error.errno or 0)}); mend the endpoint in the config"
            ) from None
        return socket


def print_events(
    bus: Bus,
    line_id: str,
    *,
    root: Path,
    as_json: bool,
    kinds: tuple[str, ...],
    lane: int | None,
    outcome: str | None,
    count: int | None,
    silence_s: float,
    pictures: Path | None,
    write: Callable[[str], None],
    warn: Callable[[str], None],
) -> None:
    """Print a line's events, one a line, until ``count`` are printed, and keep defects' pictures in a folder.

    ``write`` gets the lines, ``warn`` what the line's reader should know besides (see Subscriber).

    Raises SilentLine, and BusError where a picture can't be written.
    """
    wanted = kinds or PRINTED_KINDS
    printed = 0
    with Subscriber(bus, line_id, root, wanted, warn=warn) as subscriber:
        for event in subscriber.events(silence_s):
            if event.kind not in wanted or not _passes(event, lane, outcome):
                continue
            kept = keep_picture(event, pictures) if pictures else None
            if as_json:
                write(as_json_line(event))
            else:
                write(as_text(event) + (f"  {kept}" if kept else ""))
            printed += 1
            if printed == count:
                return


def keep_picture(event: Event, folder: Path) -> Path | None:
    """Write the picture that a defect came with, as it came; None where it has none. Raises BusError."""
    header = event.header
    if not isinstance(header, DefectHeader) or not event.payload:
        return None
    name = re.sub(r"[^\w.-]", "_", header.defect_id)  # from the wire: no path may be made of it
    # A defect that grows is told again, maybe with the next tile; seq keeps the two apart.
    file = folder / f"{_published(event):%Y%m%d-%H%M%S}-defect-{name}-{header.seq}.png"
    # Renamed when it is whole: whoever watches the folder sees no half of one.
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(event.payload[0])
        unfinished.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise BusError(
            f"{file}: a defect's picture can't be written ({error.strerror}); free the disk or mend the path"
        ) from None
    return file


def as_json_line(event: Event) -> str:
    """The header as it was on the wire."""
    return wire.encode(event.header).decode()


def as_text(event: Event) -> str:
    """One line for a person, in this machine's time zone; of another day with its date."""
    published = _published(event).astimezone()
    day = "" if published.date() == datetime.now().astimezone().date() else f"{published:%Y-%m-%d} "
    at = f"{day}{published:%H:%M:%S.%f}"[:-3]
    return f"{at}  line {event.header.line_id}  {_words(event)}"


def _published(event: Event) -> datetime:
    return datetime.fromtimestamp(event.header.t_pub_us / 1e6, UTC)


def _words(event: Event) -> str:
    match event.header:
        case VerdictHeader() as v:
            why = f" ({v.reason})" if v.reason else ""
            score = "   -" if v.score is None else f"{v.score:5.1f}"
            return (
                f"{v.verdict.value + why:24} lane {v.lane}  {v.y_start_m:9.3f} .. {v.y_end_m:9.3f} m  "
                f"score {score} of {v.limit:.1f}  {v.total_ms:6.0f} ms"
                + (f"  {v.detail}" if v.detail else "")
            )
        case DefectHeader() as d:
            return (
                f"{'defect ' + d.phase:24} lane {d.lane}  {d.y_m:9.3f} m, {d.x_mm:7.1f} mm across  "
                f"{d.length_mm:.1f} x {d.width_mm:.1f} mm  peak {d.peak:.1f}  {d.defect_id}"
            )
        case StateHeader() as s:
            return f"{'state':24} {s.state.value}" + (f": {s.detail}" if s.detail else "")
        case AlarmHeader() as a:
            return f"{f'ALARM {a.severity} {a.code}':24} {a.text}; {a.action}"
        case HeartbeatHeader() as h:
            return (
                f"{'heartbeat':24} {h.state.value}  decided to {h.y_decided_m:.3f} m  queue {h.queue_depth}  "
                f"drops {h.drops}  {h.tiles_per_s:.0f} tiles/s"
            )
        case TileHeader() as t:
            score = "-" if t.score is None else f"{t.score:.1f}"
            return (
                f"{'tile':24} row {t.row} col {t.col}  {t.y_m:9.3f} m, {t.x_mm:7.1f} mm across  score {score}"
            )


def _passes(event: Event, lane: int | None, outcome: str | None) -> bool:
    header = event.header
    if lane is not None and getattr(header, "lane", lane) != lane:
        return False
    return outcome is None or (isinstance(header, VerdictHeader) and header.verdict.value == outcome)


def _reachable(endpoint: str) -> str:
    """Where to connect to what was bound to all interfaces."""
    for everywhere, here in (("*", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")):
        endpoint = endpoint.replace(f"tcp://{everywhere}:", f"tcp://{here}:")
    return endpoint
