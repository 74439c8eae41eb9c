"""OpenVINO on the CPU: the default.

Each tile is a request of its own (static batch 1), and several requests run side by side, one a core.
Against batches of 4 that share both cores, 2 cores gave 1.25 times the tiles/s when otherwise idle and 1.5
to 1.9 times when busy; and a tile's score can't depend on its neighbours. A plan is OpenVINO's own export of
the compiled graph; loading one takes 0.05 to 0.2 s where compiling takes 0.2 to 0.6 s.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import openvino as ov

from inspector.backends.artifact import Recipe
from inspector.backends.runtime import Means, PlanFacts
from inspector.backends.work import Work
from inspector.errors import ArtefactError
from inspector.records import F32, U8

DEVICE = "CPU"
# Of precisions, ours -> OpenVINO's. What is int8 stands in the graph; what is not stays fp32.
NAMES = {"bf16": "bf16", "fp32": "f32", "int8": "f32"}
SPARE_REQUESTS = 1  # one waits ready while every stream works
PRODUCTS = ("Convolution", "GroupConvolution", "MatMul")
# Of these no runtime makes memory traffic of its own: constants are read by who uses them, the rest are views.
UNMOVED = (
    "Parameter",
    "Constant",
    "Result",
    "Convert",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "ShapeOf",
    "Broadcast",
)


def library_version() -> str:
    """Version and build of OpenVINO, e.g. 2026.4.1-22982."""
    return "-".join(str(ov.get_version()).split("-")[:2])


def device_name() -> str:
    """The CPU's name and the number formats that its instructions support."""
    core = ov.Core()
    formats = [name for name in _capabilities(core) if name in ("BF16", "FP16", "INT8")]
    return f"{core.get_property(DEVICE, 'FULL_DEVICE_NAME')} ({' '.join(sorted(formats)) or 'FP32 only'})"


def precisions() -> tuple[str, ...]:
    """bf16 where the CPU has instructions for it, and fp32."""
    return ("bf16", "fp32") if "BF16" in _capabilities(ov.Core()) else ("fp32",)


def build_plan(recipe: Recipe, graph: bytes, precision: str, means: Means) -> bytes:
    """Compile the graph for one tile at a time and export it."""
    core = ov.Core()
    try:
        model = core.read_model(graph, b"")
        model.reshape({"tiles": [1, *recipe.tile_shape]})
        compiled = core.compile_model(model, DEVICE, _settings(precision, 0))
        exported = io.BytesIO()
        compiled.export_model(exported)
    except RuntimeError as error:
        raise ArtefactError(
            f"recipe {recipe.name}: OpenVINO can't compile its graph ({_first_line(error)})"
        ) from None
    return exported.getvalue()


def plan_facts() -> PlanFacts:
    """None: a CPU has no driver, and takes any number of tiles."""
    return PlanFacts()


def count_work(name: str, graph: bytes, tile_shape: Sequence[int]) -> Work:
    """Count multiply-adds, and values moved (weights, inputs, outputs), of the graph of a recipe ``name`` for one tile.

    Raises ArtefactError when OpenVINO can't read the graph.
    """
    try:
        model = ov.Core().read_model(graph, b"")
        model.reshape({"tiles": [1, *tile_shape]})
    except RuntimeError as error:
        raise ArtefactError(f"recipe {name}: OpenVINO can't read its graph ({_first_line(error)})") from None
    operations = [one for one in model.get_ordered_ops() if one.get_type_name() not in UNMOVED]
    products = [one for one in operations if one.get_type_name() in PRODUCTS]
    return Work(
        flop=sum(map(_flop, products)),
        values_fused=sum(map(_values_moved, products)),
        values_unfused=sum(map(_values_moved, operations)),
    )


def open_runtime(
    recipe: Recipe, graph: bytes, plan: bytes, precision: str, threads: int, portable: bool = False
) -> OpenVinoRuntime:
    """Load an exported plan. Raises RuntimeError when OpenVINO refuses it."""
    try:
        return OpenVinoRuntime(ov.Core().import_model(plan, DEVICE, _settings(precision, threads)))
    except RuntimeError as error:
        raise RuntimeError(_first_line(error)) from None


class OpenVinoRuntime:
    """A queue of requests over one compiled graph; each takes one tile."""

    def __init__(self, compiled: Any) -> None:
        streams = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._queue: Any = ov.AsyncInferQueue(compiled, streams + SPARE_REQUESTS)

    def run(self, tiles: U8, maps: F32, scores: F32) -> None:
        """Score each tile by itself; results are copied out as requests end."""

        def keep(request: Any, index: int) -> None:
            maps[index] = request.get_tensor("map").data[0]
            scores[index] = request.get_tensor("score").data[0]

        self._queue.set_callback(keep)
        try:
            for index in range(len(tiles)):
                self._queue.start_async({0: tiles[index : index + 1]}, index, share_inputs=True)
        finally:
            self._queue.wait_all()  # requests read the caller's tiles: none may outlive this call

    def close(self) -> None:
        """Let go of the requests and the compiled graph."""
        self._queue = None


def _settings(precision: str, threads: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": NAMES[precision],
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    return settings


def _flop(product: Any) -> int:
    """Two for every multiply-add, those with padded zeros included."""
    output: list[int] = list(product.output(0).get_shape())
    if product.get_type_name() == "MatMul":
        left: list[int] = list(product.input(0).get_shape())
        inner = left[-2] if product.get_attributes()["transpose_a"] and len(left) > 1 else left[-1]
        return 2 * math.prod(output) * inner
    # Every weight is used once for each position of the output, grouped or not: [N, channels, rows, columns].
    positions = output[0] * math.prod(output[2:])
    weights: list[int] = list(product.input(1).get_shape())
    return 2 * math.prod(weights) * positions


def _values_moved(operation: Any) -> int:
    ends = [*operation.inputs(), *operation.outputs()]
    return sum(math.prod(end.get_shape()) for end in ends)


def _capabilities(core: Any) -> list[str]:
    return list(core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))


def _first_line(error: Exception) -> str:
    """OpenVINO's reason without the list of its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(("Exception from", "Check '"))), lines[0])
