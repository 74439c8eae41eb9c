"""Stand-ins for the CUDA driver and TensorRT's runtime, stricter than the real ones. They show nothing of a GPU.

"Device" memory lies in host buffers. What is queued happens when the stream is waited for, not before; other streams
come first wherever no event holds them back, and not at all where nobody waits for them. Whatever is misused is a
fault on a list, besides the error that it gives: a copy that leaves its buffers or takes host memory that isn't pinned,
memory freed twice or never, a call from a thread that hasn't made the GPU its own, a context that runs before all is
set, a context changed after a graph was recorded from it, a wait while recording, a stream that isn't joined there.
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

from inspector.records import F32


class Result(Enum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900


DONE = Result.CUDA_SUCCESS
BAD = Result.CUDA_ERROR_INVALID_VALUE


Step = Callable[[], object] | tuple[str, object]  # work, or ("record" | "wait", what an event stood for)


def play(queues: dict[int, list[Step]], stream: int, done: set[object]) -> None:
    """Do all that is queued in a stream, and of the others what must come first, or can. ``done``: events so far."""

    def run(one: int, until: object = None, patient: bool = True) -> None:
        queue = queues[one]
        while queue:
            step = queue[0]
            if callable(step):
                step()
            elif step[0] == "record":
                done.add(step[1])
            elif step[1] not in done:
                if not patient:
                    return
                run(next((other for other, steps in queues.items() if ("record", step[1]) in steps)), step[1])
                continue
            queue.pop(0)
            if until is not None and until in done:
                return

    for other in queues.keys() - {stream}:
        run(other, patient=False)
    run(stream)


class Driver:
    """cuda.bindings.driver: every call answers with a tuple that begins with its result."""

    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL="thread local")
    CUevent_flags = SimpleNamespace(CU_EVENT_DISABLE_TIMING=SimpleNamespace(value=2))

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.device_memory: dict[int, Any] = {}
        self.pinned_memory: dict[int, Any] = {}
        self.streams: dict[int, list[Step]] = {}  # what is queued in each
        self.events: dict[int, object] = {}  # what each stands for
        self.done: set[object] = set()  # of that
        self.graphs: dict[int, tuple[int, dict[int, list[Step]]]] = {}
        self.retained = 0
        self.current: set[int] = set()  # threads that have made the GPU theirs
        self.recording: dict[int, list[Step]] | None = None  # by stream; the first is where it began
        self.recorded_events: set[object] = set()
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
        return self.checked("cuStreamCreate") or (DONE, self.take(self.streams, []))

    def cuStreamDestroy(self, hStream: int) -> tuple[Any, ...]:
        return self.let_go(self.streams, hStream, "a stream")

    def cuStreamSynchronize(self, hStream: int) -> tuple[Any, ...]:
        if bad := self.checked("cuStreamSynchronize", hStream):
            return bad
        if self.recording is not None:
            return self.fault("a wait while recording")
        play(self.streams, hStream, self.done)
        return (DONE,)

    def cuEventCreate(self, Flags: int) -> tuple[Any, ...]:
        if Flags != self.CUevent_flags.CU_EVENT_DISABLE_TIMING.value:
            return self.fault("an event that takes the time")
        return self.checked("cuEventCreate") or (DONE, self.take(self.events))

    def cuEventDestroy(self, hEvent: int) -> tuple[Any, ...]:
        return self.let_go(self.events, hEvent, "an event")

    def cuEventRecord(self, hEvent: int, hStream: int) -> tuple[Any, ...]:
        if bad := self.checked("cuEventRecord", hStream):
            return bad
        if hEvent not in self.events:
            return self.fault("an event that isn't there")
        self.events[hEvent] = point = object()
        if self.recording is not None:
            self.recorded_events.add(point)
        return self.enqueue(hStream, ("record", point))

    def cuStreamWaitEvent(self, hStream: int, hEvent: int, Flags: int) -> tuple[Any, ...]:
        if bad := self.checked("cuStreamWaitEvent", hStream):
            return bad
        point = self.events.get(hEvent)
        if point is None:
            return self.fault("a wait for an event that was never recorded")
        if self.recording is not None and point in self.recorded_events:
            self.recording.setdefault(hStream, [])  # the stream is in the recording from now on
        return self.enqueue(hStream, ("wait", point))

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
        if self.recording is not None or any(self.streams.values()):
            return self.fault("recording begins while there is work")
        self.recording = {hStream: []}
        return (DONE,)

    def cuStreamEndCapture(self, hStream: int) -> tuple[Any, ...]:
        if bad := self.checked("cuStreamEndCapture", hStream):
            return bad
        if self.recording is None or hStream != next(iter(self.recording)):
            return self.fault("recording ends that never began there")
        recorded, self.recording = self.recording, None
        waited_for = {step[1] for step in recorded[hStream] if not callable(step) and step[0] == "wait"}
        for stream, steps in recorded.items():
            last = steps[-1] if steps else None
            if stream != hStream and (last is None or callable(last) or last[1] not in waited_for):
                return self.fault("a stream that a recording forked to isn't joined")
        return DONE, self.take(self.graphs, (hStream, recorded))

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
        first, recorded = self.graphs[hGraphExec]
        return self.enqueue(
            hStream, lambda: play({stream: [*steps] for stream, steps in recorded.items()}, first, set())
        )

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
        of[name] = value
        return name

    def let_go(self, of: Any, name: int, what: str) -> tuple[Any, ...]:
        if name not in of:
            return self.fault(f"{what} is given back twice, or was never taken")
        if any(self.streams.values()):
            self.faults.append(f"{what} is given back while work is queued")
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
        return self.enqueue(stream, lambda: ctypes.memmove(to, of, size))

    def enqueue(self, stream: int, step: Step) -> tuple[Any, ...]:
        if self.recording is None:
            self.streams[stream].append(step)
        elif stream in self.recording:
            self.recording[stream].append(step)
        else:
            return self.fault("work in a stream beside the recording")
        return (DONE,)

    def left_over(self) -> dict[str, int]:
        held = {
            "device": self.device_memory,
            "pinned": self.pinned_memory,
            "streams": self.streams,
            "events": self.events,
        }
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
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.profile = self.memory = None
        self.flushed = self.recorded = False

    def changes(self, what: str) -> None:
        if self.recorded:
            self.driver.faults.append(f"{what} changes after a graph was recorded")
        self.flushed = False

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self.changes("profile")
        self.profile = profile_index
        if self.engine.fails_at == "set profile":
            self.engine.log.log("ERROR", "the profile is in use")
            raise RuntimeError("a binding's own words")  # as the real one does; False is another failure
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
        fits = name in self.engine.inputs and self.profile is not None and 1 <= shape[0] <= self.engine.most
        self.shapes.pop(name, None)
        if fits:
            self.shapes[name] = shape
        return fits

    @property
    def count(self) -> int | None:
        """Of tiles, once all inputs have a shape."""
        counts = {shape[0] for shape in self.shapes.values()}
        return counts.pop() if self.shapes.keys() == self.engine.inputs and len(counts) == 1 else None

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self.engine.fails_at == "run":
            return self.refuse("an illegal address")
        count = self.count
        missing = self.engine.sizes.keys() - self.addresses.keys()
        missing |= {what for what in ("profile", "memory") if getattr(self, what) is None}
        missing |= {"shape"} if count is None else set()
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
        assert count is not None
        addresses = dict(self.addresses)
        for name, size in self.engine.sizes.items():
            if not within(self.driver.device_memory, addresses[name], size * count):
                self.driver.faults.append(f"{name} has too little memory")
        self.driver.enqueue(stream_handle, lambda: self.engine.score(count, addresses))
        return True

    def refuse(self, why: str) -> bool:
        self.engine.log.log("ERROR", why)
        return False


class NoShape:
    """Dims of -1 dimensions: the real one's answer for a tensor that isn't there."""

    def __len__(self) -> int:
        return -1  # noqa: PLE0303

    def __getitem__(self, index: int) -> int:
        raise IndexError


class Engine:
    """ICudaEngine whose plan scores each tile by its mean grey."""

    device_memory_size_v2 = 4096

    def __init__(self, driver: Driver, log: Any, fails_at: str, most: int, side_px: int, cells: int) -> None:
        self.driver, self.log, self.fails_at, self.most, self.cells = driver, log, fails_at, most, cells
        self.sizes = {"tiles": side_px**2, "map": 4 * cells**2, "score": 4}
        self.contexts: list[Context] = []
        self.ran: list[int] = []

    @property
    def inputs(self) -> set[str]:
        return {"tiles"}

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        if self.fails_at == "input":
            return [NoShape()] * 3
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

    def score(self, count: int, addresses: dict[str, int]) -> None:
        self.ran.append(count)
        self.answer(addresses, self.means(count, addresses))

    def means(self, count: int, addresses: dict[str, int]) -> F32:
        tiles = np.frombuffer(self.bytes_at(addresses["tiles"], self.sizes["tiles"] * count), np.uint8)
        return tiles.reshape(count, -1).mean(1, dtype=np.float32)

    def answer(self, addresses: dict[str, int], scores: F32) -> None:
        self.write(addresses["map"], np.repeat(scores, self.cells**2))
        self.write(addresses["score"], scores)

    def write(self, address: int, values: F32) -> None:
        ctypes.memmove(address, values.astype(np.float32).tobytes(), 4 * values.size)

    def bytes_at(self, address: int, size: int) -> bytes:
        return ctypes.string_at(address, size)


# What lies between the stand-ins of three engines: one number a tile, one and a half of a mean and half of one.
ANSWERS = {"teachers": ("taught", 1.5), "students": ("learnt", 0.5)}


class Part(Engine):
    """One of three: judging takes the students' answer from the teachers' and has the mean grey again."""

    def __init__(self, part: str, *rest: Any) -> None:
        super().__init__(*rest)
        self.part = part
        if part in ANSWERS:
            del self.sizes["map"], self.sizes["score"]
            self.sizes[ANSWERS[part][0]] = 4
        else:
            self.sizes |= {name: 4 for name, _ in ANSWERS.values()}

    @property
    def inputs(self) -> set[str]:
        return {"tiles"} | {name for name, _ in ANSWERS.values() if self.part not in ANSWERS}

    def score(self, count: int, addresses: dict[str, int]) -> None:
        self.ran.append(count)
        if self.part in ANSWERS:
            name, times = ANSWERS[self.part]
            self.write(addresses[name], times * self.means(count, addresses))
            return
        taught, learnt = (
            np.frombuffer(self.bytes_at(addresses[name], 4 * count), np.float32)
            for name, _ in ANSWERS.values()
        )
        self.answer(addresses, taught - learnt)
        for name, _ in ANSWERS.values():  # whoever judges by what was there before is found out
            self.write(addresses[name], np.full(count, np.nan, np.float32))


def within(memory: dict[int, Any], address: int, size: int) -> bool:
    return any(start <= address and address + size <= start + len(held) for start, held in memory.items())


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

        def wait_for_event(self, event: Event) -> None:
            value(driver.cuStreamWaitEvent(self.handle, event.handle, 0))

        def __del__(self) -> None:
            driver.cuStreamDestroy(self.handle)

    class Event:
        def __init__(self, flags: int = 0) -> None:
            self.handle = value(driver.cuEventCreate(flags))

        def record(self, stream: Stream) -> None:
            value(driver.cuEventRecord(self.handle, stream.handle))

        def __del__(self) -> None:
            driver.cuEventDestroy(self.handle)

    return SimpleNamespace(
        Error=PyCudaError,
        Event=Event,
        event_flags=SimpleNamespace(DISABLE_TIMING=2),
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
