"""What an engine is held against before anybody relies on it: the reference's scores of golden tiles, and more.

The reference is ONNX Runtime in fp32. An engine scores golden tiles as it does, extreme tiles with finite numbers and,
where a line's good web is given, decides like it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from inspector.backends import golden
from inspector.backends.artifact import Recipe, sha256_of
from inspector.backends.at_limit import AtLimit, compare
from inspector.backends.engine import Engine, info_of, score_loose
from inspector.backends.extremes import extreme_tiles, not_finite
from inspector.backends.runtime import Unsuited, toolchain
from inspector.errors import ArtefactError
from inspector.records import F32, U8

REFERENCE = "onnxruntime"  # in fp32
INT8 = "int8"  # what a graph with Q/DQ is: any runtime takes it, and nothing else can be had of it
REMEDIES = {"fp32": "train again", INT8: "train without --int8"}  # of engines that deviate


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What the reference says, for new engines to be held against."""

    tiles: U8  # golden
    maps: F32
    scores: F32
    at_limit: AtLimit | None
    peaks: F32  # of the good web; empty without


def score_with_reference(recipe: Recipe, graph: bytes, tiles: U8) -> tuple[F32, F32]:
    """Score tiles with the reference: maps float32 [N, cells, cells] and scores float32 [N], sigma.

    Raises ArtefactError when the graph can't be run, or scores these or extreme tiles NaN or infinity.
    """
    with loaded(REFERENCE, recipe, graph, b"", "fp32") as reference:
        return _sound_scores(reference, recipe, tiles)


def _sound_scores(reference: Engine, recipe: Recipe, tiles: U8) -> tuple[F32, F32]:
    """``score_with_reference`` with one that is loaded."""
    remedy = f"run `inspector train DATA --recipe {recipe.name}`"
    try:
        seen = score_loose(reference, tiles)
        dazzled = _dazzled(reference, recipe)
    except RuntimeError as error:
        raise ArtefactError(f"recipe {recipe.name}: its graph can't be run ({error}); {remedy}") from None
    if not (np.isfinite(seen.scores).all() and np.isfinite(seen.tile_scores).all()):
        raise ArtefactError(f"recipe {recipe.name}: its graph scores golden tiles NaN or infinity; {remedy}")
    if dazzled:
        raise ArtefactError(
            f"recipe {recipe.name}: its graph scores extreme tiles NaN or infinity ({', '.join(dazzled)}), with the "
            f"reference already: the recipe is at fault; {remedy}"
        )
    return seen.scores, seen.tile_scores


def yardstick_of(
    recipe: Recipe, graph: bytes, tiles: U8, at_limit: AtLimit | None, progress: Callable[[str], None]
) -> Yardstick:
    """Score golden and extreme tiles, and a line's good web where it is given, with the reference.

    Raises ArtefactError when the graph can't be run, or scores them NaN or infinity. What ``at_limit`` raises.
    """
    progress(f"scoring golden and extreme tiles with the reference ({REFERENCE}, fp32)")
    with loaded(REFERENCE, recipe, graph, b"", "fp32") as reference:
        maps, scores = _sound_scores(reference, recipe, tiles)
        peaks = np.empty(0, np.float32)
        if at_limit is not None:
            progress("scoring the line's good web with the reference")
            peaks = at_limit.peaks(reference)
    return Yardstick(tiles, maps, scores, at_limit, peaks)


@contextmanager
def loaded(
    backend: str,
    recipe: Recipe,
    graph: bytes,
    plan: bytes,
    precision: str,
    portable: bool = False,
    threads: int = 0,
) -> Iterator[Engine]:
    """An engine that nobody vouches for yet. Raises ArtefactError where it can't be loaded."""
    tools = toolchain(backend)
    try:
        runtime = tools.open_runtime(recipe, graph, plan, precision, threads, portable)
    except RuntimeError as error:
        raise ArtefactError(f"recipe {recipe.name}: the new engine can't be loaded ({error})") from None
    version, device = tools.library_version(), tools.device_name()
    info = info_of(recipe, backend, version, device, precision, sha256_of(plan or graph))
    engine = Engine(recipe, info, runtime)
    try:
        yield engine
    finally:
        engine.close()


def prove(engine: Engine, recipe: Recipe, yardstick: Yardstick, progress: Callable[[str], None]) -> F32:
    """Score golden and extreme tiles with the new engine; return the golden scores if they are the reference's."""
    precision = engine.info.precision
    tolerance = golden.TOLERANCES[precision]
    remedy = REMEDIES.get(precision, "build with --precision fp32")
    the_engine = f"recipe {recipe.name}: the {precision} engine"
    try:
        seen = score_loose(engine, yardstick.tiles)
        dazzled = _dazzled(engine, recipe)
        if dazzled:
            raise Unsuited(
                f"{the_engine} scores extreme tiles NaN or infinity ({', '.join(dazzled)}), the reference doesn't; "
                f"{remedy}"
            )
        off = golden.deviation((seen.scores, seen.tile_scores), (yardstick.maps, yardstick.scores), tolerance)
        if not off <= 1:
            raise Unsuited(
                f"{the_engine} scores golden tiles {off:.1f} times further from the reference than is tolerated "
                f"({tolerance.absolute_sigma:g} sigma and {tolerance.relative:.1%}); {remedy}"
            )
        if yardstick.at_limit is not None:
            progress("scoring the line's good web with the engine")
            try:
                peaks = yardstick.at_limit.peaks(engine)
            except ArtefactError:  # the recipe is not at fault: the reference scored the same images
                raise Unsuited(
                    f"{the_engine} scores the line's good web NaN or infinity, the reference doesn't; {remedy}"
                ) from None
            decisions = compare(yardstick.at_limit, yardstick.peaks, peaks, tolerance)
            if decisions.differ > decisions.allowed:
                raise Unsuited(f"{the_engine} {decisions.words}; {remedy}")
            progress(f"{the_engine} {decisions.words}")
    except RuntimeError as error:
        raise ArtefactError(f"recipe {recipe.name}: the new engine can't be run ({error})") from None
    return seen.tile_scores


def _dazzled(engine: Engine, recipe: Recipe) -> list[str]:
    """Which extreme tiles score NaN or infinity."""
    extremes = extreme_tiles(recipe)
    seen = score_loose(engine, np.stack(list(extremes.values())))
    return not_finite(list(extremes), seen.scores, seen.tile_scores)
