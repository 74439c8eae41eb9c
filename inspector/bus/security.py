"""Who may listen: anybody on this machine; off it, only clients whose CURVE key the line knows.

keys/                      config: bus.keys
    server.key             public: give it to every client
    server.key_secret      the line's own; mode 0600
    clients/NAME.key       public keys of the clients that may connect
    client-NAME.key_secret made by `inspector keys --client NAME`: hand it over, then delete it here
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlparse

import zmq
import zmq.auth
from zmq.utils.monitor import recv_monitor_message

from inspector.config import Bus
from inspector.errors import BusError

HANDSHAKE_FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


def is_local(endpoint: str) -> bool:
    """Whether only this machine can reach the endpoint."""
    if endpoint.startswith("ipc://"):
        return True
    host = urlparse(endpoint).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


class Guard:
    """Nothing to guard: every endpoint is on this machine."""

    sockets: tuple[zmq.Socket[bytes], ...] = ()

    def protect(self, socket: zmq.Socket[bytes]) -> None:
        """Called with each socket before it is bound."""

    def serve(self) -> list[str]:
        """Do what is due; return a sentence for every client that was turned away."""
        return []

    def close(self) -> None:
        """Let go."""


class CurveGuard(Guard):
    """CURVE with an allow-list; handshakes are answered in ``serve``, in the publisher's own thread."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path, line_id: str) -> None:
        self._public, self._secret = _server_keys(folder, line_id)
        clients = folder / "clients"
        if not any(clients.glob("*.key")):
            raise BusError(
                f"{clients}: no client's key, so nobody could listen; run `inspector keys {folder} --client NAME`"
            )
        self._authenticator = zmq.auth.Authenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve(domain="*", location=str(clients))
        self._monitors: list[zmq.Socket[bytes]] = []
        self._line_id = line_id

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

    def serve(self) -> list[str]:
        """Answer waiting handshakes; tell of failed ones."""
        zap = self._authenticator.zap_socket
        while zap.poll(0):
            asyncio.run(self._authenticator.handle_zap_message(zap.recv_multipart()))
        refused = []
        for monitor in self._monitors:
            while monitor.poll(0):
                event = recv_monitor_message(monitor)
                where = event["endpoint"].decode("utf-8", "replace")
                refused.append(
                    f"line {self._line_id}: a client without an allowed key was turned away at {where}"
                )
        return refused

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
    try:
        public, secret = zmq.auth.load_certificate(client_secret)
        server, _ = zmq.auth.load_certificate(server_key)
    except (OSError, ValueError) as error:
        raise BusError(f"{client_secret}: no usable key ({error}); run `inspector keys`") from None
    if secret is None:
        raise BusError(f"{client_secret}: holds no secret key; give the client's .key_secret file")
    socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = public, secret, server


def generate_keys(folder: Path, clients: Iterable[str]) -> list[Path]:
    """Make the server's keys if there are none, and a pair for each client; return the files written.

    Raises BusError when a client has keys already: new ones would lock it out.
    """
    made: list[Path] = []
    allowed = folder / "clients"
    allowed.mkdir(parents=True, exist_ok=True)
    if not (folder / "server.key_secret").exists():
        made += map(Path, _make(folder, "server"))
    for name in clients:
        if (allowed / f"{name}.key").exists():
            raise BusError(
                f"{allowed / name}.key: client {name!r} has a key already; delete it to replace it"
            )
        public, secret = _make(folder, f"client-{name}")
        target = allowed / f"{name}.key"
        Path(public).rename(target)
        made += [target, Path(secret)]
    return made


def _make(folder: Path, name: str) -> tuple[str, str]:
    old = os.umask(0o077)
    try:
        return zmq.auth.create_certificates(folder, name)
    finally:
        os.umask(old)


def _server_keys(folder: Path, line_id: str) -> tuple[bytes, bytes]:
    file = folder / "server.key_secret"
    try:
        public, secret = zmq.auth.load_certificate(file)
    except (OSError, ValueError) as error:
        raise BusError(
            f"line {line_id}: {file}: no usable key ({error}); run `inspector keys {folder}`"
        ) from None
    if secret is None:
        raise BusError(f"line {line_id}: {file}: holds no secret key; run `inspector keys {folder}`")
    if file.stat().st_mode & 0o077:
        raise BusError(f"line {line_id}: {file} can be read by others; run `chmod 600 {file}`")
    return public, secret
