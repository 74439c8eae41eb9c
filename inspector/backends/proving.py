"""What an engine is held against before anybody relies on it: the reference's scores of golden tiles, and more.

The reference is ONNX Runtime in fp32. An engine scores golden tiles as it does, as they are and with faults, extreme
tiles too, and, where a line's good web is given, decides like it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from inspector.backends import golden
from inspector.backends.artifact import Recipe, sha256_of
from inspector.backends.at_limit import AtLimit, compare
from inspector.backends.engine import Engine, info_of, score_loose
from inspector.backends.extremes import extreme_tiles, not_finite
from inspector.backends.runtime import Unsuited, toolchain
from inspector.errors import ArtefactError
from inspector.records import F32, U8

Pixels = TypeVar("Pixels", U8, F32)  # or what is made of them

REFERENCE = "onnxruntime"  # in fp32
GOLDEN, EXTREME = "golden tiles", "extreme tiles"  # kinds of trials
INT8 = "int8"  # what a graph with Q/DQ is: any runtime takes it, and nothing else can be had of it
CROWD, CROWD_TILES = "all of these tiles in one batch", 65  # twice what TensorRT takes at once, and one more
FAINT = 0.25  # contrast of faults that score a few times a limit, where verdicts are made
REMEDIES = {"fp32": "train again", INT8: "train without --int8"}  # of engines that deviate


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What the reference says, for new engines to be held against."""

    tiles: dict[str, U8]  # of ``trial_tiles``, and CROWD
    answers: dict[str, tuple[F32, F32]]  # maps [N, cells, cells] and scores [N] of each kind, sigma
    at_limit: AtLimit | None
    peaks: F32  # of the good web; empty without


def trial_tiles(recipe: Recipe, tiles: U8) -> dict[str, U8]:
    """What engines are tried on, kind -> uint8 [N, *tile_shape]: GOLDEN as they are, with faults, and EXTREME.

    Faults score many times what good web does: an engine that is right about that alone may miss them.
    """
    return {
        GOLDEN: tiles,
        "golden tiles with faint faults": golden.with_faults(tiles, FAINT),
        "golden tiles with bold faults": golden.with_faults(tiles),
        EXTREME: np.stack(list(extreme_tiles(recipe).values())),
    }


def score_with_reference(recipe: Recipe, graph: bytes, tiles: dict[str, U8]) -> dict[str, tuple[F32, F32]]:
    """Score ``trial_tiles`` with the reference: kind -> maps float32 [N, cells, cells] and scores float32 [N], sigma.

    Raises ArtefactError when the graph can't be run, or scores any of them NaN or infinity.
    """
    with loaded(REFERENCE, recipe, graph, b"", "fp32") as reference:
        return _sound_answers(reference, recipe, tiles)


def _sound_answers(reference: Engine, recipe: Recipe, tiles: dict[str, U8]) -> dict[str, tuple[F32, F32]]:
    """``score_with_reference`` with one that is loaded."""
    remedy = f"run `inspector train DATA --recipe {recipe.name}`"
    try:
        answers = {kind: answer(reference, some) for kind, some in tiles.items()}
    except RuntimeError as error:
        raise ArtefactError(f"recipe {recipe.name}: its graph can't be run ({error}); {remedy}") from None
    dazzled = _dazzled(recipe, answers)
    if dazzled:
        raise ArtefactError(
            f"recipe {recipe.name}: its graph scores extreme tiles NaN or infinity ({', '.join(dazzled)}), with the "
            f"reference already: the recipe is at fault; {remedy}"
        )
    for kind, (maps, scores) in answers.items():
        if not (np.isfinite(maps).all() and np.isfinite(scores).all()):
            raise ArtefactError(f"recipe {recipe.name}: its graph scores {kind} NaN or infinity; {remedy}")
    return answers


def _crowd(parts: Sequence[Pixels]) -> Pixels:
    """CROWD_TILES of all parts, one after the other and again from the first.

    A line's batches are larger than any one kind of trials: what an engine says of these was asked by nobody else.
    """
    every = np.concatenate(parts)
    return every[np.arange(CROWD_TILES) % len(every)]


def answer(engine: Engine, tiles: U8) -> tuple[F32, F32]:
    """Maps [N, cells, cells] and scores [N] of tiles, sigma. Raises RuntimeError from the runtime."""
    seen = score_loose(engine, tiles)
    return seen.scores, seen.tile_scores


def yardstick_of(
    recipe: Recipe, graph: bytes, tiles: U8, at_limit: AtLimit | None, progress: Callable[[str], None]
) -> Yardstick:
    """Score ``trial_tiles``, and a line's good web where it is given, with the reference.

    Raises ArtefactError when the graph can't be run, or scores them NaN or infinity. What ``at_limit`` raises.
    """
    progress(f"scoring golden and extreme tiles with the reference ({REFERENCE}, fp32)")
    with loaded(REFERENCE, recipe, graph, b"", "fp32") as reference:
        trials = trial_tiles(recipe, tiles)
        answers = _sound_answers(reference, recipe, trials)
        peaks = np.empty(0, np.float32)
        if at_limit is not None:
            progress("scoring the line's good web with the reference")
            peaks = at_limit.peaks(reference)
    # The reference isn't asked again: what a tile scores is no batch's affair.
    trials[CROWD] = _crowd([*trials.values()])
    maps, scores = zip(*answers.values(), strict=True)
    answers[CROWD] = _crowd(maps), _crowd(scores)
    return Yardstick(trials, answers, at_limit, peaks)


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
    """Score all that the yardstick has with the new engine; return the golden scores if all are the reference's.

    Raises Unsuited where they aren't, ArtefactError where the engine can't be run.
    """
    precision = engine.info.precision
    tolerance = golden.TOLERANCES[precision]
    remedy = REMEDIES.get(precision, "build with --precision fp32")
    the_engine = f"recipe {recipe.name}: the {precision} engine"
    try:
        answers = {kind: answer(engine, tiles) for kind, tiles in yardstick.tiles.items()}
        dazzled = _dazzled(recipe, answers)
        if dazzled:
            raise Unsuited(
                f"{the_engine} scores extreme tiles NaN or infinity ({', '.join(dazzled)}), the reference doesn't; "
                f"{remedy}"
            )
        for kind, said in answers.items():
            off = golden.deviation(said, yardstick.answers[kind], tolerance)
            if not off <= 1:
                raise Unsuited(
                    f"{the_engine} scores {kind} {off:.1f} times further from the reference than is tolerated "
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
    return answers[GOLDEN][1]


def _dazzled(recipe: Recipe, answers: dict[str, tuple[F32, F32]]) -> list[str]:
    """Which extreme tiles score NaN or infinity."""
    return not_finite(list(extreme_tiles(recipe)), *answers[EXTREME])
