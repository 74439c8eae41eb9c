"""What the three runtimes have in common: each of their modules is a Toolchain, and opens a Runtime.

    openvino.py ─┐
    onnxruntime.py ├─ Toolchain ──open_runtime──▶ Runtime ── Engine (engine.py) ──▶ interfaces.Backend
    tensorrt.py ─┘

Each library is imported by its own module alone, and each module only when its backend is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inspector.backends.artifact import Recipe
from inspector.errors import ArtefactError
from inspector.records import F32, U8

BACKENDS = ("openvino", "onnxruntime", "tensorrt")


class Unsuited(ArtefactError):
    """A precision that this graph can't be had in, or scores otherwise in; another may do."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a build may use, where its library asks for such."""

    workspace_mb: int | None = None  # most GPU memory that a running operator may take; None: all there is
    portable: bool = False  # other GPUs and later versions of the library shall load the plan, too
    apart: bool = False  # teachers and students shall be engines of their own, side by side
    timing_cache: Path | None = None  # file of what was timed before; None: everything is timed anew


NO_MEANS = Means()


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What the manifest keeps of a plan where its library has such."""

    driver: str = ""  # version of the GPU's driver; empty: there is none, or nobody tells
    profile: tuple[int, ...] = ()  # tiles at a time: the least, what it is tuned for, the most


class Runtime(Protocol):
    """One loaded graph. Knows neither recipes on disk nor manifests; used by one thread."""

    def run(self, tiles: U8, maps: F32, scores: F32) -> None:
        """Score tiles.

        Args:
            tiles: uint8 [N, side, side] or [N, side, side, 3], C order, N at least 1.
            maps: float32 [N, cells, cells], C order, written.
            scores: float32 [N], written.

        Raises RuntimeError when the runtime fails.
        """

    def close(self) -> None:
        """Free the graph; never raises."""


class Toolchain(Protocol):
    """A module that builds and runs engines with one library."""

    def library_version(self) -> str:
        """Version of the library. Raises ArtefactError when it isn't installed."""

    def device_name(self) -> str:
        """The device that engines are built for and bound to. Raises ArtefactError when there is none."""

    def precisions(self) -> tuple[str, ...]:
        """What this device can do, best first."""

    def build_plan(self, recipe: Recipe, graph: bytes, precision: str, means: Means) -> bytes:
        """Compile an ONNX graph for this device; empty when the library loads the graph itself.

        Raises Unsuited when this graph can't be had in that precision, ArtefactError otherwise.
        """

    def plan_facts(self) -> PlanFacts:
        """What the manifest is to keep of plans that are built here and now."""

    def open_runtime(
        self, recipe: Recipe, graph: bytes, plan: bytes, precision: str, threads: int, portable: bool = False
    ) -> Runtime:
        """Load a plan (or the graph, when there is no plan) for running; 0 threads: the library's choice.

        A ``portable`` plan may bring code of its own for the CPU.

        Raises ArtefactError or RuntimeError.
        """


def toolchain(backend: str) -> Toolchain:
    """The module of a backend. Raises ArtefactError for a name there is no backend for."""
    match backend:
        case "openvino":
            from inspector.backends import openvino

            return openvino
        case "onnxruntime":
            from inspector.backends import onnxruntime

            return onnxruntime
        case "tensorrt":
            from inspector.backends import tensorrt

            return tensorrt
    raise ArtefactError(f"there is no backend {backend!r}; there are: {', '.join(BACKENDS)}")
