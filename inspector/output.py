"""Standard output and standard error, as commands use them: nobody has to read on for work to go on."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, cast

import click

ROOM_BYTES = 65_536  # for what is written while the reader stalls: as much again as a pipe of Linux holds
LAST_WORDS_S = 0.5  # at the end a reader that stalls is waited for so long


def replace_unknown_letters() -> None:
    """A terminal that isn't in UTF-8 gets a question mark for a sigma, and the command no UnicodeEncodeError."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # standard error escapes them by itself
        sys.stdout.reconfigure(errors="replace")


def say(text: str, *, err: bool = False) -> None:
    """Print some lines at once. Where nobody reads them any more, work goes on without a word."""
    try:
        click.echo(text, err=err)
    except BrokenPipeError:
        # What Python still holds, and all that is said from now on, needs a place to go, or the exit fails.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), (sys.stderr if err else sys.stdout).fileno())


class Outlet(io.TextIOBase):
    """A text stream whose writer never waits: a thread hands on what is written, in order.

    A pipe's reader may stall, and a terminal hang, for ever. What then finds no room is dropped: ``write`` returns 0.
    """

    encoding = "utf-8"  # the base class lets nobody set them
    errors: str | None = "strict"

    def __init__(self, stream: TextIO) -> None:
        stream.flush()  # what the stream holds comes first
        self._fd = stream.fileno()
        self.encoding, self.errors = stream.encoding, stream.errors
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._room = ROOM_BYTES
        self._error: OSError | None = None
        # daemon, and past Python's own buffers: neither must keep the process from ending
        threading.Thread(target=self._hand_on, name="output", daemon=True).start()

    def fileno(self) -> int:
        """The stream's own."""
        return self._fd

    def isatty(self) -> bool:
        """Whether a person looks on."""
        return os.isatty(self._fd)

    def writable(self) -> bool:
        """Always."""
        return True

    def is_behind(self) -> bool:
        """Whether something waits to be read."""
        return bool(self._waiting)

    def write(self, text: str) -> int:
        """Take all of a text, or nothing. Raises the OSError that an earlier one met."""
        data = text.encode(self.encoding, self.errors or "strict")
        with self._changed:
            self._raise_error()
            if len(data) > self._room:
                return 0
            if data:
                self._room -= len(data)
                self._waiting.append(data)
                self._changed.notify_all()
        return len(text)

    def settle(self, patience_s: float) -> None:
        """Wait until all is out, but only so long. Raises the OSError that it met."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, patience_s)
            self._raise_error()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _hand_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                data = self._waiting[0]
            error = self._write_all(data)
            with self._changed:
                self._waiting.popleft()
                self._room += len(data)
                self._error = error or self._error
                self._changed.notify_all()

    def _write_all(self, data: bytes) -> OSError | None:
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            return error
        return None


@contextmanager
def unstalled() -> Iterator[Callable[[], None]]:
    """Make standard output and standard error such that nobody who writes there waits.

    Yields ``settle()``, which waits LAST_WORDS_S for what was printed and raises the OSError that it met.
    """
    before = sys.stdout, sys.stderr
    outlets = [_outlet(stream) for stream in before]
    sys.stdout, sys.stderr = (
        cast(TextIO, outlet or stream) for outlet, stream in zip(outlets, before, strict=True)
    )

    def settle() -> None:
        until_s = time.monotonic() + LAST_WORDS_S
        for outlet in outlets:
            if outlet is not None:
                outlet.settle(max(0.0, until_s - time.monotonic()))

    try:
        yield settle
    finally:
        sys.stdout, sys.stderr = before
        with suppress(OSError):  # whoever could be told of it can't be
            settle()


def _outlet(stream: TextIO | None) -> Outlet | None:
    """None where there is no file behind the stream, or no stream: nothing to wait for."""
    if stream is None:
        return None
    try:
        return Outlet(stream)
    except OSError:
        return None
