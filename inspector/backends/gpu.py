"""The first GPU, its memory and its streams: what the runtime asks of it, through cuda-bindings or else pycuda.

Failures are RuntimeErrors that bear CUDA's name for them. Neither has run on hardware.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from inspector.backends import gpu_cuda, gpu_pycuda
from inspector.backends.gpu_cuda import CudaGpu
from inspector.backends.gpu_pycuda import PyCudaGpu
from inspector.errors import ArtefactError
from inspector.records import U8

INSTALL = 'install the extra on a machine with an NVIDIA GPU: `pip install -e ".[tensorrt]"`'

START = "see that the GPU's driver is there and new enough for it (nvidia-smi tells its version)"

DRIVER_VERSION = Path("/sys/module/nvidia/version")  # CUDA's own calls tell only which CUDA it speaks


class Gpu(Protocol):
    """Memory on the first GPU and beside it, copies between both, a stream that they queue in, and a second beside it.

    All is asked for inside ``held``, by one thread at a time. Raises RuntimeError whenever CUDA refuses.
    """

    @property
    def stream(self) -> int:
        """Its handle."""

    def held(self) -> AbstractContextManager[None]:
        """The GPU as this thread's own: the thread that runs need not be the one that opened."""

    def device_buffer(self, size: int) -> int:
        """Address of so many bytes on the GPU."""

    def pinned_buffer(self, size: int) -> U8:
        """So many bytes of page-locked host memory, which the GPU copies by itself; gone after ``close``."""

    def upload(self, device: int, host: U8) -> None:
        """Queue a copy of a whole pinned array to the GPU."""

    def download(self, host: U8, device: int) -> None:
        """Queue a copy from the GPU that fills a pinned array."""

    def fork(self) -> int:
        """Handle of the second stream: what is queued there begins when all that is queued by now is done."""

    def join(self) -> None:
        """What is queued from now on begins when all in the second stream is done, too; it goes with ``fork``."""

    def wait(self) -> None:
        """Until all that was queued is done; what was forked is to be joined by then."""

    def capture(self, queue: Callable[[], None]) -> Any:
        """Record what ``queue`` would queue, instead of doing it, as a graph for ``launch``.

        Raises RuntimeError when it can't be recorded; the stream is as before then.
        """

    def launch(self, graph: Any) -> None:
        """Queue all that was recorded."""

    def drain(self) -> None:
        """Until nothing is left in either stream, whatever failed: before what its work uses goes. Never raises."""

    def destroy_graphs(self) -> None:
        """Let go of all that was recorded: before what it was recorded from goes. Never raises."""

    def close(self) -> None:
        """Give everything back; never raises, and may be called twice."""


def open_gpu() -> Gpu:
    """Take the first GPU. Raises ArtefactError when no binding is installed, RuntimeError when CUDA refuses."""
    try:
        return CudaGpu()
    except ImportError as error:
        try:
            return PyCudaGpu()
        except ImportError:
            raise _not_installed(error) from None


def gpu_name() -> str:
    """The first GPU's name, its compute capability, and the CUDA version that its driver speaks.

    Raises ArtefactError when there is none, or neither cuda-bindings nor pycuda is installed.
    """
    try:
        try:
            name, (major, minor), version = gpu_cuda.describe()
        except ImportError as error:
            try:
                name, (major, minor), version = gpu_pycuda.describe()
            except ImportError:
                raise _not_installed(error) from None
    except RuntimeError as error:
        raise ArtefactError(f"no NVIDIA GPU can be used ({error}); use --backend openvino here") from None
    return f"{name}, SM{major}{minor}, CUDA {version // 1000}.{version % 1000 // 10}"


def driver_version() -> str:
    """The NVIDIA driver's version, 550.54.14, as Linux tells it; empty where it doesn't."""
    try:
        return DRIVER_VERSION.read_text().strip()
    except OSError:
        return ""


def _not_installed(error: ImportError) -> ArtefactError:
    return ArtefactError(f"neither cuda-bindings nor pycuda is installed ({error}); {INSTALL}")
