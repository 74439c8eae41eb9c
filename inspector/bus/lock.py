"""A line's lock: whoever runs a line, or has its camera to teach a recipe, does so alone.

It is a name in Linux's abstract socket namespace, which is the same for a service and a shell, needs no folder that
both may write to, and goes with its process. Another container has names of its own, unless it shares the network.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import socket
import struct
from pathlib import Path

from inspector.errors import BusError

ASKED_AT_ONCE = 128  # processes that may have asked who holds a lock; later ones aren't told
CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


def hold_line(config_file: Path, line_id: str) -> socket.socket:
    """Hold the line's lock until the socket is closed or this process is gone, however it goes.

    Raises BusError when another process holds it.
    """
    plant = hashlib.sha256(str(config_file).encode()).hexdigest()[:12]
    name = f"\0inspector-{plant}-line-{line_id}"
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(name)
        lock.listen(ASKED_AT_ONCE)
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise BusError(
                f"line {line_id} can't be held for this process alone ({error.strerror})"
            ) from None
        raise BusError(f"line {line_id} runs already (process {_holder(name)}); end that one first") from None
    return lock


def is_taken(endpoint: str) -> bool:
    """Whether somebody listens at an ``ipc://`` path: ZeroMQ would take it over from them without an error."""
    path = endpoint.removeprefix("ipc://")
    if path == endpoint or path[0] in "@*":  # a name, or one that is free: those are never taken over
        return False
    with socket.socket(socket.AF_UNIX) as asking, contextlib.suppress(OSError):
        asking.setblocking(False)
        return asking.connect_ex(path) in (0, errno.EAGAIN)
    return False  # the path is too long, which binding will say


def _holder(name: str) -> str:
    """Number of the process that listens there."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.setblocking(False)
        try:
            asking.connect(name)
            pid, _, _ = CREDENTIALS.unpack(
                asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            )
        except OSError:  # it has just ended, or too many have asked
            return "unknown"
    return str(pid) if pid else "unknown"  # 0: in another PID namespace
