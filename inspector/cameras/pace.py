"""An absolute schedule for cameras that make their own frames; closing it ends any wait at once."""

from __future__ import annotations

import threading
import time


class Pace:
    """Frame ``n`` (0, 1, 2 ...) is due ``n + 1`` periods after the start; period 0: at once.

    Being late once does not shift what comes after.
    """

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self._began_s = time.monotonic()
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed.is_set()

    def start(self) -> None:
        """Begin the schedule now."""
        self._began_s = time.monotonic()

    def due_s(self, n: int) -> float:
        """Monotonic seconds at which frame ``n`` is due; now, when there is no period."""
        return self._began_s + (n + 1) * self.period_s if self.period_s else time.monotonic()

    def behind(self, n: int) -> int:
        """How many frames after ``n`` are due already."""
        if not self.period_s:
            return 0
        return max(0, int((time.monotonic() - self._began_s) / self.period_s) - n - 1)

    def wait(self, n: int, timeout_s: float) -> bool:
        """Wait for frame ``n``'s time; False when that is further off than ``timeout_s``, or after close."""
        wait_s = self.due_s(n) - time.monotonic()
        self._closed.wait(max(0.0, min(wait_s, timeout_s)))
        return wait_s <= timeout_s and not self.closed

    def close(self) -> None:
        """End all waits, now and later. Any thread may call it."""
        self._closed.set()
