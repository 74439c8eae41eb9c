"""Who may listen: anybody on this machine; off it, only clients whose CURVE key the line knows.

keys/                      config: bus.keys
    server.key             public: give it to every client
    server.key_secret      the line's own; mode 0600
    clients/NAME.key       public keys of the clients that may connect
    client-NAME.key_secret made by `inspector keys --client NAME`: hand it over, then delete it here
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import re
import struct
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlparse

import zmq
import zmq.auth
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from inspector.config import NAME, Bus
from inspector.errors import BusError

log = logging.getLogger(__name__)

HANDSHAKES_AT_ONCE = 32  # strangers who knock all the time must not hold up the line
TELL_EVERY_S = 1.0  # a client with another server key tries again some ten times a second, on each socket
HANDSHAKE_FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


def is_local(endpoint: str) -> bool:
    """Whether only this machine can reach the endpoint."""
    if endpoint.startswith("ipc://"):
        return True
    try:
        host = urlparse(endpoint).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Nothing to guard: every endpoint is on this machine."""

    sockets: tuple[zmq.Socket[bytes], ...] = ()

    def protect(self, socket: zmq.Socket[bytes]) -> None:
        """Called with each socket before it is bound."""

    def serve(self) -> str:
        """Do what is due; return a sentence when clients were turned away, else nothing."""
        return ""

    def close(self) -> None:
        """Let go."""


class CurveGuard(Guard):
    """CURVE with an allow-list; handshakes are answered in ``serve``, in the publisher's own thread."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path, line_id: str) -> None:
        self._public, self._secret = _server_keys(folder, line_id)
        clients = folder / "clients"
        _check_clients(clients)
        self._authenticator = zmq.auth.Authenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve(domain="*", location=str(clients))
        self._monitors: list[zmq.Socket[bytes]] = []
        self._line_id = line_id
        self._refused = 0  # handshakes since the start
        self._refused_told = 0
        self._tell_next_s = 0.0

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], ...]:  # type: ignore[override]
        """To be polled along with the line's own."""
        return (self._authenticator.zap_socket, *self._monitors)

    def protect(self, socket: zmq.Socket[bytes]) -> None:
        """Make the socket a CURVE server, and watch its handshakes."""
        socket.curve_secretkey = self._secret
        socket.curve_publickey = self._public
        socket.curve_server = True
        self._monitors.append(socket.get_monitor_socket(HANDSHAKE_FAILURES))

    def serve(self) -> str:
        """Answer waiting handshakes; count failed ones, log them, and tell of them once in TELL_EVERY_S."""
        zap = self._authenticator.zap_socket
        for _ in range(HANDSHAKES_AT_ONCE):
            if not zap.poll(0):
                break
            asyncio.run(self._authenticator.handle_zap_message(zap.recv_multipart()))
        for monitor in self._monitors:
            for _ in range(HANDSHAKES_AT_ONCE):
                if not monitor.poll(0):
                    break
                recv_monitor_message(monitor)
                self._refused += 1
        return self._tell()

    def _tell(self) -> str:
        now_s = time.monotonic()
        if self._refused == self._refused_told or now_s < self._tell_next_s:
            return ""
        self._refused_told, self._tell_next_s = self._refused, now_s + TELL_EVERY_S
        text = (
            f"line {self._line_id}: a client without an allowed key was turned away "
            f"({self._refused} failed handshakes since the start)"
        )
        log.warning(text)
        return text

    def close(self) -> None:
        """Stop the authenticator and the monitors."""
        for monitor in self._monitors:
            monitor.close(linger=0)
        self._authenticator.stop()


def guard_for(context: zmq.Context[zmq.Socket[bytes]], bus: Bus, root: Path, line_id: str) -> Guard:
    """Return what protects a line's sockets. Raises BusError: open to others, and no keys."""
    remote = [e for e in (bus.verdicts, bus.maps, bus.replay) if not is_local(e)]
    if bus.keys:
        return CurveGuard(context, root / bus.keys, line_id)
    if remote:
        raise BusError(
            f"line {line_id}: {remote[0]} can be reached from other machines, which needs keys; "
            f"run `inspector keys FOLDER --client NAME` and set bus.keys, or bind 127.0.0.1"
        )
    return Guard()


def secure_client(socket: zmq.Socket[bytes], server_key: Path, client_secret: Path) -> None:
    """Give a subscriber's socket its keys. Raises BusError when they can't be read."""
    public, secret = _load(client_secret, "copy the client's .key_secret file there")
    server, _ = _load(server_key, "copy the line's server.key there")
    if secret is None:
        raise BusError(f"{client_secret}: holds no secret key; copy the client's .key_secret file there")
    socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = public, secret, server


def generate_keys(folder: Path, clients: Iterable[str]) -> list[Path]:
    """Make the server's keys if there are none, and a pair for each client; return the files written.

    Raises BusError when a client has keys already (new ones would lock it out), its name can't be a file's, or
    the folder can't be written.
    """
    try:
        return _generate(folder, clients)
    except OSError as error:
        raise BusError(
            f"{error.filename or folder}: can't be written ({error.strerror}); free the disk or name another folder"
        ) from None


def _generate(folder: Path, clients: Iterable[str]) -> list[Path]:
    made: list[Path] = []
    allowed = folder / "clients"
    names = list(dict.fromkeys(clients))
    for name in names:
        if not re.fullmatch(NAME, name):
            raise BusError(f"client {name!r}: a name is 1 to 64 letters, digits, '_', '-' or '.'")
        if (allowed / f"{name}.key").exists():
            raise BusError(
                f"{allowed / name}.key: client {name!r} has a key already; delete it to replace it"
            )
    allowed.mkdir(parents=True, exist_ok=True)
    if not (folder / "server.key_secret").exists():
        made += _make(folder, "server")
    for name in names:
        public, secret = _make(folder, f"client-{name}")
        made += [public.rename(allowed / f"{name}.key"), secret]
    return made


def _load(file: Path, advice: str) -> tuple[bytes, bytes | None]:
    """Public and secret key of a file. Raises BusError."""
    try:
        public, secret = zmq.auth.load_certificate(file)
        if not (_is_key(public) and (secret is None or _is_key(secret))):
            raise ValueError("a key in it is cut short or garbled")
        return public, secret
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BusError(f"{file}: no usable key ({reason}); {advice}") from None


def _is_key(text: bytes) -> bool:
    """Whether it is 32 bytes in Z85 (ZeroMQ's RFC 32)."""
    try:
        return len(z85.decode(text)) == 32
    except (ValueError, KeyError, struct.error):
        return False


def _check_clients(folder: Path) -> None:
    """One unreadable key and libzmq's authenticator would allow nobody, and not say so."""
    files = sorted(folder.glob("*.key"))
    if not files:
        raise BusError(
            f"{folder}: no client's key, so nobody could listen; "
            f"run `inspector keys {folder.parent} --client NAME`"
        )
    for file in files:
        _load(file, "delete it, or make the client's keys anew")


def _make(folder: Path, name: str) -> tuple[Path, Path]:
    """Public and secret key, written elsewhere first: half a secret key would be taken for one that is there."""
    old = os.umask(0o077)
    try:
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as half:
            public, secret = map(Path, zmq.auth.create_certificates(half, name))
            return public.rename(folder / public.name), secret.rename(folder / secret.name)
    finally:
        os.umask(old)


def _server_keys(folder: Path, line_id: str) -> tuple[bytes, bytes]:
    file = folder / "server.key_secret"
    public, secret = _load(file, f"run `inspector keys {folder} --client NAME`")
    if secret is None:
        raise BusError(f"line {line_id}: {file}: holds no secret key; run `inspector keys {folder}`")
    if file.stat().st_mode & 0o077:
        raise BusError(f"line {line_id}: {file} can be read by others; run `chmod 600 {file}`")
    return public, secret
