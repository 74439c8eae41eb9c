"""Where a recipe is taught before it is one: killed, failed or interrupted at any point, old or new is there whole."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inspector import config
from inspector.backends.artifact import put_on_disk, write_atomically
from inspector.errors import ArtefactError
from inspector.teaching import staging as rooms
from inspector.teaching.staging import Staging, claimed
from tests.small_recipe import make_site

NEW = b"the new limits"
OPERATIONS = 7  # renames and writes of a swap where there is an old recipe with a limit


class Killed(BaseException):
    """A process that is gone has no exception; nothing in the way may take this for an error."""


def contents(folder: Path) -> dict[str, bytes | None]:
    paths = (path for path in folder.rglob("*"))
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in paths}


def make_old(site: config.Site) -> None:
    old = site.engines / "cloth"
    (old / "plans").mkdir(parents=True)
    (old / "recipe.toml").write_text("the old recipe")
    (old / "plans/old.plan").write_text("the old plan")
    (old / "NOTICE.md").write_text("whose weights these are")
    site.calibration.mkdir()
    (site.calibration / "line-1.cloth.toml").write_text("the old limits")


def make_staged(site: config.Site) -> Staging:
    staging = Staging(site, "1", "cloth")
    staging.engine_dir.mkdir(parents=True)
    (staging.engine_dir / "recipe.toml").write_text("the new recipe")
    return staging


@contextmanager
def killed_at(number: int, monkeypatch: pytest.MonkeyPatch, *, kill: bool) -> Iterator[None]:
    """The swap's operation of that number (0, 1 ...) does not happen. Killed: neither does anything after it."""
    done = 0
    rename = Path.rename

    def counted() -> None:
        nonlocal done
        done += 1
        if done == number + 1:
            raise Killed if kill else OSError(28, "No space left on device", "the disk")

    def renaming(path: Path, target: Path) -> Path:
        if not path.name.endswith(".tmp"):  # write_atomically's own counts with it
            counted()
        return rename(path, target)

    def writing(file: Path, data: bytes) -> None:
        counted()
        write_atomically(file, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", renaming)
        patched.setattr(rooms, "write_atomically", writing)
        if kill:
            patched.setattr(Staging, "_roll_back", lambda self: False)
        yield


@pytest.mark.parametrize("is_there", [True, False], ids=["old recipe", "none before"])
def test_a_swap_puts_all_in_place_and_keeps_strange_files(tmp_path: Path, is_there: bool) -> None:
    site = make_site(tmp_path)
    if is_there:
        make_old(site)
    make_staged(site).put_in_place(NEW)
    target = site.engines / "cloth"
    assert (target / "recipe.toml").read_text() == "the new recipe"
    assert (site.calibration / "line-1.cloth.toml").read_bytes() == NEW
    assert not (target / "plans").exists(), "an old plan is no plan of the new recipe"
    assert (target / "NOTICE.md").exists() == is_there


@pytest.mark.parametrize("is_there", [True, False], ids=["old recipe", "none before"])
@pytest.mark.parametrize("number", range(OPERATIONS))
def test_a_kill_within_the_swap_is_undone_by_the_next_teaching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_there: bool
) -> None:
    site = make_site(tmp_path)
    if is_there:
        make_old(site)
    before = contents(tmp_path)
    staging = make_staged(site)
    operations = OPERATIONS - 1 if is_there else 4
    with killed_at(number, monkeypatch, kill=True):
        if number < operations:
            with pytest.raises(Killed):
                staging.put_in_place(NEW)
        else:
            staging.put_in_place(NEW)
    said: list[str] = []
    after = contents(site.engines / "cloth")
    with claimed(site, "1", "cloth", keep_frames=False, say=said.append):
        pass
    assert said[0].startswith("removed what an earlier teaching of cloth left when it was killed (")
    if number < operations:
        left = {k: v for k, v in contents(tmp_path).items() if k not in ("calibration", "engines")}
        assert left == {k: v for k, v in before.items() if k not in ("calibration", "engines")}
    else:
        assert contents(site.engines / "cloth") == after, "what was finished stays"


@pytest.mark.parametrize("number", range(OPERATIONS - 1))
def test_a_full_disk_within_the_swap_is_undone_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    site = make_site(tmp_path)
    make_old(site)
    before = contents(tmp_path)
    with (
        killed_at(number, monkeypatch, kill=False),
        pytest.raises(ArtefactError, match="the disk: can't be put in place \\(No space left on device\\)"),
        claimed(site, "1", "cloth", keep_frames=False, say=print),
    ):
        make_staged(site).put_in_place(NEW)
    assert contents(tmp_path) == before


FULL = OSError(28, "No space left on device", "the disk")


@contextmanager
def full_from(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """From the swap's write or sync of that number (0, 1 ...) on nothing of the plant's takes any: the disk stays full.

    Renames go on: they want no room.
    """
    done = 0

    def tried() -> None:
        nonlocal done
        done += 1
        if done > number:
            raise FULL

    def writing(file: Path, data: bytes) -> None:
        try:
            tried()
        except OSError as error:
            raise ArtefactError(f"{file}: can't be written ({error.strerror}), and so on") from None
        write_atomically(file, data)

    def putting(file: Path, data: bytes) -> None:
        tried()
        put_on_disk(file, data)

    with monkeypatch.context() as patched:
        patched.setattr(rooms, "write_atomically", writing)
        patched.setattr(rooms, "put_on_disk", putting)
        yield


@pytest.mark.parametrize("number", range(3))
def test_a_disk_that_stays_full_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Limits that were never replaced want no room to be put back, and don't keep the recipe from it."""
    site = make_site(tmp_path)
    make_old(site)
    before = contents(tmp_path)
    with (
        full_from(number, monkeypatch),
        pytest.raises(
            ArtefactError, match=r"line-1\.cloth\.toml: can't be written \(No space left on device\)"
        ),
        claimed(site, "1", "cloth", keep_frames=False, say=print),
    ):
        make_staged(site).put_in_place(NEW)
    assert contents(tmp_path) == before


def put_back_by_the_next_teaching(site: config.Site, line_id: str) -> None:
    said: list[str] = []
    with claimed(site, line_id, "cloth", keep_frames=False, say=said.append):
        pass
    assert said[0].endswith(", and put back the recipe and limits of before")


def test_what_cannot_be_put_back_is_named_and_kept_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up once the new limits are written: the old recipe is back at once, the old limits later."""
    site = make_site(tmp_path)
    make_old(site)
    before = contents(tmp_path)
    kept = site.engines / ".teach-cloth/before"
    limits = site.calibration / "line-1.cloth.toml"
    sentence = (
        f"{limits} (No space left on device): can't be made as it was before a teaching that didn't end; what was "
        f"there is kept in {kept}; free the disk or mend the path, then teach cloth again: that puts it back first"
    )
    rename = Path.rename

    def last_one_fails(path: Path, target: Path) -> Path:
        if Path(target).name == "done":
            raise FULL
        return rename(path, target)

    with full_from(3, monkeypatch):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", last_one_fails)
            with (
                pytest.raises(ArtefactError) as swapped,
                claimed(site, "1", "cloth", keep_frames=False, say=print),
            ):
                make_staged(site).put_in_place(NEW)
        with (
            pytest.raises(ArtefactError) as claimed_again,
            claimed(site, "1", "cloth", keep_frames=False, say=print),
        ):
            raise AssertionError("never comes here")
    assert str(swapped.value) == str(claimed_again.value) == sentence
    assert (site.engines / "cloth/recipe.toml").read_text() == "the old recipe"
    assert limits.read_bytes() == NEW
    assert (kept / "line-1.cloth.toml").read_text() == "the old limits"
    put_back_by_the_next_teaching(site, "1")
    assert contents(tmp_path) == before


UNWRITABLE = """
import os, sys
from pathlib import Path
from inspector import config
from inspector.errors import ArtefactError
from inspector.teaching.staging import claimed

site = config.Site(Path("config.toml"), config.load(Path("config.toml")).plant)
folder = Path(sys.argv[1])
folder.chmod(0o555)
if os.getuid() == 0:  # whom permissions don't stop
    for path in (Path("."), *Path(".").rglob("*")):
        os.chown(path, 65534, 65534)
    os.setuid(65534)
with claimed(site, "1", "cloth", keep_frames=False, say=print) as staging:
    staging.engine_dir.mkdir(parents=True)
    (staging.engine_dir / "recipe.toml").write_text("the new recipe")
    for step in (staging.see_that_its_place_takes_files, lambda: staging.put_in_place(b"the new limits")):
        try:
            step()
        except ArtefactError as error:
            print(error)
"""


@pytest.mark.parametrize("folder", ["calibration", "engines/cloth"])
def test_folders_that_take_no_files_are_told_before_and_leave_all_as_it_was(
    tmp_path: Path, folder: str
) -> None:
    """In a process of its own, which gives up the rights of an administrator."""
    site = make_site(tmp_path)
    make_old(site)
    before = contents(tmp_path)
    done = alone(UNWRITABLE, tmp_path, folder)
    assert (done.returncode, done.stderr) == (0, "")
    asked, swapped = done.stdout.splitlines()
    assert asked.startswith(
        f"{folder}: no file can be written there (Permission denied), so nothing was begun"
    )
    assert swapped.startswith(folder)
    assert "(Permission denied), what was there before is untouched" in swapped
    assert contents(tmp_path) == before


def test_a_calibration_folder_that_is_still_to_be_made_may_be(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    with claimed(site, "1", "cloth", keep_frames=False, say=print) as staging:
        staging.see_that_its_place_takes_files()
    site.calibration.write_text("a file in its place")
    with (
        pytest.raises(ArtefactError, match=r"calibration: no file can be written there \(Not a directory\)"),
        claimed(site, "1", "cloth", keep_frames=False, say=print) as staging,
    ):
        staging.see_that_its_place_takes_files()


KILLED_AFTER_THE_LIMITS = """
import os, signal
from pathlib import Path
from inspector import config
from inspector.teaching import staging as rooms

staging = rooms.Staging(config.load(Path("config.toml")), "1", "cloth")

def killed(folder):
    if folder == staging.target.parent:
        os.kill(os.getpid(), signal.SIGKILL)

rooms.sync_folder = killed
staging.put_in_place(b"the new limits")
"""


@pytest.mark.parametrize("had_limits", [True, False], ids=["limits before", "none before"])
def test_a_teaching_of_another_line_puts_back_the_limits_of_the_line_that_was_killed(
    tmp_path: Path, had_limits: bool
) -> None:
    site = make_site(tmp_path)
    make_old(site)
    of_1, of_2 = (site.calibration / f"line-{line}.cloth.toml" for line in "12")
    of_2.write_text("limits of line 2")
    if not had_limits:
        of_1.unlink()
    before = contents(tmp_path)
    make_staged(site)
    assert alone(KILLED_AFTER_THE_LIMITS, tmp_path).returncode == -signal.SIGKILL
    assert of_1.read_bytes() == NEW
    half = of_1.with_name(f".{of_1.name}.4711.tmp")
    half.write_text("of a kill while it was written")
    put_back_by_the_next_teaching(site, "2")
    assert contents(tmp_path) == before


def test_limits_that_somebody_set_after_the_kill_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path)
    make_old(site)
    with killed_at(2, monkeypatch, kill=True), pytest.raises(Killed):
        make_staged(site).put_in_place(NEW)
    limits = site.calibration / "line-1.cloth.toml"
    limits.write_text("calibrated anew, for the recipe that is still there")
    before = contents(site.engines / "cloth")
    with claimed(site, "1", "cloth", keep_frames=False, say=print):
        pass
    assert limits.read_text() == "calibrated anew, for the recipe that is still there"
    assert contents(site.engines / "cloth") == before


def test_leftovers_that_do_not_tell_their_line_are_left_to_a_person(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    make_old(site)
    before = site.engines / ".teach-cloth/before"
    before.mkdir(parents=True)
    (before / "limits.toml").write_text("of which line?")
    all_of_it = contents(tmp_path)
    with (
        pytest.raises(ArtefactError, match=f"{before}: an earlier version's teaching was killed here"),
        claimed(site, "1", "cloth", keep_frames=False, say=print),
    ):
        raise AssertionError("never comes here")
    assert contents(tmp_path) == all_of_it


def test_two_teachings_of_one_recipe_are_one_too_many(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    with claimed(site, "1", "cloth", keep_frames=False, say=print) as staging:
        with (
            pytest.raises(ArtefactError, match="engines/cloth: this recipe is being taught already"),
            claimed(site, "1", "cloth", keep_frames=False, say=print),
        ):
            raise AssertionError("never comes here")
        assert staging.folder.exists(), "the first is not disturbed"
        with claimed(site, "1", "linen", keep_frames=False, say=print):
            pass
    assert not site.engines.exists()


def test_frames_that_were_kept_before_are_never_replaced(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    kept = tmp_path / "out/teach/cloth/frames-20260101-000000"
    kept.mkdir(parents=True)
    (kept / "1.png").write_text("of last month")
    said: list[str] = []
    with claimed(site, "1", "cloth", keep_frames=True, say=said.append) as staging:
        for purpose in ("", "limit", "left-out"):
            (staging.recording / purpose).mkdir()
            (staging.recording / purpose / f"2{purpose}.png").write_text("of today")
    (new,) = set(kept.parent.iterdir()) - {kept}
    assert (kept / "1.png").read_text() == "of last month"
    assert {file.name for file in new.iterdir()} == {"2.png", "2left-out.png", "2limit.png"}, (
        "as `train` wants it"
    )
    assert (new / "2.png").read_text() == "of today"
    assert said == [f"recorded frames: {new.relative_to(tmp_path)}"]


CLEANED = """
import signal, sys
from pathlib import Path
from inspector import config
from inspector.teaching.staging import Staging, claimed

recover = Staging.recover

def interrupted(staging):
    signal.raise_signal(signal.SIGINT)
    return recover(staging)

Staging.recover = interrupted
try:
    with claimed(config.load(Path("config.toml")), "1", "cloth", keep_frames=False, say=print):
        print("taught")
except KeyboardInterrupt:
    print("ended")
"""


def test_ctrl_c_while_it_cleans_up_ends_it_before_anything_is_taught(tmp_path: Path) -> None:
    """In a process of its own: other libraries handle signals too."""
    site = make_site(tmp_path)
    make_staged(site)
    done = alone(CLEANED, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, last = done.stdout.splitlines()
    assert first.startswith("removed what an earlier teaching of cloth left"), "that is done first"
    assert last == "ended"
    assert not site.engines.exists()


IMPATIENT = """
import atexit, signal, sys, time
from pathlib import Path
from inspector import config
from inspector.cli.shared import Group
from inspector.teaching.staging import Staging, claimed
import click

clear = Staging.clear

def slowly(staging, **more):
    print("undoing", flush=True)
    time.sleep(0.3)
    return clear(staging, **more)

def shut_down():
    print("shuts down", flush=True)
    time.sleep(0.3)

@click.group(cls=Group)
def main(): ...

@main.command()
def teach():
    with claimed(config.load(Path("config.toml")), "1", "cloth", keep_frames=False, say=print) as staging:
        (staging.folder / "staged").touch()
        print("teaches", flush=True)
        signal.pause()

Staging.clear = slowly
atexit.register(shut_down)
main()
"""


def test_who_presses_ctrl_c_again_and_again_does_not_disturb_the_undoing(tmp_path: Path) -> None:
    """Nor the end of the process: the exit code is the one of the first."""
    site = make_site(tmp_path)
    with subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-c", IMPATIENT, "teach"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            process.send_signal(signal.SIGINT)
            if len(seen) > 1:
                break
        until_s = time.monotonic() + 50
        while process.poll() is None and time.monotonic() < until_s:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                process.send_signal(number)
            time.sleep(0.001)
        process.kill()  # it takes no other signal, if it hangs
        out, err = process.communicate()
    assert (process.returncode, err) == (130, "inspector: interrupted\n")
    assert ["".join(seen), out] == ["teaches\nundoing\n", "shuts down\n"]
    assert not site.engines.exists()


def alone(program: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


SIGNALS = """
import signal
from inspector.teaching.staging import deferred_signals, signals_end

signal.signal(signal.SIGHUP, signal.SIG_IGN)
with signals_end():
    signal.raise_signal(signal.SIGHUP)
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        print("ended")
    with deferred_signals():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        print("deferred")
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
"""


def test_what_is_ignored_stays_ignored_and_the_rest_ends_as_ctrl_c_does(tmp_path: Path) -> None:
    """A teaching under nohup outlives its terminal. In a process of its own: other libraries handle signals too."""
    done = alone(SIGNALS, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["ended", "deferred", "True", "True"]


def test_pictures_of_an_earlier_teaching_stay_until_there_are_others(tmp_path: Path) -> None:
    """A teaching that is refused, or leaves nothing out, shows nothing: what was shown before is looked at still."""
    site = make_site(tmp_path)
    shown = tmp_path / "out/teach/cloth/left-out"
    shown.mkdir(parents=True)
    (shown / "1.20-m.png").write_bytes(b"of before")
    with (
        pytest.raises(ArtefactError, match="refused"),
        claimed(site, "1", "cloth", keep_frames=False, say=print),
    ):
        raise ArtefactError("refused")
    assert [file.name for file in shown.iterdir()] == ["1.20-m.png"]
    with claimed(site, "1", "cloth", keep_frames=False, say=print) as staging:
        for name in ("3.40-m.png", "5.60-m.png"):
            folder = staging.place_for_pictures()
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"of now")
        staging.pictures_stay = True
    assert sorted(file.name for file in shown.iterdir()) == ["3.40-m.png", "5.60-m.png"]
    with claimed(site, "1", "cloth", keep_frames=False, say=print) as staging:
        staging.place_for_pictures().mkdir(parents=True)
    assert not shown.exists()
