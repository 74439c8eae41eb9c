"""Teach: from a running camera to a recipe with its limit, in one go that nobody has to watch.

camera ─▶ frames ─▶ those like each other ─▶ to learn from ─▶ train ─▶ engine ─┐
                            │                for the limit ─▶ calibrate ◀──────┤
                            └─ left out      kept back ─────▶ proof ◀──────────┘─▶ put in place

Where the engine finds frames among those it learnt from that are far above the others, it is trained once more without
them: what such a frame shows was learnt as good web. Once, because every training doubles the time.
This module knows the order of the steps and says what each one found; everything happens in the staging place,
and the plant's own files change at the very end (``staging``).
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Protocol

import msgspec

from inspector import cameras, config
from inspector.backends import build_engine, failures_told, open_backend
from inspector.backends.artifact import load_recipe, write_recipe
from inspector.backends.runtime import toolchain
from inspector.bus.lock import hold_line
from inspector.calibrating.calibrate import set_limits, target_of
from inspector.calibrating.calibrated import GoodWeb
from inspector.calibrating.populations import TwoKinds
from inspector.config import Site
from inspector.errors import ArtefactError, ConfigError, DataError
from inspector.images.reading import GOOD, Cut, ImageFile, read_image
from inspector.interfaces import Backend, CameraInfo
from inspector.learning.alike import UnlikeImages
from inspector.limits import Limits, limits_file, to_toml
from inspector.records import Grid
from inspector.teaching.left_out import LeftOut, of_two_kinds, refused, show, sort_out, suspected
from inspector.teaching.proof import Proof, check_golden, prove, speed_of
from inspector.teaching.record import Progress, Recorded, Recording, Wanted, record, write_frame
from inspector.teaching.second_look import SecondLook, look_again
from inspector.teaching.shares import MOST_LEFT_OUT, Needs, Shares, needs_of, share_out
from inspector.teaching.staging import Staging, claimed
from inspector.teaching.taught import Taught
from inspector.teaching.teachable import (
    expected_width,
    fewest_words,
    grid_to_be,
    plan_words,
    refuse_little_room,
    usual_width,
)
from inspector.tiling import region_finder

SHOWN_OF_A_KIND = 3  # frames, where the web is of two kinds


class Onlooker(Protocol):
    """Whoever watches, or reads the log in the morning."""

    def say(self, text: str) -> None:
        """Some lines."""

    def bar(self, what: str) -> AbstractContextManager[Progress]:
        """Show how far a step is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for."""

    line_id: str
    recipe: str
    metres: float
    false_alarms_per_100m: float = 1.0
    overwrite: bool = False
    keep_frames: bool = False
    preset: str = "balanced"
    int8: bool = False
    weights: Sequence[Path] = ()
    epochs: int | None = None
    seed: int = 0


def teach(site: Site, asked: Asked, onlooker: Onlooker) -> Taught:
    """Record good web from a line's camera, and make a recipe and a limit of it.

    The line's lock is held while its camera is: afterwards the line may run on with the recipe it had.

    Args:
        site: the plant.
        asked: line, recipe, metres and the rest.
        onlooker: told what each step found.

    Returns what was put in place.

    Raises:
        ConfigError: there is no such line, its tiles can't be taught, the metres are too few, or torch is missing.
        BusError: the line runs.
        CameraError: its camera can't be opened, or delivers nothing.
        DataError: what was recorded is too little, or too unlike itself.
        ArtefactError: a recipe or limit of that name exists, it is being taught, the plant's folders take no files, or
            the disk is full.
        KeyboardInterrupt: Ctrl-C, SIGTERM or a closed terminal.
    Whatever is raised, recipe and limits are those of before and nothing staged remains; what can't be put back is
    named, and kept.
    """
    line = site.line(asked.line_id)
    with claimed(
        site, asked.line_id, asked.recipe, keep_frames=asked.keep_frames, say=onlooker.say
    ) as staging:
        # Only now: a teaching that was killed in its swap has been taken back, so what exists is what was before.
        _refuse_existing(site, asked)
        staging.see_that_its_place_takes_files()
        return _Teaching(site, line, asked, onlooker, staging).run()


class _Teaching:
    """One teaching, step by step."""

    def __init__(
        self, site: Site, line: config.Line, asked: Asked, onlooker: Onlooker, staging: Staging
    ) -> None:
        self._site = site
        self._line = line
        self._asked = asked
        self._onlooker = onlooker
        self._staging = staging
        self._seconds: dict[str, float] = {}
        self._left_out = 0

    def run(self) -> Taught:
        """Take all steps."""
        with closing(hold_line(self._site.file, self._asked.line_id)):
            training = _training()
            self._find_tools(training)
            info, recording, grid, needs = self._record()
        if not recording.frames:
            raise DataError(
                f"line {self._asked.line_id}: {recording.text()}; show the camera web, then teach again"
            )
        kept, left = sort_out(recording.frames)
        self._show(left, "that stand out; they count neither for training nor for the limit")
        self._refuse_many(len(left), len(recording.frames))
        needs = self._needs(info, grid, usual_width(kept))
        if len(kept) < needs.fewest:
            raise DataError(
                f"line {self._asked.line_id}: {len(kept)} frames of {recording.metres:.2f} m remain, teaching wants "
                f"{fewest_words(needs)}; teach again with --metres {needs.metres(needs.fewest + len(left)):g} or more"
            )
        shares = self._lay_out(share_out(kept, needs))
        self._train(training, shares.learn, info, grid)
        with self._engine() as backend:
            seen = self._look_again(
                backend, grid, shares.learn, "learnt from and still", "that were learnt from"
            )
        left += seen.left
        self._refuse_many(len(left), len(recording.frames))
        if seen.left:
            self._train_without(seen.left, training, seen.kept, info, grid)
        with self._engine() as backend:
            again = self._look_again(
                backend, grid, shares.limit, "after training", "that don't count for the limit"
            )
            left += again.left
            self._refuse_many(len(left), len(recording.frames))
            if len(again.kept) < needs.fewest_for_limit:
                raise DataError(
                    f"line {self._asked.line_id}: {len(again.kept)} frames remain for the limit, which wants "
                    f"{needs.fewest_for_limit}; teach again on more --metres"
                )
            limits, suspects = self._set_limits(backend, grid, again, recording.metres)
            left += suspects
            self._refuse_many(len(left), len(recording.frames))
            golden_tiles, speed, proof = self._prove(backend, grid, info, shares.proof, needs, limits)
        if proof.finds_little:
            self._show(again.highest, "that do count for the limit, and are the highest of those")
        self._refuse_blind(proof, limits)
        others = self._lines_with_limits()
        _refuse_existing(self._site, self._asked)  # somebody else may have trained one meanwhile
        self._staging.put_in_place(to_toml(limits).encode())
        self._staging.pictures_stay = True
        return Taught(
            line_id=self._asked.line_id,
            recipe=self._asked.recipe,
            named=self._line.recipe,
            config=self._site.file.name,
            metres=recording.metres,
            frames={
                "learnt from": len(seen.kept),
                "for the limit": len(again.kept) - len(suspects),
                "kept back": len(shares.proof),
                "not counted": len(left),
            },
            limits=limits,
            proof=proof,
            golden_tiles=golden_tiles,
            speed=speed,
            seconds=self._seconds,
            left_out=self._left_out,
            pictures=self._staging.left_out.relative_to(self._site.root),
            others=others,
        )

    # -- before and while the camera looks -----------------------------------------------------------

    def _find_tools(self, training: ModuleType) -> None:
        """Find out before the recording whether what comes after it can be done. Raises ArtefactError, ConfigError."""
        if self._asked.int8:
            training.refuse_int8(self._asked.preset)
        training.load_teachers(self._asked.preset, 1, self._asked.weights)
        tools = toolchain(self._line.engine.backend)
        tools.library_version()
        tools.device_name()

    def _record(self) -> tuple[CameraInfo, Recording, Grid, Needs]:
        staging, line, asked = self._staging, self._line, self._asked
        with closing(cameras.open_camera(asked.line_id, line, self._site.root)) as camera:
            info = camera.info
            grid = grid_to_be(self._site, asked.line_id, asked.recipe, info)
            needs = self._needs(info, grid, expected_width(line, info))
            wanted = Wanted(
                asked.metres, needs.frame_m, needs.most, grid.tile_px, line.web.encoder_counts_per_m
            )
            if wanted.expected < needs.fewest:
                raise ConfigError(
                    f"--metres {asked.metres:g}: that is {wanted.expected} frames of line {asked.line_id}; teaching "
                    f"wants {fewest_words(needs)}; give --metres {needs.metres(needs.fewest):g} or more"
                )
            megabytes = (
                min(wanted.expected, needs.most) * info.width_px * info.height_px * info.channels / 1e6
            )
            staging.recording.mkdir(parents=True, exist_ok=True)  # one killed before its first frame left it
            for folder, wants in ((staging.recording, megabytes), (staging.folder, 0.0)):
                refuse_little_room(folder, wants)
            self._onlooker.say(plan_words(asked.line_id, line, info, wanted, needs, megabytes))
            with self._step("recording") as progress:
                recording = record(camera, wanted, staging.recording, region_finder(line), progress)
        self._onlooker.say(recording.text())
        if recording.web_ended and recording.metres < asked.metres:
            self._onlooker.say(f"the web ended before {asked.metres:g} m")
        return info, recording, grid, needs

    def _needs(self, info: CameraInfo, grid: Grid, width_px: int) -> Needs:
        from inspector.learning.split import MOST_TILES, VALIDATION_SHARE, as_much_web

        return needs_of(
            self._line,
            grid,
            info.height_px,
            width_px,
            false_alarms_per_100m=self._asked.false_alarms_per_100m,
            most_learnt_tiles=as_much_web(MOST_TILES, Cut(grid.tile_px, grid.margin_px)),
            held_back_share=VALIDATION_SHARE,
        )

    # -- what was recorded ---------------------------------------------------------------------------

    def _show(self, left: Sequence[LeftOut], what: str) -> None:
        """Picture and line of every frame that a person should look at."""
        if left:
            self._onlooker.say(f"frames {what}: {len(left)}")
        for one in left:
            self._onlooker.say(one.text(self._picture(one)))

    def _picture(self, one: LeftOut) -> Path:
        """Write a picture; return where, from the plant's folder on."""
        self._left_out += 1
        folder = self._staging.place_for_pictures()
        file = show(one, read_image(ImageFile(one.frame.file, GOOD)).pixels, folder)
        return file.relative_to(self._site.root)

    def _refuse_many(self, left: int, of: int) -> None:
        if left <= MOST_LEFT_OUT * of:
            return
        self._staging.pictures_stay = True
        raise DataError(
            f"{self._staging.left_out}: {left} of {of} frames stand out from the others, more than {MOST_LEFT_OUT:.0%}"
            "; look at their pictures: does the light flicker, does the web end or change, is the focus off? "
            "mend it, then teach again"
        )

    def _refusal(self, unlike: Sequence[LeftOut], of: int) -> DataError:
        """Show what training refuses, and say it by metres of web: the frames themselves are staged, and go."""
        self._show(unlike, "that training refuses beside the others")
        self._staging.pictures_stay = True
        return DataError(
            f"{self._staging.left_out}: {len(unlike)} of {of} frames to learn from are unlike the others, at "
            f"{_places(unlike)}; "
            "look at their pictures: does the light change there, the exposure, or the web? mend it, then teach again"
        )

    def _two_kinds(self, kinds: TwoKinds, frames: Sequence[Recorded]) -> DataError:
        """Show some frames of either kind, and say where they lie on the web."""
        parts = of_two_kinds(kinds, frames)
        for part in parts:
            self._show(part[:SHOWN_OF_A_KIND], f"of one kind, the first of {len(part)}")
        self._staging.pictures_stay = True
        lower, upper = (_span(part) for part in parts)
        return DataError(
            f"{self._staging.left_out}: the web recorded for the limit is of two kinds: {lower}, and {upper}; look at "
            "their pictures: does the light change there, the focus, or the fabric? teach again on web of one kind, "
            "and two fabrics as two recipes"
        )

    def _lay_out(self, shares: Shares[Recorded]) -> Shares[Recorded]:
        """Move every frame to a folder of its purpose."""
        folders = [self._staging.recording / purpose for purpose in (self._lessons, "limit", "proof")]
        parts = (shares.learn, shares.limit, shares.proof)
        return Shares(
            *(tuple(_moved(one, to) for one in part) for part, to in zip(parts, folders, strict=True))
        )

    @property
    def _lessons(self) -> str:
        """Folder of what is learnt from, named as the recipe will tell where it learnt."""
        return f"taught-on-line-{self._asked.line_id}"

    # -- learning ------------------------------------------------------------------------------------

    def _train(
        self, training: ModuleType, learn: Sequence[Recorded], info: CameraInfo, grid: Grid, again: str = ""
    ) -> None:
        """Train on ``learn``, all frames in the lesson folder, and build the engine."""
        is_cut = self._line.region.kind == "fixed"
        lessons = (self._staging.folder if is_cut else self._staging.recording) / self._lessons
        if is_cut:
            _cut_to_region(learn, lessons, info.channels)
        try:
            with self._step(f"training{again}") as progress:
                training.train(
                    lessons,
                    self._asked.recipe,
                    self._staging.site.engines,
                    pair=self._asked.preset,
                    int8=self._asked.int8,
                    weights=self._asked.weights,
                    tile_px=grid.tile_px,
                    margin_px=grid.margin_px,
                    region="auto" if self._line.region.kind == "auto" else "whole",
                    channels=info.channels,
                    epochs=self._asked.epochs,
                    seed=self._asked.seed,
                    mm_per_px=self._line.web.mm_per_px,
                    progress=progress,
                )
        except UnlikeImages as unlike:
            raise self._refusal(refused(unlike, learn), len(learn)) from None
        if is_cut:
            _name_frames(self._staging.engine_dir, learn, info.channels)
        seconds = self._seconds[f"training{again}"]
        self._onlooker.say(f"trained{again} on {len(learn)} frames in {seconds:.0f} s")
        with self._step(f"engine{again}"):
            build_engine(self._staging.engine_dir, self._line.engine.backend)

    def _train_without(
        self,
        left: Sequence[LeftOut],
        training: ModuleType,
        learn: Sequence[Recorded],
        info: CameraInfo,
        grid: Grid,
    ) -> None:
        """Train anew, on the rest. Half of the lessons remain at least: none below the median is far above it."""
        self._onlooker.say(
            f"trains again without the frames at {_places(left)}: about {self._seconds['training']:.0f} s more"
        )
        shutil.rmtree(self._staging.engine_dir)
        self._train(training, learn, info, grid, " again")

    @contextmanager
    def _engine(self) -> Iterator[Backend]:
        """The engine as it was built last, open."""
        backend = open_backend(self._staging.engine_dir, self._line.engine.backend, self._line.engine.threads)
        with closing(backend), failures_told(backend):
            yield backend

    def _look_again(
        self, backend: Backend, grid: Grid, frames: Sequence[Recorded], what: str, told: str
    ) -> SecondLook:
        """Set the frames apart that the engine finds odd, and show them."""
        with self._step("second look") as progress:
            look = look_again(backend, grid, frames, what, progress)
        self._show(look.left, f"{told}, far above the others after training")
        for one in look.left:
            _moved(one.frame, self._staging.recording / "left-out")
        return look

    def _set_limits(
        self, backend: Backend, grid: Grid, look: SecondLook, metres: float
    ) -> tuple[Limits, list[LeftOut]]:
        """Set the limit on the maps of the second look: scoring takes minutes, and would give the same ones.

        Returns it and the frames that did not count for it, which are shown.
        """
        frames, line_id = look.kept, self._asked.line_id
        try:
            with self._step("limit"):
                found = set_limits(
                    GoodWeb(look.good, 0, 0, backend.info, grid),
                    load_recipe(self._staging.engine_dir),
                    line_id,
                    self._staging.site,
                    target_of(self._asked.false_alarms_per_100m, None, self._line),
                    data=frames[0].file.parent,
                )
        except TwoKinds as kinds:
            raise self._two_kinds(kinds, frames) from None
        limits = found.limits
        self._onlooker.say(f"limit {limits.limit_sigma:.2f} sigma from {limits.provenance.tiles} tiles")
        suspects = suspected(found.suspects, frames)
        self._show(suspects, "that the others don't explain; they don't count for the limit")
        words = f"{metres:.2f} m that `inspector teach` recorded on {datetime.now(UTC):%Y-%m-%d}"
        provenance = msgspec.structs.replace(limits.provenance, data=words)
        return msgspec.structs.replace(limits, provenance=provenance), suspects

    def _prove(
        self,
        backend: Backend,
        grid: Grid,
        info: CameraInfo,
        frames: Sequence[Recorded],
        needs: Needs,
        limits: Limits,
    ) -> tuple[int, str, Proof]:
        with self._step("self-test") as progress:
            golden_tiles = check_golden(self._staging.engine_dir, backend)
            speed = speed_of(backend, grid, self._line, limits.region_mm, info.height_px)
            mm_per_px = self._line.web.mm_per_px
            proof = prove(backend, grid, frames, needs.frame_m, mm_per_px, limits.levels, progress)
        self._show(proof.alarmed, f"with alarms, of {len(frames)} kept back")
        return golden_tiles, speed, proof

    def _refuse_blind(self, proof: Proof, limits: Limits) -> None:
        """Nobody looks on who would see that a recipe is worth nothing; it may not take another's place."""
        if any(any(row.found) for row in proof.rows):
            return
        self._staging.pictures_stay = True
        raise DataError(
            f"line {self._asked.line_id}: at {limits.limit_sigma:.1f} sigma not one drawn fault is found, so nothing "
            "was put in place; the recorded web bore faults, or changed too much: look at the web, then teach again"
        )

    def _lines_with_limits(self) -> tuple[str, ...]:
        """Other lines that have a limit for a recipe of that name, which then belongs to none."""
        others = (other for other in self._site.plant.line if other != self._asked.line_id)
        return tuple(other for other in others if limits_file(self._site, other, self._asked.recipe).exists())

    @contextmanager
    def _step(self, what: str) -> Iterator[Progress]:
        began_s = time.monotonic()
        with self._onlooker.bar(what) as progress:
            yield progress
        self._seconds[what] = self._seconds.get(what, 0.0) + time.monotonic() - began_s


def _refuse_existing(site: Site, asked: Asked) -> None:
    """Raise ArtefactError where something of that name would be replaced unasked."""
    recipe, limits = (
        site.engines / asked.recipe / "recipe.toml",
        limits_file(site, asked.line_id, asked.recipe),
    )
    interrupted = site.engines / asked.recipe / "training"
    for file, what in ((recipe, "a recipe"), (limits, "a limit"), (interrupted, "an interrupted training")):
        if file.exists() and not asked.overwrite:
            raise ArtefactError(
                f"{file}: there is {what} of that name already; choose another --recipe, or replace it by --overwrite"
            )


def _training() -> ModuleType:
    """Load training, which takes seconds: what is refused before it is refused at once. Raises ConfigError."""
    try:
        from inspector.learning import train
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'training needs the package {error.name!r}; run: pip install -e ".[train]"'
        ) from None
    return train


def _places(left: Sequence[LeftOut]) -> str:
    return ", ".join(f"{one.frame.place_m:.2f} m" for one in left)


def _span(part: Sequence[LeftOut]) -> str:
    first, last = part[0], part[-1]
    return f"{len(part)} frames from {first.frame.place_m:.2f} to {last.frame.place_m:.2f} m, {first.why}"


def _moved(frame: Recorded, folder: Path) -> Recorded:
    folder.mkdir(exist_ok=True)
    return dataclasses.replace(frame, file=frame.file.rename(folder / frame.file.name))


def _cut_to_region(frames: Sequence[Recorded], folder: Path, channels: int) -> None:
    """Write into a new folder what is judged of each frame; training itself knows no fixed columns."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for frame in frames:
        pixels = read_image(ImageFile(frame.file, GOOD), channels).pixels
        write_frame(folder / frame.file.name, pixels[:, frame.region.left_px : frame.region.right_px])


def _name_frames(engine_dir: Path, frames: Sequence[Recorded], channels: int) -> None:
    """Let the recipe name frames as they were recorded: by their crops' hashes no kept frame would be known again."""
    images = {frame.file.name: read_image(ImageFile(frame.file, GOOD), channels) for frame in frames}
    recipe = load_recipe(engine_dir)
    training = msgspec.structs.replace(
        recipe.training,
        learnt={name: images[name].sha256 for name in recipe.training.learnt},
        validation={name: images[name].sha256 for name in recipe.training.validation},
        pixels_sha256={name: images[name].pixels_sha256 for name in recipe.training.pixels_sha256},
    )
    write_recipe(engine_dir, msgspec.structs.replace(recipe, training=training))
