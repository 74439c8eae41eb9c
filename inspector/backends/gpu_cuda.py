"""The first GPU, its memory and its streams, through cuda-bindings, in the device's primary context.

CUDA reports failure as values; here each becomes a RuntimeError that bears the driver's name for it. Not run on
hardware: held against the binding's signatures, and against a stand-in of the driver that is stricter than it.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from inspector.records import U8


def describe() -> tuple[str, tuple[int, int], int]:
    """The first GPU's name, its compute capability, and the CUDA version of its driver, 12040 for 12.4."""
    cuda = _driver()
    _call(cuda.cuInit(0))
    device = _call(cuda.cuDeviceGet(0))
    name = _call(cuda.cuDeviceGetName(128, device)).split(b"\0")[0].decode()
    which = cuda.CUdevice_attribute
    major, minor = (
        _call(cuda.cuDeviceGetAttribute(attribute, device))
        for attribute in (
            which.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            which.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )
    )
    return name, (major, minor), _call(cuda.cuDriverGetVersion())


class CudaGpu:
    """gpu.Gpu by cuda-bindings; what was taken until something fails is given back by ``close``."""

    def __init__(self) -> None:
        self._cuda = _driver()
        self._device_memory: list[Any] = []
        self._pinned_memory: list[Any] = []
        self._graphs: list[Any] = []
        self._stream: Any = None
        self._second: Any = None  # a stream; none until it is forked
        self._event: Any = None
        _call(self._cuda.cuInit(0))
        self._device = _call(self._cuda.cuDeviceGet(0))
        self._context: Any = _call(self._cuda.cuDevicePrimaryCtxRetain(self._device))
        try:
            with self.held():
                self._stream = _call(self._cuda.cuStreamCreate(0))
        except RuntimeError:
            self.close()
            raise

    @property
    def stream(self) -> int:
        """Its handle."""
        return int(self._stream)

    @property
    def _streams(self) -> list[Any]:
        return [stream for stream in (self._second, self._stream) if stream is not None]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The GPU as this thread's own."""
        _call(self._cuda.cuCtxSetCurrent(self._context))
        yield

    def device_buffer(self, size: int) -> int:
        """Address of so many bytes on the GPU."""
        self._device_memory.append(_call(self._cuda.cuMemAlloc(size)))
        return int(self._device_memory[-1])

    def pinned_buffer(self, size: int) -> U8:
        """So many bytes of page-locked host memory, which the GPU copies by itself; gone after ``close``."""
        self._pinned_memory.append(_call(self._cuda.cuMemAllocHost(size)))
        memory = (ctypes.c_uint8 * size).from_address(int(self._pinned_memory[-1]))
        return np.ctypeslib.as_array(memory)

    def upload(self, device: int, host: U8) -> None:
        """Queue a copy of a whole pinned array to the GPU."""
        _call(self._cuda.cuMemcpyHtoDAsync(device, host.ctypes.data, host.nbytes, self._stream))

    def download(self, host: U8, device: int) -> None:
        """Queue a copy from the GPU that fills a pinned array."""
        _call(self._cuda.cuMemcpyDtoHAsync(host.ctypes.data, device, host.nbytes, self._stream))

    def fork(self) -> int:
        """Handle of the second stream: what is queued there begins when all that is queued by now is done."""
        if self._second is None:
            no_timing = self._cuda.CUevent_flags.CU_EVENT_DISABLE_TIMING
            self._event = _call(self._cuda.cuEventCreate(no_timing.value))
            self._second = _call(self._cuda.cuStreamCreate(0))
        self._follow(self._second, self._stream)
        return int(self._second)

    def join(self) -> None:
        """What is queued from now on begins when all in the second stream is done, too; it goes with ``fork``."""
        self._follow(self._stream, self._second)

    def _follow(self, stream: Any, other: Any) -> None:
        """One event serves both ways: a wait is for what it stood for when it was queued."""
        _call(self._cuda.cuEventRecord(self._event, other))
        _call(self._cuda.cuStreamWaitEvent(stream, self._event, 0))

    def wait(self) -> None:
        """Until all that was queued is done."""
        _call(self._cuda.cuStreamSynchronize(self._stream))

    def capture(self, queue: Callable[[], None]) -> Any:
        """Record what ``queue`` would queue, instead of doing it, as a graph for ``launch``.

        Raises RuntimeError when something in it can't be recorded; the stream is as before then.
        """
        mode = self._cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _call(self._cuda.cuStreamBeginCapture(self._stream, mode))
        try:
            queue()
        except RuntimeError:
            # Ends the recording; whatever it gives is of no use, and the first failure says more than its own.
            _, graph = self._cuda.cuStreamEndCapture(self._stream)
            if graph is not None and int(graph):
                self._cuda.cuGraphDestroy(graph)
            raise
        graph = _call(self._cuda.cuStreamEndCapture(self._stream))
        try:
            self._graphs.append(_call(self._cuda.cuGraphInstantiate(graph, 0)))
        finally:
            self._cuda.cuGraphDestroy(graph)
        return self._graphs[-1]

    def launch(self, graph: Any) -> None:
        """Queue all that was recorded."""
        _call(self._cuda.cuGraphLaunch(graph, self._stream))

    def drain(self) -> None:
        """Until nothing is left in either stream, whatever failed: before what its work uses goes. Never raises."""
        for stream in self._streams:
            self._cuda.cuStreamSynchronize(stream)

    def destroy_graphs(self) -> None:
        """Let go of all that was recorded: before what it was recorded from goes. Never raises."""
        for graph in self._graphs:
            self._cuda.cuGraphExecDestroy(graph)
        self._graphs = []

    def close(self) -> None:
        """Give everything back; never raises, and may be called twice."""
        if self._context is None:
            return
        self._cuda.cuCtxSetCurrent(self._context)
        self.drain()  # nothing may be freed that a copy is still reading
        self.destroy_graphs()
        for address in self._device_memory:
            self._cuda.cuMemFree(address)
        for address in self._pinned_memory:
            self._cuda.cuMemFreeHost(address)
        if self._event is not None:
            self._cuda.cuEventDestroy(self._event)
        for stream in self._streams:
            self._cuda.cuStreamDestroy(stream)
        self._device_memory, self._pinned_memory = [], []
        self._stream = self._second = self._event = None
        self._cuda.cuDevicePrimaryCtxRelease(self._device)
        self._context = None


def _driver() -> Any:
    from cuda.bindings import driver

    return driver


def _call(answer: tuple[Any, ...]) -> Any:
    """The value of a CUDA driver call. Raises RuntimeError when it failed."""
    error, *values = answer
    if error.value != 0:
        raise RuntimeError(error.name)
    return values[0] if values else None
