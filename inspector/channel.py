"""Bounded hand-over between two threads. Nothing vanishes: what does not fit keeps its place or is a fault.

Two kinds, because the line has two kinds of goods:

* ``Channel``: items of equal worth. Full is the caller's to answer: ``offer`` says what happened.
* ``FrameChannel``: frames, whose pixels may be dropped but whose identity may not. When too many
  frames wait, the oldest one's pixels go and its LostFrame (reason overload) stays *in its place*, so
  that verdicts still leave in the order of the web (docs/decisions/0002).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from inspector.records import Acquired, Frame, LostFrame, Reason

T = TypeVar("T")


class Channel(Generic[T]):
    """First in, first out, at most ``capacity`` items. Any number of threads on either side."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, item: T, patience_s: float = 0.0) -> bool:
        """Add ``item`` if there is room, or comes to be within ``patience_s``; return whether there was."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity, patience_s)
            if self._closed or len(self._items) >= self._capacity:
                return False
            self._append(item)
            return True

    def push_out(self, item: T) -> T | None:
        """Add ``item``; return the oldest one if it had to make room."""
        with self._changed:
            gone = self._items.popleft() if len(self._items) >= self._capacity else None
            self._append(item)
            return gone

    def take(self, timeout_s: float | None = None) -> T | None:
        """Return the oldest item; None when ``timeout_s`` passed, or the channel is closed and drained."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Let no more in. Takers drain what is there, then get None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def drained(self) -> bool:
        """Closed, and everything has been taken."""
        with self._changed:
            return self._closed and not self._items

    def _append(self, item: T) -> None:
        self._items.append(item)
        self._changed.notify_all()


class FrameChannel(Channel[Acquired]):
    """Triggers in order; at most ``capacity`` of them with pixels, at most ``identities`` in all.

    Args:
        capacity: frames that may wait with their pixels.
        identities: triggers that may wait at all: the longest burst of lost frames that a camera may tell
            of (``stamper.MAX_GAP``) and what comes while it is answered. Beyond it the inspect thread is taken
            for dead and ``put`` returns False, which is a fault of the line.
        patient: for replays as fast as possible, where dropping would be absurd: ``put`` waits for
            room instead of evicting, until ``stopping`` says that the line ends.
    """

    def __init__(
        self,
        capacity: int,
        identities: int = 8192,
        *,
        patient: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(identities)
        self._pixels = capacity
        self._patient = patient
        self._stopping = stopping
        self.evicted = 0
        self.peak = 0  # most frames that ever waited with their pixels

    def waiting(self) -> int:
        """Frames that wait with their pixels."""
        with self._changed:
            return self._frames()

    def put(self, item: Acquired) -> bool:
        """Add a trigger; evict the oldest pixels if need be. False when nobody has taken any for long."""
        with self._changed:
            if self._patient:
                while self._is_full_for(item) and not self._closed and not self._stopping():
                    self._changed.wait(0.1)
            elif isinstance(item, Frame) and self._frames() >= self._pixels:
                self._evict_oldest()
            taken = self.offer(item)
            if isinstance(item, Frame):
                self.peak = max(self.peak, self._frames())
            return taken

    def _is_full_for(self, item: Acquired) -> bool:
        """Lost frames cost little, but a folder of what can't be read tells them faster than they are answered."""
        return len(self._items) >= self._capacity or (
            isinstance(item, Frame) and self._frames() >= self._pixels
        )

    def _frames(self) -> int:
        return sum(isinstance(item, Frame) for item in self._items)

    def _evict_oldest(self) -> None:
        for place, item in enumerate(self._items):
            if isinstance(item, Frame):
                self._items[place] = LostFrame(
                    item.stamp,
                    Reason.OVERLOAD,
                    "the engine could not keep up; the oldest waiting frame was dropped",
                )
                self.evicted += 1
                return
