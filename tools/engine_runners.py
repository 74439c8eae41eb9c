"""One graph on one runtime, at one precision, batch and number of threads: what `bench_engine.py` takes the time of."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import onnxruntime
import openvino
import torch
from engine_graphs import Built, Contender

from inspector.records import U8

LEAST_S = 0.25  # of a measurement: as many calls as that takes
OPENVINO = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # what is not quantised in an int8 graph stays fp32


def precisions() -> tuple[str, ...]:
    """What OpenVINO has instructions for here, the reference's first."""
    can = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return (*(["bf16"] if "BF16" in can else []), "fp32", "int8")


def runners(contender: Contender, built: Built, batch: int, threads: int) -> dict[str, Call]:
    """Every way to run a contender; each call scores a batch as often as it is told to."""
    tiles = contender.tiles(batch)
    made: dict[str, Call] = {f"torch fp32, batch {batch}": _torch(built, tiles, threads)}
    for precision, graph in (("fp32", built.onnx), ("int8", built.quantised)):
        made[f"ONNX Runtime {precision}, batch {batch}"] = _onnxruntime(graph, tiles, threads)
    for precision in precisions():
        made[f"OpenVINO {precision}, batch {batch}"] = _openvino(
            graph_of(built, precision), precision, tiles, threads
        )
    return made


def graph_of(built: Built, precision: str) -> bytes:
    """A contender's graph at a precision, as ONNX."""
    return built.quantised if precision == "int8" else built.onnx


Call = Callable[[int], None]


def rate(call: Call, tiles_a_call: int) -> float:
    """Tiles a second."""
    calls, seconds = 1, 0.0
    while True:
        began = time.perf_counter()
        call(calls)
        seconds = time.perf_counter() - began
        if seconds >= LEAST_S:
            return calls * tiles_a_call / seconds
        calls = max(calls + 1, int(1.2 * calls * LEAST_S / max(seconds, 1e-4)))


def _torch(built: Built, tiles: np.ndarray, threads: int) -> Call:
    pixels, module = torch.from_numpy(tiles), built.module

    def call(times: int) -> None:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            for _ in range(times):
                module(pixels)

    return call


def _onnxruntime(graph: bytes, tiles: np.ndarray, threads: int) -> Call:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def call(times: int) -> None:
        for _ in range(times):
            session.run(None, {"tiles": tiles})

    return call


def _openvino(graph: bytes, precision: str, tiles: np.ndarray, threads: int) -> Call:
    core = openvino.Core()
    model = core.read_model(graph, b"")
    model.reshape({"tiles": list(tiles.shape)})
    settings = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": OPENVINO[precision],
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = core.compile_model(model, "CPU", settings)
    return side_by_side(compiled, tiles)


def side_by_side(compiled: openvino.CompiledModel, pixels: U8) -> Call:
    """Run a graph as a line's engine does: as many requests at once as the compiled graph asks for."""
    queue = openvino.AsyncInferQueue(compiled, compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + 1)

    def call(times: int) -> None:
        for _ in range(times):
            queue.start_async({0: pixels}, share_inputs=True)
        queue.wait_all()

    return call
