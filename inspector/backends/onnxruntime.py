"""ONNX Runtime on the CPU in fp32: the fallback, and the reference that every engine is held against.

It runs the graph as trained; there is no plan. A graph of int8 is computed in float32 too, with every number rounded
as the graph says: in int8 ONNX Runtime was no faster on CPUs without VNNI, and further off.
"""

from __future__ import annotations

import platform
from typing import Any

import onnxruntime as ort

from inspector.backends.artifact import Recipe
from inspector.backends.runtime import Means, PlanFacts
from inspector.errors import ArtefactError
from inspector.records import F32, U8

BATCH = 4  # more bring nothing on a CPU and cost memory
FATAL_ONLY = 4  # of ONNX Runtime's log levels: what fails is raised, and said once


def library_version() -> str:
    """Version of ONNX Runtime."""
    return str(ort.__version__)


def device_name() -> str:
    """Any CPU of this kind: the graph is compiled anew at every start."""
    return f"CPU ({platform.machine()})"


def precisions() -> tuple[str, ...]:
    """Only fp32: this is the reference."""
    return ("fp32",)


def build_plan(recipe: Recipe, graph: bytes, precision: str, means: Means) -> bytes:
    """There is none."""
    return b""


def plan_facts() -> PlanFacts:
    """None: a CPU has no driver, and takes any number of tiles."""
    return PlanFacts()


def open_runtime(
    recipe: Recipe, graph: bytes, plan: bytes, precision: str, threads: int, portable: bool = False
) -> OrtRuntime:
    """Load the graph. Raises ArtefactError when it isn't the graph that the recipe describes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = FATAL_ONLY
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        raise ArtefactError(
            f"recipe {recipe.name}: model.onnx is no graph that ONNX Runtime can load ({_short(error)}); "
            f"run `inspector train DATA --recipe {recipe.name}`"
        ) from None
    _check_signature(recipe, session)
    return OrtRuntime(session)


class OrtRuntime:
    """A session, fed a few tiles at a time."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, tiles: U8, maps: F32, scores: F32) -> None:
        """Score tiles in micro-batches."""
        for start in range(0, len(tiles), BATCH):
            part = slice(start, start + BATCH)
            try:
                seen_maps, seen_scores = self._session.run(["map", "score"], {"tiles": tiles[part]})
            except Exception as error:  # ONNX Runtime's errors share no base class of their own
                raise RuntimeError(f"ONNX Runtime failed: {_short(error)}") from error
            if seen_maps.shape != maps[part].shape or seen_scores.shape != scores[part].shape:
                raise RuntimeError(
                    f"the graph gives map {seen_maps.shape} and score {seen_scores.shape}, "
                    f"recipe.toml promises {maps[part].shape} and {scores[part].shape}"
                )
            maps[part], scores[part] = seen_maps, seen_scores

    def close(self) -> None:
        """Let go of the session."""
        self._session = None


def _check_signature(recipe: Recipe, session: Any) -> None:
    """The graph takes what recipe.toml promises, any number of it, and gives a map and a score."""
    promised = {
        "tiles": ("tensor(uint8)", recipe.tile_shape),
        "map": ("tensor(float)", ("cells", "cells")),
        "score": ("tensor(float)", ()),
    }
    found = {one.name: one for one in (*session.get_inputs(), *session.get_outputs())}
    for name, (kind, shape) in promised.items():
        one = found.get(name)
        rank = 1 + len(shape)
        if (
            one is None
            or one.type != kind
            or len(one.shape) != rank
            or (name == "tiles" and (tuple(one.shape[1:]) != shape or isinstance(one.shape[0], int)))
        ):
            has = "no such tensor" if one is None else f"{one.type} {one.shape}"
            raise ArtefactError(
                f"recipe {recipe.name}: recipe.toml promises {name!r} as {kind} {['N', *shape]}, but model.onnx has "
                f"{has}; run `inspector train DATA --recipe {recipe.name}`"
            )


def _short(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]
