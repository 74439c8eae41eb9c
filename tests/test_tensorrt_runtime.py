"""TensorRT's runtime half against stand-ins for the two libraries: no GPU is needed, and none is proved.

The stand-ins keep "device" memory in host buffers and check every copy against its buffer's bounds. What is
tested is our half: chunks, addresses, shapes, failures that come as values, memory given back.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inspector.backends import tensorrt
from inspector.backends.artifact import Recipe
from tests.graphs import SIDE_PX, write_tiny_recipe


class Result(Enum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2


class Gpu:
    """A driver and a TensorRT that score each tile by its mean grey."""

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.contexts = 0
        self.streams = 0
        self.room = 1 << 30
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()
        self.calls: list[int] = []
        self.fails_at = ""

    # CUDA: every call answers with a tuple that begins with its result

    def cuInit(self, flags: int) -> tuple[Result]:
        return (Result.CUDA_SUCCESS,)

    def cuDeviceGet(self, index: int) -> tuple[Result, int]:
        return Result.CUDA_SUCCESS, index

    def cuDevicePrimaryCtxRetain(self, device: int) -> tuple[Result, str]:
        self.contexts += 1
        return Result.CUDA_SUCCESS, "primary"

    def cuDevicePrimaryCtxRelease(self, device: int) -> tuple[Result]:
        self.contexts -= 1
        return (Result.CUDA_SUCCESS,)

    def cuCtxSetCurrent(self, context: str) -> tuple[Result]:
        return (Result.CUDA_SUCCESS,)

    def cuStreamCreate(self, flags: int) -> tuple[Result, int]:
        self.streams += 1
        return Result.CUDA_SUCCESS, 77

    def cuStreamDestroy(self, stream: int) -> tuple[Result]:
        self.streams -= 1
        return (Result.CUDA_SUCCESS,)

    def cuStreamSynchronize(self, stream: int) -> tuple[Result]:
        return (Result.CUDA_SUCCESS,)

    def cuMemAlloc(self, size: int) -> tuple[Result, int]:
        if size > self.room:
            return Result.CUDA_ERROR_OUT_OF_MEMORY, 0
        buffer = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(buffer)] = buffer
        return Result.CUDA_SUCCESS, ctypes.addressof(buffer)

    def cuMemFree(self, pointer: int) -> tuple[Result]:
        del self.memory[pointer]
        return (Result.CUDA_SUCCESS,)

    def cuMemcpyHtoDAsync(self, device: int, host: int, size: int, stream: int) -> tuple[Result]:
        return self._copy(device, host, size, device)

    def cuMemcpyDtoHAsync(self, host: int, device: int, size: int, stream: int) -> tuple[Result]:
        return self._copy(host, device, size, device)

    def _copy(self, to: int, of: int, size: int, device: int) -> tuple[Result]:
        if size > len(self.memory[device]):
            return (Result.CUDA_ERROR_INVALID_VALUE,)
        ctypes.memmove(to, of, size)
        return (Result.CUDA_SUCCESS,)

    # TensorRT: failure is None or False, and the logger says why

    def deserialize(self, logger: Any, plan: bytes) -> Any:
        if self.fails_at == "plan":
            logger.log("ERROR", "the plan is of another version")
            return None
        return SimpleNamespace(create_execution_context=lambda: self.context(logger))

    def context(self, logger: Any) -> Any:
        if self.fails_at == "context":
            logger.log("ERROR", "no room for activations")
            return None

        def set_address(name: str, pointer: int) -> bool:
            self.addresses[name] = pointer
            return name != self.fails_at

        def set_shape(name: str, shape: tuple[int, ...]) -> bool:
            self.shape = shape
            return tensorrt.LEAST <= shape[0] <= tensorrt.MOST

        def execute(stream: int) -> bool:
            if self.fails_at == "run":
                logger.log("ERROR", "an illegal address")
                return False
            self.calls.append(self.shape[0])
            tiles = self._view("tiles", np.uint8, self.shape)
            means = tiles.reshape(len(tiles), -1).mean(1, dtype=np.float32)
            self._view("map", np.float32, (len(tiles), 8, 8))[...] = means[:, None, None]
            self._view("score", np.float32, (len(tiles),))[...] = means
            return True

        return SimpleNamespace(
            set_tensor_address=set_address, set_input_shape=set_shape, execute_async_v3=execute
        )

    def _view(self, name: str, dtype: type, shape: tuple[int, ...]) -> Any:
        count = int(np.prod(shape))
        return np.frombuffer(self.memory[self.addresses[name]], dtype, count).reshape(shape)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    gpu = Gpu()
    library: Any = ModuleType("tensorrt")
    library.ILogger = type("ILogger", (), {"ERROR": "ERROR", "INTERNAL_ERROR": "INTERNAL_ERROR"})
    library.Runtime = lambda logger: SimpleNamespace(
        deserialize_cuda_engine=lambda plan: gpu.deserialize(logger, plan)
    )
    bindings: Any = ModuleType("cuda.bindings")
    bindings.driver = gpu
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    return gpu


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return write_tiny_recipe(tmp_path / "tiny")


@pytest.mark.parametrize(("count", "calls"), [(1, [1]), (32, [32]), (33, [32, 1]), (70, [32, 32, 6])])
def test_tiles_go_in_chunks_and_come_back_in_order(
    gpu: Gpu, recipe: Recipe, count: int, calls: list[int]
) -> None:
    runtime = tensorrt.open_runtime(recipe, b"", b"plan", "tf32", 0)
    tiles = np.random.default_rng(0).integers(0, 256, (count, SIDE_PX, SIDE_PX), dtype=np.uint8)
    maps, scores = np.full((count, 8, 8), np.nan, np.float32), np.full(count, np.nan, np.float32)
    runtime.run(tiles, maps, scores)
    assert gpu.calls == calls
    np.testing.assert_allclose(scores, tiles.mean((1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(maps, np.broadcast_to(scores[:, None, None], maps.shape))


def test_everything_is_given_back(gpu: Gpu, recipe: Recipe) -> None:
    runtime = tensorrt.open_runtime(recipe, b"", b"plan", "tf32", 0)
    assert (len(gpu.memory), gpu.streams, gpu.contexts) == (3, 1, 1)
    runtime.close()
    runtime.close()
    assert (len(gpu.memory), gpu.streams, gpu.contexts) == (0, 0, 0)


def _no_room(gpu: Gpu) -> None:
    gpu.room = 10


def _fails_at(where: str) -> Callable[[Gpu], None]:
    return lambda gpu: setattr(gpu, "fails_at", where)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_fails_at("plan"), "TensorRT refuses the plan: the plan is of another version"),
        (_fails_at("context"), "TensorRT gives no execution context: no room for activations"),
        (_fails_at("map"), "the plan has no tensor 'map'"),
        (_no_room, "CUDA_ERROR_OUT_OF_MEMORY"),
    ],
)
def test_a_plan_that_cannot_be_loaded(
    gpu: Gpu, recipe: Recipe, spoil: Callable[[Gpu], None], complaint: str
) -> None:
    spoil(gpu)
    with pytest.raises(RuntimeError, match=complaint):
        tensorrt.open_runtime(recipe, b"", b"plan", "tf32", 0)
    assert (len(gpu.memory), gpu.streams, gpu.contexts) == (0, 0, 0)


def test_a_run_that_fails(gpu: Gpu, recipe: Recipe) -> None:
    runtime = tensorrt.open_runtime(recipe, b"", b"plan", "tf32", 0)
    gpu.fails_at = "run"
    tiles = np.zeros((1, SIDE_PX, SIDE_PX), np.uint8)
    with pytest.raises(RuntimeError, match="TensorRT failed: an illegal address"):
        runtime.run(tiles, np.empty((1, 8, 8), np.float32), np.empty(1, np.float32))
