"""TensorRT's runtime half against stand-ins for both libraries (strict_gpu.py): no GPU is needed, none is proved.

What is tested is our half: order of calls, bounds, chunks, graphs, failures that come as values, memory given back.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from inspector.backends import gpu_cuda, gpu_pycuda, tensorrt
from inspector.backends.apart import PARTS, Answer, Apart
from inspector.backends.artifact import Recipe
from inspector.backends.tensorrt_engine import TensorRtEngine
from inspector.records import F32, U8
from tests.graphs import SIDE_PX, write_tiny_recipe
from tests.strict_gpu import ANSWERS, BAD, Driver, Engine, Part, pycuda_driver

CELLS = 8
PLANS = {part: part.encode() for part in PARTS}
THREE = Apart(PLANS, tuple(Answer(name, (1,), 4, part) for part, (name, _) in ANSWERS.items())).to_bytes()


class Machine:
    """A driver, and a TensorRT on it."""

    def __init__(self) -> None:
        self.driver = Driver()
        self.fails_at = ""
        self.engine: Any = None  # the last one
        self.engines: list[Any] = []
        self.code_allowed: Callable[[], bool]
        self.gone_at: list[int] = []
        self.side_px, self.cells, self.activation_bytes = SIDE_PX, CELLS, 4096

    def runtime(self, log: Any) -> Any:
        if self.fails_at == "runtime":
            log.log("WARNING", "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        runtime = SimpleNamespace(
            engine_host_code_allowed=False, deserialize_cuda_engine=lambda plan: self.deserialize(log, plan)
        )
        self.code_allowed = lambda: runtime.engine_host_code_allowed
        return runtime

    def deserialize(self, log: Any, plan: bytes) -> Any:
        if plan == b"with code" and not self.code_allowed():
            log.log("ERROR", "the plan holds host code")
            return None
        if self.fails_at == "plan":
            log.log("ERROR", "the plan is of another version")
            return None
        about = self.driver, log, self.fails_at, tensorrt.MOST, self.side_px, self.cells
        self.engine = Part(plan.decode(), *about) if plan in PLANS.values() else Engine(*about)
        self.engine.device_memory_size_v2 = self.activation_bytes
        self.engines.append(self.engine)
        return self.engine


WITH_GRAPHS = ("tensorrt", "cuda")
WITHOUT_GRAPHS = [("tensorrt_rtx", "cuda"), ("tensorrt", "pycuda")]


@pytest.fixture(params=[WITH_GRAPHS, ("tensorrt", "pycuda")], ids="-".join)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine()
    name, binding = request.param
    library: Any = ModuleType(name)
    severities = {name: name for name in ("WARNING", "ERROR", "INTERNAL_ERROR")}
    library.ILogger = type("ILogger", (), severities)
    library.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")
    library.Runtime = machine.runtime
    monkeypatch.setitem(sys.modules, "tensorrt", library if name == "tensorrt" else None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", library)
    bindings: Any = ModuleType(binding)
    if binding == "cuda":
        bindings.driver = machine.driver
        monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
        monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    else:
        bindings.driver = pycuda_driver(machine.driver)
        monkeypatch.setitem(sys.modules, "cuda", None)
        monkeypatch.setitem(sys.modules, "cuda.bindings", None)
        monkeypatch.setitem(sys.modules, "pycuda", bindings)
    yield machine
    assert machine.driver.faults == []


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return write_tiny_recipe(tmp_path / "tiny")


def opened(recipe: Recipe, plan: bytes = b"plan") -> Any:
    return tensorrt.open_runtime(recipe, b"", plan, "fp16", 0)


def tiles_of(count: int, seed: int = 0) -> U8:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE_PX, SIDE_PX), dtype=np.uint8)


def scored_as_they_are(runtime: Any, tiles: U8) -> F32:
    scores = np.full(len(tiles), np.nan, np.float32)
    runtime.run(tiles, np.empty((len(tiles), CELLS, CELLS), np.float32), scores)
    return scores


def scored(runtime: Any, tiles: U8) -> F32:
    maps = np.full((len(tiles), CELLS, CELLS), np.nan, np.float32)
    scores = np.full(len(tiles), np.nan, np.float32)
    runtime.run(tiles, maps, scores)
    np.testing.assert_array_equal(maps, np.broadcast_to(scores[:, None, None], maps.shape))
    return scores


@pytest.mark.parametrize(("count", "calls"), [(1, [1]), (32, [32]), (33, [32, 1]), (70, [32, 32, 6])])
def test_tiles_go_in_chunks_and_come_back_in_order(
    machine: Machine, recipe: Recipe, count: int, calls: list[int]
) -> None:
    runtime = opened(recipe)
    for seed in range(2):  # the second time no size is new, and nothing is proved any more
        tiles = tiles_of(count, seed)
        machine.engine.ran.clear()
        np.testing.assert_allclose(scored(runtime, tiles), tiles.mean((1, 2)), rtol=1e-6)
    assert machine.engine.ran == calls
    runtime.close()


@pytest.mark.parametrize("machine", [WITH_GRAPHS], indirect=True)
def test_a_batch_size_is_recorded_once_and_launched_from_then_on(machine: Machine, recipe: Recipe) -> None:
    runtime = opened(recipe)
    for seed in range(3):
        for count in (32, 6, 38):  # the last is one of each
            tiles = tiles_of(count, seed)
            np.testing.assert_allclose(scored(runtime, tiles), tiles.mean((1, 2)), rtol=1e-6)
    assert machine.driver.launches == 12  # instead of the first of each size the graph's proof
    assert [context.count for context in machine.engine.contexts] == [1, 32, 6]  # 1 to see that it opens
    assert machine.driver.left_over()["graphs"] == 2
    runtime.close()


@pytest.mark.parametrize("machine", [WITH_GRAPHS], indirect=True)
@pytest.mark.parametrize("skips", [1, 2, 4], ids=["no tiles in", "no work", "no scores out"])
def test_a_graph_that_scores_otherwise_is_not_used(
    machine: Machine, recipe: Recipe, skips: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording that leaves out a step finds what the step before it left there: the tiles before, scored right."""
    instantiate = machine.driver.cuGraphInstantiate

    def leave_out(hGraph: int, flags: int) -> tuple[Any, ...]:
        first, recorded = machine.driver.graphs[hGraph]
        del recorded[first][skips - 1]
        return instantiate(hGraph, flags)

    monkeypatch.setattr(machine.driver, "cuGraphInstantiate", leave_out)
    runtime = opened(recipe)
    for seed in range(3):
        tiles = tiles_of(4, seed)
        np.testing.assert_allclose(scored(runtime, tiles), tiles.mean((1, 2)), rtol=1e-6)
    assert machine.driver.launches == 1, "its proof"
    runtime.close()


@pytest.mark.parametrize("machine", [WITH_GRAPHS], indirect=True)
def test_a_graph_that_the_gpu_has_no_room_for_is_not_used(
    machine: Machine, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA takes a graph's memory at its first launch."""
    monkeypatch.setattr(machine.driver, "cuGraphLaunch", lambda graph, stream: (BAD, 0))
    runtime = opened(recipe)
    for seed in range(3):
        tiles = tiles_of(4, seed)
        np.testing.assert_allclose(scored(runtime, tiles), tiles.mean((1, 2)), rtol=1e-6)
    runtime.close()


def test_the_largest_batch_is_made_room_for_at_loading(machine: Machine, recipe: Recipe) -> None:
    runtime = opened(recipe)
    assert [context.count for context in machine.engine.contexts] == [1, tensorrt.MOST]
    scored(runtime, tiles_of(tensorrt.MOST))
    assert len(machine.engine.contexts) == 2
    runtime.close()


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ([("WARNING", "w"), ("ERROR", "e")], "e"),
        ([("ERROR", "e"), ("WARNING", "w")], "e"),
        ([("WARNING", "w"), ("VERBOSE", "v")], "w"),
        ([], "no reason given"),
    ],
)
def test_the_log_keeps_what_says_most(machine: Machine, said: list[tuple[str, str]], kept: str) -> None:
    log = tensorrt._log(sys.modules["tensorrt"] or sys.modules["tensorrt_rtx"])
    for severity, message in said:
        log.log(severity, message)
    assert log.last_error == kept


def test_memory_is_taken_once(machine: Machine, recipe: Recipe) -> None:
    runtime = opened(recipe)
    before = machine.driver.left_over()
    assert before == {"device": 4, "pinned": 3, "streams": 1, "contexts": 1}
    for count in (1, 7, 32, 70):
        scored(runtime, tiles_of(count))
    after = machine.driver.left_over()
    assert {name: after[name] for name in before} == before
    runtime.close()


def test_everything_is_given_back(machine: Machine, recipe: Recipe) -> None:
    runtime = opened(recipe)
    scored(runtime, tiles_of(40))
    runtime.close()
    runtime.close()
    assert machine.driver.left_over() == {}


def test_another_thread_may_run_what_one_has_opened(machine: Machine, recipe: Recipe) -> None:
    runtime = opened(recipe)
    seen: list[F32] = []
    thread = threading.Thread(target=lambda: seen.append(scored(runtime, tiles_of(5))))
    thread.start()
    thread.join()
    np.testing.assert_allclose(seen[0], tiles_of(5).mean((1, 2)), rtol=1e-6)
    runtime.close()


def test_what_cannot_be_recorded_is_queued_every_time(machine: Machine, recipe: Recipe) -> None:
    machine.fails_at = "recording"
    runtime = opened(recipe)
    for seed in range(3):
        tiles = tiles_of(4, seed)
        np.testing.assert_allclose(scored(runtime, tiles), tiles.mean((1, 2)), rtol=1e-6)
    assert machine.driver.launches == 0
    runtime.close()
    assert machine.driver.left_over() == {}


@pytest.mark.parametrize("machine", WITHOUT_GRAPHS, indirect=True, ids="-".join)
def test_without_graphs_work_is_queued_every_time(machine: Machine, recipe: Recipe) -> None:
    runtime = opened(recipe)
    for _ in range(2):
        scored(runtime, tiles_of(4))
    assert machine.driver.launches == 0
    assert machine.engine.ran == [4, 4]
    runtime.close()


def _no_room(machine: Machine) -> None:
    machine.driver.room = 10


def _fails_at(where: str) -> Callable[[Machine], None]:
    return lambda machine: setattr(machine, "fails_at", where)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (
            _fails_at("runtime"),
            r"TensorRT doesn't start: CUDA initialization failure with error: 35; .*nvidia-smi",
        ),
        (_fails_at("plan"), "TensorRT refuses the plan: the plan is of another version"),
        (
            _fails_at("profile"),
            r"the plan is for tiles \[\(1, .*not for any number from .* to \(32, 48, 48\)",
        ),
        (_fails_at("input"), r"the plan is for tiles \[\], not for any number from"),
        (_fails_at("set profile"), "TensorRT refuses the plan's only profile: the profile is in use"),
        (_fails_at("context"), "TensorRT gives no execution context: no room for activations"),
        (_fails_at("map"), "the plan has no tensor 'map'"),
        (_no_room, r"CUDA gives no memory \(CUDA_ERROR_OUT_OF_MEMORY\): the engine wants "),
    ],
)
def test_a_plan_that_cannot_be_loaded(
    machine: Machine, recipe: Recipe, spoil: Callable[[Machine], None], complaint: str
) -> None:
    spoil(machine)
    with pytest.raises(RuntimeError, match=complaint):
        opened(recipe)
    assert machine.driver.left_over() == {}


def test_code_in_a_plan_runs_only_if_the_manifest_says_portable(machine: Machine, recipe: Recipe) -> None:
    with pytest.raises(RuntimeError, match="TensorRT refuses the plan: the plan holds host code"):
        tensorrt.open_runtime(recipe, b"", b"with code", "fp16", 0)
    tensorrt.open_runtime(recipe, b"", b"with code", "fp16", 0, portable=True).close()
    assert machine.driver.left_over() == {}


@pytest.mark.parametrize("room", [10, 20 * 2**20], ids=["nothing fits", "activations don't fit"])
def test_too_little_memory_is_told_with_what_is_wanted(machine: Machine, recipe: Recipe, room: int) -> None:
    """Tiles of 320 px, maps of 64x64: 32 * (320**2 + 4 * 64**2 + 4) bytes are 3.6 MB."""
    recipe = msgspec.structs.replace(recipe, tile_px=256, margin_px=32)
    machine.side_px, machine.cells, machine.activation_bytes = recipe.side_px, recipe.cells, 70 * 2**20
    plan = bytes(5 * 2**20)
    machine.driver.room = room
    with pytest.raises(RuntimeError) as caught:
        tensorrt.open_runtime(recipe, b"", plan, "fp16", 0)
    assert str(caught.value) == (
        "CUDA gives no memory (CUDA_ERROR_OUT_OF_MEMORY): the engine wants 73.6 MB on the GPU, beside the plan of "
        "5.0 MB, and 3.6 MB of pinned memory for batches of 32 tiles; end what else uses the GPU (nvidia-smi shows "
        "it), or take a preset of smaller networks"
    )
    assert machine.driver.left_over() == {}
    machine.driver.room = 2**30
    runtime = tensorrt.open_runtime(recipe, b"", plan, "fp16", 0)
    taken = [
        sum(map(len, held.values())) for held in (machine.driver.device_memory, machine.driver.pinned_memory)
    ]
    assert [f"{size / 2**20:.1f}" for size in taken] == ["73.6", "3.6"]
    runtime.close()


def test_a_run_that_fails(machine: Machine, recipe: Recipe) -> None:
    machine.fails_at = "run"
    runtime = opened(recipe)
    with pytest.raises(RuntimeError, match="TensorRT failed: an illegal address"):
        scored(runtime, tiles_of(1))
    runtime.close()
    assert machine.driver.left_over() == {}


@pytest.mark.parametrize("machine", [("tensorrt", "pycuda")], indirect=True, ids="-".join)
def test_a_gpu_that_has_failed_leaves_no_context_behind(
    machine: Machine, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pycuda ends the process by SIGABRT where a context is still on its stack at the end."""
    runtime = opened(recipe)
    scored(runtime, tiles_of(1))
    with monkeypatch.context() as broken:
        broken.setattr(machine.driver, "cuStreamSynchronize", lambda stream: (BAD, 0))
        runtime.close()
    assert machine.driver.current == set()
    assert machine.driver.left_over() == {}


class Handle:
    """TensorRT's object as Python holds it: gone when nobody refers to it, whatever the stand-in keeps."""

    def __init__(self, machine: Machine, behind: Any) -> None:
        self.machine, self.behind = machine, behind

    def __getattr__(self, name: str) -> Any:
        if name != "create_execution_context":
            return getattr(self.behind, name)
        return lambda strategy: Handle(self.machine, self.behind.create_execution_context(strategy))

    def __del__(self) -> None:
        self.machine.gone_at.append(self.machine.driver.left_over().get("contexts", 0))


@pytest.mark.parametrize("fails_at", ["profile", "set profile", "map", "run"])
def test_what_is_tensorrts_goes_before_the_gpu_is_let_go_of(
    machine: Machine, recipe: Recipe, fails_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line keeps the error of what failed, with its traceback and all that lies in that, until it ends."""
    machine.fails_at = fails_at
    deserialize = machine.deserialize
    monkeypatch.setattr(machine, "deserialize", lambda log, plan: Handle(machine, deserialize(log, plan)))

    def open_and_run() -> None:
        with contextlib.closing(opened(recipe)) as runtime:
            scored(runtime, tiles_of(1))

    with pytest.raises(RuntimeError) as kept:
        open_and_run()
    assert kept.value.__traceback__ is not None
    assert machine.gone_at, "an engine at least"
    assert set(machine.gone_at) == {1}, "contexts of the GPU that were held then"


# Three engines in one plan: teachers and students side by side, then what judges by both.


@pytest.mark.parametrize(("count", "calls"), [(1, [1]), (33, [32, 1]), (70, [32, 32, 6])])
def test_three_engines_score_like_one(machine: Machine, recipe: Recipe, count: int, calls: list[int]) -> None:
    runtime = opened(recipe, THREE)
    scored(runtime, tiles_of(count))
    for engine in machine.engines:
        engine.ran.clear()
    for seed in range(3):
        tiles = tiles_of(count, seed)
        np.testing.assert_allclose(scored(runtime, tiles), tiles.mean((1, 2)), rtol=1e-6)
    assert [engine.part for engine in machine.engines] == list(PARTS)
    assert [engine.ran for engine in machine.engines] == [3 * calls] * 3
    runtime.close()
    assert machine.driver.left_over() == {}


@pytest.mark.parametrize("machine", [WITH_GRAPHS], indirect=True)
def test_three_engines_are_one_launch(machine: Machine, recipe: Recipe) -> None:
    runtime = opened(recipe, THREE)
    for _ in range(4):
        scored(runtime, tiles_of(6))
    assert machine.driver.launches == 4  # one is the graph's proof
    runtime.close()


def test_three_engines_take_memory_for_what_lies_between_them(machine: Machine, recipe: Recipe) -> None:
    runtime = opened(recipe, THREE)
    held = machine.driver.left_over()
    assert (held["device"], held["pinned"]) == (8, 3)  # tiles, map, score, two answers, activations of each
    assert len(set(map(id, machine.engines))) == 3
    memory = {id(context.memory): context.memory for engine in machine.engines for context in engine.contexts}
    assert len(memory) == 3, "two that run at once may not share it"
    scored(runtime, tiles_of(7))
    runtime.close()


@pytest.mark.parametrize("way", ["there", "back"])
def test_streams_that_do_not_wait_for_each_other_are_found_out(
    machine: Machine, recipe: Recipe, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in's streams race at their worst: students before the tiles are there, judging before students."""
    for gpu in (gpu_cuda.CudaGpu, gpu_pycuda.PyCudaGpu):
        follow = gpu._follow

        def follow_one_way(self: Any, stream: Any, other: Any, follow: Any = follow) -> None:
            if (stream is self._second) is (way == "back"):
                follow(self, stream, other)

        monkeypatch.setattr(gpu, "_follow", follow_one_way)
    runtime = opened(recipe, THREE)
    scores = np.concatenate([scored_as_they_are(runtime, tiles_of(5, seed)) for seed in range(2)])
    rights = np.concatenate([tiles_of(5, seed).mean((1, 2)) for seed in range(2)])
    assert not np.allclose(scores, rights, rtol=1e-3)
    machine.driver.faults.clear()  # of the recording, where there is one
    runtime.close()


def test_a_run_of_three_that_fails(machine: Machine, recipe: Recipe) -> None:
    machine.fails_at = "run"
    runtime = opened(recipe, THREE)
    with pytest.raises(RuntimeError, match="TensorRT failed: an illegal address"):
        scored(runtime, tiles_of(1))
    runtime.close()
    assert machine.driver.left_over() == {}


def test_engines_go_when_their_work_is_done_even_where_a_run_failed_halfway(
    machine: Machine, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teachers and students are queued by then, in two streams, and nobody has waited for either."""
    runtime = opened(recipe, THREE)
    machine.engines[-1].fails_at = "run"  # judging alone
    with pytest.raises(RuntimeError, match="TensorRT failed: an illegal address"):
        scored(runtime, tiles_of(1))
    assert any(machine.driver.streams.values())
    close, was_queued = TensorRtEngine.close, []

    def watched(self: TensorRtEngine) -> None:
        was_queued.append(any(machine.driver.streams.values()))
        close(self)

    monkeypatch.setattr(TensorRtEngine, "close", watched)
    runtime.close()
    assert was_queued == [False] * 3
    assert machine.driver.left_over() == {}


def test_a_file_of_three_that_is_none(machine: Machine, recipe: Recipe) -> None:
    held = BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        file.writestr("teachers", b"plan")
    with pytest.raises(RuntimeError, match="this is no plan of three engines"):
        opened(recipe, held.getvalue())
    assert machine.driver.left_over() == {}


# The stand-in itself: whatever it is to catch, it catches.


def test_the_stand_in_catches_what_it_is_there_for() -> None:
    driver = Driver()
    driver.cuDevicePrimaryCtxRetain(0)
    assert driver.cuMemAlloc(8)[0].value != 0  # not this thread's yet
    driver.cuCtxSetCurrent("primary")
    (_, device), (_, pinned), (_, stream) = (
        driver.cuMemAlloc(8),
        driver.cuMemAllocHost(8),
        driver.cuStreamCreate(0),
    )
    own = np.zeros(8, np.uint8)
    driver.faults.clear()
    for size, host in ((9, pinned), (8, own.ctypes.data)):
        assert driver.cuMemcpyHtoDAsync(device, host, size, stream)[0].value != 0
        assert driver.cuMemcpyDtoHAsync(host, device, size, stream)[0].value != 0
    driver.cuMemFree(device)
    driver.cuMemFree(device)
    assert len(driver.faults) == 5
    assert driver.left_over() == {"pinned": 1, "streams": 1, "contexts": 1}


def test_the_stand_in_catches_streams_that_are_led_astray() -> None:
    driver = Driver()
    driver.cuDevicePrimaryCtxRetain(0)
    driver.cuCtxSetCurrent("primary")
    (_, first), (_, second), (_, event) = (
        driver.cuStreamCreate(0),
        driver.cuStreamCreate(0),
        driver.cuEventCreate(2),
    )
    driver.cuStreamWaitEvent(second, event, 0)
    driver.cuEventRecord(event + 1, first)
    driver.cuStreamBeginCapture(first, "thread local")
    driver.enqueue(second, lambda: None)  # not in the recording yet
    driver.cuEventRecord(event, first)
    driver.cuStreamWaitEvent(second, event, 0)
    driver.enqueue(second, lambda: None)
    driver.cuStreamEndCapture(first)
    assert driver.faults == [
        "a wait for an event that was never recorded",
        "an event that isn't there",
        "work in a stream beside the recording",
        "a stream that a recording forked to isn't joined",
    ]


class Bench:
    """A context of the stand-in, and all that it wants to be set."""

    def __init__(self) -> None:
        self.driver = Driver()
        self.driver.cuDevicePrimaryCtxRetain(0)
        self.driver.cuCtxSetCurrent("primary")
        self.stream = self.driver.cuStreamCreate(0)[1]
        log = SimpleNamespace(log=lambda severity, message: None)
        self.engine = Engine(self.driver, log, "", tensorrt.MOST, SIDE_PX, CELLS)
        self.memory = self.buffer(self.engine.device_memory_size_v2)
        self.buffers = {name: self.buffer(2 * size) for name, size in self.engine.sizes.items()}
        self.context: Any = self.engine.create_execution_context("user managed")

    def buffer(self, size: int) -> int:
        return int(self.driver.cuMemAlloc(size)[1])

    def set(self, *, but: str = "", count: int = 2) -> None:
        if but != "profile":
            assert self.context.set_optimization_profile_async(0, self.stream)
        if but != "memory":
            self.context.set_device_memory(self.memory, self.engine.device_memory_size_v2)
        for name in self.buffers.keys() - {but}:
            assert self.context.set_tensor_address(name, self.buffers[name])
        if but != "shape":
            fits = self.context.set_input_shape("tiles", (count, SIDE_PX, SIDE_PX))
            assert fits is (but != "profile")

    def runs(self) -> bool:
        return bool(self.context.execute_async_v3(self.stream))


def test_the_stand_in_context_runs_when_all_is_set() -> None:
    bench = Bench()
    bench.set()
    assert bench.runs()
    assert bench.driver.faults == []


@pytest.mark.parametrize("unset", ["tiles", "map", "score", "profile", "memory", "shape"])
def test_the_stand_in_context_refuses_to_run_before_all_is_set(unset: str) -> None:
    bench = Bench()
    bench.set(but=unset)
    assert not bench.runs()
    assert bench.driver.faults[-1].startswith("a run before all is set: ")
    assert unset in bench.driver.faults[-1]
    bench.driver.cuStreamSynchronize(bench.stream)
    assert bench.engine.ran == []


def test_the_stand_in_context_refuses_another_stream_and_tensor_and_count() -> None:
    bench = Bench()
    bench.set()
    assert not bench.context.execute_async_v3(bench.stream + 1)
    assert bench.driver.faults == ["a run before all is set: stream"]
    assert not bench.context.set_tensor_address("tyles", bench.memory)
    for count in (0, tensorrt.MOST + 1):
        assert not bench.context.set_input_shape("tiles", (count, SIDE_PX, SIDE_PX))
        assert not bench.runs()


def _memory_first(bench: Bench) -> None:
    bench.context.set_device_memory(bench.memory, bench.engine.device_memory_size_v2)


def _too_little_memory(bench: Bench) -> None:
    bench.context.set_optimization_profile_async(0, bench.stream)
    bench.context.set_device_memory(bench.memory, bench.engine.device_memory_size_v2 - 1)


def _memory_of_nobody(bench: Bench) -> None:
    bench.context.set_optimization_profile_async(0, bench.stream)
    bench.driver.cuMemFree(bench.memory)
    bench.context.set_device_memory(bench.memory, bench.engine.device_memory_size_v2)


def _more_tiles_than_buffers_hold(bench: Bench) -> None:
    bench.set(count=3)
    bench.runs()


def _recorded_unseen(bench: Bench) -> None:
    bench.set()
    bench.driver.cuStreamBeginCapture(bench.stream, "thread local")
    bench.runs()


def _changed_after_recording(bench: Bench) -> None:
    bench.set()
    bench.runs()
    bench.driver.cuStreamSynchronize(bench.stream)
    bench.driver.cuStreamBeginCapture(bench.stream, "thread local")
    bench.runs()
    assert bench.driver.faults == []
    bench.context.set_input_shape("tiles", (1, SIDE_PX, SIDE_PX))


def _own_memory(bench: Bench) -> None:
    bench.engine.create_execution_context("static")


@pytest.mark.parametrize(
    ("misuse", "fault"),
    [
        (_memory_first, "memory before the profile, or too little"),
        (_too_little_memory, "memory before the profile, or too little"),
        (_memory_of_nobody, "a context's memory that isn't there"),
        (_more_tiles_than_buffers_hold, "tiles has too little memory"),
        (_recorded_unseen, "recording before the shape was run once"),
        (_changed_after_recording, "shape changes after a graph was recorded"),
        (_own_memory, "a context with memory of its own"),
    ],
)
def test_the_stand_in_context_catches(misuse: Callable[[Bench], None], fault: str) -> None:
    bench = Bench()
    misuse(bench)
    assert fault in bench.driver.faults


def calls_of_the_driver() -> set[str]:
    tree = ast.parse(inspect.getsource(gpu_cuda))
    return {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("cu")
    }


def test_the_driver_is_called_as_cuda_bindings_has_it() -> None:
    """Names and numbers of arguments of the real binding, which imports without a driver."""
    real = pytest.importorskip("cuda.bindings.driver")
    stand_in = Driver()
    calls = calls_of_the_driver()
    assert len(calls) > 20
    for name in calls:
        arguments = list(inspect.signature(getattr(real, name)).parameters)
        if hasattr(stand_in, name):
            assert list(inspect.signature(getattr(stand_in, name)).parameters) == arguments, name
    assert hasattr(real.CUstreamCaptureMode, "CU_STREAM_CAPTURE_MODE_THREAD_LOCAL")
    assert real.CUevent_flags.CU_EVENT_DISABLE_TIMING.value == 2
    for part in ("MAJOR", "MINOR"):
        assert hasattr(real.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{part}")


PYCUDA = dict(
    line.split("\t") for line in (Path(__file__).parent / "pycuda_names.tsv").read_text().splitlines()[1:]
)
# What gpu_pycuda calls an object, and whose names it has.
PYCUDAS = {
    "cuda": "",
    "_cuda": "",
    "device": "Device.",
    "Device": "Device.",  # Device(0).retain_primary_context
    "_stream": "Stream.",
    "_second": "Stream.",
    "stream": "Stream.",
    "_event": "Event.",
    "event_flags": "event_flags.",
    "_context": "Context.",
    "memory": "DeviceAllocation.",
}


def uses_of_pycuda() -> dict[str, set[int | None]]:
    """Each name of pycuda.driver in gpu_pycuda, with how many arguments it is called; None: it isn't called."""
    tree = ast.parse(inspect.getsource(gpu_pycuda))
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    used: dict[str, set[int | None]] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value.func if isinstance(node.value, ast.Call) else node.value
        word = (
            owner.id
            if isinstance(owner, ast.Name)
            else owner.attr
            if isinstance(owner, ast.Attribute)
            else ""
        )
        if word in PYCUDAS:
            call = called.get(id(node))
            used.setdefault(PYCUDAS[word] + node.attr, set()).add(None if call is None else len(call.args))
    return used


def arguments_of_pycuda(driver: Any, name: str) -> str:
    """ "(shape, dtype, order=)" by the binding's own word, self left out; "there" for what isn't a function."""
    owner, member = driver, name
    while "." in member:
        first, _, member = member.partition(".")
        owner = getattr(owner, first)
    there = getattr(owner, member)
    function, member = (there.__init__, "__init__") if isinstance(there, type) else (there, member)
    said = re.search(rf"^{member}\((.*)\) ->", function.__doc__ or "", re.M)
    if said is None:
        return "there"
    arguments = re.findall(r"\(\w+\)(\w+)(=)?", said[1])
    bound = function is not there or "." in name
    return f"({', '.join(argument + default for argument, default in arguments[bound:])})"


def test_pycuda_is_called_as_it_is() -> None:
    """Names and numbers of arguments of pycuda 2026.1, which was built against CUDA's headers and an empty libcuda."""
    uses = uses_of_pycuda()
    assert uses.keys() == PYCUDA.keys()
    for name, counts in uses.items():
        arguments = PYCUDA[name].strip("()").split(", ") if PYCUDA[name] not in ("there", "()") else []
        needed = [argument for argument in arguments if not argument.endswith("=")]
        for count in counts - {None}:
            assert PYCUDA[name] != "there", name
            assert len(needed) <= count <= len(arguments), (name, count)


def test_the_table_is_what_pycuda_says() -> None:
    driver = pytest.importorskip("pycuda.driver", exc_type=ImportError)
    assert {name: arguments_of_pycuda(driver, name) for name in PYCUDA} == PYCUDA
