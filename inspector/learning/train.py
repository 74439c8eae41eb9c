"""A recipe from a folder of good images: the whole of ``inspector train``.

images ─▶ tiles of learnt and of validation images ─▶ teachers look ─▶ students learn ─▶ one ONNX graph
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from inspector.backends import golden
from inspector.backends.artifact import (
    SCHEMA,
    Recipe,
    Training,
    sha256_of,
    sync_folder,
    write_atomically,
    write_recipe,
)
from inspector.errors import ArtefactError, ConfigError, a_few
from inspector.images.reading import PX_PER_CELL, Cut, Image, open_data, read_images
from inspector.learning import curve
from inspector.learning.alike import refuse_unlike
from inspector.learning.cells import Shape
from inspector.learning.course import course_of
from inspector.learning.distance import Students
from inspector.learning.distill import Progress, distill, look, residuals
from inspector.learning.export import InspectionGraph, build_graph, to_onnx
from inspector.learning.halved import halved
from inspector.learning.quantised import quantise
from inspector.learning.split import GOOD_NUMBER, Held, hold_back
from inspector.learning.students import build_students
from inspector.learning.suspects import find_suspects, peaks, warning
from inspector.learning.teachers import AS_PUBLISHED, Teacher, load_teachers, pair_layers, pair_specs
from inspector.learning.unlearnt import NAME, Sheet
from inspector.records import I32, U8

LEFT_OUT_SHARE = 0.02  # of an image's area
MOST_NAMED = 5


def train(
    data: Path,
    name: str,
    engines: Path,
    *,
    pair: str = "balanced",
    weights: Sequence[Path] = (),
    tile_px: int = 256,
    margin_px: int = 32,
    int8: bool = False,
    resize: int | None = None,
    region: Literal["whole", "auto"] = "auto",
    channels: Literal[1, 3] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    mm_per_px: float | None = None,
    overwrite: bool = False,
    progress: Progress,
    warn: Callable[[str], None] | None = None,
    learning_curve: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Recipe:
    """Train a recipe and write ``engines/NAME/{recipe.toml, model.onnx, golden.png, not-learnt.png}``.

    While it trains, not-learnt.png is drawn at every quarter; where a recipe is to be replaced, beside the
    checkpoint until it is. A training that was interrupted goes on where it was if it is asked for with the
    same arguments.

    Args:
        data: a folder of good images or an MVTec-style tree, of which only train/good is looked at.
        name: of the recipe.
        engines: folder of all recipes.
        pair: teachers and students, a name of ``teachers.PAIRS``.
        weights: the teachers' weight files; what is not given is fetched.
        tile_px: side of the judged interior, a multiple of 32 together with its margins.
        margin_px: seen around a tile but never judged.
        int8: networks' convolutions in int8; students learn what the quantised teachers say.
        resize: squeeze whole images to this many pixels squared first (None: native resolution).
        region: "auto" leaves out background and selvedge; whole images that are resized are never cut.
        channels: 1 or 3; None: what the images have.
        epochs: at most so many; None: chosen by the number of tiles.
        seed: of students, order and split.
        mm_per_px: of the images, for the record.
        overwrite: replace a recipe of that name.
        progress: told how far it is.
        warn: told in sentences what lies in ``data`` and isn't looked at, which good images look otherwise or may
            bear a fault, and that they are few; None: it isn't looked for such.
        learning_curve: train shortly on parts of the images too and tell what more would bring; also writes
            ``engines/NAME/learning-curve.svg``.
        say: told the learning curve in a few lines.

    Raises:
        DataError: images can't be used, are not alike, or are too few.
        ArtefactError: weights are missing or foreign, a recipe of that name exists, or the disk is full.
        ConfigError: arguments don't fit each other.
    """
    folder = engines / name
    _refuse_existing(folder, overwrite)
    _check(tile_px, margin_px, pair, epochs)
    if int8:
        refuse_int8(pair)
    cut = Cut(tile_px, margin_px, resize=resize, region="whole" if resize else region)
    given = open_data(data)
    if warn is not None:
        for sentence in given.good_overlooked:
            warn(sentence)
    images = read_images(given.good, channels)
    other_looks = refuse_unlike(images, squeezed=resize is not None)
    held = hold_back(images, cut, seed, data)
    if warn is not None:
        for sentence in (*other_looks, *_left_out(held)):
            warn(sentence)
        if len(images) < GOOD_NUMBER and not learning_curve:
            warn(
                f"{len(images)} good images are few, {GOOD_NUMBER} or more are better; --learning-curve says what more "
                "would bring"
            )
    lesson = held.lesson(pair, seed)
    depth = held.learnt[0].channels
    teachers, hashes = load_teachers(pair, depth, weights)
    if int8:
        for teacher in teachers:
            quantise(teacher, lesson)
    students = build_students(pair, depth, seed)
    identity = _identity(pair, teachers, students, [lesson, held.validation_tiles])
    course = course_of(pair, len(lesson), cut, seed, identity, epochs)
    checkpoints = folder / "training"
    held_back = look(teachers, held.validation_tiles, progress)
    # A recipe that stands keeps its own picture until it is replaced.
    picture = (checkpoints if (folder / "recipe.toml").exists() else folder) / NAME
    sheet = _sheet(picture, held, margin_px, course.epochs, progress)
    taught = look(teachers, lesson, progress)
    standing = distill(students, taught, held_back, course, checkpoints, progress, sheet.watch)
    if int8:
        quantise(students, lesson)
    surprises = residuals(students, held_back)
    shape = Shape(tile_px, margin_px, depth)
    graph = build_graph(teachers, students, held.validation_tiles, shape, [held.learnt_tiles], pair=pair)
    if warn is not None:
        _warn_of_suspects(graph, held, progress, warn)
    points: list[curve.Point] = []
    if learning_curve:
        image_of = np.tile(held.learnt_of, len(lesson) // len(held.learnt_tiles))
        points = curve.measure(
            lambda: build_students(pair, depth, seed),
            taught,
            image_of,
            held_back,
            course,
            checkpoints / "curve",
            progress,
        )
        say(curve.summary(points, len(np.unique(held.validation_of))))
    model = halved(to_onnx(graph))
    learnt, validation = _seen(held.learnt, held.learnt_of), _seen(held.validation, held.validation_of)
    recipe = Recipe(
        schema=SCHEMA,
        name=name,
        tile_px=tile_px,
        margin_px=margin_px,
        px_per_cell=PX_PER_CELL,
        channels=depth,
        teachers=tuple(spec.network for spec in pair_specs(pair)),
        onnx_sha256=sha256_of(model),
        training=Training(
            date_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            inspector=importlib.metadata.version("inspector-line"),
            preset=pair,
            int8=int8,
            data=data.name,
            learnt=_listed(learnt, data),
            validation=_listed(validation, data),
            pixels_sha256=_pixels_listed([*learnt, *validation], data),
            seed=seed,
            epochs=standing.best_epoch,
            stopped_early=standing.stopped,
            weights_sha256=hashes,
            versions={library: importlib.metadata.version(library) for library in ("torch", "onnx", "numpy")},
            mm_per_px=mm_per_px,
            resize=resize,
        ),
    )
    _refuse_existing(folder, overwrite)  # training takes minutes: somebody else may have put one there
    _put_in_place(folder, model, _spread(held.validation_tiles, golden.COUNT), recipe)
    _sheet(folder / NAME, held, margin_px, course.epochs, progress).draw(
        surprises, f"as they are learnt, epoch {standing.best_epoch}"
    )
    _write_curve(folder / curve.NAME, points)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return recipe


def _refuse_existing(folder: Path, overwrite: bool) -> None:
    if not overwrite and (folder / "recipe.toml").exists():
        has_engine = (folder / "manifest.toml").exists()
        lacks = "" if has_engine else f" (`inspector build-engine --recipe {folder.name}` builds its engine)"
        raise ArtefactError(
            f"{folder}: there is a recipe of that name already{lacks}; choose another --recipe, or replace it by "
            "--overwrite"
        )


def _put_in_place(folder: Path, model: bytes, tiles: U8, recipe: Recipe) -> None:
    """Write a recipe's files, all of them beside the old ones first: a full disk leaves those as they are."""
    fresh = folder / ".new"
    try:
        write_atomically(fresh / "model.onnx", model)
        golden.write_golden_tiles(fresh, tiles)
        write_recipe(fresh, recipe)
        # The recipe comes last: it vouches for the graph, and without it there is no recipe.
        for name in ("model.onnx", golden.FILE, "recipe.toml"):
            (fresh / name).replace(folder / name)
        sync_folder(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _sheet(file: Path, held: Held, margin_px: int, epochs: int, progress: Progress) -> Sheet:
    names = [held.validation[at].file.path.name for at in held.validation_of]
    return Sheet(file, held.validation_tiles, names, margin_px, epochs, progress)


def _write_curve(file: Path, points: Sequence[curve.Point]) -> None:
    """Write the curve, or remove that of an earlier training, which says nothing of this one."""
    if len(points) > 1:
        write_atomically(file, curve.draw(points).encode())
    else:
        file.unlink(missing_ok=True)


def _warn_of_suspects(
    graph: InspectionGraph, held: Held, progress: Progress, warn: Callable[[str], None]
) -> None:
    scores = peaks(graph, np.concatenate([held.learnt_tiles, held.validation_tiles]), progress)
    image_of = np.concatenate([held.learnt_of, len(held.learnt) + held.validation_of]).astype(np.int32)
    sentence = warning(find_suspects(scores, image_of), held.names, scores, image_of)
    if sentence:
        warn(sentence)


def _spread(tiles: U8, count: int) -> U8:
    """``count`` tiles evenly from first to last; where there are fewer, some stand twice."""
    chosen = np.linspace(0, len(tiles) - 1, count).round().astype(np.int64)
    return np.asarray(tiles[chosen], np.uint8)


def refuse_int8(pair: str) -> None:
    """Raise ConfigError for a pair that isn't ours to quantise."""
    if pair in AS_PUBLISHED:
        raise ConfigError(
            f"preset {pair!r} is kept as published, in float32; leave out --int8, or take another"
        )


def _check(tile_px: int, margin_px: int, pair: str, epochs: int | None) -> None:
    step = max(layer.stride for layer in pair_layers(pair))
    if (tile_px + 2 * margin_px) % step:
        raise ConfigError(
            f"a tile of {tile_px} px with margins of {margin_px} px is {tile_px + 2 * margin_px} px, which is no "
            f"multiple of {step}; the networks of pair {pair!r} want one"
        )
    if margin_px >= tile_px:
        raise ConfigError(
            f"a margin of {margin_px} px is no narrower than a tile of {tile_px} px, and no line can cut such tiles; "
            "give a narrower --margin-px, or a larger --tile-px"
        )
    if epochs is not None and epochs < 1:
        raise ConfigError(f"epochs = {epochs}: give at least 1, or leave it out")


def _identity(pair: str, teachers: Sequence[Teacher], students: Students, lessons: Sequence[U8]) -> str:
    """What a checkpoint belongs to: pair, teachers' weights, students' shapes, tiles, torch's version."""
    digest = hashlib.sha256(f"{pair} {torch.__version__}".encode())
    digest.update(repr([(name, value.shape) for name, value in students.state_dict().items()]).encode())
    for teacher in teachers:
        for value in teacher.state_dict().values():
            digest.update(value.numpy().tobytes())
    for tiles in lessons:
        digest.update(repr(tiles.shape).encode())
        digest.update(tiles.tobytes())
    return digest.hexdigest()


def _left_out(held: Held) -> list[str]:
    """Sentences about what ``region`` leaves out of good images: a line that judges all of it has not learnt that."""
    told = []
    without = [image.file.path.name for image in held.without_web]
    if without:
        count = len(held.learnt) + len(held.validation) + len(without)
        told.append(
            f"{len(without)} of {count} good images show no web that can be told from background, and are not "
            f"learnt from: {a_few(without, MOST_NAMED)}; with --region whole all of every image is web"
        )
    if held.left_out_share >= LEFT_OUT_SHARE:
        told.append(
            f"up to {held.left_out_share:.0%} of a good image is taken for background or selvedge and not learnt; "
            "where the line judges that, too (its region is 'whole'), train with --region whole"
        )
    return told


def _seen(images: Sequence[Image], of: I32) -> list[Image]:
    """Those images that any tile is of: nobody has seen the others."""
    return [images[at] for at in np.unique(of)]


def _listed(images: Sequence[Image], data: Path) -> dict[str, str]:
    return {image.file.path.relative_to(data).as_posix(): image.sha256 for image in images}


def _pixels_listed(images: Sequence[Image], data: Path) -> dict[str, str]:
    return {image.file.path.relative_to(data).as_posix(): image.pixels_sha256 for image in images}
