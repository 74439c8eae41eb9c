"""A TensorRT plan on the GPU: everything taken once, tiles in through pinned memory, small maps out.

Work on a batch is queued once as it is and once into a CUDA graph; from then on that size is a single launch. A graph
holds only as long as nothing changes the execution context that it was recorded from, so each size has a context of
its own. All of them share one block of activations, as only one runs at a time (NVIDIA, "Optimizing TensorRT
Performance", CUDA Graphs). Not run on hardware.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from inspector.backends.artifact import Recipe
from inspector.backends.gpu import open_gpu
from inspector.records import F32, U8

LEAST_BYTES = 256  # CUDA refuses to allocate nothing


class TensorRtRuntime:
    """One plan, one stream, buffers for ``most`` tiles; one execution context and one CUDA graph a batch size.

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
        self._cells = recipe.cells
        self._tile_bytes = recipe.side_px**2 * recipe.channels
        self._contexts: dict[int, Any] = {}  # by batch size
        self._graphs: dict[int, Any] = {}  # by batch size; None: it can't be recorded
        self._runtime: Any = None
        self._engine: Any = None
        self._closed = False
        self._host: dict[str, U8] = {}
        self._device: dict[str, int] = {}
        self._gpu = open_gpu()
        try:
            with self._gpu.held():
                self._load(plan, portable)
        except RuntimeError:
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
            self._gpu.destroy_graphs()
            self._graphs.clear()
            self._contexts.clear()
            self._engine = self._runtime = None
        self._host = {}
        self._gpu.close()

    def _load(self, plan: bytes, portable: bool) -> None:
        gpu = self._gpu
        self._runtime = self._trt.Runtime(self._log)
        self._runtime.engine_host_code_allowed = portable
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise RuntimeError(f"TensorRT refuses the plan: {self._log.last_error}")
        spans = [
            tuple(shape) for shape in self._engine.get_tensor_profile_shape("tiles", 0)
        ]  # least, best, most
        wanted = [(count, *self._tile_shape) for count in (1, self._most)]
        if not spans or [spans[0], spans[-1]] != wanted:
            raise RuntimeError(
                f"the plan is for tiles {spans}, not for any number from {wanted[0]} to {wanted[1]}"
            )
        self._sizes = {"tiles": self._tile_bytes, "map": 4 * self._cells**2, "score": 4}  # bytes a tile
        self._activation_bytes = max(int(self._engine.device_memory_size_v2), LEAST_BYTES)
        buffers = {name: self._most * size for name, size in self._sizes.items()}
        pinned = sum(buffers.values())
        try:
            self._host = {name: gpu.pinned_buffer(size) for name, size in buffers.items()}
            self._device = {name: gpu.device_buffer(size) for name, size in buffers.items()}
            self._activations = gpu.device_buffer(self._activation_bytes)
        except RuntimeError as error:
            raise RuntimeError(
                f"CUDA gives no memory ({error}): the engine wants {_mb(pinned + self._activation_bytes)} on the GPU, "
                f"beside the plan of {_mb(len(plan))}, and {_mb(pinned)} of pinned memory for batches of {self._most} "
                "tiles; end what else uses the GPU (nvidia-smi shows it), or take a preset of smaller networks"
            ) from None
        self._context(1)  # what can't be had is told now, not at the first tile

    def _run(self, tiles: U8, maps: F32, scores: F32) -> None:
        count = len(tiles)
        self._part("tiles", count)[:] = tiles.reshape(-1)
        if self._graphs.get(count) is not None:
            self._gpu.launch(self._graphs[count])
        else:
            self._queue(count)
        self._gpu.wait()
        maps[...] = self._part("map", count).view(np.float32).reshape(maps.shape)
        scores[...] = self._part("score", count).view(np.float32)
        if count not in self._graphs:  # now that TensorRT has done what a new shape asks for once
            self._graphs[count] = self._recorded(count)

    def _recorded(self, count: int) -> Any:
        """A graph of the work on so many tiles, or None: then it is queued anew every time."""
        if self._trt.__name__ != "tensorrt":
            return None  # TensorRT for RTX goes on compiling kernels while it runs; a graph would keep the first ones
        try:
            return self._gpu.capture(lambda: self._queue(count))
        except RuntimeError:
            return None

    def _queue(self, count: int) -> None:
        context = self._context(count)
        self._gpu.upload(self._device["tiles"], self._part("tiles", count))
        if not context.execute_async_v3(self._gpu.stream):
            raise RuntimeError(f"TensorRT failed: {self._log.last_error}")
        for name in ("map", "score"):
            self._gpu.download(self._part(name, count), self._device[name])

    def _context(self, count: int) -> Any:
        """The execution context of a batch size: made at its first batch, never changed after."""
        if count in self._contexts:
            return self._contexts[count]
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(strategy)
        if context is None:
            raise RuntimeError(f"TensorRT gives no execution context: {self._log.last_error}")
        if not context.set_optimization_profile_async(0, self._gpu.stream):
            raise RuntimeError(f"TensorRT refuses the plan's only profile: {self._log.last_error}")
        self._gpu.wait()
        context.set_device_memory(self._activations, self._activation_bytes)
        for name, address in self._device.items():
            if not context.set_tensor_address(name, address):
                raise RuntimeError(f"the plan has no tensor {name!r}")
        if not context.set_input_shape("tiles", (count, *self._tile_shape)):
            raise RuntimeError(f"TensorRT refuses {count} tiles: {self._log.last_error}")
        self._contexts[count] = context
        return context

    def _part(self, name: str, count: int) -> U8:
        """What so many tiles take of a pinned buffer."""
        return self._host[name][: count * self._sizes[name]]


def _mb(size: int) -> str:
    return f"{size / 2**20:.1f} MB"
