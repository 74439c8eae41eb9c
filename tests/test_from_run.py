"""`inspector calibrate --from-run`: real lines on the loom, real sockets, and the command in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from inspector import config
from inspector.calibrating.calibrate import calibrate
from inspector.calibrating.tail import find_limit
from inspector.cameras.loom import Loom
from inspector.cli import INTERRUPTED, main
from inspector.config import Site
from inspector.limits import Limits, digest, limits_file, load_limits, to_toml
from tests.small_recipe import make_recipe
from tests.talking_line import PATIENCE_S, Listener, ask

HEIGHT, WIDTH = 128, 256
STRIP_M = HEIGHT * 0.2 / 1000
METRES = 10
PLANT = """\
plant = "small"
[line.3]
recipe = "stripes"
web = {{ width_mm = 51.2, mm_per_px = 0.2, encoder_counts_per_m = 10000, speed_m_min = 60 }}
tiles = {{ size_mm = 12.8, overlap_mm = 0 }}
lanes = {{ count = 2 }}
engine = {{ backend = "onnxruntime", threads = 1 }}
overload = {{ deadline_ms = 60000 }}
bus = {{ verdicts = "ipc://{folder}/verdicts", maps = "ipc://{folder}/maps", replay = "ipc://{folder}/replay" }}
[line.3.camera]
kind = "loom"
width_px = 256
height_px = 128
seed = 5
faults = {{ per_m = 0.0 }}
as_fast_as_possible = true
"""
FROM_RUN = ("calibrate", "--from-run", "--line", "3", "--metres", str(METRES))

Header = dict[str, Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated plant with a loom that weaves no faults, its limits half as high again as its frames call for."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "config.toml").write_text(PLANT.format(folder=folder))
    site = config.load(folder / "config.toml")
    make_recipe(site, "stripes")
    loom = Loom(WIDTH, 0.2, "plain", 6, config.FaultMix(per_m=0.0), 51.2)
    (folder / "good").mkdir()
    for number in range(40):
        assert cv2.imwrite(str(folder / f"good/{number:02}.png"), loom.rows(4 * HEIGHT))
    limits = calibrate(folder / "good", "stripes", "3", site).limits
    assert limits.wide, limits.provenance.wide_unused
    times(site, limits, 1.5)
    return folder


@pytest.fixture
def plant(whole: Path, tmp_path: Path) -> Site:
    """A copy of it, to be spoilt."""
    folder = tmp_path / "plant"
    shutil.copytree(whole, folder)
    return site_with(folder, PLANT)


def site_with(folder: Path, text: str) -> Site:
    (folder / "config.toml").write_text(text.format(folder=folder))
    return config.load(folder / "config.toml")


def times(site: Site, limits: Limits, factor: float) -> Limits:
    """Move all limits by hand."""
    wide = tuple(
        msgspec.structs.replace(
            one,
            limit_deviations=one.limit_deviations * factor,
            clip_sigma=one.clip_sigma * max(factor, 1.0),  # so that clipped cells still reach the limit
        )
        for one in limits.wide
    )
    moved = msgspec.structs.replace(
        limits,
        limit_sigma=limits.limit_sigma * factor,
        wide=wide,
        set_by_hand="A. Person, 2026-11-24: a trial",
    )
    limits_file(site, "3", "stripes").write_text(to_toml(moved))
    return moved


@contextmanager
def process(site: Site, *words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        # What is started in a script's background, these tests too, ignores Ctrl-C and hands that on.
        [
            "env",
            "--default-signal=INT",
            sys.executable,
            "-m",
            "inspector",
            *words,
            "--config",
            str(site.file),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()  # one that has ended is left alone; none outlives a test that failed


@contextmanager
def heard(site: Site) -> Iterator[subprocess.Popen[str]]:
    """A real line in another process, judging."""
    with (
        Listener(f"ipc://{site.root}/verdicts", "inspector/1/line/3/") as listener,
        process(site, "run", "--line", "3") as line,
    ):
        listener.next("verdict", 3 * PATIENCE_S)
        yield line


@contextmanager
def running(site: Site) -> Iterator[None]:
    """The same, and nothing that is done meanwhile ends it."""
    with heard(site) as line:
        yield
        assert line.poll() is None


def words_of(site: Site, *words: str) -> tuple[int, str, str]:
    with process(site, *words) as command:
        out, err = command.communicate(timeout=5 * PATIENCE_S)
    return command.returncode, out, err


def in_process(site: Site, *words: str) -> tuple[int, str]:
    """What is refused at once: the code and the sentence."""
    result = CliRunner().invoke(main, [*words, "--config", str(site.file)])
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    return result.exit_code, one_sentence(result.stderr)


def one_sentence(stderr: str) -> str:
    (line,) = stderr.splitlines()
    assert line.startswith("inspector: ")
    assert "Traceback" not in line
    return line


def artefacts(site: Site) -> dict[str, bytes]:
    """Every file of the plant that is none of the line's sockets or locks."""
    folders = [site.calibration, site.engines]
    return {str(file): file.read_bytes() for one in folders for file in one.rglob("*") if file.is_file()}


def said_by(site: Site, first: int, last: int) -> list[Header]:
    """Verdicts as a stranger gets them from replay."""
    headers: list[Header] = []
    while first <= last:
        request = {"want": "events", "kind": "verdict", "first": first, "last": last}
        given, _ = ask(f"ipc://{site.root}/replay", json.dumps(request).encode())
        assert given, "replay has them no longer"
        headers += [header for _, header in given]
        first = headers[-1]["seq"] + 1
    return headers


def test_the_limit_lands_where_the_scores_on_the_bus_say(plant: Site) -> None:
    before = load_limits(plant, "3", "stripes")
    file = limits_file(plant, "3", "stripes")
    with running(plant):
        code, out, err = words_of(plant, *FROM_RUN)
        assert code == 0, err
        after = load_limits(plant, "3", "stripes")
        (run,) = after.provenance.runs
        heard = said_by(plant, run.first_seq, run.last_seq)
        written = file.read_bytes()
        code_again, _, err_again = words_of(plant, *FROM_RUN)

    # The tail once more, on what the bus said: every lane of every strip, in stretches of a quarter of a metre.
    assert {header["verdict"] for header in heard} == {"PASS"}
    assert len(heard) == run.verdicts == 2 * run.strips
    begin_m = heard[0]["y_start_m"]
    cut = groupby(heard, key=lambda header: int((header["y_start_m"] - begin_m) / (METRES / 40)))
    stretches = [np.array([header["score"] for header in part]) for _, part in cut]
    found = find_limit(stretches, 1 / (len(heard) / (run.strips * STRIP_M) * 100))
    assert found.highest < found.limit < before.limit_sigma
    assert after.limit_sigma == pytest.approx(found.limit, abs=1.01e-4)
    assert after.limit_sigma >= found.limit

    factor = after.limit_sigma / before.limit_sigma
    for old, new in zip(before.wide, after.wide, strict=True):
        assert new.limit_deviations == pytest.approx(factor * old.limit_deviations, abs=1.01e-4)
    unmoved = {"limit_sigma": 0.0, "wide": (), "provenance": None, "set_by_hand": "", "levels_sha256": ""}
    assert msgspec.structs.replace(after, **unmoved) == msgspec.structs.replace(before, **unmoved)
    assert msgspec.structs.replace(after.provenance, runs=()) == before.provenance

    # The fixture moved windows by hand, not only the limit: that is still so.
    assert after.set_by_hand == f"{before.set_by_hand}; moved by a run on {run.date_utc[:10]}"
    assert f"\nset by hand: {after.set_by_hand}\n" in out
    assert run.previous_set_by_hand == before.set_by_hand != ""
    assert (run.previous_sha256, run.previous_limit_sigma) == (digest(before), before.limit_sigma)
    assert heard[0]["calibration_sha256"] == run.previous_sha256
    assert (run.from_m, run.to_m) == (heard[0]["y_start_m"], heard[-1]["y_end_m"])
    assert METRES <= run.good_m < METRES + 2 * STRIP_M
    assert run.good_m == pytest.approx(run.to_m - run.from_m)
    assert (run.strips_above, run.verdicts_not_inspected, run.verdicts_unheard) == (0, 0, 0)

    assert (
        f"limit {after.limit_sigma:.2f} sigma for line 3 and recipe stripes, before {before.limit_sigma:.2f}"
        in out
    )
    assert out.endswith("line 3 takes it up at its next start\n")
    assert run.is_simulated, "the loom is no camera"
    assert "\nLOOK: line 3 has no real camera (is_simulated): its limits are for trials" in out
    # A median of contrast is no score of a trained recipe: the line calls all of this web unlike what was learnt.
    assert 0 < run.unlike_m <= run.good_m
    assert (
        f"\nLOOK: {run.unlike_m:.2f} m of that web were as a whole unlike what recipe stripes learnt" in out
    )
    told = r"inspector: line 3: 781[23] verdicts in 100 m; waiting for 10 m of good web\n"  # 7812.5
    assert re.fullmatch(told, err)

    # The line still runs with the old ones, so that its scores are on another scale than the file.
    assert code_again == 4
    assert one_sentence(err_again).endswith(
        "line-3.stripes.toml: not the limits that line 3 runs with; start the line anew, so that it takes these up, "
        "and calibrate then"
    )
    assert file.read_bytes() == written
    with running(plant):  # with the new limits
        pass


@pytest.mark.parametrize(
    ("limit_sigma", "code", "said"),
    [
        (12.3, 0, "limit stays at 12.30 sigma for line 3 and recipe stripes; nothing is written"),
        (9.5, 6, "calibrate from frames of good web instead"),
    ],
)
def test_good_web_that_fails_never_moves_the_limit(
    plant: Site, limit_sigma: float, code: int, said: str
) -> None:
    """Of the strips' scores on this web a few per cent are above 12.3 sigma, and nearly all above 9.5."""
    old = load_limits(plant, "3", "stripes")
    times(plant, old, limit_sigma / old.limit_sigma)
    before = artefacts(plant)
    with running(plant):
        returned, out, err = words_of(plant, *FROM_RUN)
    assert returned == code, out + err
    assert said in out + err
    looks = re.search(
        r"^LOOK: ([0-9.]*)% of the web was above the limit, .* strips in 100 m, at .* m: if",
        out,
        re.MULTILINE,
    )
    assert (looks is not None) == (code == 0)
    if looks:
        assert 1 < float(looks[1]) < 10
        assert "the limit is too low to learn from, calibrate from frames instead" in out
    assert artefacts(plant) == before


def test_ctrl_c_writes_nothing(plant: Site) -> None:
    before = artefacts(plant)
    with running(plant), process(plant, *FROM_RUN[:-1], "100000") as command:
        assert command.stderr is not None
        assert "waiting for 100000 m of good web" in command.stderr.readline()
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=PATIENCE_S)
    assert (command.returncode, out, err) == (INTERRUPTED, "", "inspector: interrupted\n")
    assert artefacts(plant) == before


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, "has been silent for 2 s: not running"), (signal.SIGTERM, "ended (Halted) after")],
)
def test_a_line_that_goes_writes_nothing(plant: Site, number: signal.Signals, said: str) -> None:
    before = artefacts(plant)
    with heard(plant) as line, process(plant, *FROM_RUN[:-1], "100000") as command:
        assert command.stderr is not None
        assert "waiting for" in command.stderr.readline()
        line.send_signal(number)
        out, err = command.communicate(timeout=PATIENCE_S)
    assert (command.returncode, out) == (8, "")
    assert said in one_sentence(err)
    assert artefacts(plant) == before


def test_limits_that_a_hand_moves_meanwhile_stay_as_they_are(
    plant: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first word and the last somebody else has set the limits."""
    from inspector.calibrating import from_run

    real = from_run.find

    def find(*words: Any) -> Any:
        times(plant, load_limits(plant, "3", "stripes"), 2.0)
        return real(*words)

    monkeypatch.setattr(from_run, "find", find)
    with running(plant):
        result = CliRunner().invoke(main, [*FROM_RUN, "--config", str(plant.file)])
    assert result.exit_code == 4
    assert result.stderr.splitlines()[-1].endswith(
        "line-3.stripes.toml: changed meanwhile; nothing is written"
    )
    assert load_limits(plant, "3", "stripes").provenance.runs == ()


def test_a_line_that_does_not_run_is_exit_code_8(plant: Site) -> None:
    code, sentence = in_process(plant, *FROM_RUN)
    assert (code, "line 3 has been silent for 2 s: not running" in sentence) == (8, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*FROM_RUN, "good"), "--from-run learns from the running line, not from good; give one of the two"),
        (("calibrate", "--line", "3"), "wants a folder of good images, or --from-run; give one of the two"),
        (("calibrate", "good", "--line", "3"), "wants to know whose limits to set; give --recipe"),
        (
            ("calibrate", "good", "--line", "3", "--recipe", "stripes", "--metres", "9"),
            "--metres goes with --from-run; leave it out",
        ),
        (("calibrate", "--from-run", "--line", "3"), "how much good web to wait for; give --metres"),
        (
            (*FROM_RUN, "--overwrite"),
            "--overwrite goes with DATA, and --from-run only lowers what is there; leave it",
        ),
        ((*FROM_RUN, "--recipe", "denim"), "line 3 runs recipe 'stripes', not 'denim'"),
        ((*FROM_RUN[:-1], "5"), "5 m of good web are too few for 1 false alarms per 100 m; give --metres 10"),
        ((*FROM_RUN, "--false-alarms-per-hour", "1"), "too few for 0.0277778 false alarms per 100 m"),
        ((*FROM_RUN[:3], "9", *FROM_RUN[4:]), "there is no line '9'; the plant has: 3"),
    ],
)
def test_arguments_that_can_not_be(plant: Site, words: tuple[str, ...], said: str) -> None:
    before = artefacts(plant)
    code, sentence = in_process(plant, *words)
    assert code == 2
    assert said in sentence
    assert artefacts(plant) == before
