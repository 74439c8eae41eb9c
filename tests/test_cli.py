"""Every command against what people, disks and cameras do to it: one sentence, the documented code, nothing lost.

What the rooms themselves refuse is held in their own tests; here is what a person at a terminal is told.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from inspector import config
from inspector.calibrating.calibrate import calibrate
from inspector.cli import INTERRUPTED, main
from inspector.errors import InspectorError
from inspector.limits import load_limits
from tests.conftest import ROOT
from tests.small_recipe import make_recipe, make_site, weave
from tests.talking_line import PATIENCE_S, Listener, ask

HEIGHT, WIDTH = 128, 256
LIMITS = "calibration/line-1.stripes.toml"
MODEL = "engines/stripes/model.onnx"
MANIFEST = "engines/stripes/manifest.toml"
RECIPE = "engines/stripes/recipe.toml"
FOLDER = '{ kind = "folder", path = "frames" }'
RUN = ("run", "--line", "1")
CHECK = ("check", "--line", "1")
SELFTEST = ("selftest", "--line", "1", "--seconds", "0.01")
FIXED = '\nregion = { kind = "fixed", left_mm = 0, right_mm = 51.2 }'
TILES = ("tiles", "--line", "1", "--picture", "grid.png")
BUILD = ("build-engine", "--recipe", "stripes", "--backend", "onnxruntime")
TRAIN = ("train", "good", "--recipe", "new", "--tile-px", "64", "--region", "whole")
CALIBRATE = ("calibrate", "good", "--recipe", "stripes", "--line", "1")
EVALUATE = ("evaluate", "tree", "--recipe", "stripes", "--backend", "onnxruntime", "--overlap-px", "0")

Spoil = Callable[[Path], Any]


def save(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plant that runs: engine, limits, frames to play, good images, and a tree of faults."""
    folder = tmp_path_factory.mktemp("whole")
    site = make_site(folder)
    make_recipe(site, "stripes")
    for number in range(8):
        save(folder / f"good/{number}.png", weave(number, HEIGHT, WIDTH))
    for number in range(10, 14):
        save(folder / f"frames/{number}.png", weave(number, HEIGHT, WIDTH))
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[80:96, 150:166] = 255
    for number in range(2):
        pixels = weave(20 + number, HEIGHT, WIDTH)
        save(folder / f"tree/test/good/{number}.png", pixels)
        save(folder / f"tree/test/hole/{number}.png", np.where(mask > 0, 0, pixels))
        save(folder / f"tree/ground_truth/hole/{number}_mask.png", mask)
    calibrate(folder / "good", "stripes", "1", site)
    return folder


@pytest.fixture
def plant(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be spoilt; commands start there, as a person's do."""
    folder = tmp_path / "plant"
    shutil.copytree(whole, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("INSPECTOR_CONFIG", raising=False)
    return folder


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file, temporary ones too."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def invoke(*words: str) -> Result:
    """In this process; what ends a command is never an exception that nobody took care of."""
    result = CliRunner().invoke(main, words, prog_name="inspector")
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def own_words(stderr: str) -> list[str]:
    """Without what libpng says for itself inside OpenCV 4; it can't be told not to."""
    return [line for line in stderr.splitlines() if not line.startswith("libpng error:")]


def one_sentence(stderr: str) -> str:
    (line,) = own_words(stderr)
    assert line.startswith("inspector: ")
    assert "Traceback" not in line
    return line


def refusal(plant: Path, code: int, *words: str) -> str:
    """The sentence that a command ends with; not a file of the plant is another, fewer or more than before."""
    before = contents(plant)
    result = invoke(*words)
    assert result.exit_code == code, result.output
    assert contents(plant) == before
    return one_sentence(result.stderr)


def usage_error(*words: str) -> str:
    """click's own, for arguments that can't be parsed."""
    result = invoke(*words)
    assert result.exit_code == 2
    usage, _try, _, error = result.stderr.splitlines()
    assert usage.startswith("Usage: inspector")
    assert error.startswith("Error: ")
    return error


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "inspector", *words]


@contextmanager
def start(*words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        # What a script starts in its background, or nohup, ignores SIGINT or SIGHUP and hands that on; these tests too.
        ["env", "--default-signal=INT,HUP", *command(*words)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # one that has ended is left alone; none outlives a test that failed


def finish(*words: str, **environment: str) -> tuple[int, str, str]:
    with start(*words, **environment) as process:
        out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def edit(old: str, new: str, file: str = "config.toml") -> Spoil:
    def spoil(plant: Path) -> None:
        text = (plant / file).read_text()
        assert old in text
        (plant / file).write_text(text.replace(old, new, 1))

    return spoil


def write(text: str | bytes, file: str = "config.toml") -> Spoil:
    return lambda plant: (plant / file).write_bytes(text if isinstance(text, bytes) else text.encode())


def remove(file: str) -> Spoil:
    return lambda plant: (plant / file).unlink()


def cut_short(file: str, size: int = 500) -> Spoil:
    return lambda plant: (plant / file).write_bytes((plant / file).read_bytes()[:size])


def flip_a_bit(file: str) -> Spoil:
    def spoil(plant: Path) -> None:
        data = bytearray((plant / file).read_bytes())
        data[len(data) // 2] ^= 1
        (plant / file).write_bytes(data)

    return spoil


def twice(new_id: str) -> Spoil:
    """The one line of the plant once more, under this id."""

    def spoil(plant: Path) -> None:
        text = (plant / "config.toml").read_text()
        again = text[text.index("[line.1]") :].replace("[line.1]", f"[line.{new_id}]")
        (plant / "config.toml").write_text(text + again)

    return spoil


def replayed(frames_per_s: float) -> Spoil:
    """Frames again and again, on sockets that a listener finds."""

    def spoil(plant: Path) -> None:
        edit('path = "frames"', f'path = "frames", loop = true, frames_per_s = {frames_per_s}')(plant)
        for name in ("verdicts", "maps", "replay"):
            edit(f'{name} = "tcp://127.0.0.1:*"', f'{name} = "ipc://{plant}/{name}"')(plant)

    return spoil


# -- the config -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (remove("config.toml"), "config.toml: no such file; name the plant's file with --config"),
        (write("plant = \n"), "config.toml: not valid TOML: Invalid value (at line 1, column 9)"),
        (write(b"\xff\xfe"), "it must be a UTF-8 text file"),
        (write(""), "key 'plant' is missing in the top of the file"),
        (write('plant = "x"\nline = 3\n'), "line: expected a table, got `int` (it is 3)"),
        (write('plant = "x"\n[line]\n'), "there is no line '1'; the plant has: none"),
        (
            edit("mm_per_px", "mm_per_pix"),
            "unknown key 'mm_per_pix' in [line.1.web]; did you mean 'mm_per_px'?",
        ),
        (edit('"stripes"', "3"), "line.1.recipe: expected `str`, got `int` (it is 3)"),
        (
            edit("mm_per_px = 0.2", "mm_per_px = -1"),
            "line.1.web.mm_per_px: expected `float` > 0.0 (it is -1)",
        ),
        (edit("speed_m_min = 6", "speed_m_min = nan"), "line.1.web.speed_m_min: expected `float` > 0.0"),
        (edit("m = 10000", "m = inf"), "line.1.web.encoder_counts_per_m: expected `float` <= 1"),
        (edit("[line.1]", "[line.1]\nreject_distance_m = inf"), "line.1.reject_distance_m: expected `float`"),
        (edit("[line.1]", "[line.1]\noverload = { deadline_ms = inf }"), "overload.deadline_ms: expected"),
        (edit("[line.1]", "[line.1]\nlanes = { edges_mm = [0, nan, 20] }"), "line.1.lanes.edges_mm"),
        (
            edit('"tcp://127.0.0.1:*"', '"tcp://127.0.0.1:99999"'),
            "line.1.bus.verdicts: must end with a port from 1 to 65535 (it is 'tcp://127.0.0.1:99999')",
        ),
        (edit("overlap_mm = 0", "overlap_mm = 9"), "overlap_mm = 9 is more than half of size_mm = 12.8"),
        (twice("1"), "line '1' stands there twice (at line 9, column 8); give each line an id of its own"),
        (twice('"a b"'), "line.a b: an id is 1 to 32 letters, digits, '-' or '_'"),
    ],
)
def test_a_config_that_can_not_be(plant: Path, spoil: Spoil, said: str) -> None:
    spoil(plant)
    sentence = refusal(plant, 2, *RUN)
    assert sentence.startswith("inspector: ")
    assert "config.toml: " in sentence
    assert said in sentence
    assert refusal(plant, 2, *CHECK) == sentence


@pytest.mark.parametrize("words", [RUN, CHECK, SELFTEST, TILES, CALIBRATE, ("events", "--line", "1")])
def test_an_unknown_line_names_those_there_are(plant: Path, words: tuple[str, ...]) -> None:
    twice("2")(plant)
    sentence = refusal(plant, 2, *words, "--line", "9")
    assert sentence.endswith("config.toml: there is no line '9'; the plant has: 1, 2")


def test_two_lines_on_one_endpoint(plant: Path) -> None:
    edit("tcp://127.0.0.1:*", "tcp://127.0.0.1:5999")(plant)
    twice("2")(plant)
    sentence = refusal(plant, 2, *RUN)
    assert "line.2.bus.verdicts and line.1.bus.verdicts are both tcp://127.0.0.1:5999; each needs" in sentence


# -- cameras ----------------------------------------------------------------------------------------------


def genicam(producer: Path | str, serial: str = "SIM0001", **features: object) -> Spoil:
    settings = {"Width": WIDTH, "Height": HEIGHT, **features}
    table = ", ".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    camera = f'kind = "genicam", producer = "{producer}", serial = "{serial}", features = {{ {table} }}'
    return edit(FOLDER, f"{{ {camera} }}")


@pytest.mark.parametrize(
    ("code", "settings", "said"),
    [
        (3, {"producer": "nowhere.cti"}, "nowhere.cti: no such producer; install the camera vendor's"),
        (3, {"producer": "config.toml"}, "can't be loaded as a GenTL producer (invalid ELF header); install"),
        (
            3,
            {"serial": "NOPE"},
            "no camera with serial 'NOPE'; simcam.cti sees: SimCam SimLine SIM0001 (free)",
        ),
        (3, {"PixelFormat": "Mono7"}, "features.PixelFormat = 'Mono7' must be one of: Mono8, Mono10"),
        (
            3,
            {"Height": 99_999},
            "camera SIM0001: features.Height = 99999 must be from 1 to 16384 in steps of 1",
        ),
        (3, {"Hieght": 128}, "there is no feature 'Hieght'; did you mean Height"),
        (
            2,
            {"PixelFormat": "RGB8"},
            "camera SIM0001 delivers RGB8, which is colour, but recipe stripes looks at",
        ),
        (
            2,
            {"Height": 32},
            "images of 256 x 32 px are smaller than a tile of 64 px square; use larger images",
        ),
    ],
)
def test_a_camera_that_can_not_be(
    plant: Path, simcam: Path, code: int, settings: dict[str, Any], said: str
) -> None:
    genicam(**{"producer": simcam, **settings})(plant)
    assert said in refusal(plant, code, *RUN)
    assert said in refusal(plant, code, *TILES)
    checked = invoke(*CHECK)
    assert checked.exit_code == code
    (failed,) = (row for row in own_words(checked.stderr) if row.startswith("FAIL"))
    assert said in failed
    assert checked.stderr.endswith("NOT ready: mend what says FAIL\n")
    assert [row for row in checked.stdout.splitlines() if not row.startswith(("ok ", "warn "))] == []


def test_no_camera_behind_the_producer(plant: Path, simcam: Path) -> None:
    genicam(simcam)(plant)
    code, _, err = finish(*RUN, SIMCAM_DEVICES="0")
    assert code == 3
    assert (
        one_sentence(err) == "inspector: simcam.cti sees no camera; check power, cable and the link's address"
    )


def test_a_camera_that_another_line_has(plant: Path, simcam: Path) -> None:
    """Another process runs another line of the plant with it, and goes on."""
    genicam(simcam)(plant)
    twice("2")(plant)
    limits = (plant / LIMITS).read_text().replace('line = "1"', 'line = "2"')
    (plant / "calibration/line-2.stripes.toml").write_text(limits)
    with start("run", "--line", "2") as other:
        assert other.stdout is not None
        assert other.stdout.readline().startswith("line 2 ready")
        sentence = refusal(plant, 3, *RUN)
        assert sentence == (
            "inspector: camera SIM0001 is taken: camera SIM0001 is in use by another process; "
            "end the other program, or wait for its time-out"
        )
        assert "SIM0001 (taken by another program)" in invoke("cameras").stdout
        assert other.poll() is None
        other.terminate()
        other.communicate(timeout=PATIENCE_S)
    assert other.returncode == 0
    assert invoke(*RUN, "--frames", "1").exit_code == 0


def test_cameras_without_a_producer(plant: Path, monkeypatch: pytest.MonkeyPatch, simcam: Path) -> None:
    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)
    assert "no producer is known; name one with --producer" in refusal(plant, 3, "cameras")
    assert "x.cti: no such producer; install" in refusal(plant, 3, "cameras", "--producer", "x.cti")
    assert "none.toml: no such file" in refusal(plant, 2, "cameras", "--config", "none.toml")
    with monkeypatch.context() as there:
        there.chdir(simcam.parent)
        assert invoke("cameras", "--producer", simcam.name).exit_code == 0
    listed = invoke("cameras", "--producer", "x.cti", "--producer", str(simcam))
    assert listed.exit_code == 0
    assert listed.stdout.startswith("x.cti: no such producer")
    monkeypatch.setenv("VENDOR", str(simcam.parent))
    genicam("$VENDOR/simcam.cti")(plant)
    assert "SimCam SimLine SIM0001 (free)" in invoke("cameras").stdout


def empty(folder: str) -> Spoil:
    def spoil(plant: Path) -> None:
        shutil.rmtree(plant / folder)
        (plant / folder).mkdir()

    return spoil


def all_cut_short(plant: Path) -> None:
    for file in (plant / "frames").iterdir():
        cut_short(f"frames/{file.name}")(plant)


def all_small(plant: Path) -> None:
    for file in (plant / "frames").iterdir():
        save(file, weave(1, 40, WIDTH))


def colour(plant: Path) -> None:
    edit('path = "frames"', 'path = "frames", pixel_format = "RGB8"')(plant)
    for file in (plant / "frames").iterdir():
        save(file, np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))


@pytest.mark.parametrize(
    ("code", "spoil", "said"),
    [
        (3, empty("frames"), "frames: there is no image to play in it (.png, .jpg"),
        (
            3,
            lambda plant: shutil.rmtree(plant / "frames"),
            "frames: can't be played (No such file or directory); ",
        ),
        (3, all_cut_short, "10.png: is damaged, cut short or no image; copy it again or take it away"),
        (
            2,
            all_small,
            "images of 256 x 40 px are smaller than a tile of 64 px square; use larger images, or",
        ),
        (
            2,
            colour,
            "delivers RGB8, which is colour, but recipe stripes looks at grey; set another PixelFormat",
        ),
        (
            2,
            edit("size_mm = 12.8", "size_mm = 13"),
            "recipe stripes was trained on 64 px; set size_mm = 12.8",
        ),
        (
            2,
            edit("[line.1]", '[line.1]\nregion = { kind = "fixed", left_mm = 1, right_mm = 6 }'),
            "a region of 25 px is narrower than a tile of 64 px; widen it, or use a recipe with smaller tiles",
        ),
        (
            2,
            edit("[line.1]", '[line.1]\nregion = { kind = "fixed", left_mm = 1, right_mm = 60 }'),
            "the region reaches to column 300, but frames are 256 px wide; set region.right_mm to fit",
        ),
    ],
)
def test_images_that_can_not_be_played(plant: Path, code: int, spoil: Spoil, said: str) -> None:
    spoil(plant)
    assert said in refusal(plant, code, *RUN)
    assert said in refusal(plant, code, *TILES)
    checked = invoke(*CHECK)
    assert checked.exit_code == code
    assert said in checked.stderr
    assert "ready to run" not in checked.stdout


def test_an_engine_is_held_against_the_lines_limit(plant: Path) -> None:
    limit = re.search(r"^limit_sigma = (.+)$", (plant / LIMITS).read_text(), re.MULTILINE)
    assert limit is not None
    before = contents(plant)
    result = invoke(*SELFTEST)
    assert result.exit_code == 0, result.output
    assert f"(0.0001 of a limit of {float(limit[1]):.2f} sigma)" in result.stdout
    assert (
        "one row of them (a folder's images tell their height only when they are read; tiles/s"
        in result.stdout
    )
    assert contents(plant) == before


def test_a_line_that_is_ready(plant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.check.line.RATE_S", 0.1)
    edit("[line.1]", "[line.1]\nreject_distance_m = 1.5")(plant)
    checked = invoke(*CHECK)
    assert (checked.exit_code, own_words(checked.stderr)) == (0, [])
    rows = checked.stdout.splitlines()
    rooms = ["config", "ports", "limits", "engine", "camera", "tiles", "web", "speed"]
    assert [row.split()[1] for row in rows[:-1]] == rooms
    assert rows[6].startswith("ok    web      this frame's median is ")
    assert rows[-1] == "ready to run"


def test_a_line_whose_verdicts_are_all_too_late_for_the_ejector(
    plant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.check.line.RATE_S", 0.1)
    checked = invoke(*CHECK)
    assert checked.exit_code == 0
    assert checked.stdout.splitlines()[1].startswith(
        "warn  ejector  reject_distance_m is 0, so no verdict is ever"
    )
    assert checked.stdout.endswith("ready to run\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda web: np.where(np.arange(WIDTH) // 8 % 2, 255, 0) + 0 * web,
            "as a whole it is unlike what the recipe",
        ),
        (lambda web: np.where(np.indices(web.shape).max(0) < 90, 0, web), "is above the limit of"),
    ],
    ids=["another fabric", "a hole"],
)
def test_a_web_that_check_warns_of(
    plant: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    monkeypatch.setattr("inspector.check.line.RATE_S", 0.1)
    save(plant / "frames/10.png", change(weave(10, HEIGHT, WIDTH)))
    checked = invoke(*CHECK)
    assert checked.exit_code == 0
    (row,) = (row for row in checked.stdout.splitlines() if row.split()[1] == "web")
    assert row.startswith("warn  web      this frame's median is ")
    assert said in row


@pytest.mark.parametrize(("work", "room"), [("score_loose", "web"), ("measure_rate", "speed")])
def test_an_engine_that_fails_at_work_is_a_row(
    plant: Path, monkeypatch: pytest.MonkeyPatch, work: str, room: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("inspector.check.line.RATE_S", 0.1)
    monkeypatch.setattr(f"inspector.check.line.{work}", fail)
    checked = invoke(*CHECK)
    assert checked.exit_code == 4
    assert checked.stderr.splitlines()[0] == (
        f"FAIL  {room:8} recipe stripes: onnxruntime fails at scoring tiles (out of memory); {REBUILD}"
    )


def test_limits_of_other_columns_than_the_line_judges(plant: Path) -> None:
    edit("[line.1]", '[line.1]\nregion = { kind = "fixed", left_mm = 6.4, right_mm = 44.8 }')(plant)
    said = "set on the columns from 0 to 51.2 mm, but the line judges 6.4 to 44.8 mm (region 'fixed'); run `inspector"
    checked = invoke(*CHECK)
    assert checked.exit_code == 4
    assert said in checked.stderr
    assert said in refusal(plant, 4, *RUN)
    edit("region_mm = [\n    0.0,\n    51.2,\n]", "region_mm = [6.4, 44.8]", LIMITS)(plant)
    assert invoke(*CHECK).exit_code == 0


def test_check_refuses_limits_that_a_run_would_refuse(plant: Path) -> None:
    window = (
        '[[wide]]\nname = "blot"\nacross_px = 21\nalong_px = 16\nclip_sigma = 20.0\nmean_sigma = 0.0\n'
        "deviation_sigma = 0.5\nlimit_deviations = 9.0\n"
    )
    text = (plant / LIMITS).read_text()
    assert "zones = []\nwide = []\n" in text
    text = text.replace("zones = []\nwide = []\n", "").replace('set_by_hand = ""', 'set_by_hand = "M. Weber"')
    (plant / LIMITS).write_text(text + window)
    checked = invoke(*CHECK)
    assert checked.exit_code == 4
    assert "FAIL  tiles    wide 'blot': a window of 21x16 px can't be filled with cells" in checked.stderr
    assert "a window of 21x16 px can't be filled with cells" in refusal(plant, 4, *RUN)


@pytest.mark.parametrize(
    ("edges", "is_refused"),
    [("0, 25, 51.2", False), ("-9, 25, 60", False), ("5, 25, 51.2", True), ("0, 40", True), ("5, 10", True)],
)
def test_lanes_that_leave_out_judged_web_are_refused(
    plant: Path, monkeypatch: pytest.MonkeyPatch, edges: str, is_refused: bool
) -> None:
    """A fault beside them would be in no verdict, and every lane a PASS."""
    monkeypatch.setattr("inspector.check.line.RATE_S", 0.1)
    edit("[line.1]", f"[line.1]\nlanes = {{ edges_mm = [{edges}] }}")(plant)
    checked, said = invoke(*CHECK), "the web judged is 0.0 to 51.2 mm, lanes.edges_mm are "
    assert (f"FAIL  tiles    {said}" in checked.stderr) == is_refused
    assert checked.exit_code == (2 if is_refused else 0)
    if is_refused:
        assert said in refusal(plant, 2, *RUN)
    else:
        assert invoke(*RUN).exit_code == 0


@pytest.mark.parametrize(("edges", "is_refused"), [("6.4, 44.8", False), ("0, 40", True)])
def test_lanes_are_held_against_the_columns_that_limits_were_set_on(
    plant: Path, monkeypatch: pytest.MonkeyPatch, edges: str, is_refused: bool
) -> None:
    monkeypatch.setattr("inspector.check.line.RATE_S", 0.1)
    edit("region_mm = [\n    0.0,\n    51.2,\n]", "region_mm = [6.4, 44.8]", LIMITS)(plant)
    edit("seamless = false }", 'seamless = true }\nregion = { kind = "auto" }')(plant)
    edit("[line.1]", f"[line.1]\nlanes = {{ edges_mm = [{edges}] }}")(plant)
    if not is_refused:
        assert invoke(*CHECK).exit_code == invoke(*RUN).exit_code == 0
        return
    said = "the web judged is 6.4 to 44.8 mm, lanes.edges_mm are 0 to 40 mm: a fault beside them is in no verdict"
    assert f"FAIL  tiles    {said}" in invoke(*CHECK).stderr
    assert f"line 1: {said}" in refusal(plant, 2, *RUN)


@pytest.mark.parametrize(
    ("width_mm", "region", "is_refused"), [(53, "", False), (100, "", True), (100, FIXED, False)]
)
def test_a_web_wider_than_the_camera_sees_is_refused(
    plant: Path, monkeypatch: pytest.MonkeyPatch, width_mm: float, region: str, is_refused: bool
) -> None:
    """What lies beside is in no verdict, and a PASS would seem to cover it; a fixed region says that this is meant."""
    monkeypatch.setattr("inspector.check.line.RATE_S", 0.1)
    edit("width_mm = 51.2", f"width_mm = {width_mm}")(plant)
    edit("seamless = false }", f"seamless = false }}{region}")(plant)
    checked, said = invoke(*CHECK), f"web.width_mm = {width_mm}, but the camera sees 51.2 mm of it (256 px at"
    assert (said in checked.stderr) == is_refused
    assert checked.exit_code == (2 if is_refused else 0)
    if is_refused:
        assert said in refusal(plant, 2, *RUN)


@pytest.mark.parametrize(
    ("reject_distance_m", "deadline_ms", "said"),
    [
        (0, 500, "warn  ejector  reject_distance_m is 0, so no verdict is ever in time for a receiver"),
        (
            0.001,
            500,
            "warn  ejector  reject_distance_m = 0.001, but a verdict waits for up to 0.03 m of web",
        ),
        (0.1, 900, "warn  ejector  overload.deadline_ms = 900, but 7"),
        (0.1, 500, ""),
    ],
)
def test_verdicts_too_late_for_the_ejector_are_warned_of(
    plant: Path, monkeypatch: pytest.MonkeyPatch, reject_distance_m: float, deadline_ms: float, said: str
) -> None:
    monkeypatch.setattr("inspector.check.line.RATE_S", 0.1)
    timed = f"reject_distance_m = {reject_distance_m}\noverload = {{ deadline_ms = {deadline_ms} }}"
    edit("[line.1]", f"[line.1]\n{timed}")(plant)
    checked = invoke(*CHECK)
    assert checked.exit_code == 0
    rows = [row for row in checked.stdout.splitlines() if row.split()[1] == "ejector"]
    assert [row.startswith(said) for row in rows] == [True] * bool(said)


def test_check_plans_for_frames_that_join_no_other(plant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 64 px in frames of 128 rows, 48 px apart: three rows of five."""
    monkeypatch.setattr("inspector.check.line.RATE_S", 0.1)
    edit("overlap_mm = 0", "overlap_mm = 3.2")(plant)
    rows = {row.split()[1]: row for row in invoke(*CHECK).stdout.splitlines()}
    laid = "5 across 256 px, 3 row(s) of them in each frame, which joins no other, overlap 16 px = 3.2 mm, "
    assert laid + "586 tiles per m" in rows["tiles"]
    assert "6 m/min needs 59 tiles/s" in rows["speed"]
    assert "5 tiles across 256 px, 3 row(s) of them in each frame" in invoke(*TILES).stdout
    edit("seamless = false", "seamless = true")(plant)
    rows = {row.split()[1]: row for row in invoke(*CHECK).stdout.splitlines()}
    assert "a row of them every 48 px" in rows["tiles"]
    assert "6 m/min needs 52 tiles/s" in rows["speed"]


def test_a_camera_that_shows_no_web_is_warned_of(plant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.check.line.RATE_S", 0.1)
    (row,) = (row for row in invoke(*CHECK).stdout.splitlines() if row.split()[1] == "camera")
    assert row.startswith("warn  camera ")
    assert "verdicts bear is_simulated, and no receiver may act on them" in row


def test_tiles_are_drawn_where_a_run_judges(plant: Path) -> None:
    """A seamless web's columns are those its limits were set on; before there are any, those found in the frame."""
    edit("seamless = false", 'seamless = true }\nregion = { kind = "auto"')(plant)
    edit("region_mm = [\n    0.0,\n    51.2,\n]", "region_mm = [6.4, 44.8]", LIMITS)(plant)
    assert "3 tiles across 192 px" in invoke(*TILES).stdout
    (plant / LIMITS).unlink()
    assert "4 tiles across 256 px" in invoke(*TILES).stdout


def narrow(plant: Path) -> None:
    save(plant / "frames/11.png", weave(11, 40, WIDTH))


@pytest.mark.parametrize(
    ("spoil", "detail"),
    [
        (write(b"", "frames/11.png"), "11.png: is empty; copy it again or take it away"),
        (cut_short("frames/11.png", 900), "11.png: is damaged, cut short or no image; copy it again or"),
        (narrow, "the image is 256 x 40 px, less than 64 x 64 px"),
    ],
    ids=["empty", "cut short", "smaller than a tile"],
)
def test_a_broken_image_among_good_ones_is_named_and_counted(plant: Path, spoil: Spoil, detail: str) -> None:
    replayed(5)(plant)
    spoil(plant)
    with (
        Listener(f"ipc://{plant}/verdicts", hwm=0) as listener,
        start(*RUN, "--frames", "4", "--summary", "s.json") as process,
    ):
        heard = {}
        while len(heard) < 4:
            verdict, _ = listener.next("verdict")
            missed = {"want": "events", "kind": "verdict", "first": 1, "last": verdict["seq"] - 1}
            if not heard and missed["last"]:
                given, _ = ask(f"ipc://{plant}/replay", json.dumps(missed).encode())
                heard |= {header["sequence"]: header for _, header in given}
            heard[verdict["sequence"]] = verdict
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert not own_words(err)
    assert [heard[n]["verdict"] for n in range(4)] == ["PASS", "NOT_INSPECTED", "PASS", "PASS"]
    assert detail in heard[1]["detail"]
    assert "4 triggers, 3 PASS, 0 FAIL, 1 NOT_INSPECTED" in out
    assert json.loads((plant / "s.json").read_text())["reasons"] == {"frame_incomplete": 1}


# -- the bus ----------------------------------------------------------------------------------------------


def test_a_port_in_use(plant: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        edit("tcp://127.0.0.1:*", f"tcp://127.0.0.1:{port}")(plant)
        sentence = refusal(plant, 5, *RUN)
        checked = invoke(*CHECK)
    said = (
        f"line 1: bus.verdicts = tcp://127.0.0.1:{port} can't be bound (Address already in use); does another"
    )
    assert said in sentence
    assert checked.exit_code == 5
    assert f"FAIL  ports    {said}" in checked.stderr


def test_a_line_that_runs_already_is_left_alone(plant: Path) -> None:
    replayed(20)(plant)
    with Listener(f"ipc://{plant}/verdicts") as listener, start(*RUN) as process:
        listener.next("verdict")
        sentence = refusal(plant, 5, *RUN)
        assert sentence == f"inspector: line 1 runs already (process {process.pid}); end that one first"
        checked = invoke(*CHECK)
        assert f"FAIL  ports    line 1 runs already (process {process.pid})" in checked.stderr
        assert not re.search(
            r"^\w+ +(camera|engine) ", checked.stdout + checked.stderr, re.MULTILINE
        )  # the line has both
        verdict, _ = listener.next("verdict")
        assert verdict["verdict"] == "PASS"
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def test_open_to_others_without_keys(plant: Path) -> None:
    edit("tcp://127.0.0.1:*", "tcp://*:5999")(plant)
    assert "needs keys; run `inspector keys FOLDER --client NAME` and set bus.keys" in refusal(plant, 5, *RUN)
    edit('verdicts = "tcp://*', 'keys = "keys", verdicts = "tcp://*')(plant)
    assert "server.key_secret: no usable key" in refusal(plant, 5, *RUN)
    assert "client-events.key_secret: no usable key" in refusal(plant, 5, "events", "--line", "1")


def test_keys_are_made_for_all_clients_or_for_none(plant: Path) -> None:
    assert "client '../b': a name is" in refusal(
        plant, 5, "keys", "keys", "--client", "a", "--client", "../b"
    )
    assert invoke("keys", "keys", "--client", "a").exit_code == 0
    assert "client 'a' has a key already; delete it" in refusal(plant, 5, "keys", "keys", "--client", "a")
    sentence = refusal(plant, 5, "keys", "config.toml/keys")
    assert sentence.endswith("can't be written (Not a directory); free the disk or name another folder")


# -- engines and limits -----------------------------------------------------------------------------------

REBUILD = "run `inspector build-engine --recipe stripes --backend onnxruntime`"
AS_BUILT = f"{REBUILD[:-1]} --precision fp32`"
RETRAIN = "run `inspector train DATA --recipe stripes`"
RECALIBRATE = "run `inspector calibrate DATA --recipe stripes --line 1`"


@pytest.mark.parametrize(
    ("spoil", "file", "said", "remedy"),
    [
        (remove(MANIFEST), MANIFEST, "no engine was built for onnxruntime on this machine", REBUILD),
        (write("x", MANIFEST), MANIFEST, "not valid TOML", REBUILD),
        (edit("precision", "precison", MANIFEST), MANIFEST, "unknown key `precison`", REBUILD),
        (edit('recipe = "', 'recipe = "x', MANIFEST), MANIFEST, "belongs to recipe 'xstripes'", REBUILD),
        (edit('version = "', 'version = "9', MANIFEST), MANIFEST, "another library version: 9", AS_BUILT),
        (flip_a_bit(MODEL), MODEL, "not the graph that recipe.toml vouches for", RETRAIN),
        (remove(MODEL), MODEL, "no such file; bring back the file", RETRAIN),
        (flip_a_bit("engines/stripes/golden.png"), "golden.png", "not the file that manifest.toml", AS_BUILT),
        (edit('name = "', 'name = "x', RECIPE), RECIPE, "this is recipe 'xstripes' in a folder", RETRAIN),
        (remove(RECIPE), RECIPE, "no such file", RETRAIN),
        (write("x", RECIPE), RECIPE, "can't be read (Expected '='", RETRAIN),
        (remove(LIMITS), LIMITS, "no such file", RECALIBRATE),
        (write("", LIMITS), LIMITS, "missing key `line`", RECALIBRATE),
        (
            edit("limit_sigma = ", "limit_sigma = nan # ", LIMITS),
            LIMITS,
            "limit_sigma = nan must be",
            RECALIBRATE,
        ),
        (
            edit('onnx_sha256 = "', f'onnx_sha256 = "{"a" * 64}" # ', LIMITS),
            LIMITS,
            "another train",
            RECALIBRATE,
        ),
        (edit("mm_per_px = 0.2", "mm_per_px = 0.3", LIMITS), LIMITS, "calibrated at 0.3 mm/px", RECALIBRATE),
    ],
)
def test_an_engine_or_limit_that_nobody_vouches_for(
    plant: Path, spoil: Spoil, file: str, said: str, remedy: str
) -> None:
    spoil(plant)
    sentence = refusal(plant, 4, *RUN)
    assert f"{file}: " in sentence
    assert said in sentence
    assert remedy in sentence
    checked = invoke(*CHECK)
    assert checked.exit_code == 4
    assert said in checked.stderr or file == RECIPE


def test_a_precision_that_the_cpu_lacks_is_no_failure(plant: Path) -> None:
    built = invoke(*BUILD, "--precision", "bf16")
    assert built.exit_code == 0
    first, *_, result, _ = built.stdout.splitlines()
    assert first.startswith("bf16 was asked for, but onnxruntime on CPU")
    assert " fp32 on CPU" in result
    assert invoke(*RUN).exit_code == 0


def test_a_plan_of_which_a_byte_changed(plant: Path) -> None:
    assert invoke("build-engine", "--recipe", "stripes").exit_code == 0
    edit('backend = "onnxruntime"', 'backend = "openvino"')(plant)
    assert invoke(*RUN).exit_code == 0
    (plan,) = (plant / "engines/stripes/plans").iterdir()
    flip_a_bit(str(plan.relative_to(plant)))(plant)
    sentence = refusal(plant, 4, *RUN)
    assert f"{plan}: not the file that manifest.toml vouches for" in sentence
    assert "run `inspector build-engine --recipe stripes --backend openvino --precision " in sentence


@pytest.mark.parametrize(
    "words",
    [("build-engine",), ("calibrate", "good", "--line", "1"), ("evaluate", "tree")],
    ids=["build-engine", "calibrate", "evaluate"],
)
def test_a_recipe_that_is_not_there(plant: Path, words: tuple[str, ...]) -> None:
    sentence = refusal(plant, 4, *words, "--recipe", "strips")
    assert "engines/strips/recipe.toml: no such recipe (there are: stripes); run `inspector train" in sentence
    assert "must be 1 to 64 letters, digits" in usage_error(*words, "--recipe", "../stripes")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--overlap-px", "3"), "an overlap of 3 px is no multiple of the recipe's cell"),
        (("--overlap-px", "48"), "an overlap of 48 px is not between 0 and half a tile"),
        (("--resize", "32"), "--resize 32 is smaller than a tile of 64 px"),
    ],
)
def test_arguments_by_which_no_tile_can_be_cut(plant: Path, words: tuple[str, ...], said: str) -> None:
    done = invoke(*EVALUATE, *words)
    assert done.exit_code == 2
    assert own_words(done.stderr)[-1].startswith(f"inspector: {said}")


def test_calibrate_says_what_is_not_looked_at(plant: Path) -> None:
    (plant / "good/roll2").mkdir()
    shutil.copy(next((plant / "good").glob("*.png")), plant / "good/roll2/more.png")
    (plant / "good/more.webp").write_text("no image")
    done = invoke(*CALIBRATE)
    assert done.exit_code == 0
    told = own_words(done.stderr)
    assert [line.partition(";")[0] for line in told] == [
        "inspector: 1 files in good are no images that this program reads (.webp)",
        "inspector: good/roll2 holds 1 images that are not looked at",
    ]


def test_calibrate_says_where_the_line_runs_another_recipe_still(plant: Path) -> None:
    words = "set recipe ="
    assert words not in invoke(*CALIBRATE).stdout
    edit('recipe = "stripes"', 'recipe = "denim"')(plant)
    told = invoke(*CALIBRATE).stdout.splitlines()
    assert told[-2] == "line 1 runs recipe 'denim' still; set recipe = \"stripes\" in [line.1]"


def test_calibrate_asks_before_it_replaces_what_a_person_set(plant: Path) -> None:
    text = re.sub("limit_sigma = .*\n", "limit_sigma = 11.0\n", (plant / LIMITS).read_text(), count=1)
    (plant / LIMITS).write_text(text.replace('set_by_hand = ""', 'set_by_hand = "M. Weber: escapes"'))
    assert f"{LIMITS}: 11.00 sigma, set by hand (M. Weber: escapes); what" in refusal(plant, 4, *CALIBRATE)
    result = invoke(*CALIBRATE, "--overwrite")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1] == "before: 11.00 sigma, set by hand: M. Weber: escapes"
    assert 'set_by_hand = ""' in (plant / LIMITS).read_text()


def test_figures_are_written_though_nobody_reads_the_summary(plant: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "inspector", *EVALUATE, "--json", "figures.json"]
    with os.fdopen(writing, "wb") as closed:
        subprocess.run(words, cwd=plant, stdout=closed, stderr=subprocess.DEVNULL, timeout=50, check=False)
    assert json.loads((plant / "figures.json").read_text())


def test_a_graph_that_changed_is_not_built(plant: Path) -> None:
    flip_a_bit(MODEL)(plant)
    assert "not the graph that recipe.toml vouches for" in refusal(plant, 4, *BUILD)


# -- images to learn from and to measure on ----------------------------------------------------------------


def few(folder: str, count: int) -> Spoil:
    def spoil(plant: Path) -> None:
        for file in sorted((plant / folder).iterdir())[count:]:
            file.unlink()

    return spoil


LONG = "a" * 300
MASK = "tree/ground_truth/hole/1_mask.png"


@pytest.mark.parametrize(
    ("words", "spoil", "said"),
    [
        (
            TRAIN,
            lambda plant: shutil.rmtree(plant / "good"),
            "good: no such folder; give a folder of good images",
        ),
        (TRAIN, empty("good"), "good: no images here (.png, .jpg"),
        (
            TRAIN,
            few("good", 4),
            "good: 4 good images are too few; training wants at least 5, better 20 or more",
        ),
        (
            TRAIN,
            cut_short("good/3.png"),
            "good/3.png: is damaged, cut short or no image; copy it again or",
        ),
        (
            CALIBRATE,
            lambda plant: shutil.rmtree(plant / "good"),
            "good: no such folder; give a folder of good",
        ),
        (
            CALIBRATE,
            few("good", 2),
            "a limit for line 1 wants at least 50; give 5 images like these or 0.11 m of",
        ),
        (
            (*CALIBRATE, "--false-alarms-per-100m", "1e-6"),
            lambda plant: None,
            "a limit for line 1 wants at least 31250000; give 3906242 images like these",
        ),
        (
            CALIBRATE,
            cut_short("good/3.png"),
            "good/3.png: is damaged, cut short or no image; copy it again",
        ),
        (
            CALIBRATE,
            edit("[line.1]", '[line.1]\nregion = { kind = "fixed", left_mm = 52, right_mm = 70 }'),
            "good/0.png: 256 px wide, but the line's region reaches to column 350; take the image out, or set",
        ),
        (
            ("calibrate", LONG, *CALIBRATE[2:]),
            lambda plant: None,
            ": can't be read (File name too long); give a",
        ),
        (EVALUATE, lambda plant: shutil.rmtree(plant / "tree"), "tree: no such folder; give a folder"),
        (
            ("evaluate", "good", *EVALUATE[2:]),
            lambda plant: None,
            "good: no test images; evaluate wants test/good and test/<fault> as MVTec AD has them",
        ),
        (
            EVALUATE,
            lambda plant: save(plant / MASK, np.zeros((100, WIDTH), np.uint8)),
            "1_mask.png: the mask is 256x100 px but its image 256x128; draw it anew on the image, or take both out",
        ),
        (EVALUATE, remove("tree/test/hole/1.png"), "1_mask.png: a mask without an image; it must be called"),
        (
            EVALUATE,
            cut_short("tree/test/hole/1.png"),
            "tree/test/hole/1.png: is damaged, cut short or no image",
        ),
    ],
)
def test_images_that_can_not_be_learnt_or_measured(
    plant: Path, words: tuple[str, ...], spoil: Spoil, said: str
) -> None:
    spoil(plant)
    assert said in refusal(plant, 6, *words)


# -- full disks -------------------------------------------------------------------------------------------

FULL = (
    "import resource, sys; most = int(sys.argv.pop(1)); resource.setrlimit(resource.RLIMIT_FSIZE, (most, most));"
    "from inspector.cli import main; main(prog_name='inspector')"
)


def on_a_full_disk(*words: str, most_bytes: int = 200) -> tuple[int, str, str]:
    """A process that may write no file beyond so many bytes meets the same error as a disk without room."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(most_bytes), *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "file", "told"),
    [
        ((*RUN, "--summary", "shift.json"), "shift.json", "4 triggers, 4 PASS"),
        (CALIBRATE, LIMITS, ""),
        (TILES, "grid.png", ""),
        ((*EVALUATE, "--json", "figures.json"), "figures.json", "image_auroc"),
        (BUILD, MANIFEST, ""),
    ],
    ids=[
        "run",
        "calibrate",
        "tiles",
        "evaluate --json",
        "build-engine",
    ],
)
def test_a_full_disk_costs_no_earlier_file(plant: Path, words: tuple[str, ...], file: str, told: str) -> None:
    """And what there is to tell is told."""
    if not (plant / file).exists():
        (plant / file).parent.mkdir(exist_ok=True)
        (plant / file).write_text("of an earlier run")
    before = contents(plant)
    code, out, err = on_a_full_disk(*words)
    assert code == 4
    assert one_sentence(err).endswith(
        f"{file}: can't be written (File too large), what was there before is untouched; "
        "free the disk or mend the path, then run it again"
    )
    assert told in out
    assert contents(plant) == before


UNWRITTEN = (
    "can't be written (File too large), what was there before is untouched; free the disk or mend the path, "
    "then run it again"
)


@pytest.mark.parametrize("json", [(), ("--json", "figures.json")], ids=["pictures", "pictures and JSON"])
def test_a_full_disk_takes_the_pictures_and_not_the_figures(plant: Path, json: tuple[str, ...]) -> None:
    """Each file that can't be written is told of, the first picture once and as soon as it is known."""
    (plant / "out").mkdir()
    (plant / "out/good-0.png").write_text("of an earlier run")
    before = contents(plant)
    (plant / "out/index.html").write_text("of an earlier run; it would show pictures of two")
    code, out, err = on_a_full_disk(*EVALUATE, "--pictures", "out", *json)
    assert code == 4
    assert "image_auroc" in out
    assert "pictures:" not in out
    goes_on = "; the figures go on without pictures and page"
    files = ("out/good-0.png", *json[1:])
    assert own_words(err) == [
        f"inspector: {file}: {UNWRITTEN}{words}" for file, words in zip(files, (goes_on, ""), strict=False)
    ]
    assert contents(plant) == before


# The plant's eight images are few, and its limits file is smaller than any picture of them.
LIMIT_TOLD = re.compile(
    r"^limit ([0-9.]+) sigma for line 1 and recipe stripes$(?s:.*)^LOOK: 8 images hardly tell", re.M
)
SUSPECTS = "calibration/line-1.stripes.suspects"


def told_limit(plant: Path, stdout: str) -> str:
    """The limit that calibrate tells; it is the one on the disk, and all that there is to say of it is said."""
    told = LIMIT_TOLD.search(stdout)
    assert told, stdout
    assert f"{load_limits(config.load(plant / 'config.toml'), '1', 'stripes').limit_sigma:.2f}" == told[1]
    assert "look at the pictures" not in stdout
    return told[1]


def test_a_full_disk_takes_the_pictures_and_not_the_word_on_the_limit(plant: Path) -> None:
    code, out, err = on_a_full_disk(*CALIBRATE, "--false-alarms-per-100m", "90", most_bytes=8000)
    assert code == 4
    assert one_sentence(err) == (
        f"inspector: the new limit, {told_limit(plant, out)} sigma, is in place; the pictures are not: "
        f"{plant}/{SUSPECTS}/01-highest-{highest(plant)}.png: {UNWRITTEN}"
    )


def highest(plant: Path) -> str:
    """Stem of the image that a calibration shows first."""
    assert invoke(*CALIBRATE).exit_code == 0
    (picture,) = (plant / SUSPECTS).glob("01-highest-*.png")
    return picture.stem.removeprefix("01-highest-")


def test_a_file_where_the_pictures_belong_takes_no_word_on_the_limit(plant: Path) -> None:
    (plant / SUSPECTS).write_text("a file")
    result = invoke(*CALIBRATE, "--false-alarms-per-100m", "90")
    assert result.exit_code == 4
    assert one_sentence(result.stderr) == (
        f"inspector: the new limit, {told_limit(plant, result.stdout)} sigma, is in place; the pictures are not: "
        f"{plant}/{SUSPECTS}: can't be replaced (File exists); move it out of the way"
    )


def test_ctrl_c_at_the_pictures_takes_no_word_on_the_limit(
    plant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("inspector.calibrating.calibrated.ask", interrupted)
    result = invoke(*CALIBRATE, "--false-alarms-per-100m", "90")
    assert result.exit_code == INTERRUPTED
    assert one_sentence(result.stderr) == (
        f"inspector: interrupted; the new limit, {told_limit(plant, result.stdout)} sigma, is in place; the pictures "
        "are not"
    )


def test_pictures_that_no_folder_takes_are_refused_before_the_work(plant: Path) -> None:
    (plant / "out").write_text("a file")
    assert "out: no file can be written there (Not a directory), so nothing was begun" in refusal(
        plant, 4, *EVALUATE, "--pictures", "out/of/today"
    )


def test_a_full_disk_leaves_no_half_of_a_key(plant: Path) -> None:
    code, _, err = on_a_full_disk("keys", "keys")
    assert code == 5
    assert "can't be written (File too large); free the disk or name another folder" in one_sentence(err)
    assert not list((plant / "keys").glob("*.key*"))
    assert invoke("keys", "keys").exit_code == 0


@pytest.mark.parametrize("words", [(*RUN, "--summary"), (*EVALUATE, "--json")], ids=["run", "evaluate"])
def test_a_folder_that_can_not_be_written_is_found_out_before_the_work(
    plant: Path, words: tuple[str, ...]
) -> None:
    for file, why in (
        ("no/such/shift.json", "No such file or directory"),
        ("config.toml/shift.json", "Not a directory"),
        ("/proc/shift.json", "No such file or directory"),
    ):
        result = invoke(*words, file)
        assert (result.exit_code, result.stdout) == (2, "")
        said = f"inspector: {file}: can't be written there ({why}); make the folder, or name another file"
        assert one_sentence(result.stderr) == said
    assert not (plant / "no").exists()
    result = invoke(*words, "-")
    assert result.exit_code == 2
    assert one_sentence(result.stderr) == "inspector: - is no file's name here; give one, or /dev/stdout"


def test_a_workspace_of_more_than_any_gpu_has_is_refused(plant: Path) -> None:
    words = ("build-engine", "--recipe", "stripes", "--backend", "tensorrt", "--workspace-mb", str(2**44))
    result = invoke(*words)
    assert result.exit_code == 2
    assert "'--workspace-mb': 17592186044416 is not in the range 1<=x<=1048576" in result.stderr


def test_a_log_that_can_not_be_written_does_not_stop_the_line(plant: Path) -> None:
    replayed(20)(plant)
    with Listener(f"ipc://{plant}/verdicts") as listener, Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            command(*RUN, "--summary", "s.json"), stdout=full, stderr=subprocess.PIPE, text=True
        )
        for _ in range(10):
            verdict, _ = listener.next("verdict")
            assert verdict["verdict"] == "PASS"
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE_S)
        assert last_state(listener) == "Halted"
    log, report = err.splitlines()
    assert log == "inspector: log lines can't be written (No space left on device); the line goes on"
    assert report.startswith("inspector: output: No space left on device; free the disk")
    assert process.returncode == 4
    assert json.loads((plant / "s.json").read_text())["state"] == "Halted"


@contextmanager
def stalled(kind: str) -> Iterator[int]:
    """A pipe or a terminal, full to the brim, whose other side is there and reads nothing."""
    ours, theirs = os.pipe() if kind == "pipe" else pty.openpty()
    os.set_blocking(theirs, False)
    with suppress(BlockingIOError):
        while os.write(theirs, b"x" * 64):
            pass
    with suppress(BlockingIOError):
        while os.write(theirs, b"x"):
            pass
    os.set_blocking(theirs, True)
    try:
        yield theirs
    finally:
        os.close(theirs)
        os.close(ours)


def output_to(end: int, stderr: int) -> dict[str, int]:
    """All three streams on a terminal, as a shell has them; the input stays as it is where it is none."""
    return {"stdout": end, "stderr": stderr} | ({"stdin": end} if os.isatty(end) else {})


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_a_reader_that_stalls_keeps_no_line_from_ending(plant: Path, kind: str) -> None:
    replayed(20)(plant)
    with Listener(f"ipc://{plant}/verdicts") as listener, stalled(kind) as end:
        words = ["env", "--default-signal=INT,HUP", *command(*RUN, "--summary", "s.json")]
        process = subprocess.Popen(words, **output_to(end, end), start_new_session=True)
        try:
            for _ in range(40):  # 2 s: counts have long been due
                listener.next("verdict")
            sent_s = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert last_state(listener) == "Halted"
            assert time.monotonic() - sent_s < 2.0
            code = process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()
    assert code == 0
    assert json.loads((plant / "s.json").read_text())["state"] == "Halted"


BREAKS_DOWN = """\
from inspector.backends.engine import Engine
whole = Engine.infer
def infer(engine, batch):
    if batch.stamp.sequence >= 10:
        raise RuntimeError("device lost")
    return whole(engine, batch)
Engine.infer = infer
from inspector.cli import main
main(prog_name="inspector")
"""


def test_a_fault_ends_the_process_though_nobody_reads_its_sentence(plant: Path) -> None:
    """Or whoever starts it again, such as systemd, never would, and the camera stayed taken."""
    replayed(20)(plant)
    with stalled("pipe") as end, Listener(f"ipc://{plant}/verdicts") as listener:
        process = subprocess.Popen([sys.executable, "-c", BREAKS_DOWN, *RUN], **output_to(end, end))
        try:
            assert last_state(listener) == "Error"
            assert process.wait(PATIENCE_S) == 7
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_knows_no_greek(plant: Path, encoding: str) -> None:
    """The panel has a sigma; here it is a question mark."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*RUN, "--summary", "s.json"),
        **output_to(theirs, theirs),
        env=os.environ | {"PYTHONIOENCODING": encoding, "TERM": "xterm", "COLUMNS": "120"},
        start_new_session=True,
    )
    os.close(theirs)
    text = b""
    with suppress(OSError):  # the last one has closed it
        while select.select([ours], [], [], PATIENCE_S)[0] and (piece := os.read(ours, 65536)):
            text += piece
    os.close(ours)
    assert process.wait(PATIENCE_S) == 0, text
    assert b"peak ?" in text
    assert b"4 PASS" in text
    assert b"Traceback" not in text


def test_names_that_an_encoding_lacks_letters_for_are_printed(plant: Path) -> None:
    code, out, err = finish("keys", "Łąka", PYTHONIOENCODING="latin-1")
    assert (code, err) == (0, "")
    assert "??ka" in out


@pytest.fixture
def closed() -> Iterator[int]:
    """A pipe whose reader is gone, as after ``| head -1``."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_an_engine_is_built_though_nobody_reads_on(plant: Path, closed: int) -> None:
    (plant / MANIFEST).unlink()
    done = subprocess.run(
        command(*BUILD), stdout=closed, stderr=subprocess.PIPE, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (plant / MANIFEST).exists()


def test_a_check_fails_though_nobody_reads_why(plant: Path, closed: int) -> None:
    remove(LIMITS)(plant)
    done = subprocess.run(command(*CHECK), stdout=closed, stderr=closed, timeout=30, check=False)
    assert done.returncode == 4


def test_a_line_whose_output_is_closed_runs(plant: Path) -> None:
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command(*RUN, "--summary", "s.json")]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((plant / "s.json").read_text())["outcomes"]["PASS"] == 4


def test_who_can_not_be_told_gets_the_exit_code(plant: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("check", "--line", "9"), stdout=subprocess.PIPE, stderr=full, timeout=30, check=False
        )
    assert (done.returncode, done.stdout) == (2, b"")


# -- arguments --------------------------------------------------------------------------------------------


def test_truth_is_the_looms_alone(plant: Path) -> None:
    sentence = refusal(plant, 2, *RUN, "--truth")
    assert sentence == (
        "inspector: line 1: --truth needs a camera of kind 'loom'; only the loom knows its faults"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rum",), "No such command 'rum'"),
        (("run", "--lin", "1"), "No such option"),
        (("run",), "Missing option '--line'."),
        ((*RUN, "--frames", "0"), "'--frames': 0 is not in the range x>=1."),
        ((*RUN, "--frames", "x"), "'--frames': 'x' is not a valid integer"),
        ((*RUN, "--seconds", "nan"), "'--seconds': nan is not a finite number."),
        ((*SELFTEST[:3], "--seconds", "0"), "'--seconds': 0.0 is not in the range x>0.0."),
        ((*RUN, "--summary", "good"), "'--summary': File 'good' is a directory."),
        (("events", "--line", "1", "--silence", "nan"), "'--silence': nan is not a finite number."),
        (("events", "--line", "1", "--silence", "-1"), "'--silence': -1.0 is not in the range x>0.0."),
        (
            ("events", "--line", "1", "--pictures", "p", "--kind", "hb"),
            "--pictures are of defects: with it goes",
        ),
        (("events", "--line", "1", "--pictures", "p", "--outcome", "FAIL"), "and no --outcome"),
        (("events", "--line", "1", "--kind", "verdct"), "'--kind': 'verdct' is not one of 'verdict', 'tile'"),
        ((*CALIBRATE, "--false-alarms-per-100m", "inf"), "inf is not a finite number."),
        *(
            ((*words, option, "1e-320"), f"'{option}': 1e-320 is not in the range x>=1e-06.")
            for words, option in (
                (CALIBRATE, "--false-alarms-per-100m"),
                (CALIBRATE, "--false-alarms-per-hour"),
                (("calibrate", "--from-run", "--line", "1", "--metres", "9"), "--false-alarms-per-100m"),
                (("teach", "--line", "1", "--recipe", "new"), "--false-alarms-per-100m"),
            )
        ),
        ((*EVALUATE, "--limit", "nan"), "'--limit': nan is not a finite number."),
        ((*EVALUATE, "--limit", "1e308"), "'--limit': 1e+308 is not in the range 1e-06<=x<=1000000000.0."),
        ((*EVALUATE, "--resize", "40000"), "'--resize': 40000 is not in the range 32<=x<=8192."),
        ((*TRAIN, "--resize", "40000"), "'--resize': 40000 is not in the range 32<=x<=8192."),
        (
            (*TRAIN, "--seed", str(2**64)),
            "'--seed': 18446744073709551616 is not in the range 0<=x<=4294967295.",
        ),
        ((*BUILD, "--precision", "fp8"), "'--precision': 'fp8' is not one of 'auto', 'fp32'"),
        ((*TRAIN[:2], "--recipe", "../x"), "'--recipe': '../x' must be 1 to 64 letters, digits"),
        (("train", "config.toml", "--recipe", "x"), "Directory 'config.toml' is a file."),
    ],
)
def test_arguments_that_can_not_be(plant: Path, words: tuple[str, ...], said: str) -> None:
    before = contents(plant)
    assert said in usage_error(*words)
    assert contents(plant) == before


@pytest.mark.parametrize("option", ["--portable", "--apart"])
def test_what_only_tensorrt_builds(plant: Path, option: str) -> None:
    sentence = refusal(plant, 2, *BUILD, option)
    assert sentence == f"inspector: {option} is TensorRT's; leave it out with --backend onnxruntime"


def test_a_rate_of_false_alarms_that_can_not_be(plant: Path) -> None:
    sentence = refusal(plant, 2, *CALIBRATE, "--false-alarms-per-100m", "1e6")
    assert sentence.endswith(
        "1e+06 false alarms per 100 m can't be had: line 1 has 31250 tiles in 100 m; give a number below that"
    )


def test_a_picture_of_tiles_is_a_png_by_name_too(plant: Path) -> None:
    sentence = refusal(plant, 2, *TILES[:-1], "grid.jpg")
    assert sentence == "inspector: grid.jpg: the picture is a PNG; give it a name that ends in .png"
    assert invoke(*TILES[:-1], "grid.PNG").exit_code == 0
    assert (plant / "grid.PNG").read_bytes().startswith(b"\x89PNG")


# -- signals ----------------------------------------------------------------------------------------------


def last_state(listener: Listener) -> str:
    """The one after which a line says no more."""
    while True:
        state, _ = listener.next("state")
        if state["state"] in ("Halted", "Error"):
            return str(state["state"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_line_in_order(plant: Path, number: signal.Signals) -> None:
    replayed(20)(plant)
    with Listener(f"ipc://{plant}/verdicts") as listener, start(*RUN, "--summary", "s.json") as process:
        listener.next("verdict")
        sent_s = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
        took_s = time.monotonic() - sent_s
        assert last_state(listener) == "Halted"
    assert (process.returncode, err) == (0, "")
    assert took_s < 2.0
    assert re.search(r"^line 1: .* m in .* triggers, ", out, re.MULTILINE)
    assert json.loads((plant / "s.json").read_text())["state"] == "Halted"


ON_A_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_closed_terminal_ends_a_line_in_order(plant: Path) -> None:
    """What would be shown is lost, the summary isn't."""
    replayed(20)(plant)
    ours, theirs = pty.openpty()
    words = [
        "env",
        "--default-signal=INT,HUP",
        sys.executable,
        "-c",
        ON_A_TERMINAL,
        *command(*RUN, "--summary", "s.json"),
    ]
    with Listener(f"ipc://{plant}/verdicts") as listener:
        process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        try:
            listener.next("verdict")
            os.close(ours)  # the kernel sends SIGHUP
            assert last_state(listener) == "Halted"
            code = process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()
    assert json.loads((plant / "s.json").read_text())["state"] == "Halted"
    assert code == 4  # as where the output can't be written for another reason


@pytest.mark.parametrize(
    ("words", "pipe"),
    [
        ((*TRAIN, "--weights", "pipe.safetensors"), "pipe.safetensors"),
        ((*CALIBRATE, "--config", "pipe.toml"), "pipe.toml"),
        (("events", "--line", "1", "--config", "pipe.toml"), "pipe.toml"),
        ((*SELFTEST, "--config", "pipe.toml"), "pipe.toml"),
    ],
    ids=["train", "calibrate", "events", "selftest"],
)
def test_ctrl_c_ends_the_other_commands_with_130(plant: Path, words: tuple[str, ...], pipe: str) -> None:
    """Each waits for a pipe that nobody writes to, so that the signal comes in its midst and not before."""
    os.mkfifo(pipe)
    before = contents(plant)
    with start(*words) as process:
        writer = opened_by(process, pipe)
        process.send_signal(signal.SIGINT)
        os.close(writer)  # the signal may have come just before the wait; the wait ends here at the latest
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err.splitlines()[-1]) == (INTERRUPTED, "", "inspector: interrupted")
    assert contents(plant) == before


def opened_by(process: subprocess.Popen[str], pipe: str) -> int:
    """The pipe's other end, as soon as the process has opened its own."""
    until_s = time.monotonic() + 3 * PATIENCE_S
    while process.poll() is None and time.monotonic() < until_s:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # no reader yet
            time.sleep(0.005)
    raise AssertionError(f"nobody opened {pipe}: {process.communicate()}")


# -- what a person looks up -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_help_with_an_example(name: str) -> None:
    for option in ("--help", "-h"):
        result = invoke(name, option)
        assert result.exit_code == 0
        assert re.search(rf"^ +Examples?:\n +inspector {name}\b", result.stdout, re.MULTILINE)


def test_the_exit_codes_of_readme_and_help_are_those_of_the_errors() -> None:
    codes = {0, INTERRUPTED} | {error.exit_code for error in InspectorError.__subclasses__()}
    assert len(codes) == 2 + len(InspectorError.__subclasses__())
    table = re.findall(r"^\| (\d+) \| .+ \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {int(code) for code in table} == codes
    for words in (
        (),
        *((name,) for name in ("run", "check", "selftest", "train", "calibrate", "build-engine", "evaluate")),
    ):
        (told,) = re.findall(r"Exit codes: (.*?)\.\n", invoke(*words, "--help").stdout, re.DOTALL)
        assert {int(code) for code in re.findall(r"\b(\d+) ", told)} == codes
