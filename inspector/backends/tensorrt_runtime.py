"""A TensorRT plan on the GPU: everything taken once, tiles in through pinned memory, small maps out.

A plan is one engine, or three: teachers and students side by side in two streams, then what judges by both. Work on a
batch is queued once as it is and once into a CUDA graph, which is held against it; from then on that size is a single
launch. Not run on hardware.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from inspector.backends.apart import INPUT, OUTPUTS, PARTS, Answer, Apart
from inspector.backends.artifact import Recipe
from inspector.backends.gpu import START, open_gpu
from inspector.backends.tensorrt_engine import TensorRtEngine
from inspector.records import F32, U8


class TensorRtRuntime:
    """One plan, buffers for ``most`` tiles, and one CUDA graph a batch size.

    Args:
        trt: the library.
        log: what it logs to; ``last_error`` says why something failed.
        recipe: whose plan it is.
        plan: as it was built.
        most: tiles at a time.
        portable: whether the plan may bring the runtime that it was built for, which is code for the CPU.

    Raises RuntimeError when TensorRT or CUDA refuse.
    """

    def __init__(self, trt: Any, log: Any, recipe: Recipe, plan: bytes, most: int, portable: bool) -> None:
        self._trt, self._log, self._most = trt, log, most
        self._tile_shape = recipe.tile_shape
        self._sizes = {  # bytes a tile
            INPUT: recipe.side_px**2 * recipe.channels,
            "map": 4 * recipe.cells**2,
            "score": 4,
        }
        self._turns: list[list[TensorRtEngine]] = []  # one after the other; those of one turn side by side
        self._graphs: dict[int, Any] = {}  # by batch size; None: it can't be recorded, or scores otherwise
        self._runtime: Any = None
        self._closed = False
        self._host: dict[str, U8] = {}
        self._device: dict[str, int] = {}
        self._gpu = open_gpu()
        try:
            with self._gpu.held():
                self._load(plan, portable)
        except (
            BaseException
        ):  # bindings raise errors of their own kinds, too, and the GPU is let go of all the same
            self.close()
            raise

    def run(self, tiles: U8, maps: F32, scores: F32) -> None:
        """Score tiles, ``most`` at a time."""
        with self._gpu.held():
            for start in range(0, len(tiles), self._most):
                part = slice(start, start + self._most)
                self._run(tiles[part], maps[part], scores[part])

    def close(self) -> None:
        """Free everything, what uses before what is used; never raises, and may be called twice."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(RuntimeError), self._gpu.held():  # a GPU that has failed can't free, either
            self._gpu.drain()  # a run that failed halfway has left work in the streams
            self._gpu.destroy_graphs()
            self._graphs.clear()
            for engine in self._engines:
                engine.close()
            self._turns, self._runtime = [], None
        self._host = {}
        self._gpu.close()

    @property
    def _engines(self) -> list[TensorRtEngine]:
        return [engine for turn in self._turns for engine in turn]

    def _load(self, plan: bytes, portable: bool) -> None:
        try:
            self._runtime = self._trt.Runtime(self._log)
        except TypeError:  # the binding's word for an object that the library doesn't make
            raise RuntimeError(f"TensorRT doesn't start: {self._log.last_error}; {START}") from None
        self._runtime.engine_host_code_allowed = portable
        handed_on: dict[str, int] = {}  # between engines: bytes a tile
        if zipfile.is_zipfile(BytesIO(plan)):
            cut = Apart.from_bytes(plan)
            handed_on = {one.name: one.tile_bytes for one in cut.answers}
            teachers, students, judging = (
                self._engine(cut.parts[part], cut.inputs_of(part), cut.outputs_of(part)) for part in PARTS
            )
            self._turns = [[teachers, students], [judging]]
        else:
            self._turns = [[self._engine(plan, [], OUTPUTS)]]
        self._take_memory(handed_on, len(plan))
        for (
            engine
        ) in self._engines:  # what can't be had is told now, not at the first tile or the largest batch
            for count in (1, self._most):
                engine.context(self._gpu, count)

    def _engine(self, plan: bytes, answers: Sequence[Answer], outputs: Sequence[str]) -> TensorRtEngine:
        inputs = {INPUT: self._tile_shape, **{one.name: one.shape for one in answers}}
        return TensorRtEngine(self._trt, self._log, self._runtime, plan, inputs, outputs, self._most)

    def _take_memory(self, handed_on: Mapping[str, int], plan_bytes: int) -> None:
        gpu = self._gpu
        pinned = {name: self._most * size for name, size in self._sizes.items()}
        device = pinned | {name: self._most * size for name, size in handed_on.items()}
        try:
            self._host = {name: gpu.pinned_buffer(size) for name, size in pinned.items()}
            self._device = {name: gpu.device_buffer(size) for name, size in device.items()}
            for engine in self._engines:
                engine.place(gpu, self._device)
        except RuntimeError as error:
            wanted = sum(device.values()) + sum(engine.activation_bytes for engine in self._engines)
            raise RuntimeError(
                f"CUDA gives no memory ({error}): the engine wants {_mb(wanted)} on the GPU, beside the plan of "
                f"{_mb(plan_bytes)}, and {_mb(sum(pinned.values()))} of pinned memory for batches of {self._most} "
                "tiles; end what else uses the GPU (nvidia-smi shows it), or take a preset of smaller networks"
            ) from None

    def _run(self, tiles: U8, maps: F32, scores: F32) -> None:
        count = len(tiles)
        self._part(INPUT, count)[:] = tiles.reshape(-1)
        if self._graphs.get(count) is not None:
            self._gpu.launch(self._graphs[count])
        else:
            self._queue(count)
        self._gpu.wait()
        maps[...] = self._part("map", count).view(np.float32).reshape(maps.shape)
        scores[...] = self._part("score", count).view(np.float32)
        if count not in self._graphs:  # now that TensorRT has done what a new shape asks for once
            graph = self._recorded(count)
            self._graphs[count] = graph if graph is not None and self._is_sound(graph, count) else None

    def _recorded(self, count: int) -> Any:
        """A graph of the work on so many tiles, or None: then it is queued anew every time."""
        if self._trt.__name__ != "tensorrt":
            return None  # TensorRT for RTX goes on compiling kernels while it runs; a graph would keep the first ones
        try:
            return self._gpu.capture(lambda: self._queue(count))
        except RuntimeError:
            return None

    def _is_sound(self, graph: Any, count: int) -> bool:
        """Whether a graph scores other tiles than it was recorded with as the same work does that is queued anew.

        Golden tiles are scored once, before there is a graph, so nothing else would ever look at what graphs say.
        """
        tiles = self._part(INPUT, count)
        tiles[:] = 255 - tiles
        try:
            self._gpu.launch(graph)
        except RuntimeError:  # its first launch takes memory, and the GPU may be full
            return False
        self._gpu.wait()
        launched = self._answers(count)
        self._queue(count)
        self._gpu.wait()
        return all(map(_alike, launched, self._answers(count)))

    def _answers(self, count: int) -> list[F32]:
        return [self._part(name, count).view(np.float32).copy() for name in OUTPUTS]

    def _queue(self, count: int) -> None:
        gpu = self._gpu
        gpu.upload(self._device[INPUT], self._part(INPUT, count))
        for first, *beside in self._turns:
            if beside:
                second_stream = gpu.fork()
                for engine in beside:
                    engine.queue(gpu, count, second_stream)
            first.queue(gpu, count, gpu.stream)
            if beside:
                gpu.join()
        for name in OUTPUTS:
            gpu.download(self._part(name, count), self._device[name])

    def _part(self, name: str, count: int) -> U8:
        """What so many tiles take of a pinned buffer."""
        return self._host[name][: count * self._sizes[name]]


def _alike(some: F32, others: F32) -> bool:
    """Within a thousandth: kernels are the same, but not all promise the same last digit twice."""
    return np.allclose(some, others, rtol=1e-3, atol=1e-3, equal_nan=True)


def _mb(size: int) -> str:
    return f"{size / 2**20:.1f} MB"
