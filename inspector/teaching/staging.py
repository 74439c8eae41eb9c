"""Where a recipe is taught before it is one: beside the plant's own files, and put in their place at the end.

    engines/.teach-NAME/            laid out as a plant: what is written into it is at home there at once
        engines/NAME/               recipe, graph, engine
        calibration/                limits
        before/                     there only while the new takes the place of the old: what was there,
                                    the recipe as NAME/, the limits under their own file name, which tells their line
    out/teach/NAME/.recording/      frames
    out/teach/NAME/left-out/        pictures of frames that were left out; they stay with the recipe

Whatever ends a teaching, the plant's recipe and limits are then both the old ones or both the new ones. Errors
and signals are seen to at once; what a kill or a power cut left is found by the next teaching of that name, on
whichever line.

The swap is two renames and a write, some milliseconds. A line that starts meanwhile is refused: there is no recipe of
that name, or the limits belong to another training. An exchanging rename (renameat2) would close the first gap and
leave the second, for the limits lie in another folder; and not every file system has it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import IO, Any

from inspector.backends.artifact import put_on_disk, see_that_it_takes_files, sync_folder, write_atomically
from inspector.config import Site
from inspector.errors import ArtefactError
from inspector.limits import limits_file

OWN_FILES = (
    "recipe.toml",
    "model.onnx",
    "golden.png",
    "not-learnt.png",
    "learning-curve.svg",
    "manifest.toml",
    "plans",
    "training",
)
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[..., Any] | int | signal.Handlers | None  # as ``signal`` has them


class Staging:
    """The staging place of one recipe and line, claimed by this process. Made by ``claimed``."""

    def __init__(self, site: Site, line_id: str, recipe: str) -> None:
        self._site = site
        self._recipe = recipe
        self.folder = site.engines / f".teach-{recipe}"
        self.pictures = site.root / "out" / "teach" / recipe
        self.recording = self.pictures / ".recording"
        self.left_out = self.pictures / "left-out"
        self.target = site.engines / recipe
        self.limits_target = limits_file(site, line_id, recipe)
        self._staged_limits = limits_file(self.site, line_id, recipe)
        self._before = self.folder / "before"
        self.made_pictures = False
        self.pictures_stay = False  # where somebody was told to look at them

    @property
    def site(self) -> Site:
        """The plant as it is while it is taught: the same lines, engines and limits in the staging place."""
        return Site(file=self.folder / self._site.file.name, plant=self._site.plant)

    @property
    def engine_dir(self) -> Path:
        """Where the recipe grows."""
        return self.site.engines / self._recipe

    def see_that_its_place_takes_files(self) -> None:
        """Before minutes of recording and training: the swap writes there at their end. Raises ArtefactError."""
        see_that_it_takes_files(self._site.calibration)
        if self.target.exists():
            see_that_it_takes_files(self.target)  # who moves a folder to another one writes its ".."

    def put_in_place(self, limits: bytes) -> None:
        """Give recipe and limits their names. What was there before is kept until both are there.

        Files in an old recipe's folder that no command wrote, such as a notice, go over to the new one.
        Raises ArtefactError; the old ones are then back, unless it says that they aren't.
        """
        with deferred_signals():
            try:
                self._swap(limits)
            except OSError as error:
                self._roll_back()
                raise ArtefactError(
                    f"{error.filename or self.target}: can't be put in place ({error.strerror}), what was there "
                    "before is untouched; free the disk or mend the path, then run it again"
                ) from None
            except BaseException:
                self._roll_back()
                raise

    def _swap(self, limits: bytes) -> None:
        if self.target.exists():
            self._take_over_strange_files()
        self._before.mkdir()
        if self.limits_target.exists():
            write_atomically(self._before / self.limits_target.name, self.limits_target.read_bytes())
        write_atomically(self._staged_limits, limits)  # tells a roll-back what is to be taken away
        sync_folder(self.folder)
        if self.target.exists():
            self.target.rename(self._before / self._recipe)
        self.engine_dir.rename(self.target)
        write_atomically(self.limits_target, limits)
        sync_folder(self._site.engines)
        self._before.rename(self.folder / "done")  # from here on nothing is rolled back

    def _take_over_strange_files(self) -> None:
        for old in self.target.iterdir():
            if old.name in OWN_FILES or old.name.startswith("."):
                continue
            new = self.engine_dir / old.name
            shutil.copytree(old, new) if old.is_dir() else shutil.copy2(old, new)

    def _roll_back(self) -> bool:
        """Put back what was there before an unfinished swap; True where there was one.

        This may itself be broken off, and is then begun again. What can't be put back doesn't keep the rest from it.
        Raises ArtefactError where something is not back; it is still kept, for the next teaching of that name.
        """
        if not self._before.is_dir():
            return False
        self._refuse_leftovers_without_a_line()
        not_back = []
        for file, put_back in ((self.target, self._put_recipe_back), *self._limits_to_put_back()):
            try:
                put_back()
            except OSError as error:
                not_back.append(f"{file} ({error.strerror})")
        if not_back:
            raise ArtefactError(
                f"{' and '.join(not_back)}: can't be made as it was before a teaching that didn't end; what was there "
                f"is kept in {self._before}; free the disk or mend the path, then teach {self._recipe} again: that "
                "puts it back first"
            )
        self._before.rename(self.folder / "undone")  # at once, where removing takes its time
        return True

    def _put_recipe_back(self) -> None:
        old = self._before / self._recipe
        if not self.engine_dir.exists():  # the new one has its name already
            self.target.rename(self.engine_dir)
        if old.exists():
            old.rename(self.target)
        sync_folder(self._site.engines)

    def _limits_to_put_back(self) -> list[tuple[Path, Callable[[], None]]]:
        """Files of limits that the swap replaces, by the name of those staged: their line may be another than ours."""
        staged = self._staged_limits.parent.glob("line-*.toml")
        return [(self._site.calibration / new.name, partial(self._put_limits_back, new)) for new in staged]

    def _put_limits_back(self, new: Path) -> None:
        """Where the limits are still those of before, or of somebody since, there is nothing to write."""
        target, old = self._site.calibration / new.name, self._before / new.name
        for half in target.parent.glob(f".{target.name}.*.tmp"):
            half.unlink()
        if not target.exists() or target.read_bytes() != new.read_bytes():
            return
        if old.exists():
            put_on_disk(target, old.read_bytes())
        else:
            target.unlink()
            sync_folder(target.parent)

    def _refuse_leftovers_without_a_line(self) -> None:
        """What was kept before limits were kept by their name doesn't tell its line. Raises ArtefactError."""
        if not (self._before / "limits.toml").is_file():
            return
        raise ArtefactError(
            f"{self._before}: an earlier version's teaching was killed here, and nothing tells which line's limits "
            f"limits.toml holds: read it, move it to {self._site.calibration}/line-ID.{self._recipe}.toml, and put "
            f"{self._before / self._recipe}, if it is there, in the place of {self.target}; then remove {self.folder} "
            "and run it again"
        )

    def keep_frames(self) -> Path | None:
        """Give the recorded frames a place of their own, side by side as `train` wants them; None: there are none."""
        frames = list(self.recording.rglob("*.png"))
        if not frames:
            return None
        for frame in frames:
            frame.rename(self.recording / frame.name)
        for purpose in self.recording.iterdir():
            if purpose.is_dir():
                purpose.rmdir()
        kept = self.pictures / f"frames-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        self.recording.rename(kept)
        return kept

    def place_for_pictures(self) -> Path:
        """Return where pictures of left-out frames go; the first time without those of an earlier teaching."""
        if not self.made_pictures:
            shutil.rmtree(self.left_out, ignore_errors=True)
            self.made_pictures = True
        return self.left_out

    def clear(self, *, pictures: bool) -> float:
        """Remove all that is staged, and pictures of what was left out where asked; return the megabytes it took.

        Raises ArtefactError where what was before can't be put back; all stays then.
        """
        self._roll_back()
        megabytes = 0.0
        for folder in (self.recording, self.folder, *([self.left_out] if pictures else [])):
            if folder.is_dir():
                megabytes += sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6
                shutil.rmtree(folder)
        return megabytes

    def remove_empty_folders(self) -> None:
        """Leave no folder that this teaching alone has made."""
        for folder in (self.pictures, self.pictures.parent, self.pictures.parents[1], self._site.engines):
            with contextlib.suppress(OSError):  # not empty, or never made
                folder.rmdir()

    def recover(self) -> str | None:
        """See to what an earlier teaching left that could not see to it itself; say what, or None."""
        left = [f for f in (self.recording, self.folder) if f.is_dir() and any(f.iterdir())]
        if not left:
            return None
        rolled_back = self._roll_back()
        megabytes = self.clear(pictures=True)
        words = (
            f"removed what an earlier teaching of {self._recipe} left when it was killed ({megabytes:.0f} MB)"
        )
        return words + (", and put back the recipe and limits of before" if rolled_back else "")


@contextmanager
def claimed(
    site: Site, line_id: str, recipe: str, *, keep_frames: bool, say: Callable[[str], None]
) -> Iterator[Staging]:
    """Claim a recipe's staging place, clean; clear it whatever happens.

    Args:
        site: the plant.
        line_id: the line.
        recipe: name of the recipe to be.
        keep_frames: recorded frames stay, in a folder of their own.
        say: told what an earlier teaching left, and where frames are kept.

    Raises ArtefactError when another process teaches that recipe, or the place can't be made, KeyboardInterrupt when
    told to end while it was cleaned.
    """
    staging = Staging(site, line_id, recipe)
    with signals_end() as undoing, _locked(staging):
        try:
            with deferred_signals() as came:
                left = staging.recover()
            if left is not None:
                say(left)
            if came:
                raise KeyboardInterrupt  # the teaching is still to begin
            staging.folder.mkdir(parents=True, exist_ok=True)
            yield staging
        finally:
            undoing.set()
            kept = staging.keep_frames() if keep_frames else None
            # What another teaching left was shown with what it taught, and stays.
            staging.clear(pictures=staging.made_pictures and not staging.pictures_stay)
            if kept is not None:
                say(f"recorded frames: {kept.relative_to(site.root)}")


@contextmanager
def signals_end() -> Iterator[Event]:
    """SIGTERM and a closed terminal end the block as Ctrl-C does: with KeyboardInterrupt.

    Until the block sets the event it is given: from then on they change nothing. A block that was ended so is the
    process's end, and they stay ignored: who presses Ctrl-C once more would break into the interpreter's shutdown,
    and the exit code would be another.
    """
    undoing = Event()

    def interrupt(*_: object) -> None:
        if not undoing.is_set():
            raise KeyboardInterrupt

    with _handled(interrupt) as afterwards:
        try:
            yield undoing
        except KeyboardInterrupt:
            undoing.set()
            afterwards.update(dict.fromkeys(afterwards, signal.SIG_IGN))
            raise


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """What ends a process does not end the block; yields the signals that came, for who has more to do after it."""
    came: list[int] = []
    with _handled(lambda number, _: came.append(number)):
        yield came


@contextmanager
def _handled(handler: Callable[..., None]) -> Iterator[dict[signal.Signals, Handler]]:
    """Handle what ends a process; what it was told to ignore (nohup, a script's background) stays ignored.

    Yields who handles it afterwards: those of before, unless the block writes others into it.
    """
    before = {number: signal.getsignal(number) for number in ENDINGS}
    afterwards = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    try:
        for number in afterwards:
            signal.signal(number, handler)
        yield afterwards
    finally:
        for number, old in afterwards.items():
            signal.signal(number, old)


@contextmanager
def _locked(staging: Staging) -> Iterator[None]:
    """Hold the recipe's name against another teaching; leave no trace of it. Raises ArtefactError."""
    lock = _lock(staging)
    try:
        yield
    finally:
        with deferred_signals():
            Path(lock.name).unlink(missing_ok=True)
            lock.close()
            staging.remove_empty_folders()


def _lock(staging: Staging) -> IO[str]:
    file = staging.folder.with_name(f"{staging.folder.name}.lock")
    while True:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = file.open("a+")
        except OSError as error:
            raise ArtefactError(
                f"{file}: can't be written ({error.strerror}); free the disk or mend the path, then run it again"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ArtefactError(
                f"{staging.target}: this recipe is being taught already; wait for that, or choose another --recipe"
            ) from None
        if _is_still(file, lock):
            return lock
        lock.close()  # another teaching ended just now and took its file away: this lock holds nothing


def _is_still(file: Path, lock: IO[str]) -> bool:
    """Whether a name still stands for the opened file."""
    try:
        return os.path.samestat(file.stat(), os.fstat(lock.fileno()))
    except OSError:
        return False
