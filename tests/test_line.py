"""The whole line on real cameras, engines and sockets: what a subscriber hears when things go wrong."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspector import config
from inspector.bus.publisher import Publisher
from inspector.bus.wire import State
from inspector.calibrating.calibrate import calibrate
from inspector.config import Site
from inspector.errors import CameraError, InspectorError, LineFault
from inspector.interfaces import Backend, EngineInfo
from inspector.line import Corridor, Ending
from inspector.parts import open_parts
from inspector.records import ScoreMap, TileBatch
from inspector.tally import Snapshot
from tests.small_recipe import make_recipe, weave
from tests.talking_line import PATIENCE_S, Listener, Quiet, ask, evidence
from tests.virtual_camera import Control

Header = dict[str, Any]

PLANT = """\
plant = "small"
[line.3]
recipe = "stripes"
web = {{ width_mm = {width_mm}, mm_per_px = 0.2, encoder_counts_per_m = 10000, speed_m_min = 60, {web} }}
tiles = {{ size_mm = 12.8, overlap_mm = 3.2 }}
engine = {{ backend = "onnxruntime", threads = 1 }}
overload = {{ deadline_ms = {deadline_ms}, frames = {waiting} }}
{more}
[line.3.camera]
{camera}
[line.3.bus]
verdicts = "{bus}-verdicts"
maps = "{bus}-maps"
replay = "{bus}-replay"
"""
TRIGGERS = 10_000


class Witness:
    """A backend that remembers of which triggers it was shown every tile."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.seen: dict[int, int] = {}  # sequence -> tiles

    @property
    def info(self) -> EngineInfo:
        return self._backend.info

    def infer(self, batch: TileBatch) -> ScoreMap:
        scores = self._backend.infer(batch)
        self.seen[batch.stamp.sequence] = len(batch.pixels)
        return scores

    def close(self) -> None:
        self._backend.close()


class Broken(Witness):
    """A backend that breaks down at its fourth batch."""

    def infer(self, batch: TileBatch) -> ScoreMap:
        if len(self.seen) == 3:
            raise RuntimeError("out of memory")
        return super().infer(batch)


class Held(Witness):
    """A backend whose line is stopped while it is at its third batch; it comes back when it is let go."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.stop, self.let_go = threading.Event(), threading.Event()
        self.is_at_work, self.was_closed_at_work = False, False

    def infer(self, batch: TileBatch) -> ScoreMap:
        if len(self.seen) == 2:
            self.is_at_work = True
            self.stop.set()
            assert self.let_go.wait(PATIENCE_S)
            self.is_at_work = False
        return super().infer(batch)

    def close(self) -> None:
        self.was_closed_at_work = self.is_at_work
        super().close()


Plant = Callable[..., Site]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Makes a plant with a calibrated line 3 in front of the camera that it is given."""

    def make(
        camera: str,
        *,
        width: int = 256,
        waiting: int = 3,
        deadline_ms: float = 20_000,
        web: str = "seamless = true",
        more: str = "",
    ) -> Site:
        text = PLANT.format(
            camera=camera,
            width_mm=width * 0.2,
            deadline_ms=deadline_ms,
            waiting=waiting,
            web=web,
            more=more,
            bus=f"ipc://{tmp_path}/bus",
        )
        (tmp_path / "config.toml").write_text(text)
        site = config.load(tmp_path / "config.toml")
        make_recipe(site, "stripes")
        good = tmp_path / "good"
        good.mkdir()
        for seed in range(8):
            cv2.imwrite(str(good / f"{seed}.png"), weave(seed, 128, width))
        calibrate(good, "stripes", "3", site)
        return site

    return make


@pytest.fixture
def cloth(simcam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Shows the virtual camera good cloth without end; returns the camera's table."""

    def show(width: int, height: int, **features: float) -> str:
        weave(99, 4 * height, width).tofile(tmp_path / "cloth.raw")
        monkeypatch.setenv("SIMCAM_IMAGES", str(tmp_path / "cloth.raw"))
        monkeypatch.setenv("SIMCAM_WIDTH", str(width))
        monkeypatch.setenv("SIMCAM_HEIGHT", str(height))
        monkeypatch.setenv("SIMCAM_CTRL", str(tmp_path / "ctrl"))
        wanted = {"Width": width, "Height": height, "AcquisitionLineRate": 20_000.0, **features}
        table = ", ".join(f"{name} = {value}" for name, value in wanted.items())
        return f'kind = "genicam"\nproducer = "{simcam}"\nserial = "SIM0001"\nbuffers = 256\nfeatures = {{ {table} }}'

    return show


def corridor_of(
    site: Site, ending: Ending | None = None, backend: Callable[[Backend], Backend] = lambda b: b
) -> Corridor:
    """A line opened as ``run`` does it, with a word on its backend."""
    parts = open_parts(site, "3")
    parts = dataclasses.replace(parts, backend=backend(parts.backend))
    return Corridor(parts, Publisher(site, "3"), ending or Ending(), threading.Event())


def hear(
    corridor: Corridor, then: Callable[[], None] = lambda: None
) -> tuple[list[tuple[str, Header]], list[Header], InspectorError | None]:
    """Run a line and hear it to its last state: (kind, header)s, the verdicts among them, and its fault.

    ``then`` is done once the last state is heard.
    """
    publisher = corridor.publisher
    publisher.publish_state(State.READY)
    faults: list[InspectorError | None] = []
    with Listener(publisher.endpoints[0], "inspector/1/line/3/", hwm=0) as listener:
        while not listener.socket.poll(0):  # the state reaches it once it is there
            publisher.serve(0.01)
        thread = threading.Thread(target=lambda: faults.append(corridor.run(Quiet())))
        thread.start()
        heard = to_the_end(listener)
        then()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    return heard, [header for kind, header in heard if kind == "verdict"], faults[0]


def to_the_end(listener: Listener) -> list[tuple[str, Header]]:
    heard: list[tuple[str, Header]] = []
    while listener.socket.poll(round(PATIENCE_S * 1000)):
        topic, text = listener.socket.recv_multipart()
        heard.append((topic.split(b"/")[-2].decode(), json.loads(text)))
        if heard[-1][0] == "state" and heard[-1][1]["state"] in ("Halted", "Error"):
            return heard
    raise AssertionError("the line went silent before its last state")


def from_the_first(site: Site, listener: Listener) -> list[Header]:
    """The verdicts up to the first that is heard: who comes late asks replay for what was before."""
    verdict, _ = listener.next("verdict")
    request = {"want": "events", "kind": "verdict", "first": 1, "last": verdict["seq"] - 1}
    missed, _ = ask(site.line("3").bus.replay, json.dumps(request).encode())
    return [*(header for _, header in missed), verdict]


def check_one_verdict_each(verdicts: list[Header], triggers: int) -> None:
    """Every trigger once and in order, without a hole in the web or in seq; PASS only for what was seen."""
    assert [v["sequence"] for v in verdicts] == list(range(triggers))
    assert [v["seq"] for v in verdicts] == list(range(verdicts[0]["seq"], verdicts[0]["seq"] + triggers))
    for before, after in itertools.pairwise(verdicts):
        assert before["enc_end"] == after["enc_start"]
    for verdict in verdicts:
        if verdict["verdict"] == "PASS":
            assert verdict["n_tiles"] == verdict["n_tiles_inspected"] > 0
            assert verdict["score"] <= verdict["limit"]
            assert not verdict["reason"]
        else:
            assert verdict["reason"]


# -- more than the engine can do --------------------------------------------------------------------------


def engines_frames_per_s(site: Site) -> float:
    """Frames of this line's camera that its bare engine can look at in a second."""
    parts = open_parts(site, "3")
    try:
        parts.camera.start()
        batches: list[TileBatch] = []
        while len(batches) < 3:
            item = parts.camera.read(PATIENCE_S)
            assert item is not None
            batches += [s.batch for s in parts.tiler.push(item) if s.batch is not None]  # type: ignore[arg-type]
        took_s = []
        for _ in range(30):
            began_s = time.perf_counter()
            parts.backend.infer(batches[-1])
            took_s.append(time.perf_counter() - began_s)
        return 1 / statistics.median(took_s)
    finally:
        parts.close()


def test_ten_thousand_triggers_at_twice_the_engines_rate(plant: Plant, cloth: Callable[..., str]) -> None:
    width, height = 1024, 512
    site = plant(cloth(width, height), width=width)
    line_rate = 2 * engines_frames_per_s(site) * height
    text = site.file.read_text().replace(
        "AcquisitionLineRate = 20000.0", f"AcquisitionLineRate = {line_rate:.0f}.0"
    )
    site.file.write_text(text)
    site = config.load(site.file)
    corridor = corridor_of(site, Ending(frames=TRIGGERS), Witness)
    _, verdicts, fault = hear(corridor)
    assert fault is None
    verdicts, rest = verdicts[:TRIGGERS], verdicts[TRIGGERS:]
    check_one_verdict_each(verdicts, TRIGGERS)
    assert [v["detail"] for v in rest] in ([], ["the line ended before this row of tiles was complete"])
    outcomes, reasons = (Counter(v[key] for v in verdicts) for key in ("verdict", "reason"))
    seen = corridor.parts.backend.seen  # type: ignore[attr-defined]
    assert outcomes["FAIL"] == 0
    assert outcomes["PASS"] > 0
    assert outcomes["PASS"] + outcomes["NOT_INSPECTED"] == TRIGGERS
    assert reasons["overload"] >= TRIGGERS / 4  # twice the rate is not to be had; more than half is lost
    for verdict in verdicts:
        if verdict["verdict"] == "PASS":
            assert seen[verdict["sequence"]] == verdict["n_tiles_inspected"]
        if verdict["reason"] == "overload":
            assert verdict["sequence"] not in seen
    snapshot = corridor.snapshot()
    assert snapshot.triggers == TRIGGERS
    outcomes["NOT_INSPECTED"] += len(rest)
    assert snapshot.outcomes == {k: outcomes[k] for k in snapshot.outcomes}
    assert snapshot.lost == {k: v for k, v in reasons.items() if k in ("overload", "frame_lost")}


def test_an_engine_too_slow_for_the_web_is_said_before_ready_and_the_line_starts(
    plant: Plant, cloth: Callable[..., str]
) -> None:
    site = plant(cloth(256, 128))
    site.file.write_text(site.file.read_text().replace("speed_m_min = 60,", "speed_m_min = 60000,"))
    needed = r"line 3: 60000 m/min needs \d+ tiles/s; the engine did \d+ before the start"
    with Listener(site.line("3").bus.verdicts, "inspector/1/line/3/", hwm=0) as listener:
        process = run_command(site, "--frames", "5")
        heard = to_the_end(listener)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert re.search(needed + "; train with --preset fast", out)
    alarms = [header for kind, header in heard if kind == "alarm"]
    assert [(alarm["code"], alarm["severity"]) for alarm in alarms] == [("slow", 500)]
    assert re.fullmatch(needed, alarms[0]["text"])
    assert "frames will be dropped" in alarms[0]["action"]
    assert alarms[0]["state"] == "Operational.Initialized"


@pytest.mark.parametrize("change", ['camera = "frames"', "speed_m_min = 0.0006,"])
def test_an_engine_that_keeps_up_or_may_take_its_time_is_not_said_to_be_slow(
    plant: Plant, change: str
) -> None:
    """A replay as fast as possible waits for its engine, however fast the config's web runs."""
    speed = "speed_m_min = 60000," if change.startswith("camera") else change
    rate = 0 if change.startswith("camera") else 50
    site = plant(f"{FOLDER}\nframes_per_s = {rate}", web=PIECES)
    site.file.write_text(site.file.read_text().replace("speed_m_min = 60,", speed))
    write_frames(site, weave(1, 128, 256))
    process = run_command(site)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "1 PASS" in out
    assert "before the start" not in out


# -- what the camera loses ---------------------------------------------------------------------------------


def run_command(site: Site, *arguments: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "inspector",
        "run",
        "--line",
        "3",
        "--config",
        str(site.file),
        *arguments,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_every_drop_and_incomplete_frame_is_accounted_for(
    plant: Plant, cloth: Callable[..., str], tmp_path: Path
) -> None:
    site = plant(cloth(256, 128, SimDropEvery=7, SimIncompleteEvery=5), waiting=64)  # nothing for overload
    summary = tmp_path / "summary.json"
    with Listener(site.line("3").bus.verdicts, "inspector/1/line/3/", hwm=0) as listener:
        process = run_command(site, "--frames", "200", "--summary", str(summary))
        verdicts = from_the_first(site, listener)
        heard = to_the_end(listener)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    verdicts += [header for kind, header in heard if kind == "verdict"]
    check_one_verdict_each(verdicts, 200)
    assert [v["block_id"] for v in verdicts] == list(range(200))
    # Every seventh is lost, every fifth incomplete, counted from one; what is both is lost.
    dropped = {n for n in range(200) if (n + 1) % 7 == 0}
    halved = {n for n in range(200) if (n + 1) % 5 == 0} - dropped
    reasons = {n: v["reason"] for n, v in enumerate(verdicts)}
    assert {n for n, reason in reasons.items() if reason == "frame_lost"} == dropped
    assert {n for n, reason in reasons.items() if reason == "frame_incomplete"} == halved
    assert {v["verdict"] for v in verdicts if v["reason"]} == {"NOT_INSPECTED"}
    counted = json.loads(summary.read_text())
    assert counted["triggers"] == 200
    assert counted["lost"] == {"frame_lost": len(dropped), "frame_incomplete": len(halved)}
    assert counted["outcomes"]["PASS"] == 200 - len(dropped) - len(halved)
    beats = [header for kind, header in heard if kind == "hb"]
    assert beats[-1]["drops"] <= len(dropped) + len(halved)
    assert f"frame_lost {len(dropped)}" in out


def test_a_pulled_cable_is_an_error_on_the_bus_and_in_the_exit_code(
    plant: Plant, cloth: Callable[..., str], tmp_path: Path
) -> None:
    site = plant(cloth(256, 128))
    control = Control(tmp_path / "ctrl")
    with Listener(site.line("3").bus.verdicts, "inspector/1/line/3/", hwm=0) as listener:
        process = run_command(site)
        listener.next("verdict")
        control.unplug(1)
        heard = to_the_end(listener)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == CameraError.exit_code
    assert "SIM0001 is gone" in err
    assert "Traceback" not in err
    assert heard[-1][1]["state"] == "Error"
    alarms = [header for kind, header in heard if kind == "alarm"]
    assert alarms[-1]["severity"] >= 900
    assert "check power and cable" in alarms[-1]["text"]


# -- what can't be judged ----------------------------------------------------------------------------------

FOLDER = 'kind = "folder"\npath = "frames"'
PIECES = "seamless = false"


def write_frames(site: Site, *frames: np.ndarray) -> None:
    folder = site.root / "frames"
    folder.mkdir()
    for number, pixels in enumerate(frames):
        cv2.imwrite(str(folder / f"{number}.png"), pixels)


def test_nan_is_never_a_pass(plant: Plant) -> None:
    site = plant(FOLDER, web=PIECES)
    half = weave(0, 128, 256)
    half[:, 128:] = 200  # dazzles the graph: the tiles there score NaN
    write_frames(site, weave(1, 128, 256), half, np.full((128, 256), 200, np.uint8), weave(2, 128, 256))
    _, verdicts, _ = hear(corridor_of(site))
    check_one_verdict_each(verdicts, 4)
    assert [v["verdict"] for v in verdicts] == ["PASS", "NOT_INSPECTED", "NOT_INSPECTED", "PASS"]
    assert [v["reason"] for v in verdicts] == ["", "nan", "nan", ""]
    assert 0 < verdicts[1]["n_tiles_inspected"] < verdicts[1]["n_tiles"]
    assert verdicts[2]["n_tiles_inspected"] == 0
    assert verdicts[2]["score"] is None


def test_lanes_are_judged_apart_and_a_defect_lies_where_it_is(plant: Plant) -> None:
    site = plant(FOLDER, web=PIECES, more="lanes = { count = 2 }")
    faulty = weave(0, 128, 256)
    faulty[40:52, 180:192] = 180
    write_frames(site, faulty)
    corridor = corridor_of(site)
    with Listener(corridor.publisher.endpoints[1], "inspector/1/line/3/") as listener:
        while not listener.socket.poll(10):  # until it is there
            corridor.publisher.publish_evidence(*evidence(), [], limit=7.0)
        _, verdicts, _ = hear(corridor)
        defect, image = listener.next("defect")
    assert [(v["lane"], v["verdict"]) for v in verdicts] == [(0, "PASS"), (1, "FAIL")]
    assert verdicts[1]["defect_ids"] == [defect["defect_id"]]
    assert (defect["lane"], defect["phase"]) == (1, "new")
    # Rows 40 to 52 and columns 180 to 192 at 0.2 mm/px; a cell is 0.8 mm.
    assert defect["y_m"] * 1000 == pytest.approx(8.0, abs=0.81)
    assert defect["x_mm"] == pytest.approx(36.0, abs=0.81)
    assert defect["h_mm"] == pytest.approx(2.4, abs=1.61)
    assert defect["w_mm"] == pytest.approx(2.4, abs=1.61)
    picture = cv2.imdecode(np.frombuffer(image[0], np.uint8), cv2.IMREAD_GRAYSCALE)
    assert (picture == 180).sum() >= 144  # the tile it lies in


def test_another_fabric_is_said_once_and_taken_back_when_the_old_one_returns(plant: Plant) -> None:
    site = plant(FOLDER, web=PIECES)
    stripes = np.tile(np.repeat(np.array([60, 190], np.uint8), 16), (128, 8))
    frames = 45  # of 25.6 mm; a metre is 40
    write_frames(site, *[stripes] * frames, *[weave(seed, 128, 256) for seed in range(frames)])
    corridor = corridor_of(site)
    heard, verdicts, _ = hear(corridor)
    assert [v["verdict"] for v in verdicts] == ["FAIL"] * frames + ["PASS"] * frames
    alarms = [header for kind, header in heard if kind == "alarm"]
    assert [(alarm["code"], alarm["severity"]) for alarm in alarms] == [("unlike", 700), ("unlike", 1)]
    assert "'stripes'" in alarms[0]["text"]
    assert "teach" in alarms[0]["action"]
    assert corridor.snapshot().unlike_m == pytest.approx(frames * 128 * 0.2 / 1000)


def test_a_verdict_after_its_deadline_is_none(plant: Plant) -> None:
    site = plant(f"{FOLDER}\nframes_per_s = 50", web=PIECES, deadline_ms=0.001)
    write_frames(site, weave(1, 128, 256))
    _, (verdict,), _ = hear(corridor_of(site))
    assert (verdict["verdict"], verdict["reason"]) == ("NOT_INSPECTED", "late")
    assert "after its deadline" in verdict["detail"]


def test_a_replay_as_fast_as_possible_is_never_late(plant: Plant) -> None:
    site = plant(FOLDER, web=PIECES, deadline_ms=0.001)
    write_frames(site, weave(1, 128, 256), weave(2, 128, 256))
    _, verdicts, _ = hear(corridor_of(site))
    assert [v["verdict"] for v in verdicts] == ["PASS", "PASS"]
    assert all(v["total_ms"] > 0.001 for v in verdicts)


# -- what breaks --------------------------------------------------------------------------------------------


def test_an_engine_that_breaks_down_still_gives_its_frame_a_verdict(plant: Plant) -> None:
    site = plant(FOLDER, web=PIECES)
    write_frames(site, *(weave(n, 128, 256) for n in range(10)))
    corridor = corridor_of(site, Ending(), Broken)
    heard, verdicts, fault = hear(corridor)
    assert corridor.snapshot().triggers >= 4
    check_one_verdict_each(verdicts, corridor.snapshot().triggers)
    assert [v["verdict"] for v in verdicts[:4]] == ["PASS", "PASS", "PASS", "NOT_INSPECTED"]
    assert verdicts[3]["reason"] == "engine_error"
    assert {v["reason"] for v in verdicts[4:]} <= {"state"}
    assert heard[-1][1]["state"] == "Error"
    assert isinstance(fault, LineFault)
    assert "out of memory" in str(fault)


def test_a_line_that_stops_does_not_wait_for_its_engine_and_owes_no_verdict(plant: Plant) -> None:
    site = plant(FOLDER, web=PIECES)
    write_frames(site, *(weave(n, 128, 256) for n in range(10)))
    held: list[Held] = []

    def hold(backend: Backend) -> Backend:
        held.append(Held(backend))
        return held[0]

    corridor = corridor_of(site, Ending(), hold)
    held[0].stop = corridor.stop
    at_work: list[bool] = []

    def let_go() -> None:
        at_work.append(held[0].is_at_work)
        held[0].let_go.set()

    heard, verdicts, fault = hear(corridor, let_go)
    assert at_work == [True], "Halted was said while the engine was at its frame"
    assert (heard[-1][1]["state"], fault) == ("Halted", None)
    check_one_verdict_each(verdicts, corridor.snapshot().triggers)
    assert [v["verdict"] for v in verdicts[:3]] == ["PASS", "PASS", "NOT_INSPECTED"]
    assert {v["reason"] for v in verdicts[2:]} == {"state"}
    assert "while the engine was at this frame" in verdicts[2]["detail"]
    assert not held[0].was_closed_at_work


def test_a_killed_line_starts_again_with_a_later_epoch(plant: Plant, cloth: Callable[..., str]) -> None:
    site = plant(cloth(256, 128))
    epochs = []
    for ending in (signal.SIGKILL, signal.SIGTERM):
        with Listener(site.line("3").bus.verdicts, "inspector/1/line/3/") as listener:
            process = run_command(site)
            epochs.append(listener.next("verdict")[0]["epoch"])
            process.send_signal(ending)
            process.communicate(timeout=PATIENCE_S)
        assert process.returncode == (-signal.SIGKILL if ending == signal.SIGKILL else 0)
    assert epochs[0] < epochs[1]


# -- what must not be there ---------------------------------------------------------------------------------


def test_a_running_line_loads_no_training(plant: Plant) -> None:
    site = plant(FOLDER, web=PIECES)
    write_frames(site, weave(1, 128, 256))
    code = (
        "import sys\n"
        "from inspector.cli import main\n"
        f"main(['run', '--line', '3', '--config', {str(site.file)!r}], standalone_mode=False)\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'torch', 'onnx', 'safetensors', 'openvino', 'tensorrt', 'harvesters'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_pixels_of_at_most_a_few_frames_wait(plant: Plant, cloth: Callable[..., str]) -> None:
    site = plant(cloth(256, 128))
    corridor = corridor_of(site, Ending(frames=300))
    most = 0

    class Watching(Quiet):
        def show(self, snapshot: Snapshot, now_s: float) -> None:
            nonlocal most
            most = max(most, snapshot.queue)

    corridor.run(Watching())
    assert most <= site.line("3").overload.frames
