"""TensorRT on an NVIDIA GPU: builder and runtime for TensorRT 10.3 to 11, or TensorRT for RTX.

Not run on hardware: the builder was tried with TensorRT for RTX, which builds without a GPU; the runtime
half was held against the libraries' signatures only. Precision lives in the graph's types (strongly typed
networks): fp16 where ``typed`` put it, else fp32, which may run in TF32 where that is allowed.

TensorRT and CUDA report failure as values; here each becomes one sentence. Memory, stream and copies go
through cuda-bindings, in the device's primary context.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from inspector.backends.artifact import Recipe, write_atomically
from inspector.backends.runtime import Means, Unsuited
from inspector.errors import ArtefactError
from inspector.records import F32, U8

LEAST, BEST, MOST = 1, 16, 32  # tiles at a time: what the plan allows and is tuned for
INSTALL = "install the extra on a machine with an NVIDIA GPU: `pip install inspector-line[tensorrt]`"


def library_version() -> str:
    """Name and version of the TensorRT that imports."""
    trt = _tensorrt()
    return f"{trt.__name__} {trt.__version__}"


def device_name() -> str:
    """The first GPU's name, its compute capability, and the CUDA version that its driver speaks."""
    cuda = _cuda()
    try:
        _call(cuda.cuInit(0))
        device = _call(cuda.cuDeviceGet(0))
        name = _call(cuda.cuDeviceGetName(128, device)).split(b"\0")[0].decode()
        attributes = cuda.CUdevice_attribute
        major, minor = (
            _call(cuda.cuDeviceGetAttribute(which, device))
            for which in (
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        driver = _call(cuda.cuDriverGetVersion())
    except RuntimeError as error:
        raise ArtefactError(f"no NVIDIA GPU can be used ({error}); use --backend openvino here") from None
    return f"{name}, SM{major}{minor}, CUDA {driver // 1000}.{driver % 1000 // 10}"


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


def blueprint(recipe: Recipe, graph: bytes, precision: str, means: Means) -> Blueprint:
    """Parse a graph for any number of tiles from LEAST to MOST.

    Raises Unsuited when it can't be had in that precision, ArtefactError with the parser's own words otherwise.
    """
    trt = _tensorrt()
    if precision == "fp16":
        graph = _in_fp16(recipe, graph)
    log = _log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(graph):
        reasons = "; ".join(_reason(parser.get_error(index)) for index in range(parser.num_errors))
        raise ArtefactError(f"recipe {recipe.name}: TensorRT can't parse its graph ({reasons[:300]})")
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("tiles", *((count, *recipe.tile_shape) for count in (LEAST, BEST, MOST)))
    if config.add_optimization_profile(profile) < 0:
        raise ArtefactError(
            f"recipe {recipe.name}: TensorRT refuses tiles of {recipe.tile_shape}; train again"
        )
    if precision != "tf32":
        config.clear_flag(trt.BuilderFlag.TF32)
    if hasattr(trt.BuilderFlag, "STRICT_NANS"):
        config.set_flag(trt.BuilderFlag.STRICT_NANS)  # a NaN must reach judging
    if means.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, means.workspace_mb * 2**20)
    return Blueprint(builder, network, parser, config, profile, log)


def build_plan(recipe: Recipe, graph: bytes, precision: str, means: Means) -> bytes:
    """Build a plan for any number of tiles from LEAST to MOST. Raises Unsuited or ArtefactError."""
    made = blueprint(recipe, graph, precision, means)
    # TensorRT for RTX times nothing when it builds; its calls are there, do nothing and warn.
    cache = means.timing_cache if _tensorrt().__name__ == "tensorrt" else None
    if cache is not None:
        _recall_timings(made.config, cache)
    plan = made.builder.build_serialized_network(made.network, made.config)
    if plan is None:
        raise ArtefactError(f"recipe {recipe.name}: TensorRT can't build its graph ({made.log.last_error})")
    if cache is not None:
        write_atomically(cache, bytes(memoryview(made.config.get_timing_cache().serialize())))
    return bytes(memoryview(plan))


def open_runtime(recipe: Recipe, graph: bytes, plan: bytes, precision: str, threads: int) -> TensorRtRuntime:
    """Load a plan onto the GPU. Raises RuntimeError when TensorRT or CUDA refuse."""
    return TensorRtRuntime(recipe, plan)


class TensorRtRuntime:
    """One execution context, one stream, device buffers for MOST tiles, all taken once."""

    def __init__(self, recipe: Recipe, plan: bytes) -> None:
        trt, self._cuda = _tensorrt(), _cuda()
        self._tile_shape = recipe.tile_shape
        self._buffers: dict[str, Any] = {}
        self._stream: Any = None
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._log = _log(trt)
        _call(self._cuda.cuInit(0))
        self._device = _call(self._cuda.cuDeviceGet(0))
        self._primary: Any = _call(self._cuda.cuDevicePrimaryCtxRetain(self._device))
        try:
            self._load(trt, recipe, plan)
        except RuntimeError:
            self.close()
            raise

    def run(self, tiles: U8, maps: F32, scores: F32) -> None:
        """Score tiles, MOST at a time."""
        _call(
            self._cuda.cuCtxSetCurrent(self._primary)
        )  # the thread that runs need not be the one that opened
        for start in range(0, len(tiles), MOST):
            part = slice(start, start + MOST)
            self._run(tiles[part], maps[part], scores[part])

    def close(self) -> None:
        """Free buffers, stream and context."""
        cuda = self._cuda
        if self._primary is None:
            return
        cuda.cuCtxSetCurrent(self._primary)
        self._context = self._engine = self._runtime = None
        for pointer in self._buffers.values():
            cuda.cuMemFree(pointer)
        self._buffers = {}
        if self._stream is not None:
            cuda.cuStreamDestroy(self._stream)
            self._stream = None
        cuda.cuDevicePrimaryCtxRelease(self._device)
        self._primary = None

    def _load(self, trt: ModuleType, recipe: Recipe, plan: bytes) -> None:
        _call(self._cuda.cuCtxSetCurrent(self._primary))
        self._runtime = trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise RuntimeError(f"TensorRT refuses the plan: {self._log.last_error}")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise RuntimeError(f"TensorRT gives no execution context: {self._log.last_error}")
        self._stream = _call(self._cuda.cuStreamCreate(0))
        tile_bytes = recipe.side_px**2 * recipe.channels
        for name, size in (("tiles", tile_bytes), ("map", 4 * recipe.cells**2), ("score", 4)):
            self._buffers[name] = _call(self._cuda.cuMemAlloc(MOST * size))
            if not self._context.set_tensor_address(name, int(self._buffers[name])):
                raise RuntimeError(f"the plan has no tensor {name!r}")

    def _run(self, tiles: U8, maps: F32, scores: F32) -> None:
        cuda, stream, context = self._cuda, self._stream, self._context
        if not context.set_input_shape("tiles", (len(tiles), *self._tile_shape)):
            raise RuntimeError(f"TensorRT refuses {len(tiles)} tiles: {self._log.last_error}")
        _call(cuda.cuMemcpyHtoDAsync(self._buffers["tiles"], tiles.ctypes.data, tiles.nbytes, stream))
        if not context.execute_async_v3(int(stream)):
            raise RuntimeError(f"TensorRT failed: {self._log.last_error}")
        for name, result in (("map", maps), ("score", scores)):
            _call(cuda.cuMemcpyDtoHAsync(result.ctypes.data, self._buffers[name], result.nbytes, stream))
        _call(cuda.cuStreamSynchronize(stream))


def _tensorrt() -> Any:
    try:
        import tensorrt as trt
    except (ImportError, OSError):  # OSError: the bindings are there, NVIDIA's libraries aren't
        try:
            import tensorrt_rtx as trt
        except (ImportError, OSError):
            raise ArtefactError(f"neither tensorrt nor tensorrt_rtx can be imported; {INSTALL}") from None
    return trt


def _cuda() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise ArtefactError(f"cuda-bindings isn't installed ({error}); {INSTALL}") from None
    return driver


def _call(answer: tuple[Any, ...]) -> Any:
    """The value of a CUDA driver call. Raises RuntimeError when it failed."""
    error, *values = answer
    if error.value != 0:
        raise RuntimeError(error.name)
    return values[0] if values else None


def _recall_timings(config: Any, file: Path) -> None:
    """What was timed on this GPU needn't be again. TensorRT refuses a cache of another; then it begins a new one."""
    known = file.read_bytes() if file.is_file() else b""
    for timings in (known, b""):
        cache = config.create_timing_cache(timings)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return


def _in_fp16(recipe: Recipe, graph: bytes) -> bytes:
    try:
        from inspector.backends.typed import in_fp16
    except ImportError as error:
        raise ArtefactError(f"fp16 needs the package {error.name!r}; {INSTALL}") from None
    try:
        return in_fp16(graph)
    except Unsuited as error:
        raise Unsuited(f"recipe {recipe.name}: no fp16 ({error}); build with --precision tf32") from None


def _reason(error: Any) -> str:
    """What the parser objects to; its own text alone can be as short as "false"."""
    said = " ".join(error.desc().split())  # one line
    operator = error.node_operator()
    return f"{error.code().name} {operator}: {said}" if operator else said


def _network_flags(trt: ModuleType) -> int:
    """Strongly typed: to be asked for up to TensorRT 10, always so from 11."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _log(trt: ModuleType) -> Any:
    """A logger that keeps the last error, because return values don't say why."""

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        last_error = "no reason given"

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.last_error = message

    return Log()
