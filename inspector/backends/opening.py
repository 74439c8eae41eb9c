"""open_backend: load an engine that its manifest vouches for, here and now, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import eq
from pathlib import Path

import msgspec

from inspector.backends import golden, portable
from inspector.backends.artifact import (
    BuiltEngine,
    Recipe,
    load_graph,
    load_manifest,
    load_recipe,
    read_bytes,
    sha256_of,
)
from inspector.backends.building import os_name, rebuild_command
from inspector.backends.engine import Engine, info_of, score_loose
from inspector.backends.proving import INT8
from inspector.backends.runtime import toolchain
from inspector.errors import ArtefactError
from inspector.interfaces import Backend

SELF_TEST_TILES = 4


@dataclass(frozen=True, slots=True)
class Opened:
    """A loaded engine that the manifest vouches for, and what it keeps of the build. Nobody has tested it yet."""

    engine: Engine
    recipe: Recipe
    built: BuiltEngine


def open_backend(engine_dir: Path, backend: str, threads: int = 0) -> Backend:
    """Open a recipe's engine on a backend.

    Args:
        engine_dir: engines/NAME.
        backend: "openvino", "onnxruntime" or "tensorrt".
        threads: CPU threads; 0 leaves it to the backend.

    Raises ArtefactError that names what is missing or differs (graph, plan, golden tiles, library version,
    device, operating system) and the command that builds it anew; also when the engine no longer scores
    golden tiles as it did when it was built.
    """
    opened = open_untested(engine_dir, backend, threads)
    try:
        _self_test(engine_dir, opened)
    except ArtefactError:
        opened.engine.close()
        raise
    return opened.engine


@contextmanager
def failures_told(backend: Backend) -> Iterator[None]:
    """For a command that scores: what the runtime fails with at work is a sentence. Raises ArtefactError."""
    try:
        yield
    except RuntimeError as error:
        name, info = backend.info.recipe, backend.info
        raise ArtefactError(
            f"recipe {name}: {info.backend} fails at scoring tiles ({error}); run {rebuild_command(name, info.backend)}"
        ) from None


def open_untested(engine_dir: Path, backend: str, threads: int = 0) -> Opened:
    """``open_backend`` for whoever tests the engine himself: all is vouched for, no golden tile was scored."""
    recipe = load_recipe(engine_dir)
    built, version, device = vouched(engine_dir, recipe, backend)
    graph = load_graph(engine_dir, recipe)
    remedy = f"run {rebuild_command(recipe.name, backend, built)}"
    plan = vouched_bytes(engine_dir / built.plan, built.plan_sha256, remedy) if built.plan else b""
    # A build makes up what is missing, and the training's own tiles would be gone for good.
    vouched_bytes(
        engine_dir / golden.FILE, built.golden_sha256, f"bring it back from the backup, or {remedy}"
    )
    try:
        runtime = toolchain(backend).open_runtime(
            recipe, graph, plan, built.precision, threads, built.portable
        )
    except RuntimeError as error:
        raise ArtefactError(
            f"{engine_dir / (built.plan or 'model.onnx')}: {backend} can't load it ({error}); {remedy}"
        ) from None
    sha256 = built.plan_sha256 or built.onnx_sha256
    info = info_of(recipe, backend, version, device, built.precision, sha256)
    return Opened(Engine(recipe, info, runtime), recipe, built)


def _entry(engine_dir: Path, recipe: Recipe, backend: str) -> BuiltEngine:
    remedy = f"run {rebuild_command(recipe.name, backend)}"
    manifest = load_manifest(engine_dir, remedy)
    if manifest is None or backend not in manifest.engines:
        raise ArtefactError(
            f"{engine_dir / 'manifest.toml'}: no engine was built for {backend} on this machine; {remedy}"
        )
    if manifest.recipe != recipe.name:
        raise ArtefactError(
            f"{engine_dir / 'manifest.toml'}: belongs to recipe {manifest.recipe!r}, not {recipe.name!r}; {remedy}"
        )
    return manifest.engines[backend]


def vouched(engine_dir: Path, recipe: Recipe, backend: str) -> tuple[BuiltEngine, str, str]:
    """Find the manifest's entry of a backend, if it is for this recipe, library and device; files are not looked at.

    Returns the entry, and library version and device as they are here: a portable plan was built with others.

    Raises ArtefactError that names what is missing or differs, and the command that builds it anew.
    """
    built, tools = _entry(engine_dir, recipe, backend), toolchain(backend)
    remedy = f"run {rebuild_command(recipe.name, backend, built)}"
    version, device = tools.library_version(), tools.device_name()
    version_fits, device_fits = (portable.version_fits, portable.device_fits) if built.portable else (eq, eq)
    for what, then, now, fits in (
        ("graph (onnx_sha256)", built.onnx_sha256, recipe.onnx_sha256, eq),
        ("kind of tiles", built.tiles, recipe.tiles, eq),
        ("library version", built.version, version, version_fits),
        ("device", built.device, device, device_fits),
        ("operating system", built.os, os_name(), eq),
    ):
        if not fits(then, now):
            raise ArtefactError(
                f"{engine_dir / 'manifest.toml'}: the engine was built for another {what}: {then}, here it is {now}; "
                f"{remedy}"
            )
    if built.precision not in (INT8, *tools.precisions()):
        remedy = (
            f"run {rebuild_command(recipe.name, backend, msgspec.structs.replace(built, precision='auto'))}"
        )
        raise ArtefactError(
            f"{engine_dir / 'manifest.toml'}: {backend} has no precision {built.precision!r} here; {remedy}"
        )
    return built, version, device


def vouched_bytes(file: Path, sha256: str, remedy: str) -> bytes:
    """Read a file that the manifest vouches for. Raises ArtefactError where it is missing, or another."""
    data = read_bytes(file, remedy)
    if sha256_of(data) != sha256:
        raise ArtefactError(
            f"{file}: not the file that manifest.toml vouches for (sha256 differs): changed or cut short; {remedy}"
        )
    return data


def _self_test(engine_dir: Path, opened: Opened) -> None:
    """Score a few golden tiles as at the build: the short form of ``inspector selftest``."""
    built = opened.built
    remedy = f"run {rebuild_command(opened.recipe.name, opened.engine.info.backend, built)}"
    tiles = golden.golden_tiles(engine_dir, opened.recipe, remedy)[:SELF_TEST_TILES]
    try:
        scores = score_loose(opened.engine, tiles).tile_scores
    except RuntimeError as error:
        raise ArtefactError(f"{engine_dir}: the engine fails its self-test ({error}); {remedy}") from None
    if not golden.drift(scores, built).max() <= 1:
        then = built.golden_scores[:SELF_TEST_TILES]
        raise ArtefactError(
            f"{engine_dir}: the engine fails its self-test: golden tiles score "
            f"{', '.join(f'{score:.2f}' for score in scores)} sigma, at the build "
            f"{', '.join(f'{score:.2f}' for score in then)}; {remedy}"
        )
