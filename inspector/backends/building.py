"""build-engine: compile a recipe's graph for this machine, prove it against the reference, vouch for it.

Nothing that a line reads changes until the new engine has scored the golden tiles as the reference does, and
extreme tiles with finite numbers.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from inspector.backends import golden
from inspector.backends.artifact import (
    SCHEMA,
    BuiltEngine,
    Manifest,
    Recipe,
    load_manifest,
    load_recipe,
    read_bytes,
    sha256_of,
    write_atomically,
    write_manifest,
)
from inspector.backends.at_limit import AtLimit, compare
from inspector.backends.engine import Engine, info_of, score_loose
from inspector.backends.extremes import extreme_tiles, not_finite
from inspector.backends.runtime import Means, Toolchain, Unsuited, toolchain
from inspector.errors import ArtefactError, ConfigError
from inspector.records import F32, U8

REFERENCE = "onnxruntime"  # in fp32
INT8 = "int8"  # what a graph with Q/DQ is: any runtime takes it, and nothing else can be had of it
REMEDIES = {"fp32": "train again", INT8: "train without --int8"}  # of engines that deviate


def build_engine(
    engine_dir: Path,
    backend: str = "openvino",
    precision: str = "auto",
    progress: Callable[[str], None] = lambda sentence: None,
    at_limit: AtLimit | None = None,
    workspace_mb: int | None = None,
    portable: bool = False,
) -> Manifest:
    """Build one backend's engine and enter it in the manifest; other backends' entries stay.

    Args:
        engine_dir: engines/NAME with recipe.toml and model.onnx.
        backend: "openvino", "onnxruntime" or "tensorrt".
        precision: "auto" takes the fastest that device and graph have and that scores as the reference does; or
            "fp32", "tf32", "bf16", "fp16", "int8". A recipe of int8 has that alone. Where a CPU lacks the precision,
            ``progress`` is told, and it is as with "auto".
        progress: told what is being done, a sentence at a time.
        at_limit: good web of a line on which the engine must decide as the reference does; None: not compared.
        workspace_mb: most GPU memory that one operator may take, TensorRT alone; None: all there is.
        portable: for other GPUs and later versions, too; TensorRT alone.

    Returns the manifest as written.

    Raises:
        ConfigError: the backend has no workspace, or no portable plans.
        ArtefactError: recipe or graph are missing or damaged, the library isn't installed, there is no such precision
            (TensorRT: not on this device), the engine doesn't score the golden tiles as the reference does, scores an
            extreme tile NaN or infinity, or decides more of the good web otherwise than false alarms were asked for.
            What ``at_limit`` raises.
    """
    for option, given in (("--workspace-mb", workspace_mb is not None), ("--portable", portable)):
        if given and backend != "tensorrt":
            raise ConfigError(f"{option} is TensorRT's; leave it out with --backend {backend}")
    recipe = load_recipe(engine_dir)
    graph = load_graph(engine_dir, recipe)
    tools = toolchain(backend)
    means = Means(workspace_mb, portable, engine_dir / f"plans/{backend}.timing")
    version, device = tools.library_version(), tools.device_name()
    wanted = _wanted(tools, recipe, backend, device, precision, progress)

    yardstick = _yardstick(recipe, graph, _golden_tiles(engine_dir, recipe), at_limit, progress)

    for precision in wanted:
        progress(f"compiling {recipe.name} for {backend} {version}, {precision}")
        try:
            plan = tools.build_plan(recipe, graph, precision, means)
            progress("holding the engine against the reference")
            with _loaded(backend, recipe, graph, plan, precision, portable) as engine:
                scores = _prove(engine, recipe, yardstick, progress)
            break
        except Unsuited as error:
            if precision == wanted[-1]:
                raise
            progress(f"{error}; so the next precision is tried")

    # Named after its content: the engine before stays whole until the manifest speaks for this one.
    plan_name = f"plans/{backend}-{sha256_of(plan)[:12]}.plan" if plan else ""
    if plan:
        write_atomically(engine_dir / plan_name, plan)
    facts = tools.plan_facts()
    built = BuiltEngine(
        precision=precision,
        version=version,
        device=device,
        os=os_name(),
        built_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        tiles=recipe.tiles,
        onnx_sha256=recipe.onnx_sha256,
        plan=plan_name,
        plan_sha256=sha256_of(plan) if plan else "",
        profile=facts.profile,
        portable=portable,
        driver=facts.driver,
        golden_sha256=sha256_of((engine_dir / golden.FILE).read_bytes()),
        golden_reference=tuple(map(float, yardstick.scores)),
        golden_scores=tuple(map(float, scores)),
    )
    manifest = _enter(engine_dir, recipe, backend, built)
    for file in (engine_dir / "plans").glob(f"{backend}-*.plan"):
        if file != engine_dir / plan_name:
            file.unlink()
    return manifest


def load_graph(engine_dir: Path, recipe: Recipe) -> bytes:
    """Read model.onnx if it is the graph that the recipe vouches for. Raises ArtefactError otherwise."""
    file = engine_dir / "model.onnx"
    remedy = f"bring back the file, or run `inspector train DATA --recipe {recipe.name}`"
    graph = read_bytes(file, remedy)
    if sha256_of(graph) != recipe.onnx_sha256:
        raise ArtefactError(
            f"{file}: not the graph that recipe.toml vouches for (onnx_sha256 differs): changed or half "
            f"copied; {remedy}"
        )
    return graph


def rebuild_command(recipe: str, backend: str) -> str:
    """What to type to build an engine."""
    return f"`inspector build-engine --recipe {recipe} --backend {backend}`"


def os_name() -> str:
    """What a plan is bound to: system and machine, not the kernel's version."""
    return f"{platform.system()} {platform.machine()}"


def score_with_reference(recipe: Recipe, graph: bytes, tiles: U8) -> tuple[F32, F32]:
    """Score tiles with the reference: maps float32 [N, cells, cells] and scores float32 [N], sigma.

    Raises ArtefactError when the graph can't be run, or scores these or extreme tiles NaN or infinity.
    """
    with _loaded(REFERENCE, recipe, graph, b"", "fp32") as reference:
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


@dataclass(frozen=True, slots=True)
class _Yardstick:
    """What the reference says, for new engines to be held against."""

    tiles: U8  # golden
    maps: F32
    scores: F32
    at_limit: AtLimit | None
    peaks: F32  # of the good web; empty without


@contextmanager
def _loaded(
    backend: str, recipe: Recipe, graph: bytes, plan: bytes, precision: str, portable: bool = False
) -> Iterator[Engine]:
    """An engine that nobody vouches for yet."""
    tools = toolchain(backend)
    try:
        runtime = tools.open_runtime(recipe, graph, plan, precision, 0, portable)
    except RuntimeError as error:
        raise ArtefactError(f"recipe {recipe.name}: the new engine can't be loaded ({error})") from None
    version, device = tools.library_version(), tools.device_name()
    info = info_of(recipe, backend, version, device, precision, sha256_of(plan or graph))
    engine = Engine(recipe, info, runtime)
    try:
        yield engine
    finally:
        engine.close()


def _wanted(
    tools: Toolchain,
    recipe: Recipe,
    backend: str,
    device: str,
    precision: str,
    progress: Callable[[str], None],
) -> tuple[str, ...]:
    """Which precisions to try, in order. Another CPU than the one a command was written for is no mistake."""
    if recipe.training.int8:
        if precision not in ("auto", INT8):
            raise ArtefactError(
                f"recipe {recipe.name} is of int8, by its graph; leave --precision out, or train without --int8"
            )
        return (INT8,)
    can = tools.precisions()
    if precision == INT8:
        raise ArtefactError(
            f"recipe {recipe.name} is not of int8; `inspector train --int8` makes one that is"
        )
    if precision == "auto":
        return can
    if precision in can:
        return (precision,)
    if precision not in golden.TOLERANCES or backend == "tensorrt":
        raise ArtefactError(
            f"{backend} on {device} can't do --precision {precision}; it can do: {', '.join(can)}"
        )
    progress(f"{precision} was asked for, but {backend} on {device} can't do it; so {can[0]} is built")
    return can


def _golden_tiles(engine_dir: Path, recipe: Recipe) -> U8:
    """Those that are there; made-up ones where there are none, or where they are of another tile size."""
    try:
        return golden.golden_tiles(engine_dir, recipe, "build again")
    except ArtefactError:
        tiles = golden.made_up_tiles(recipe)
        golden.write_golden_tiles(engine_dir, tiles)
        return tiles


def _yardstick(
    recipe: Recipe, graph: bytes, tiles: U8, at_limit: AtLimit | None, progress: Callable[[str], None]
) -> _Yardstick:
    progress(f"scoring golden and extreme tiles with the reference ({REFERENCE}, fp32)")
    with _loaded(REFERENCE, recipe, graph, b"", "fp32") as reference:
        maps, scores = _sound_scores(reference, recipe, tiles)
        peaks = np.empty(0, np.float32)
        if at_limit is not None:
            progress("scoring the line's good web with the reference")
            peaks = at_limit.peaks(reference)
    return _Yardstick(tiles, maps, scores, at_limit, peaks)


def _dazzled(engine: Engine, recipe: Recipe) -> list[str]:
    """Which extreme tiles score NaN or infinity."""
    extremes = extreme_tiles(recipe)
    seen = score_loose(engine, np.stack(list(extremes.values())))
    return not_finite(list(extremes), seen.scores, seen.tile_scores)


def _prove(engine: Engine, recipe: Recipe, yardstick: _Yardstick, progress: Callable[[str], None]) -> F32:
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
            peaks = yardstick.at_limit.peaks(engine)
            decisions = compare(yardstick.at_limit, yardstick.peaks, peaks, tolerance)
            if decisions.differ > decisions.allowed:
                raise Unsuited(f"{the_engine} {decisions.words}; {remedy}")
            progress(f"{the_engine} {decisions.words}")
    except RuntimeError as error:
        raise ArtefactError(f"recipe {recipe.name}: the new engine can't be run ({error})") from None
    return seen.tile_scores


def _enter(engine_dir: Path, recipe: Recipe, backend: str, built: BuiltEngine) -> Manifest:
    """Put the entry into the manifest. One that can't be read vouches for nothing and is replaced."""
    try:
        before = load_manifest(engine_dir, rebuild_command(recipe.name, backend))
    except ArtefactError:
        before = None
    others = dict(before.engines) if before is not None and before.recipe == recipe.name else {}
    manifest = Manifest(schema=SCHEMA, recipe=recipe.name, engines={**others, backend: built})
    write_manifest(engine_dir, manifest)
    return manifest
