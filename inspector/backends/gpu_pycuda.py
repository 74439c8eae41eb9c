"""The first GPU, its memory and its streams, through pycuda: where there is no cuda-bindings, as on some Jetsons.

pycuda has no CUDA graphs, so work is queued anew for every batch. Its errors become RuntimeErrors. Not run on hardware:
held against the names of the real binding (2026.1), and against a stand-in of the driver that is stricter than it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from inspector.records import U8


def describe() -> tuple[str, tuple[int, int], int]:
    """The first GPU's name, its compute capability, and the CUDA version of its driver, 12040 for 12.4."""
    cuda = _driver()
    with _told(cuda):
        cuda.init()
        device = cuda.Device(0)
        major, minor = device.compute_capability()
        return str(device.name()), (int(major), int(minor)), int(cuda.get_driver_version())


class PyCudaGpu:
    """gpu.Gpu by pycuda; what was taken until something fails is given back by ``close``."""

    def __init__(self) -> None:
        self._cuda = _driver()
        self._device_memory: list[Any] = []
        self._pinned_memory: list[Any] = []
        self._stream: Any = None
        self._second: Any = None  # a stream; none until it is forked
        self._event: Any = None
        with _told(self._cuda):
            self._cuda.init()
            self._context: Any = self._cuda.Device(0).retain_primary_context()
        try:
            with self.held():
                self._stream = self._cuda.Stream()
        except RuntimeError:
            self.close()
            raise

    @property
    def stream(self) -> int:
        """Its handle."""
        return int(self._stream.handle)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The GPU as this thread's own; pycuda minds if a thread ends with it."""
        with _told(self._cuda):
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()

    def device_buffer(self, size: int) -> int:
        """Address of so many bytes on the GPU."""
        with _told(self._cuda):
            self._device_memory.append(self._cuda.mem_alloc(size))
        return int(self._device_memory[-1])

    def pinned_buffer(self, size: int) -> U8:
        """So many bytes of page-locked host memory, which the GPU copies by itself; gone after ``close``."""
        with _told(self._cuda):
            buffer: U8 = self._cuda.pagelocked_empty(size, np.uint8)
        self._pinned_memory.append(buffer.base)
        return buffer

    def upload(self, device: int, host: U8) -> None:
        """Queue a copy of a whole pinned array to the GPU."""
        self._cuda.memcpy_htod_async(device, host, self._stream)

    def download(self, host: U8, device: int) -> None:
        """Queue a copy from the GPU that fills a pinned array."""
        self._cuda.memcpy_dtoh_async(host, device, self._stream)

    def fork(self) -> int:
        """Handle of the second stream: what is queued there begins when all that is queued by now is done."""
        if self._second is None:
            self._event = self._cuda.Event(self._cuda.event_flags.DISABLE_TIMING)
            self._second = self._cuda.Stream()
        self._follow(self._second, self._stream)
        return int(self._second.handle)

    def join(self) -> None:
        """What is queued from now on begins when all in the second stream is done, too; it goes with ``fork``."""
        self._follow(self._stream, self._second)

    def _follow(self, stream: Any, other: Any) -> None:
        """One event serves both ways: a wait is for what it stood for when it was queued."""
        self._event.record(other)
        stream.wait_for_event(self._event)

    def wait(self) -> None:
        """Until all that was queued is done."""
        self._stream.synchronize()

    def capture(self, queue: Callable[[], None]) -> Any:
        """There are no graphs: raises RuntimeError."""
        raise RuntimeError("pycuda has no CUDA graphs")

    def launch(self, graph: Any) -> None:
        """There are no graphs: raises RuntimeError."""
        raise RuntimeError("pycuda has no CUDA graphs")

    def drain(self) -> None:
        """Until nothing is left in either stream, whatever failed: before what its work uses goes. Never raises."""
        for stream in (self._second, self._stream):
            if stream is not None:
                with self._whatever_fails():
                    stream.synchronize()

    def destroy_graphs(self) -> None:
        """There are none."""

    def close(self) -> None:
        """Give everything back; never raises, and may be called twice."""
        if self._context is None:
            return
        with self._whatever_fails():
            self._context.push()
        self._let_go()
        self._stream = self._second = self._event = None
        with self._whatever_fails():
            self._context.detach()  # takes it off pycuda's stack, too: what is left there ends the process at its exit
        self._device_memory, self._pinned_memory, self._context = [], [], None

    def _let_go(self) -> None:
        self.drain()  # nothing may be freed that a copy is still reading
        for memory in (*self._device_memory, *self._pinned_memory):
            with self._whatever_fails():
                memory.free()

    @contextlib.contextmanager
    def _whatever_fails(self) -> Iterator[None]:
        """A step of closing: a GPU that has failed refuses some, and the next are due all the same."""
        with contextlib.suppress(RuntimeError), _told(self._cuda):
            yield


def _driver() -> Any:
    from pycuda import driver

    return driver


@contextlib.contextmanager
def _told(cuda: Any) -> Iterator[None]:
    """pycuda's own errors as RuntimeErrors; its text begins with the function that failed."""
    try:
        yield
    except cuda.Error as error:
        raise RuntimeError(str(error)) from None
