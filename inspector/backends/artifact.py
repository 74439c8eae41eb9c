"""What lies in ``engines/NAME/`` and who vouches for it.

    recipe.toml     what was trained, on what, and the hash of its graph     written by train
    model.onnx      the one graph that every backend runs                    written by train
    golden.png      tiles that every engine must score alike                 written by train or build-engine
    manifest.toml   what was built from the graph on this machine            written by build-engine
    plans/          compiled engines, bound to this machine                  written by build-engine
                    (and what TensorRT timed to choose its kernels, for the next build)

Files are written whole or not at all. Nothing is loaded that recipe and manifest don't vouch for.
This module knows nothing of any runtime.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import tomli_w
from msgspec import Meta

from inspector.config import Place
from inspector.errors import ArtefactError
from inspector.records import tile_shape

SCHEMA = 1  # of recipe.toml and manifest.toml

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Pixels = Annotated[int, Meta(ge=1, le=8192)]
T = TypeVar("T", bound="Document")

RECIPE_HEADER = "# A recipe, written by `inspector train`: what was trained, and on what.\n\n"
MANIFEST_HEADER = (
    "# Engines built on this machine, written by `inspector build-engine`: not to be edited or moved.\n\n"
)


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A table of one of the files: frozen, strict about keys. A key at its default is left out."""


class Training(Document, frozen=True, kw_only=True):
    """Where a recipe's graph comes from."""

    date_utc: str  # ISO 8601
    inspector: str  # version
    preset: str = ""  # which networks, a name of `train --preset`; empty: not told
    int8: bool = False  # the networks' convolutions are of int8, by Q/DQ in the graph
    data: str  # folder the good images came from
    learnt: dict[str, Sha256]  # images the students learnt from: path in the folder -> sha256 of the file
    validation: dict[str, Sha256]  # images held back, that constants and the best epoch come from
    pixels_sha256: dict[str, Sha256] = {}  # of both: path -> hash of the decoded pixels; empty: not told
    seed: int
    epochs: int  # that the students went through: the best one on validation images is the last
    stopped_early: str = ""  # why the training ended before all its epochs, in words; empty: it didn't
    weights_sha256: dict[str, Sha256] = {}  # of the teachers' weight files
    versions: dict[str, str] = {}  # of the libraries that trained and exported
    mm_per_px: float | None = None  # of the images, if known
    resize: int | None = None  # whole images were squeezed to that square, px; None: native, or not told


class Recipe(Document, frozen=True, kw_only=True):
    """What every room needs to know of a trained recipe.

    The graph ``model.onnx`` takes ``tiles`` uint8 [N, side, side] (one channel) or [N, side, side, 3]
    (RGB), and gives ``map`` float32 [N, cells, cells] and ``score`` float32 [N], both in sigma.
    """

    schema: int
    name: str
    tile_px: Pixels  # side of the judged interior
    margin_px: Annotated[int, Meta(ge=0, le=4096)]  # seen on every side, never judged
    px_per_cell: Pixels
    channels: int  # 1 or 3
    teachers: tuple[str, ...]
    onnx_sha256: Sha256
    training: Training

    @property
    def side_px(self) -> int:
        """Of a tile with its margins."""
        return self.tile_px + 2 * self.margin_px

    @property
    def cells(self) -> int:
        """Of a score map, along one side."""
        return self.tile_px // self.px_per_cell

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """Of one tile as the graph takes it: (side, side) or (side, side, 3)."""
        return tile_shape(self.side_px, self.channels)

    @property
    def tiles(self) -> str:
        """All measures in words."""
        return (
            f"{self.tile_px} px, margin {self.margin_px} px, {self.px_per_cell} px per cell, "
            f"{'mono' if self.channels == 1 else 'RGB'}"
        )

    @property
    def learnt_sha256(self) -> frozenset[str]:
        """Of the images that the students learnt from: of their files and, where it is told, of their pixels."""
        return self._sha256_of(self.training.learnt)

    @property
    def validation_sha256(self) -> frozenset[str]:
        """The same of those held back, which the graph's constants come from."""
        return self._sha256_of(self.training.validation)

    def _sha256_of(self, images: dict[str, str]) -> frozenset[str]:
        of_pixels = self.training.pixels_sha256
        return frozenset(images.values()) | {of_pixels[path] for path in images if path in of_pixels}


class BuiltEngine(Document, frozen=True, kw_only=True):
    """One backend's entry in the manifest: what was built, from what, where, and how it scored."""

    precision: str  # "fp32" | "bf16" | "fp16" | "tf32" | "int8"
    version: str  # of the runtime library
    device: str  # CPU or GPU as the runtime names it
    os: str
    built_utc: str  # ISO 8601
    tiles: str  # the recipe's measures: a graph knows its tiles' side, but not what of it is margin
    onnx_sha256: Sha256
    plan: Place = ""  # path in the recipe's folder; empty: the graph itself is loaded
    plan_sha256: str = ""
    profile: tuple[int, ...] = ()  # tiles at a time: least, tuned for, most; empty: any number
    portable: bool = False  # TensorRT: other GPUs and later versions may load it (``portable.py``)
    apart: bool = (
        False  # TensorRT: three engines in one plan, teachers and students side by side (``apart.py``)
    )
    workspace_mb: int | None = (
        None  # TensorRT: most GPU memory that one operator may take; None: all there is
    )
    driver: str = ""  # version of the GPU's driver at the build, to be told: no plan is bound to it
    golden_sha256: Sha256  # golden.png
    golden_reference: tuple[float, ...]  # tile scores of ONNX Runtime in fp32, sigma
    golden_scores: tuple[float, ...]  # of this engine


class Manifest(Document, frozen=True, kw_only=True):
    """Everything built from one recipe on one machine."""

    schema: int
    recipe: str
    engines: dict[str, BuiltEngine]  # by backend


def load_recipe(engine_dir: Path) -> Recipe:
    """Read ``engines/NAME/recipe.toml``.

    Raises ArtefactError when it is missing, damaged, of a newer schema, or belongs to another folder.
    """
    name = engine_dir.name
    remedy = f"run `inspector train DATA --recipe {name}`"
    file = engine_dir / "recipe.toml"
    if not file.is_file():
        raise ArtefactError(f"{file}: no such recipe{_others(engine_dir)}; {remedy}")
    recipe = _load(file, Recipe, f"bring it back from the backup, or {remedy}")
    if recipe.name != name:
        raise ArtefactError(
            f"{file}: this is recipe {recipe.name!r} in a folder called {name!r}; "
            f"name the folder {recipe.name!r}, or {remedy}"
        )
    if recipe.channels not in (1, 3) or recipe.tile_px % recipe.px_per_cell:
        raise ArtefactError(
            f"{file}: channels = {recipe.channels} must be 1 or 3, and tile_px = {recipe.tile_px} a multiple of "
            f"px_per_cell = {recipe.px_per_cell}; {remedy}"
        )
    return recipe


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


def write_recipe(engine_dir: Path, recipe: Recipe) -> None:
    """Write ``engines/NAME/recipe.toml``. Raises ArtefactError when the disk won't take it."""
    _write(engine_dir / "recipe.toml", RECIPE_HEADER, recipe)


def load_manifest(engine_dir: Path, remedy: str) -> Manifest | None:
    """Read ``engines/NAME/manifest.toml``; None when nothing was built yet.

    Args:
        engine_dir: the recipe's folder.
        remedy: what to do about a bad one, for the message.

    Raises ArtefactError when it is damaged or of a newer schema.
    """
    file = engine_dir / "manifest.toml"
    return _load(file, Manifest, remedy) if file.is_file() else None


def write_manifest(engine_dir: Path, manifest: Manifest) -> None:
    """Write ``engines/NAME/manifest.toml``. Raises ArtefactError when the disk won't take it."""
    _write(engine_dir / "manifest.toml", MANIFEST_HEADER, manifest)


def sha256_of(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


class UnreadableError(ArtefactError):
    """A file is there, and can't be read: nobody knows what is in it, so nothing may replace it."""


def read_bytes(file: Path, remedy: str) -> bytes:
    """Read a whole file. Raises ArtefactError with the remedy; UnreadableError where it is there."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ArtefactError(f"{file}: no such file; {remedy}") from None
    except OSError as error:
        raise UnreadableError(f"{file}: can't be read ({error.strerror}); {remedy}") from None


def write_atomically(file: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, and on the disk when this returns.

    A link stays one: what it points to is replaced. What is no file (a pipe, a terminal) is written into.
    Raises ArtefactError when the disk is full or the folder can't be written; what was there before stays.
    """
    try:
        put_on_disk(file, data)
    except OSError as error:
        raise ArtefactError(
            f"{file}: can't be written ({error.strerror}), what was there before is untouched; "
            f"free the disk or mend the path, then run it again"
        ) from None


def put_on_disk(file: Path, data: bytes) -> None:
    """As ``write_atomically``, for who has a sentence of his own. Raises OSError."""
    if is_no_file(file):
        with file.open("ab") as stream:
            stream.write(data)
        return
    there = Path(os.path.realpath(file)) if file.is_symlink() else file
    temporary = there.with_name(f".{there.name}.{os.getpid()}.tmp")
    try:
        there.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(there)
        sync_folder(there.parent)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def is_no_file(file: Path) -> bool:
    """Whether something is there that bytes go through, and nothing could be put in its place.

    /dev/stdout is such even where it was sent to a file: whoever writes there goes on after these bytes.
    """
    is_device = file.absolute().parts[1:2] == ("dev",)
    return is_device or (file.exists() and not file.is_file() and not file.is_dir())


def see_that_it_takes_files(folder: Path) -> None:
    """Before long work whose outcome is to be written there, or where it is still to be made. Raises ArtefactError."""
    folder = next(one for one in (folder, *folder.parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ArtefactError(
            f"{folder}: no file can be written there ({error.strerror}), so nothing was begun; mend the path, its "
            "owner or its permissions, then run it again"
        ) from None


def sync_folder(folder: Path) -> None:
    """See that what was renamed in a folder outlives a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(file: Path, header: str, document: Document) -> None:
    write_atomically(file, (header + tomli_w.dumps(msgspec.to_builtins(document))).encode())


def _load(file: Path, kind: type[T], remedy: str) -> T:
    raw = _parse(file, read_bytes(file, remedy), remedy)
    schema = raw.get("schema")
    if schema != SCHEMA:
        raise ArtefactError(
            f"{file}: schema {schema!r}, but this inspector reads schema {SCHEMA}; "
            f"use the inspector that wrote it, or {remedy}"
        )
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ArtefactError(f"{file}: {_complaint(str(error))}; {remedy}") from None


def _complaint(message: str) -> str:
    """msgspec's complaint in the file's own words."""
    what, _, where = message.partition(" - at ")
    what = what.replace("Object contains unknown field", "unknown key")
    what = what.replace("Object missing required field", "missing key")
    key = where.strip("`").removeprefix("$").removeprefix(".")
    return f"{key}: {what[0].lower()}{what[1:]}" if key else what


def _parse(file: Path, data: bytes, remedy: str) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ArtefactError(f"{file}: not valid TOML ({error}); {remedy}") from None


def _others(engine_dir: Path) -> str:
    """The recipes that there are, to help with a misspelt name."""
    names = sorted(file.parent.name for file in engine_dir.parent.glob("*/recipe.toml"))
    return f" (there are: {', '.join(names)})" if names else ""
