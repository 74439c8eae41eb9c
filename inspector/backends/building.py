"""build-engine: compile a recipe's graph for this machine, prove it against the reference, vouch for it.

Nothing that a line reads changes until the new engine has scored the golden tiles as the reference does, and
extreme tiles with finite numbers.
"""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from inspector.backends import golden
from inspector.backends.artifact import (
    SCHEMA,
    BuiltEngine,
    Manifest,
    Recipe,
    UnreadableError,
    load_graph,
    load_manifest,
    load_recipe,
    read_bytes,
    see_that_it_takes_files,
    sha256_of,
    write_atomically,
    write_manifest,
)
from inspector.backends.at_limit import AtLimit
from inspector.backends.proving import GOLDEN, INT8, loaded, prove, yardstick_of
from inspector.backends.runtime import NO_MEANS, Means, Toolchain, Unsuited, toolchain
from inspector.errors import ArtefactError, ConfigError
from inspector.records import U8


def build_engine(
    engine_dir: Path,
    backend: str = "openvino",
    precision: str = "auto",
    progress: Callable[[str], None] = lambda sentence: None,
    at_limit: AtLimit | None = None,
    means: Means = NO_MEANS,
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
        means: what TensorRT may use; its timing cache lies with the plans, whatever is said there.

    Returns the manifest as written.

    Raises:
        ConfigError: the backend has no such means.
        ArtefactError: recipe or graph are missing or damaged, the library isn't installed, there is no such precision
            (TensorRT: not on this device), the engine doesn't score the golden tiles as the reference does, scores an
            extreme tile NaN or infinity, or decides more of the good web otherwise than false alarms were asked for.
            What ``at_limit`` raises.
    """
    for option, given in (
        ("--workspace-mb", means.workspace_mb is not None),
        ("--portable", means.portable),
        ("--apart", means.apart),
    ):
        if given and backend != "tensorrt":
            raise ConfigError(f"{option} is TensorRT's; leave it out with --backend {backend}")
    recipe = load_recipe(engine_dir)
    graph = load_graph(engine_dir, recipe)
    for folder in (engine_dir, engine_dir / "plans"):
        see_that_it_takes_files(folder)  # a build can take many minutes
    tools = toolchain(backend)
    means = replace(means, timing_cache=engine_dir / f"plans/{backend}.timing")
    version, device = tools.library_version(), tools.device_name()
    wanted = wanted_precisions(tools, recipe, backend, device, precision, progress)

    tiles = _golden_tiles(engine_dir, recipe, progress)
    golden_sha256 = sha256_of(read_bytes(engine_dir / golden.FILE, "build again"))
    yardstick = yardstick_of(recipe, graph, tiles, at_limit, progress)

    for precision in wanted:
        progress(f"compiling {recipe.name} for {backend} {version}, {precision}")
        try:
            plan = tools.build_plan(recipe, graph, precision, means)
            progress("holding the engine against the reference")
            with loaded(backend, recipe, graph, plan, precision, means.portable) as engine:
                scores = prove(engine, recipe, yardstick, progress)
            break
        except Unsuited as error:
            if precision == wanted[-1]:
                raise
            progress(f"{error}; so the next precision is tried")

    plan_name = f"plans/{backend}-{sha256_of(plan)[:12]}.plan" if plan else ""
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
        portable=means.portable,
        apart=means.apart,
        workspace_mb=means.workspace_mb,
        driver=facts.driver,
        golden_sha256=golden_sha256,
        golden_reference=tuple(map(float, yardstick.answers[GOLDEN][1])),
        golden_scores=tuple(map(float, scores)),
    )
    with _alone(engine_dir):
        if load_recipe(engine_dir).onnx_sha256 != recipe.onnx_sha256:
            raise ArtefactError(
                f"{engine_dir}: the recipe was replaced while its engine was built; nothing is written, build again"
            )
        # Named after its content: the engine before stays whole until the manifest speaks for this one.
        if plan:
            write_atomically(engine_dir / plan_name, plan)
        manifest = _enter(engine_dir, recipe, backend, built)
        for file in (engine_dir / "plans").glob(f"{backend}-*.plan"):
            if file != engine_dir / plan_name:
                file.unlink()
    return manifest


@contextmanager
def _alone(engine_dir: Path) -> Iterator[None]:
    """One build at a time enters its engine: another would lose an entry of the manifest, or its plan."""
    folder = os.open(engine_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # let go of with the folder
        yield
    finally:
        os.close(folder)


class Kind(Protocol):
    """What an engine was built as, or is to be."""

    @property
    def precision(self) -> str:
        """Of its networks, or "auto"."""

    @property
    def portable(self) -> bool:
        """Whether it is for other GPUs and later versions, too."""

    @property
    def apart(self) -> bool:
        """Whether it is three engines."""

    @property
    def workspace_mb(self) -> int | None:
        """Most GPU memory that one of its operators may take; None: all there is."""


def rebuild_command(recipe: str, backend: str, like: Kind | None = None) -> str:
    """What to type to build an engine; one of the same kind as ``like``.

    Its precision, too: one that was asked for may be the only one that decides as the reference does.
    """
    options = ""
    if like is not None:
        kinds = {
            " --portable": like.portable,
            " --apart": like.apart,
            f" --workspace-mb {like.workspace_mb}": like.workspace_mb is not None,
        }
        options = f" --precision {like.precision}" + "".join(one for one, it_is in kinds.items() if it_is)
    return f"`inspector build-engine --recipe {recipe} --backend {backend}{options}`"


def os_name() -> str:
    """What a plan is bound to: system and machine, not the kernel's version."""
    return f"{platform.system()} {platform.machine()}"


def _golden_tiles(engine_dir: Path, recipe: Recipe, progress: Callable[[str], None]) -> U8:
    """What there is from now on to prove engines on."""
    tiles, made_up = golden.golden_or_made_up(engine_dir, recipe)
    if made_up:
        progress(
            f"{engine_dir / golden.FILE} is missing or of other tiles: {golden.COUNT} are made up, of a web that "
            "is not yours"
        )
        golden.write_golden_tiles(engine_dir, tiles)
    return tiles


def wanted_precisions(
    tools: Toolchain,
    recipe: Recipe,
    backend: str,
    device: str,
    precision: str,
    progress: Callable[[str], None] = lambda sentence: None,
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


def _enter(engine_dir: Path, recipe: Recipe, backend: str, built: BuiltEngine) -> Manifest:
    """Put the entry into the manifest. A damaged one vouches for nothing and is replaced."""
    try:
        before = load_manifest(
            engine_dir, f"see that it can be read, then run {rebuild_command(recipe.name, backend)}"
        )
    except UnreadableError:
        raise
    except ArtefactError:
        before = None
    others = dict(before.engines) if before is not None and before.recipe == recipe.name else {}
    manifest = Manifest(schema=SCHEMA, recipe=recipe.name, engines={**others, backend: built})
    write_manifest(engine_dir, manifest)
    return manifest
