"""One deserialised TensorRT engine and its execution contexts, one a batch size. Not run on hardware.

A CUDA graph holds only as long as nothing changes the execution context that it was recorded from, so each batch size
has a context of its own. All of an engine's share one block of activations, as only one runs at a time (NVIDIA,
"Optimizing TensorRT Performance", CUDA Graphs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inspector.backends.apart import INPUT
from inspector.backends.gpu import Gpu

LEAST_BYTES = 256  # CUDA refuses to allocate nothing


class TensorRtEngine:
    """A plan of one engine, loaded.

    Args:
        trt: the library.
        log: what it logs to; ``last_error`` says why something failed.
        runtime: the library's own, that loads plans.
        plan: as it was built.
        inputs: all of them by name, with the shape of one tile's.
        outputs: all of their names.
        most: tiles at a time.

    Raises RuntimeError when TensorRT refuses the plan, or it is for other tiles.
    """

    def __init__(
        self,
        trt: Any,
        log: Any,
        runtime: Any,
        plan: bytes,
        inputs: Mapping[str, tuple[int, ...]],
        outputs: Sequence[str],
        most: int,
    ) -> None:
        self._trt, self._log = trt, log
        self._inputs, self._outputs = inputs, outputs
        self._contexts: dict[int, Any] = {}  # by batch size
        self._activations = 0  # address on the GPU
        self._addresses: dict[str, int] = {}
        self._engine: Any = runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise RuntimeError(f"TensorRT refuses the plan: {log.last_error}")
        spans = self._spans()
        wanted = [(count, *inputs[INPUT]) for count in (1, most)]
        if not spans or [spans[0], spans[-1]] != wanted:
            self._engine = None  # the error's traceback keeps ``self``, and the GPU is let go of soon
            raise RuntimeError(
                f"the plan is for tiles {spans}, not for any number from {wanted[0]} to {wanted[1]}"
            )
        self.activation_bytes = max(int(self._engine.device_memory_size_v2), LEAST_BYTES)

    def _spans(self) -> list[tuple[int, ...]]:
        """What tiles the plan takes: least, best, most; none where it has no such input."""
        try:
            return [tuple(shape) for shape in self._engine.get_tensor_profile_shape(INPUT, 0)]
        except ValueError:
            # TensorRT's answer then is a shape of -1 dimensions, whose length Python can't take.
            return []

    def place(self, gpu: Gpu, addresses: Mapping[str, int]) -> None:
        """Take memory for activations; ``addresses`` on the GPU has those of inputs and outputs by name, and others."""
        self._activations = gpu.device_buffer(self.activation_bytes)
        self._addresses = {name: addresses[name] for name in (*self._inputs, *self._outputs)}

    def queue(self, gpu: Gpu, count: int, stream: int) -> None:
        """Queue the work on so many tiles in a stream. Raises RuntimeError when TensorRT refuses."""
        context = self.context(gpu, count)
        is_queued = context.execute_async_v3(stream)
        del context  # an error's traceback keeps what is in this frame
        if not is_queued:
            raise RuntimeError(f"TensorRT failed: {self._log.last_error}")

    def context(self, gpu: Gpu, count: int) -> Any:
        """The execution context of a batch size: made at its first batch, never changed after."""
        if count in self._contexts:
            return self._contexts[count]
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(strategy)
        if context is None:
            raise RuntimeError(f"TensorRT gives no execution context: {self._log.last_error}")
        refused = self._prepare(context, gpu, count)
        if refused:
            del context  # the error's traceback keeps what is in this frame, and it must go before its memory
            raise RuntimeError(refused)
        self._contexts[count] = context
        return context

    def _prepare(self, context: Any, gpu: Gpu, count: int) -> str:
        """Set all that a context wants; return why TensorRT refuses it, or nothing."""
        try:  # some bindings raise where others return False
            is_set = context.set_optimization_profile_async(0, gpu.stream)
        except RuntimeError:
            is_set = False
        if not is_set:
            return f"TensorRT refuses the plan's only profile: {self._log.last_error}"
        gpu.wait()
        context.set_device_memory(self._activations, self.activation_bytes)
        for name, address in self._addresses.items():
            if not context.set_tensor_address(name, address):
                return f"the plan has no tensor {name!r}"
        for name, shape in self._inputs.items():
            if not context.set_input_shape(name, (count, *shape)):
                return f"TensorRT refuses {count} tiles: {self._log.last_error}"
        return ""

    def close(self) -> None:
        """Let go of contexts, then of the engine."""
        self._contexts.clear()
        self._engine = None
