"""`inspector teach` as a line engineer uses it: from the camera to a limit, and undone whatever ends it.

The teachers' weights are random and given by --weights: what is held here is the order of things and what is
left on disk, not how well faults are found.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from inspector import config
from inspector.backends import open_backend
from inspector.backends.artifact import load_recipe
from inspector.bus.lock import hold_line
from inspector.cameras.loom import Loom
from inspector.cli import INTERRUPTED, main
from inspector.images.reading import ImageFile, read_image
from inspector.learning.teachers import pair_layers
from inspector.limits import load_limits
from inspector.teaching.teachable import STEP_PX
from tests.random_weights import write_random_weights
from tests.virtual_camera import FeedWriter

SIDE = 128
METRES = "1"
PATIENCE_S = 240  # a guard against a hang; a busy machine takes minutes to export a graph
LOOM = f'kind = "loom", width_px = {SIDE}, height_px = {SIDE}, seed = 5, as_fast_as_possible = true'
HOLES = 'faults = { per_m = 3.0, kinds = ["hole"] }'
PLANT = """\
plant = "small"
[line.1]
recipe = "other"
camera = { CAMERA }
web = { width_mm = 25.6, mm_per_px = 0.2, encoder_counts_per_m = 10000, speed_m_min = 0.6 }
tiles = { size_mm = 12.8, overlap_mm = 0 }
engine = { threads = 1 }
bus = { verdicts = "tcp://127.0.0.1:*", maps = "tcp://127.0.0.1:*", replay = "tcp://127.0.0.1:*" }
"""
STEPS = ("recording", "training", "engine", "second look", "limit", "self-test")
# What is started in a script's background, these tests too, ignores Ctrl-C and hands that on.
START = ["env", "--default-signal=INT", sys.executable]
# Two threads that share their cores with others wait for each other, tenfold.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
# A training takes seconds, the export of its graph more: where neither is held, a recipe that was taught before does.
BORROWED = """
import os, shutil
from inspector.learning import train
train.train = lambda data, name, engines, **_: shutil.copytree(os.environ["TAUGHT"], engines / name)
"""
# Training could look for suspects too; the engine does, at all of every frame, and is the only one to be asked.
NO_OTHER_LOOK = """
from inspector.learning import train
def peaks(*_):
    raise AssertionError("two answers to one question")
train.peaks = peaks
# Calibration could score frames once more; they have been scored, and that takes minutes.
from inspector.calibrating import calibrate
calibrate.score_image = peaks
"""
# Of the lessons, and of the frames for the limit, the third is far above the others, whatever it scores.
THE_THIRD_IS_ODD = """
import os, shutil
from inspector.learning import train
from inspector.teaching import second_look
def learn(data, name, engines, **_):
    print("learns from", *sorted(file.name for file in data.iterdir()))
    shutil.copytree(os.environ["TAUGHT"], engines / name)
train.train = learn
second_look.far_above = lambda peaks: [2]
"""
# Says how large the lessons are, and what the recipe learnt, by hash.
SAYS_SIZES = """
import msgspec, os, shutil
from inspector.backends.artifact import load_recipe, write_recipe
from inspector.images.reading import open_data, read_images
from inspector.learning import train
def learn(data, name, engines, **_):
    lessons = read_images(open_data(data).good)
    print("learns from", *("%dx%d" % one.pixels.shape[::-1] for one in lessons))
    shutil.copytree(os.environ["TAUGHT"], engines / name)
    recipe = load_recipe(engines / name)
    learnt = {one.file.path.name: one.sha256 for one in lessons}
    pixels = {one.file.path.name: one.pixels_sha256 for one in lessons}
    training = msgspec.structs.replace(recipe.training, learnt=learnt, validation={}, pixels_sha256=pixels)
    write_recipe(engines / name, msgspec.structs.replace(recipe, training=training))
train.train = learn
"""
REFUSED = """
from inspector.learning import train
from inspector.learning.alike import UnlikeImages
def refuse(data, *_, **__):
    files = sorted(data.iterdir())[1:3]
    raise UnlikeImages(files, ["grey 20 on average", "grey 250 on average"], "grey 120 on average", "take them out")
train.train = refuse
"""
TWO_KINDS = """
import os, shutil
from inspector.calibrating.populations import TwoGroups, TwoKinds
from inspector.learning import train
from inspector.teaching import teach
train.train = lambda data, name, engines, **_: shutil.copytree(os.environ["TAUGHT"], engines / name)
def kinds(web, *_, **__):
    files = [image.file.path for image in web.images]
    raise TwoKinds("two", TwoGroups((4, 0, 1, 2), tuple(range(5, len(files))), 2.5, 11.25, True), files)
teach.set_limits = kinds
"""
RUN = """
from inspector.cli import main
main(prog_name="inspector")
"""
KILLED_BEFORE_THE_FIRST_FRAME = """
import os, signal
from inspector.teaching import teach
teach.refuse_little_room = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""
BEFORE_THE_SWAP = """
import signal
from inspector.teaching.staging import Staging
def wait(staging, limits):
    print("about to put it in place", flush=True)
    signal.pause()
Staging.put_in_place = wait
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_random_weights(tmp_path_factory.mktemp("weights"), "faster")


def make_plant(folder: Path, camera: str = f"{LOOM}, {HOLES}") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(PLANT.replace("CAMERA", camera))
    return folder


def teaching(weights: list[Path], *more: str, metres: str = METRES) -> list[str]:
    given = [word for file in weights for word in ("--weights", str(file))]
    # Preset faster: it learns and is exported sooner.
    asked = ["--recipe", "cloth", "--preset", "faster", "--metres", metres, "--epochs", "1"]
    return ["teach", "--line", "1", *asked, *given, *more]


@contextmanager
def start(plant: Path, *words: str, code: str = "", **environment: str) -> Iterator[subprocess.Popen[str]]:
    program = ["-c", code] if code else ["-m", "inspector"]
    with subprocess.Popen(
        [*START, *program, *words],
        cwd=plant,
        env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # one that has ended is left alone; none outlives a test that failed


def finish(plant: Path, *words: str, code: str = "", **environment: str) -> str:
    """What a command that goes well says."""
    with start(plant, *words, code=code, **environment) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, ""), out + err
    return out


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every file and every folder."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def wait_for(process: subprocess.Popen[str], there: Callable[[], object]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not there() and process.poll() is None and time.monotonic() < until_s:
        time.sleep(0.005)
    assert there(), process.communicate()


def interrupt(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (INTERRUPTED, "inspector: interrupted\n")


def refusal(plant: Path, code: int, *words: str) -> str:
    """The one sentence that a command ends with; the plant is as it was."""
    before = contents(plant)
    result = CliRunner().invoke(main, [*words, "--config", str(plant / "config.toml")])
    assert result.exit_code == code, result.output
    assert contents(plant) == before
    (line,) = result.stderr.splitlines()
    return line.removeprefix("inspector: ")


# -- a teaching that goes well, after one that was killed ---------------------------------------------------


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, weights: list[Path]) -> tuple[Path, str]:
    """A plant whose first teaching was killed while it trained, and what the second one said."""
    plant = make_plant(tmp_path_factory.mktemp("plant"))
    staging = plant / "engines/.teach-cloth"
    with start(plant, *teaching(weights, "--epochs", "500")) as process:
        wait_for(process, (staging / "engines/cloth/training/checkpoint.safetensors").exists)
        process.kill()
        process.communicate()
    assert staging.exists(), "nobody could clear it away"
    return plant, finish(plant, *teaching(weights), code=NO_OTHER_LOOK + RUN)


def test_what_a_killed_teaching_left_is_removed_and_said(taught: tuple[Path, str]) -> None:
    plant, said = taught
    assert said.startswith("removed what an earlier teaching of cloth left when it was killed (")
    assert sorted(path.name for path in (plant / "engines").iterdir()) == ["cloth"]
    assert sorted(path.name for path in (plant / "out/teach/cloth").iterdir()) == ["left-out"]


def test_recipe_and_limit_are_such_as_a_line_takes(taught: tuple[Path, str]) -> None:
    plant, said = taught
    site = config.load(plant / "config.toml")
    limits = load_limits(site, "1", "cloth")
    open_backend(site.engines / "cloth", "openvino").close()
    assert f"limit {limits.limit_sigma:.2f} sigma for line 1 and recipe cloth" in said
    assert limits.provenance.images_left_out == 0, "no frame serves both training and limit"
    assert re.fullmatch(r"1\.02 m that `inspector teach` recorded on \d{4}-\d\d-\d\d", limits.provenance.data)
    recipe = load_recipe(site.engines / "cloth")
    assert recipe.training.data == "taught-on-line-1"
    assert recipe.training.mm_per_px == 0.2
    with start(plant, "run", "--line", "1", "--frames", "6") as process:
        _, err = process.communicate(timeout=PATIENCE_S)
    assert "line-1.other.toml: no such file" in err, "config.toml is left to the person"
    config_file = plant / "config.toml"
    text = config_file.read_text()
    try:
        config_file.write_text(text.replace('"other"', '"cloth"'))
        assert "6 triggers" in finish(plant, "run", "--line", "1", "--frames", "6")
    finally:
        config_file.write_text(text)


def test_frames_with_holes_are_left_out_and_shown(taught: tuple[Path, str]) -> None:
    plant, said = taught
    loom = Loom(SIDE, 0.2, "plain", 5, config.FaultMix(per_m=3.0, kinds=("hole",)), 25.6)
    holes_m = [fault.y_m for fault in loom.truth(0.0, 1.0)]
    question = r"^  (\d\.\d\d) m: a spot .* greys darker than the web, .*; is this good\? (\S+)$"
    asked = re.findall(question, said, re.MULTILINE)
    assert holes_m
    assert asked
    for place, picture in asked:
        begin_m = float(picture.rpartition("/")[2].removesuffix("m.png"))
        assert any(begin_m - 0.01 <= hole_m < begin_m + 0.0256 for hole_m in holes_m), place
        pixels = cv2.imread(str(plant / picture))
        assert (pixels == (40, 40, 255)).all(axis=2).sum() > 50, "an outline in red"
    assert f"look at the {len(list((plant / 'out/teach/cloth/left-out').iterdir()))} pictures in" in said


def test_an_odd_frame_among_the_lessons_is_left_out_and_it_trains_once_more(
    taught: tuple[Path, str], tmp_path: Path, weights: list[Path]
) -> None:
    plant = make_plant(
        tmp_path / "plant", LOOM.replace("seed = 5", "seed = 6")
    )  # web that the recipe hasn't seen
    recipe = str(taught[0] / "engines/cloth")
    said = finish(plant, *teaching(weights), code=THE_THIRD_IS_ODD + RUN, TAUGHT=recipe)
    first, second = (line.split()[2:] for line in said.splitlines() if line.startswith("learns from"))
    assert second == first[:2] + first[3:]
    place, picture = re.findall(r"^  (\d\.\d\d m): learnt from and still .*\? (\S+)$", said, re.MULTILINE)[0]
    assert picture.endswith(f"/{first[2]}")
    assert (plant / picture).is_file()
    assert re.search(rf"^trains again without the frames at {place}: about \d+ s more$", said, re.MULTILINE)
    assert re.search(rf"^trained again on {len(second)} frames in \d+ s$", said, re.MULTILINE)
    steps = (*STEPS[:4], "training again", "engine again", *STEPS[4:])
    assert re.search(rf"^took \d+ s: {', '.join(rf'{step} [0-9]+' for step in steps)}$", said, re.MULTILINE)
    assert re.search(
        rf"frames: {len(second)} learnt from, \d+ for the limit, \d+ kept back, 2 not count", said
    )
    for whose in ("were learnt from", "don't count for the limit"):
        assert f"frames that {whose}, far above the others after training: 1\n" in said


def test_the_end_says_what_is_known_and_what_is_next(taught: tuple[Path, str]) -> None:
    _, said = taught
    lines = said.splitlines()
    assert re.search(r"^recorded 1\.02 m: 40 frames, none lost; 40 kept, \d MB$", said, re.MULTILINE)
    took = re.search(r"^took \d+ s: (.*)$", said, re.MULTILINE)
    assert took
    steps = [re.sub(r" \d+$", "", step) for step in took[1].split(", ")]
    # Random teachers may find a lesson odd; then it trains again, and says so.
    assert [step for step in steps if not step.endswith(" again")] == list(STEPS)
    assert ("training again" in steps) == ("trains again without" in said)
    assert "self-test: 8 golden tiles score as recorded" in lines
    assert re.search(r"^speed: \S+ m/min needs \d+ tiles/s; the engine does \d+ here", said, re.MULTILINE)
    kept_back = re.search(r"seen: (\d+) of (\d+) tiles above the limit in (\d\.\d\d) m", said)
    assert kept_back is not None
    assert int(kept_back[2]) == 4 * round(float(kept_back[3]) / 0.0256)
    for kind in (
        "dark spot",
        "bright spot",
        "missing thread along",
        "missing thread across",
        "hole",
        "soft stain",
    ):
        assert re.search(rf"^  {kind} +(\d/8 +){{4}}(none of these|\d(\.\d)? mm)$", said, re.MULTILINE)
    assert "not your plant's faults" in said
    assert "not known: whether the recorded web was good." in said
    told = [line.partition(". ")[2] for line in lines if re.match(r"  \d\. ", line)]
    assert told[-3:] == [
        'set recipe = "cloth" in [line.1] of config.toml',
        "inspector check --line 1",
        "inspector run --line 1",
    ]


# -- what ends one early -----------------------------------------------------------------------------------


def test_sigint_while_recording_undoes_it(tmp_path: Path, weights: list[Path]) -> None:
    plant = make_plant(tmp_path / "plant", LOOM.replace("true", "false"))
    before = contents(plant)
    with start(plant, *teaching(weights)) as process:
        wait_for(process, lambda: list(plant.glob("out/teach/cloth/.recording/*.png")))
        interrupt(process, signal.SIGINT)
    assert contents(plant) == before


def test_a_teaching_killed_before_its_first_frame_is_in_nobodys_way(
    tmp_path: Path, weights: list[Path]
) -> None:
    plant = make_plant(tmp_path / "plant", LOOM.replace("true", "false"))
    before = contents(plant)
    with start(plant, *teaching(weights), code=KILLED_BEFORE_THE_FIRST_FRAME + RUN) as process:
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
    recording = plant / "out/teach/cloth/.recording"
    assert list(recording.iterdir()) == []
    with start(plant, *teaching(weights)) as process:
        wait_for(process, lambda: list(recording.glob("*.png")))
        interrupt(process, signal.SIGINT)
    assert contents(plant) == before


def test_sigterm_while_training_undoes_it_but_for_frames_to_be_kept(
    tmp_path: Path, weights: list[Path]
) -> None:
    plant = make_plant(tmp_path / "plant")
    with start(plant, *teaching(weights, "--epochs", "500", "--keep-frames")) as process:
        checkpoint = plant / "engines/.teach-cloth/engines/cloth/training/checkpoint.safetensors"
        wait_for(process, checkpoint.exists)
        interrupt(process, signal.SIGTERM)
    (kept,) = (plant / "out/teach/cloth").iterdir()
    assert kept.name.startswith("frames-")
    assert len(list(kept.rglob("*.png"))) == 40
    assert sorted(path.name for path in plant.iterdir()) == ["config.toml", "out"]


def test_it_teaches_to_the_end_though_nobody_reads_on(
    taught: tuple[Path, str], tmp_path: Path, weights: list[Path]
) -> None:
    """``inspector teach ... | head -1``: one line is read, and what was asked for is there."""
    plant = make_plant(tmp_path / "plant")
    recipe = str(taught[0] / "engines/cloth")
    with start(plant, *teaching(weights), code=BORROWED + RUN, TAUGHT=recipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert (process.wait(PATIENCE_S), process.stderr.read()) == (0, "")
    assert sorted(path.name for path in (plant / "engines").iterdir()) == ["cloth"]
    load_limits(config.load(plant / "config.toml"), "1", "cloth")


def test_kept_frames_lie_side_by_side_as_they_were_recorded_whatever_was_cut_off_them_to_learn(
    taught: tuple[Path, str], tmp_path: Path, weights: list[Path]
) -> None:
    plant = make_plant(tmp_path / "plant", LOOM)
    with (plant / "config.toml").open("a") as file:
        file.write('region = { kind = "fixed", left_mm = 6.4, right_mm = 25.6 }\n')
    recipe = str(taught[0] / "engines/cloth")
    said = finish(plant, *teaching(weights, "--keep-frames"), code=SAYS_SIZES + RUN, TAUGHT=recipe)
    lessons = [line.split()[2:] for line in said.splitlines() if line.startswith("learns from")]
    assert {size for sizes in lessons for size in sizes} == {f"96x{SIDE}"}
    (kept,) = (plant / "out/teach/cloth").glob("frames-*")
    frames = {file.name: read_image(ImageFile(file, "good")) for file in kept.iterdir()}
    assert len(frames) == 40
    assert {image.pixels.shape for image in frames.values()} == {(SIDE, SIDE)}
    training = load_recipe(plant / "engines/cloth").training
    assert len(training.learnt) == len(lessons[-1])
    known = {name: frames[name] for name in training.learnt}
    assert training.learnt == {name: image.sha256 for name, image in known.items()}, (
        "kept lessons, known again"
    )
    assert training.pixels_sha256 == {name: image.pixels_sha256 for name, image in known.items()}


def test_sigint_just_before_the_swap_leaves_the_old_recipe(
    taught: tuple[Path, str], weights: list[Path]
) -> None:
    plant, _ = taught
    kept = ("config.toml", "engines", "calibration")
    before = {name: contents(plant / name) for name in kept}
    code, recipe = BORROWED + BEFORE_THE_SWAP + RUN, str(plant / "engines/cloth")
    with start(plant, *teaching(weights, "--overwrite"), code=code, TAUGHT=recipe) as process:
        assert process.stdout is not None
        assert any(line == "about to put it in place\n" for line in process.stdout)
        assert (plant / "engines/.teach-cloth/engines/cloth/manifest.toml").exists()
        interrupt(process, signal.SIGINT)
    assert {name: contents(plant / name) for name in kept} == before


def test_a_full_disk_while_recording_undoes_it(tmp_path: Path, weights: list[Path]) -> None:
    plant = make_plant(tmp_path / "plant")
    before = contents(plant)
    full = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200));"
        "from inspector.cli import main; main(prog_name='inspector')"
    )
    with start(plant, *teaching(weights), code=full) as process:
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 4
    said = "m.png: can't be written (File too large); free the disk or mend the path, then run it again\n"
    assert err.endswith(said)
    assert contents(plant) == before


# -- what is refused ---------------------------------------------------------------------------------------


def test_a_recipe_or_a_limit_of_that_name_is_replaced_only_when_asked(
    taught: tuple[Path, str], tmp_path: Path, weights: list[Path]
) -> None:
    plant, _ = taught
    said = "already; choose another --recipe, or replace it by --overwrite"
    assert f"recipe.toml: there is a recipe of that name {said}" in refusal(plant, 4, *teaching(weights))
    other = make_plant(tmp_path / "plant")
    (other / "calibration").mkdir()
    (other / "calibration/line-1.cloth.toml").write_text("by hand")
    assert f"line-1.cloth.toml: there is a limit of that name {said}" in refusal(other, 4, *teaching(weights))


def test_a_calibration_folder_that_takes_no_limits_is_told_before_the_camera_is_opened(
    tmp_path: Path, weights: list[Path]
) -> None:
    plant = make_plant(tmp_path / "plant", 'kind = "folder", path = "no such folder"')
    assert "no such folder" in refusal(plant, 3, *teaching(weights))
    (plant / "calibration").write_text("a file in its place")
    said = refusal(plant, 4, *teaching(weights))
    assert said.startswith(
        f"{plant}/calibration: no file can be written there (Not a directory), so nothing was begun"
    )


def test_frames_that_training_refuses_are_named_by_their_place_and_shown(
    tmp_path: Path, weights: list[Path]
) -> None:
    plant = make_plant(tmp_path / "plant", LOOM)
    with start(plant, *teaching(weights), code=REFUSED + RUN) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 6, out + err
    asked = re.findall(
        r"^  (\d\.\d\d) m: (grey \d+).*, where .* 120 .*; is this good\? (\S+)$", out, re.MULTILINE
    )
    assert [grey for _, grey, _ in asked] == ["grey 20", "grey 250"]
    assert all((plant / picture).is_file() for _, _, picture in asked)
    places = " m, ".join(place for place, _, _ in asked)
    folder = plant.resolve() / "out/teach/cloth/left-out"
    assert err.startswith(f"inspector: {folder}: 2 of ")
    assert f" frames to learn from are unlike the others, at {places} m; look at their pictures: " in err
    assert ".recording" not in out + err, "nobody can look there"
    assert not (plant / "engines").exists()


def test_web_of_two_kinds_is_told_by_its_place_and_shown(
    taught: tuple[Path, str], tmp_path: Path, weights: list[Path]
) -> None:
    plant = make_plant(tmp_path / "plant", LOOM)
    code, recipe = TWO_KINDS + RUN, str(taught[0] / "engines/cloth")
    with start(plant, *teaching(weights), code=code, TAUGHT=recipe) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 6, out + err
    asked = re.findall(
        r"^  (\d\.\d\d) m: such frames typically score (\S+) sigma; .* (\S+)$", out, re.MULTILINE
    )
    assert [sigma for _, sigma, _ in asked] == ["2.5"] * 3 + ["11.2"] * 3
    places = [float(place) for place, _, _ in asked]
    assert places[:3] == sorted(places[:3]), "in the web's order, whatever calibration's is"
    assert places[3:] == sorted(places[3:])
    assert all((plant / picture).is_file() for _, _, picture in asked)
    assert "frames of one kind, the first of 4: 3\n" in out
    place = asked[0][0]
    assert f"of two kinds: 4 frames from {place} to 0." in err
    assert "such frames typically score 11.2 sigma; look at their pictures" in err
    assert ".recording" not in out + err, "nobody can look there"
    assert not (plant / "engines").exists()


def test_too_few_metres_are_refused_before_the_recording(tmp_path: Path, weights: list[Path]) -> None:
    plant = make_plant(tmp_path / "plant")
    assert refusal(plant, 2, *teaching(weights, metres="0.3")) == (
        "--metres 0.3: that is 12 frames of line 1; teaching wants 32: 10 to learn from, 17 for the limit, "
        "5 to prove both on; give --metres 0.9 or more"
    )


def test_a_line_that_runs_is_left_alone(tmp_path: Path, weights: list[Path]) -> None:
    plant = make_plant(tmp_path / "plant")
    lock = hold_line(plant.resolve() / "config.toml", "1")
    try:
        said = refusal(plant, 5, *teaching(weights))
    finally:
        lock.close()
    assert said == f"line 1 runs already (process {os.getpid()}); end that one first"


def test_without_torch_the_extra_is_named_before_the_camera_looks(
    tmp_path: Path, weights: list[Path]
) -> None:
    plant = make_plant(tmp_path / "plant")
    (tmp_path / "torch.py").write_text(
        'raise ModuleNotFoundError("No module named \'torch\'", name="torch")\n'
    )
    before = contents(plant)
    with start(plant, *teaching(weights), PYTHONPATH=str(tmp_path)) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    said = "training needs the package 'torch'; run: pip install -e \".[train]\""
    assert (process.returncode, out, err) == (2, "", f"inspector: {said}\n")
    assert contents(plant) == before


def test_what_is_asked_of_a_tile_is_what_training_wants() -> None:
    assert max(layer.stride for layer in pair_layers("balanced")) == STEP_PX


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"size_mm = 12.8": "size_mm = 13"}, "size_mm = 13 is 65 px, but the networks want a multiple of 32"),
        ({"size_mm = 12.8": "size_mm = 16"}, "size_mm = 16 is 80 px, but the networks want a multiple of 32"),
        ({"size_mm = 12.8": "size_mm = 6.4"}, "a multiple of 32 from 64 to 1024; set size_mm = 12.8"),
        ({f"height_px = {SIDE}": "height_px = 80"}, "frames of 80 rows are too short for a seamless web"),
    ],
)
def test_a_line_whose_tiles_can_not_be_taught(
    tmp_path: Path, weights: list[Path], edits: dict[str, str], said: str
) -> None:
    plant = make_plant(tmp_path / "plant")
    text = (plant / "config.toml").read_text()
    for old, new in edits.items():
        assert old in text
        text = text.replace(old, new)
    (plant / "config.toml").write_text(text)
    assert said in refusal(plant, 2, *teaching(weights))


# -- another camera ----------------------------------------------------------------------------------------


def test_the_virtual_genicam_camera_is_taught_on_by_its_encoder(
    taught: tuple[Path, str], tmp_path: Path, simcam: Path, weights: list[Path]
) -> None:
    features = f"Width = {SIDE}, Height = {SIDE}, AcquisitionLineRate = 20000.0, EncoderDivider = 2"
    camera = (
        f'kind = "genicam", producer = "{simcam}", serial = "SIM0001", buffers = 256, encoder = "chunk", '
        f"features = {{ {features} }}"
    )
    plant = make_plant(tmp_path / "plant", camera)
    feed = FeedWriter(tmp_path / "feed", SIDE, ring_rows=8192)
    feed.write(Loom(SIDE, 0.2, "plain", 3, config.FaultMix(per_m=0.0)).rows(8000), timeout_s=1)
    environment = {"SIMCAM_FEED": str(tmp_path / "feed"), "TAUGHT": str(taught[0] / "engines/cloth")}
    said = finish(plant, *teaching(weights), code=BORROWED + RUN, **environment)
    assert said.startswith("line 1: SimCam SimLine SIM0001, 128x128 Mono8; 4 tiles a frame\n")
    assert re.search(r"^recorded 1\.0\d m: 4\d frames", said, re.MULTILINE)
    assert "no encoder" not in said
    assert "recipe cloth is taught; it and its limit for line 1 are in place" in said
    assert (plant / "calibration/line-1.cloth.toml").exists()
