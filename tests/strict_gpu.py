"""Stand-ins for the CUDA driver and TensorRT's runtime, stricter than the real ones. They show nothing of a GPU.

"Device" memory lies in host buffers. What is queued happens when the stream is waited for, not before. Whatever is
misused is a fault on a list, besides the error that it gives: a copy that leaves its buffers or takes host memory that
isn't pinned, memory freed twice or never, a call from a thread that hasn't made the GPU its own, a context that runs
before all is set, a context changed after a graph was recorded from it, a wait while recording.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np


class Result(Enum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900


DONE = Result.CUDA_SUCCESS
BAD = Result.CUDA_ERROR_INVALID_VALUE


class Driver:
    """cuda.bindings.driver: every call answers with a tuple that begins with its result."""

    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL="thread local")

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.device_memory: dict[int, Any] = {}
        self.pinned_memory: dict[int, Any] = {}
        self.streams: set[int] = set()
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.retained = 0
        self.current: set[int] = set()  # threads that have made the GPU theirs
        self.queue: list[Callable[[], None]] = []
        self.recording: list[Callable[[], None]] | None = None
        self.launches = 0
        self.room = 1 << 30
        self.names = itertools.count(1000)

    def cuInit(self, Flags: int) -> tuple[Any, ...]:
        return (DONE,)

    def cuDeviceGet(self, ordinal: int) -> tuple[Any, ...]:
        return DONE, ordinal

    def cuDevicePrimaryCtxRetain(self, dev: int) -> tuple[Any, ...]:
        self.retained += 1
        return DONE, "primary"

    def cuDevicePrimaryCtxRelease(self, dev: int) -> tuple[Any, ...]:
        self.retained -= 1
        return (DONE,)

    def cuCtxSetCurrent(self, ctx: str) -> tuple[Any, ...]:
        if ctx != "primary" or not self.retained:
            return self.fault("a context that isn't held is made current")
        self.current.add(threading.get_ident())
        return (DONE,)

    def cuStreamCreate(self, Flags: int) -> tuple[Any, ...]:
        return self.checked("cuStreamCreate") or (DONE, self.take(self.streams))

    def cuStreamDestroy(self, hStream: int) -> tuple[Any, ...]:
        return self.let_go(self.streams, hStream, "a stream")

    def cuStreamSynchronize(self, hStream: int) -> tuple[Any, ...]:
        if bad := self.checked("cuStreamSynchronize", hStream):
            return bad
        if self.recording is not None:
            return self.fault("a wait while recording")
        work, self.queue = self.queue, []
        for step in work:
            step()
        return (DONE,)

    def cuMemAlloc(self, bytesize: int) -> tuple[Any, ...]:
        return self.allocate(self.device_memory, bytesize)

    def cuMemAllocHost(self, bytesize: int) -> tuple[Any, ...]:
        return self.allocate(self.pinned_memory, bytesize)

    def cuMemFree(self, dptr: int) -> tuple[Any, ...]:
        return self.let_go(self.device_memory, dptr, "device memory")

    def cuMemFreeHost(self, p: int) -> tuple[Any, ...]:
        return self.let_go(self.pinned_memory, p, "pinned memory")

    def cuMemcpyHtoDAsync(
        self, dstDevice: int, srcHost: int, ByteCount: int, hStream: int
    ) -> tuple[Any, ...]:
        return self.copy(dstDevice, srcHost, ByteCount, hStream, dstDevice, srcHost)

    def cuMemcpyDtoHAsync(
        self, dstHost: int, srcDevice: int, ByteCount: int, hStream: int
    ) -> tuple[Any, ...]:
        return self.copy(dstHost, srcDevice, ByteCount, hStream, srcDevice, dstHost)

    def cuStreamBeginCapture(self, hStream: int, mode: str) -> tuple[Any, ...]:
        if bad := self.checked("cuStreamBeginCapture", hStream):
            return bad
        if self.recording is not None or self.queue:
            return self.fault("recording begins while there is work")
        self.recording = []
        return (DONE,)

    def cuStreamEndCapture(self, hStream: int) -> tuple[Any, ...]:
        if bad := self.checked("cuStreamEndCapture", hStream):
            return bad
        if self.recording is None:
            return self.fault("recording ends that never began")
        recorded, self.recording = self.recording, None
        return DONE, self.take(self.graphs, recorded)

    def cuGraphInstantiate(self, hGraph: int, flags: int) -> tuple[Any, ...]:
        return DONE, self.take(self.graphs, self.graphs[hGraph])

    def cuGraphDestroy(self, hGraph: int) -> tuple[Any, ...]:
        return self.let_go(self.graphs, hGraph, "a graph")

    def cuGraphExecDestroy(self, hGraphExec: int) -> tuple[Any, ...]:
        return self.let_go(self.graphs, hGraphExec, "a graph")

    def cuGraphLaunch(self, hGraphExec: int, hStream: int) -> tuple[Any, ...]:
        if bad := self.checked("cuGraphLaunch", hStream):
            return bad
        if hGraphExec not in self.graphs:
            return self.fault("a graph is launched that isn't there")
        self.launches += 1
        self.queue += self.graphs[hGraphExec]
        return (DONE,)

    def fault(self, what: str) -> tuple[Any, ...]:
        self.faults.append(what)
        return BAD, 0

    def checked(self, call: str, stream: int | None = None) -> tuple[Any, ...] | None:
        if threading.get_ident() not in self.current:
            self.faults.append(f"{call} on a thread that hasn't made the GPU its own")
            return Result.CUDA_ERROR_INVALID_CONTEXT, 0
        if stream is not None and stream not in self.streams:
            return self.fault(f"{call} on a stream that isn't there")
        return None

    def take(self, of: Any, value: Any = None) -> int:
        name = next(self.names)
        if isinstance(of, set):
            of.add(name)
        else:
            of[name] = value
        return name

    def let_go(self, of: Any, name: int, what: str) -> tuple[Any, ...]:
        if name not in of:
            return self.fault(f"{what} is given back twice, or was never taken")
        if self.queue:
            self.faults.append(f"{what} is given back while work is queued")
        if isinstance(of, set):
            of.remove(name)
        else:
            del of[name]
        return (DONE,)

    def allocate(self, memory: dict[int, Any], size: int) -> tuple[Any, ...]:
        if bad := self.checked("allocation"):
            return bad
        if size == 0 or self.recording is not None:
            return self.fault("nothing is allocated, or while recording")
        if size > self.room:
            return Result.CUDA_ERROR_OUT_OF_MEMORY, 0
        buffer = ctypes.create_string_buffer(size)
        memory[ctypes.addressof(buffer)] = buffer
        return DONE, ctypes.addressof(buffer)

    def copy(self, to: int, of: int, size: int, stream: int, device: int, host: int) -> tuple[Any, ...]:
        if bad := self.checked("copy", stream):
            return bad
        if not within(self.device_memory, device, size):
            return self.fault("a copy leaves its device memory")
        if not within(self.pinned_memory, host, size):
            return self.fault("a copy of host memory that isn't pinned, or beyond it")
        self.enqueue(lambda: ctypes.memmove(to, of, size))
        return (DONE,)

    def enqueue(self, step: Callable[[], object]) -> None:
        (self.queue if self.recording is None else self.recording).append(lambda: void(step()))

    def left_over(self) -> dict[str, int]:
        held = {"device": self.device_memory, "pinned": self.pinned_memory, "streams": self.streams}
        counted = {name: len(one) for name, one in held.items()}
        return {
            name: n
            for name, n in {**counted, "graphs": len(self.graphs), "contexts": self.retained}.items()
            if n
        }


class Context:
    """IExecutionContext: refuses to run before profile, memory, addresses and shape are set, in that order."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.driver = engine, engine.driver
        self.addresses: dict[str, int] = {}
        self.profile = self.memory = self.shape = None
        self.flushed = self.recorded = False

    def changes(self, what: str) -> None:
        if self.recorded:
            self.driver.faults.append(f"{what} changes after a graph was recorded")
        self.flushed = False

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self.changes("profile")
        self.profile = profile_index
        return profile_index == 0 and stream_handle in self.driver.streams

    def set_device_memory(self, memory: int, size: int) -> None:
        self.changes("memory")
        if self.profile is None or size < self.engine.device_memory_size_v2 or memory % 16:
            self.driver.faults.append("memory before the profile, or too little")
        if not within(self.driver.device_memory, memory, size):
            self.driver.faults.append("a context's memory that isn't there")
        self.memory = memory

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.changes("address")
        self.addresses[name] = memory
        return name in self.engine.sizes and name != self.engine.fails_at

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.changes("shape")
        fits = name == "tiles" and self.profile is not None and 1 <= shape[0] <= self.engine.most
        self.shape = shape if fits else None
        return fits

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self.engine.fails_at == "run":
            return self.refuse("an illegal address")
        missing = {"tiles", "map", "score"} - self.addresses.keys()
        missing |= {what for what in ("profile", "memory", "shape") if getattr(self, what) is None}
        if missing or stream_handle not in self.driver.streams:
            self.driver.faults.append(f"a run before all is set: {', '.join(sorted(missing)) or 'stream'}")
            return self.refuse("not all is set")
        if self.driver.recording is not None:
            if self.engine.fails_at == "recording":
                return self.refuse("this can't be recorded")
            if not self.flushed:
                self.driver.faults.append("recording before the shape was run once")
            self.recorded = True
        else:
            self.flushed = True
        shape, addresses = self.shape, dict(self.addresses)
        for name, size in self.engine.sizes.items():
            if not within(self.driver.device_memory, addresses[name], size * shape[0]):
                self.driver.faults.append(f"{name} has too little memory")
        self.driver.enqueue(lambda: self.engine.score(shape, addresses))
        return True

    def refuse(self, why: str) -> bool:
        self.engine.log.log("ERROR", why)
        return False


class Engine:
    """ICudaEngine whose plan scores each tile by its mean grey."""

    device_memory_size_v2 = 4096

    def __init__(self, driver: Driver, log: Any, fails_at: str, most: int, side_px: int, cells: int) -> None:
        self.driver, self.log, self.fails_at, self.most, self.cells = driver, log, fails_at, most, cells
        self.sizes = {"tiles": side_px**2, "map": 4 * cells**2, "score": 4}
        self.contexts: list[Context] = []
        self.ran: list[int] = []

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        most = 16 if self.fails_at == "profile" else self.most
        side = round(self.sizes["tiles"] ** 0.5)
        return [(count, side, side) for count in (1, most, most) if name == "tiles" and profile_index == 0]

    def create_execution_context(self, strategy: str) -> Context | None:
        if strategy != "user managed":
            self.driver.faults.append("a context with memory of its own")
        if self.fails_at == "context":
            self.log.log("ERROR", "no room for activations")
            return None
        self.contexts.append(Context(self))
        return self.contexts[-1]

    def score(self, shape: tuple[int, ...], addresses: dict[str, int]) -> None:
        count = shape[0]
        self.ran.append(count)
        tiles = np.frombuffer(self.bytes_at(addresses["tiles"], self.sizes["tiles"] * count), np.uint8)
        means = tiles.reshape(count, -1).mean(1, dtype=np.float32)
        maps = np.repeat(means, self.cells**2).astype(np.float32)
        for name, values in (("map", maps), ("score", means)):
            ctypes.memmove(addresses[name], values.tobytes(), values.nbytes)

    def bytes_at(self, address: int, size: int) -> bytes:
        return ctypes.string_at(address, size)


def within(memory: dict[int, Any], address: int, size: int) -> bool:
    return any(start <= address and address + size <= start + len(held) for start, held in memory.items())


def void(_: object) -> None:
    return None


class PyCudaError(Exception):
    pass


class Held:
    """An allocation of pycuda: ``free`` gives it back; a pinned one is an array's base."""

    def __init__(self, address: int, size: int, give_back: Callable[[int], tuple[Any, ...]]) -> None:
        self.address, self.give_back = address, give_back
        self.__array_interface__ = {
            "version": 3,
            "data": (address, False),
            "shape": (size,),
            "typestr": "|u1",
        }

    def __int__(self) -> int:
        return self.address

    def free(self) -> None:
        value(self.give_back(self.address))


def value(answer: tuple[Any, ...]) -> Any:
    if answer[0] is not DONE:
        raise PyCudaError(answer[0].name)
    return answer[-1]


def pycuda_driver(driver: Driver) -> Any:
    """pycuda.driver, on the same stand-in."""

    class Context:
        def push(self) -> None:
            value(driver.cuCtxSetCurrent("primary"))

        def pop(self) -> None:
            driver.current.remove(threading.get_ident())

        def detach(self) -> None:
            value(driver.checked("detach") or (DONE,))
            driver.current.remove(threading.get_ident())
            driver.cuDevicePrimaryCtxRelease(0)

    class Device:
        def __init__(self, number: int) -> None:
            pass

        def retain_primary_context(self) -> Context:
            driver.cuDevicePrimaryCtxRetain(0)
            return Context()

    class Stream:
        def __init__(self) -> None:
            self.handle = value(driver.cuStreamCreate(0))

        def synchronize(self) -> None:
            value(driver.cuStreamSynchronize(self.handle))

        def __del__(self) -> None:
            driver.cuStreamDestroy(self.handle)

    return SimpleNamespace(
        Error=PyCudaError,
        init=lambda: None,
        Device=Device,
        Stream=Stream,
        mem_alloc=lambda size: Held(value(driver.cuMemAlloc(size)), size, driver.cuMemFree),
        pagelocked_empty=lambda shape, dtype: np.asarray(
            Held(value(driver.cuMemAllocHost(shape)), shape, driver.cuMemFreeHost)
        ),
        memcpy_htod_async=lambda dest, src, stream: value(
            driver.cuMemcpyHtoDAsync(dest, src.ctypes.data, src.nbytes, stream.handle)
        ),
        memcpy_dtoh_async=lambda dest, src, stream: value(
            driver.cuMemcpyDtoHAsync(dest.ctypes.data, src, dest.nbytes, stream.handle)
        ),
    )
