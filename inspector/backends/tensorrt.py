"""TensorRT on an NVIDIA GPU: builder and runtime for TensorRT 10.3 to 11, or TensorRT for RTX.

Not run on hardware: the builder was tried with TensorRT for RTX, which builds without a GPU; the runtime
half was held against the libraries' signatures only. Precision lives in the graph's types (strongly typed
networks): fp16 where ``typed`` put it, else fp32, which may run in TF32 where that is allowed. A graph of int8
goes in as it is: int8 where Q/DQ stand, plain fp32 around them.

TensorRT reports failure as values; here each becomes one sentence. ``tensorrt_runtime`` runs what is built here,
in memory of ``gpu``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from inspector.backends.apart import INPUT, Answer, Apart
from inspector.backends.artifact import Recipe, write_atomically
from inspector.backends.gpu import INSTALL, START, driver_version, gpu_name
from inspector.backends.runtime import Means, PlanFacts, Unsuited
from inspector.backends.tensorrt_runtime import TensorRtRuntime
from inspector.errors import ArtefactError

LEAST, BEST, MOST = 1, 16, 32  # tiles at a time: what the plan allows and is tuned for


def library_version() -> str:
    """Name and version of the TensorRT that imports."""
    trt = _tensorrt()
    return f"{trt.__name__} {trt.__version__}"


def device_name() -> str:
    """The first GPU's name, its compute capability, and the CUDA version that its driver speaks."""
    return gpu_name()


def precisions() -> tuple[str, ...]:
    """Networks in fp16 and all else in plain fp32; all in TF32; all in plain fp32."""
    return ("fp16", "tf32", "fp32")


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All that a plan is built from; builder, parser and network live as long as one of them is used."""

    builder: Any
    network: Any
    parser: Any
    config: Any
    profile: Any
    log: Any


def blueprint(
    recipe: Recipe, graph: bytes, precision: str, means: Means, answers: Sequence[Answer] = ()
) -> Blueprint:
    """Parse a graph for any number of tiles from LEAST to MOST.

    Args:
        recipe: whose graph it is, or part of it.
        graph: ONNX, with the types that ``precision`` asks for.
        precision: of ``precisions``, or "int8".
        means: what the build may use.
        answers: what the graph takes besides tiles, where it is the judging part of one that is cut apart.

    Raises ArtefactError with the parser's own words.
    """
    trt = _tensorrt()
    log = _log(trt)
    try:
        builder = trt.Builder(log)
        network = builder.create_network(_network_flags(trt))
        parser = trt.OnnxParser(network, log)
    except TypeError:  # the binding's word for an object that the library doesn't make
        raise ArtefactError(f"TensorRT doesn't start ({log.last_error}); {START}") from None
    if not parser.parse(graph):
        reasons = "; ".join(_reason(parser.get_error(index)) for index in range(parser.num_errors))
        raise ArtefactError(f"recipe {recipe.name}: TensorRT can't parse its graph ({reasons[:300]})")
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for name, shape in ((INPUT, recipe.tile_shape), *((one.name, one.shape) for one in answers)):
        profile.set_shape(name, *((count, *shape) for count in (LEAST, BEST, MOST)))
    if config.add_optimization_profile(profile) < 0:
        raise ArtefactError(
            f"recipe {recipe.name}: TensorRT refuses {LEAST} to {MOST} tiles of {recipe.tile_shape} "
            f"({log.last_error}); train again with other tiles"
        )
    if precision != "tf32":
        config.clear_flag(trt.BuilderFlag.TF32)
    if hasattr(trt.BuilderFlag, "STRICT_NANS"):
        config.set_flag(trt.BuilderFlag.STRICT_NANS)  # a NaN must reach judging
    if means.portable:
        _make_portable(trt, config)
    if means.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, means.workspace_mb * 2**20)
    return Blueprint(builder, network, parser, config, profile, log)


def build_plan(recipe: Recipe, graph: bytes, precision: str, means: Means) -> bytes:
    """Build a plan for any number of tiles from LEAST to MOST; of three engines where ``means`` wants them apart.

    Raises Unsuited when the graph can't be had or built in that precision, or can't be cut, ArtefactError otherwise.
    """
    graph = typed_for(recipe, graph, precision)
    if not means.apart:
        return _built(recipe, blueprint(recipe, graph, precision, means), means)
    cut = _cut(recipe, graph)
    plans = {
        part: _built(recipe, blueprint(recipe, one, precision, means, cut.inputs_of(part)), means)
        for part, one in cut.parts.items()
    }
    return Apart(plans, cut.answers).to_bytes()


def _built(recipe: Recipe, made: Blueprint, means: Means) -> bytes:
    # TensorRT for RTX times nothing when it builds; its calls are there, do nothing and warn.
    cache = means.timing_cache if _tensorrt().__name__ == "tensorrt" else None
    if cache is not None:
        _recall_timings(made.config, cache)
    plan = made.builder.build_serialized_network(made.network, made.config)
    if plan is None:
        raise Unsuited(  # of one precision: kernels and the memory that they take are others in the next
            f"recipe {recipe.name}: TensorRT can't build its graph ({made.log.last_error}); another --precision "
            "may do, or a GPU with more memory to spare"
        )
    if cache is not None:
        timings = made.config.get_timing_cache()
        with suppress(ArtefactError):  # it only makes the next build quicker
            write_atomically(cache, bytes(memoryview(timings.serialize())))
    return bytes(memoryview(plan))


def plan_facts() -> PlanFacts:
    """The driver's version, and how many tiles a plan takes."""
    return PlanFacts(driver_version(), (LEAST, BEST, MOST))


def open_runtime(
    recipe: Recipe, graph: bytes, plan: bytes, precision: str, threads: int, portable: bool = False
) -> TensorRtRuntime:
    """Load a plan onto the GPU. Raises RuntimeError when TensorRT or CUDA refuse."""
    trt = _tensorrt()
    return TensorRtRuntime(trt, _log(trt), recipe, plan, MOST, portable)


def _tensorrt() -> Any:
    try:
        import tensorrt as trt
    except (ImportError, OSError):  # OSError: the bindings are there, NVIDIA's libraries aren't
        try:
            import tensorrt_rtx as trt
        except (ImportError, OSError):
            raise ArtefactError(f"neither tensorrt nor tensorrt_rtx can be imported; {INSTALL}") from None
    return trt


def _make_portable(trt: Any, config: Any) -> None:
    """For other GPUs from Ampere on and later versions of TensorRT: see ``portable``, which loading is held to."""
    if trt.__name__ != "tensorrt":
        raise ArtefactError(
            "TensorRT for RTX has no plans that another of its versions loads; leave out --portable"
        )
    config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS


def _recall_timings(config: Any, file: Path) -> None:
    """What was timed on this GPU needn't be again. TensorRT refuses a cache of another; then it begins a new one."""
    try:
        known = file.read_bytes()
    except OSError:  # none yet, or it can't be read: what it would spare is timed again
        known = b""
    for serialized in (known, b""):
        cache = config.create_timing_cache(serialized)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return


def typed_for(recipe: Recipe, graph: bytes, precision: str) -> bytes:
    """Give a recipe's graph the types that ``precision`` asks for. Raises Unsuited where it can't have them."""
    if precision != "fp16":
        return graph
    with _onnx_for("fp16"):
        from inspector.backends.typed import in_fp16
    try:
        return in_fp16(graph)
    except Unsuited as error:
        raise Unsuited(f"recipe {recipe.name}: no fp16 ({error}); build with --precision tf32") from None


def _cut(recipe: Recipe, graph: bytes) -> Apart:
    with _onnx_for("--apart"):
        from inspector.backends.cutting import cut_apart
    try:
        return cut_apart(graph)
    except Unsuited as error:
        raise Unsuited(
            f"recipe {recipe.name}: not in three engines ({error}); build without --apart"
        ) from None


@contextmanager
def _onnx_for(what: str) -> Iterator[None]:
    """The package is no part of what a line needs to run. Raises ArtefactError where it is missing."""
    try:
        yield
    except ImportError as error:
        raise ArtefactError(f"{what} needs the package {error.name!r}; {INSTALL}") from None


def _reason(objection: Any) -> str:
    """What the parser objects to; its own text alone can be as short as "false"."""
    said = " ".join(objection.desc().split())  # one line
    operator = objection.node_operator()
    return f"{objection.code().name} {operator}: {said}" if operator else said


def _network_flags(trt: ModuleType) -> int:
    """Strongly typed: to be asked for up to TensorRT 10, always so from 11."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _log(trt: ModuleType) -> Any:
    """A logger that keeps the last error, or warning until there is one, because return values don't say why."""

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        last_error = "no reason given"
        is_error = False  # that a driver is too old is a warning

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            is_error = severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR)
            if is_error or (severity == trt.ILogger.WARNING and not self.is_error):
                self.last_error, self.is_error = message, is_error

    return Log()
