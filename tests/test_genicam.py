"""GenICam cameras on three producers: our virtual camera, and two of other people's."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import genicam as genicam_wheel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector import config
from inspector.cameras import genicam, open_camera
from inspector.cameras.genicam import IMAGES, CameraClock, GenicamCamera, list_cameras
from inspector.cameras.pixel_formats import FORMATS, decode
from inspector.cameras.stamper import Stamper
from inspector.check.seen import encoder_words, try_camera
from inspector.errors import CameraError
from inspector.interfaces import CameraInfo
from inspector.records import Acquired, Frame, LostFrame, Reason
from tests.conftest import ROOT
from tests.virtual_camera import Control, FeedWriter, numbered_rows, row_numbers

VIKY = Path(genicam_wheel.__file__).parent / "viky.cti"
TLSIMU = ROOT / "build" / "tlsimu" / "TLSimu.cti"
COUNTS_PER_ROW = 3
TIMEOUT_S = 10.0

Open = Callable[..., GenicamCamera]


def line_of(**camera: Any) -> config.Line:
    table = {
        "recipe": "demo",
        "camera": {"kind": "genicam", **camera},
        "web": {"width_mm": 51.2, "mm_per_px": 0.2, "encoder_counts_per_m": 15000, "speed_m_min": 6},
        "tiles": {"size_mm": 12.8, "overlap_mm": 0},
        "bus": dict.fromkeys(("verdicts", "maps", "replay"), "tcp://127.0.0.1:*"),
    }
    return config.convert({"plant": "test", "line": {"3": table}}, config.Plant, Path("test.toml")).line["3"]


def open_line(**camera: Any) -> GenicamCamera:
    opened = open_camera("3", line_of(**camera), Path("/"))
    assert isinstance(opened, GenicamCamera)
    return opened


@pytest.fixture
def opened(simcam: Path) -> Iterator[Open]:
    """Open cameras that are closed when the test ends; ours unless it says otherwise."""
    cameras = []

    def open_one(**settings: Any) -> GenicamCamera:
        features = settings.pop("features", {})
        if "producer" not in settings:
            # Buffers for a machine that stands still for a while: else the camera really loses frames.
            settings = {"producer": str(simcam), "serial": "SIM0001", "buffers": 256, **settings}
            features = {"AcquisitionLineRate": 1e5, **features}
        cameras.append(open_line(features=features, **settings))
        return cameras[-1]

    yield open_one
    for camera in cameras:
        camera.close()


@pytest.fixture
def control(simcam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SIMCAM_CTRL", str(tmp_path / "ctrl"))
    return Control(tmp_path / "ctrl")


@pytest.fixture
def web(simcam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A feed of 64 px wide rows that carry their numbers; 4096 of them are there."""
    monkeypatch.setenv("SIMCAM_FEED", str(tmp_path / "feed"))
    writer = FeedWriter(tmp_path / "feed", 64, ring_rows=8192)
    writer.write(numbered_rows(0, 4096, 64), timeout_s=1)
    return writer


def take(camera: GenicamCamera, count: int) -> list[Acquired]:
    """The next ``count`` triggers."""
    found: list[Acquired] = []
    until_s = time.monotonic() + TIMEOUT_S
    while len(found) < count:
        assert time.monotonic() < until_s, f"only {len(found)} of {count} triggers came"
        item = camera.read(0.2)
        if item is not None:
            found.append(item)
    return found


def frames_of(items: list[Acquired]) -> list[Frame]:
    return [item for item in items if isinstance(item, Frame)]


def lost_of(items: list[Acquired]) -> dict[int, Reason]:
    return {item.stamp.block_id: item.reason for item in items if isinstance(item, LostFrame)}


def check_contiguous(items: list[Acquired]) -> None:
    stamps = [item.stamp for item in items]
    assert [s.sequence for s in stamps] == list(range(len(stamps)))
    for before, after in itertools.pairwise(stamps):
        assert before.encoder_end == after.encoder_start


# -- images ---------------------------------------------------------------------------------------


def test_frames_come_in_order_whole_and_as_our_own_copies(opened: Open, web: Any) -> None:
    camera = opened(features={"Height": 32})
    camera.start()
    items = take(camera, 20)
    check_contiguous(items)
    frames = frames_of(items)
    assert len(frames) == 20
    numbers = np.concatenate([row_numbers(f.pixels) for f in frames])
    np.testing.assert_array_equal(numbers, np.arange(20 * 32))
    assert all(f.pixels.flags.owndata and f.pixels.flags.writeable for f in frames)
    assert {f.stamp.camera for f in frames} == {"SIM0001"}
    counts = [(f.stamp.encoder_start, f.stamp.encoder_end) for f in frames]
    assert counts == [(n * 32 * COUNTS_PER_ROW, (n + 1) * 32 * COUNTS_PER_ROW) for n in range(20)]


def test_info_tells_who_looks(opened: Open, web: Any) -> None:
    info = opened(features={"Height": 32}).info
    assert (info.kind, info.vendor, info.model, info.serial) == ("genicam", "SimCam", "SimLine", "SIM0001")
    assert (info.pixel_format, info.width_px, info.height_px) == ("Mono8", 64, 32)
    assert info.is_simulated


def test_padding_behind_rows_is_stripped(opened: Open, web: Any) -> None:
    camera = opened(features={"Height": 32, "SimPaddingX": 12})
    camera.start()
    frames = frames_of(take(camera, 3))
    assert [f.pixels.shape for f in frames] == [(32, 64)] * 3
    np.testing.assert_array_equal(row_numbers(np.concatenate([f.pixels for f in frames])), np.arange(96))


@pytest.mark.parametrize("name", ["Mono10", "Mono12", "Mono12p", "Mono12Packed", "RGB8", "BayerRG8"])
def test_every_format_of_the_camera_becomes_8_bits(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8), (9, 9), 0)
    (tmp_path / "stack.raw").write_bytes(image.tobytes())
    monkeypatch.setenv("SIMCAM_IMAGES", str(tmp_path / "stack.raw"))
    monkeypatch.setenv("SIMCAM_WIDTH", "64")
    camera = opened(features={"PixelFormat": name})
    assert camera.info.pixel_format == name
    camera.start()
    (frame,) = frames_of(take(camera, 1))
    if FORMATS[name].channels == 1:
        np.testing.assert_array_equal(frame.pixels, image)
    else:  # made up by the camera: red as it is, green 3/4, blue 1/2
        tint = image[..., None] * np.array([1, 0.75, 0.5])
        inside = np.s_[4:-4, 4:-4]  # demosaicing knows less at the edges
        assert np.abs(frame.pixels[inside] - tint[inside]).mean() < (1 if name == "RGB8" else 4)


@given(st.integers(1, 9), st.integers(0, 5), st.sampled_from(["Mono10p", "Mono12p"]), st.integers(0, 99))
def test_packed_pixels_are_taken_apart_bit_by_bit(groups: int, padding: int, name: str, seed: int) -> None:
    width, height, bits = 4 * groups, 3, FORMATS[name].bits
    values = np.random.default_rng(seed).integers(0, 1 << bits, (height, width))
    rows = [
        sum(int(v) << (bits * i) for i, v in enumerate(row)).to_bytes(width * bits // 8, "little")
        for row in values
    ]
    buffer = b"".join(row + b"\xff" * padding for row in rows) + b"chunk data"
    np.testing.assert_array_equal(decode(buffer, name, width, height, padding), values >> (bits - 8))


def test_gige_packed_pixels_are_taken_apart() -> None:
    values = np.random.default_rng(0).integers(0, 1024, (2, 6))
    pairs = values.reshape(-1, 2)
    buffer = b"".join(bytes([a >> 2, (a & 3) | ((b & 3) << 4), b >> 2]) for a, b in pairs.tolist())
    np.testing.assert_array_equal(decode(buffer, "Mono10Packed", 6, 2), values >> 2)


def test_a_format_nobody_can_use_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="BayerGB12 can't be used; choose one of: Mono8"):
        decode(b"", "BayerGB12", 4, 4)
    with pytest.raises(ValueError, match="multiple of 4, not 6"):
        decode(bytes(100), "Mono10p", 6, 2)
    with pytest.raises(ValueError, match="15 bytes are too few for 4x4 Mono8"):
        decode(bytes(15), "Mono8", 4, 4)


# -- what goes wrong on the way ---------------------------------------------------------------------


def test_lost_and_incomplete_frames_keep_their_place(opened: Open, web: Any) -> None:
    camera = opened(features={"Height": 16, "SimDropEvery": 7, "SimIncompleteEvery": 5})
    camera.start()
    items = take(camera, 100)
    check_contiguous(items)
    lost = lost_of(items)
    ids = [item.stamp.block_id for item in items]
    assert ids == list(range(100))
    # Every seventh is lost, every fifth incomplete, counted from one; what is both is lost.
    dropped = {n for n in range(99) if (n + 1) % 7 == 0}
    halved = {n for n in range(99) if (n + 1) % 5 == 0} - dropped
    assert {n for n, why in lost.items() if why is Reason.FRAME_LOST and n < 99} == dropped
    assert {n for n, why in lost.items() if why is Reason.FRAME_INCOMPLETE and n < 99} == halved
    for frame in frames_of(items):
        assert row_numbers(frame.pixels)[0] == frame.stamp.block_id * 16


def test_the_encoder_chunk_places_frames_exactly_over_losses(opened: Open, web: Any) -> None:
    camera = opened(encoder="chunk", features={"Height": 16, "EncoderDivider": 3, "SimDropEvery": 4})
    camera.start()
    items = take(camera, 40)
    check_contiguous(items)
    for frame in frames_of(items):
        assert frame.stamp.encoder_start == row_numbers(frame.pixels)[0] * 3
    assert len(frames_of(items)) < 40


def test_incomplete_frames_before_the_first_encoder_count_lie_before_it(
    opened: Open, web: Any, control: Any
) -> None:
    camera = opened(encoder="chunk", features={"Height": 16, "EncoderDivider": 3})
    control.incomplete(1, 3)
    camera.start()
    items = take(camera, 6)
    check_contiguous(items)
    assert lost_of(items) == dict.fromkeys(range(3), Reason.FRAME_INCOMPLETE)
    assert [item.stamp.encoder_start for item in items] == [16 * 3 * n for n in range(6)]


def test_a_camera_whose_images_all_come_incomplete_is_an_error_not_silence(
    opened: Open, web: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genicam, "HEADLESS_S", 0.05)
    settings = {"Height": 16, "EncoderDivider": 3, "SimIncompleteEvery": 1, "AcquisitionLineRate": 16_000.0}
    camera = opened(encoder="chunk", features=settings)
    camera.start()
    with pytest.raises(CameraError, match=r"SIM0001: all of its first \d+ images came incomplete.*MTU"):
        take(camera, 1)


@pytest.mark.parametrize(("divider", "told"), [(COUNTS_PER_ROW, ""), (5, "25000 per m"), (2, "10000 per m")])
def test_check_holds_the_cameras_encoder_against_the_config(
    simcam: Path, tmp_path: Path, web: Any, divider: int, told: str
) -> None:
    """The config says 15000 counts per m at 0.2 mm, 3 a row; a wrong one makes every verdict NOT_INSPECTED."""
    features = {"Height": 64, "EncoderDivider": divider, "AcquisitionLineRate": 1e5}
    line = line_of(producer=str(simcam), serial="SIM0001", encoder="chunk", features=features, buffers=64)
    site = config.Site(tmp_path / "config.toml", config.Plant(plant="test", line={"3": line}))
    seen = try_camera(site, "3", follow=True)
    assert seen.after is not None
    counted = encoder_words(line, seen)
    assert counted is not None
    mark, said = counted
    assert mark == ("warn" if told else "ok")
    assert told in said
    assert encoder_words(line, dataclasses.replace(seen, after=None)) is None, (
        "a web that stands tells nothing"
    )


def test_a_slow_reader_loses_frames_but_not_their_count(opened: Open, web: Any, control: Any) -> None:
    camera = opened(buffers=4, features={"Height": 16})
    camera.start()
    first = take(camera, 1)
    until_s = time.monotonic() + TIMEOUT_S
    while control.frames(1) < 60 and time.monotonic() < until_s:
        threading.Event().wait(0.005)  # the camera goes on; four buffers fill, then frames are lost
    items = first + take(camera, 58)
    check_contiguous(items)
    assert [item.stamp.block_id for item in items] == list(range(59))
    assert Reason.FRAME_LOST in lost_of(items).values()


def test_unplugged_is_an_error_that_says_so_and_closes_clean(
    opened: Open, web: Any, control: Any, simcam: Path
) -> None:
    camera = opened(features={"Height": 16})
    camera.start()
    take(camera, 3)
    control.unplug(1)
    with pytest.raises(CameraError, match=r"camera SIM0001 is gone.*check power and cable"):
        take(camera, 10_000)
    camera.close()
    camera.close()
    control.replug(1)
    again = opened(features={"Height": 16})
    again.start()
    assert frames_of(take(again, 1))


def test_a_web_that_stands_still_is_no_error(
    opened: Open, simcam: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SIMCAM_FEED", str(tmp_path / "none-yet"))
    camera = opened(features={"Width": 64, "Height": 16})
    camera.start()
    assert camera.read(0.05) is None
    assert camera.read(0.0) is None
    writer = FeedWriter(tmp_path / "none-yet", 64, ring_rows=64)
    writer.write(numbered_rows(0, 16, 64), timeout_s=1)
    assert len(take(camera, 1)) == 1


def test_other_threads_run_while_a_frame_is_waited_for(opened: Open, simcam: Path) -> None:
    """A producer waits with the interpreter lock held; ours must not be waited in."""
    camera = opened(features={"TriggerMode": "On", "TriggerSource": "Software"})
    camera.start()
    turns, ended = 0, threading.Event()

    def turn() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1
            ended.wait(0.001)

    other = threading.Thread(target=turn)
    other.start()
    assert camera.read(0.5) is None
    ended.set()
    other.join()
    assert turns > 20, "another thread got hardly a turn in half a second"


def test_closing_from_another_thread_ends_a_read(opened: Open, simcam: Path) -> None:
    camera = opened(features={"TriggerMode": "On", "TriggerSource": "Software"})
    camera.start()
    closer = threading.Timer(0.1, camera.close)
    closer.start()
    assert camera.read(TIMEOUT_S) is None
    closer.join()


# -- time -------------------------------------------------------------------------------------------


def test_a_frame_that_waited_is_as_old_as_it_is() -> None:
    clock = CameraClock()
    assert clock.captured_us(1_000, 501_000) == 501_000
    assert clock.captured_us(2_000, 509_000) == 502_000, "taken over 7 ms late"
    assert clock.captured_us(3_000, 502_900) == 502_900, "a frame that waited even less sets the clock"
    assert clock.captured_us(None, 600_000) == 600_000


def test_the_clock_follows_a_drift() -> None:
    clock = CameraClock()
    for n in range(5_000):  # the camera's clock is 0.1 % fast
        camera_us = n * 10_010
        late = clock.captured_us(camera_us, n * 10_000) - n * 10_000
    assert abs(late) < 3_000
    slow = CameraClock()
    for n in range(5_000):
        late = slow.captured_us(n * 9_990, n * 10_000) - n * 10_000
    assert abs(late) < 3_000


def test_a_clock_that_starts_again_makes_no_frame_old() -> None:
    clock = CameraClock()
    for n in range(300):
        clock.captured_us(10**9 + n * 300_000, 5 * 10**9 + n * 300_000)
    began_us = 5 * 10**9 + 300 * 300_000
    assert clock.captured_us(0, began_us) == began_us
    assert clock.captured_us(300_000, began_us + 307_000) == began_us + 300_000, (
        "it waits 7 ms, and that is told"
    )


@pytest.mark.parametrize(
    ("before_us", "after_us"),
    [
        (
            300_000,
            300_000 + 14 * 3600 * 50 * 1000,
        ),  # 14 h at rest, in which a slow crystal loses 50 ppm: 2.5 s
        (341_000, 2_048_000),  # stamped at the first row: the web slows from 18 to 3 m/min
    ],
    ids=["after a weekend", "a slower web"],
)
def test_no_frame_is_older_than_the_last_look_that_found_none(before_us: int, after_us: int) -> None:
    clock, whole_us = CameraClock(), 10**10
    for _ in range(300):
        whole_us += 300_000
        clock.nothing_there(whole_us - 1_000)
        clock.captured_us(whole_us - before_us, whole_us)
    for _ in range(3):
        whole_us += 2_100_000
        clock.nothing_there(whole_us - 1_000)
        assert whole_us - clock.captured_us(whole_us - after_us, whole_us) <= 1_000
    waited_us = whole_us + 2_100_000 + 400_000
    assert waited_us - clock.captured_us(waited_us - 400_000 - after_us, waited_us) >= 400_000, "it did wait"


def test_capture_times_are_those_of_the_camera(opened: Open, web: Any) -> None:
    camera = opened(features={"Height": 16, "AcquisitionLineRate": 1600.0})
    camera.start()
    stamps = [item.stamp for item in take(camera, 12)]
    now_us = time.monotonic_ns() // 1000
    steps = np.diff([s.captured_us for s in stamps])
    assert np.median(steps) == pytest.approx(10_000, rel=0.05)
    assert all(s.captured_us <= now_us and s.deadline_us == s.captured_us + 1_000_000 for s in stamps)


# -- opening ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"producer": "/nowhere/vendor.cti"}, r"/nowhere/vendor.cti: no such producer; install"),
        ({"producer": __file__}, r"test_genicam.py: can't be loaded as a GenTL producer"),
        (
            {"serial": "NOPE"},
            r"no camera with serial 'NOPE'; simcam.cti sees: SimCam SimLine SIM0001 \(free\)",
        ),
        ({"serial": ""}, r"camera.serial must say which of these to use: .*SIM0001.*SIM0002"),
        ({"features": {"ExposureTme": 4}}, r"no feature 'ExposureTme'; did you mean ExposureTime"),
        ({"features": {"Width": 99_999}}, r"features.Width = 99999 must be from \d+ to 16384 in steps of 2"),
        ({"features": {"Width": 101}}, r"features.Width = 101 must be from .* in steps of 2"),
        ({"features": {"Width": "wide"}}, r"features.Width = 'wide' must be a whole number"),
        ({"features": {"ExposureTime": -1.0}}, r"features.ExposureTime = -1 must be from"),
        ({"features": {"ExposureTime": "long"}}, r"features.ExposureTime = 'long' must be a number"),
        ({"features": {"PixelFormat": "Mono7"}}, r"features.PixelFormat = 'Mono7' must be one of: Mono8, "),
        ({"features": {"ChunkModeActive": 1}}, r"features.ChunkModeActive = 1 must be true or false"),
        (
            {"features": {"TriggerSoftware": False}},
            r"features.TriggerSoftware = false must be true, which executes it; leave it out otherwise",
        ),
        ({"features": {"PayloadSize": 4}}, r"features.PayloadSize = 4 can't be written: it is read-only"),
        ({"aliases": {"Gain": "Verstaerkung"}, "features": {"Gain": 2.0}}, r"no feature 'Gain'"),
        (
            {"buffers": 2, "producer": str(VIKY), "serial": "1", "features": {}},
            r"PixelFormat RGBa8 can't be used",
        ),
    ],
)
def test_what_can_not_be_opened_is_one_sentence(
    opened: Open, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(CameraError, match=sentence) as error:
        opened(**settings)
    assert "\n" not in str(error.value)


def test_no_camera_behind_a_producer(simcam: Path) -> None:
    """The number of cameras is read when the library is loaded: a process of its own."""
    code = "import sys; from tests.test_genicam import open_line\nopen_line(producer=sys.argv[1])"
    environment = os.environ | {"SIMCAM_DEVICES": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(simcam)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "CameraError: simcam.cti sees no camera; check power, cable" in done.stderr


def test_a_taken_camera_is_named(opened: Open, simcam: Path) -> None:
    """Another process has it."""
    code = (
        "import sys; from tests.test_genicam import open_line\n"
        "c = open_line(producer=sys.argv[1], serial='SIM0001')\nprint('open', flush=True)\nsys.stdin.read()\nc.close()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(simcam)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(CameraError, match=r"camera SIM0001 is taken: .*end the other program"):
            opened()
        assert list_cameras([simcam])[0].startswith("SimCam SimLine SIM0001 (taken by another program)")
        other.communicate(timeout=TIMEOUT_S)
    opened()


def test_features_are_set_and_read_back(opened: Open, simcam: Path) -> None:
    camera = opened(
        aliases={"Breite": "Width"},
        features={"Breite": 128, "Height": 16, "ExposureTime": 80, "Gain": 6.0, "EncoderReset": True},
    )
    nodes = camera._nodes
    assert (nodes.Width.value, nodes.Height.value, nodes.ExposureTime.value) == (128, 16, 80.0)
    assert nodes.Gain.value == pytest.approx(6.0)
    assert camera.info.width_px == 128


def test_the_sigint_handler_stays(opened: Open, simcam: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    opened()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_failed_opening_lets_the_camera_go(opened: Open, simcam: Path) -> None:
    with pytest.raises(CameraError):
        opened(features={"Width": 3})
    assert opened().info.serial == "SIM0001"


# -- other people's producers ---------------------------------------------------------------------------


def test_viky_delivers(opened: Open) -> None:
    camera = opened(producer=str(VIKY), serial="1", features={"PixelFormat": "Mono8", "Width": 640})
    assert camera.info.is_simulated
    camera.start()
    items = take(camera, 5)
    check_contiguous(items)
    frames = frames_of(items)
    assert {f.pixels.shape for f in frames} == {(400, 640)}
    assert any(f.pixels.std() > 0 for f in frames), "there is a ball in the picture"


def test_viky_has_no_encoder_chunk(opened: Open) -> None:
    with pytest.raises(CameraError, match=r"ChunkSelector = 'EncoderValue' must be one of"):
        opened(producer=str(VIKY), serial="1", encoder="chunk", features={"PixelFormat": "Mono8"})


@pytest.fixture
def tlsimu() -> str:
    if not TLSIMU.exists():
        pytest.skip("needs TLSimu.cti of genicam 1.5.0: python tools/fetch_tlsimu.py build/tlsimu")
    return str(TLSIMU)


def test_tlsimu_delivers_on_software_triggers(opened: Open, tlsimu: str) -> None:
    features = {"TriggerMode": "On", "TriggerSource": "Software", "Width": 256, "Height": 64}
    camera = opened(producer=tlsimu, serial="SN_InterfaceA_0", features=features)
    assert camera.info.is_simulated
    camera.start()
    assert camera.read(0.1) is None
    items = []
    for _ in range(5):
        camera._nodes.TriggerSoftware.execute()
        items += take(camera, 1)
        assert camera.read(0.02) is None, "one trigger, one frame"
    check_contiguous(items)
    assert {f.pixels.shape for f in frames_of(items)} == {(64, 256)}


@pytest.mark.parametrize("name", ["BayerRG8", "RGB8"])
def test_tlsimu_delivers_colour(opened: Open, tlsimu: str, name: str) -> None:
    features = {"PixelFormat": name, "Width": 256, "Height": 64}
    camera = opened(producer=tlsimu, serial="SN_InterfaceA_1", features=features)
    camera.start()
    (frame,) = frames_of(take(camera, 1))
    assert frame.pixels.shape == (64, 256, 3)
    assert frame.pixels.std() > 0


def test_a_buffer_too_small_for_its_format_is_no_frame(opened: Open, tlsimu: str) -> None:
    """TLSimu announces a byte a pixel whatever the format."""
    features = {"PixelFormat": "Mono10", "Width": 256, "Height": 64}
    camera = opened(producer=tlsimu, serial="SN_InterfaceA_0", features=features)
    camera.start()
    (item,) = take(camera, 1)
    assert isinstance(item, LostFrame)
    assert item.reason is Reason.FRAME_INCOMPLETE
    assert item.detail == "16384 bytes are too few for 256x64 Mono10"


# -- the list ---------------------------------------------------------------------------------------------


def test_cameras_are_listed_with_the_producers_that_fail(
    simcam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENICAM_GENTL64_PATH", f"{VIKY.parent}:{tmp_path}")
    (tmp_path / "broken.cti").write_text("no library")
    rows = list_cameras([simcam])
    assert rows[0] == f"SimCam SimLine SIM0001 (free)  {simcam}"
    assert sum(row.startswith("Machine Vision Games Ltd. Viky") for row in rows) == 3
    assert any("broken.cti: can't be loaded as a GenTL producer" in row for row in rows)


def test_without_a_producer_there_is_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)
    with pytest.raises(CameraError, match="no producer is known; name one with --producer"):
        list_cameras([])


@pytest.mark.parametrize(
    ("filled", "delivered", "rows", "said"),
    [
        (8192, 128, 128, ""),
        (2560, 40, 40, ""),
        (8192, 0, 128, ""),
        (0, 0, 0, "the camera's image came empty"),
        (2560, 0, 0, "2560 bytes are too few for 64x128 Mono8"),
        (2560, 128, 0, "2560 bytes are too few for 64x128 Mono8"),
    ],
)
def test_a_buffer_that_came_empty_or_in_part_shows_no_image_of_before(
    filled: int, delivered: int, rows: int, said: str
) -> None:
    """A producer that doesn't know how many lines came may say 0; what was not filled is an earlier image."""
    camera = object.__new__(GenicamCamera)
    camera._clock, camera._knows_place, camera._headless = CameraClock(), True, []
    camera._info = CameraInfo("genicam", "V", "M", "S", "Mono8", 64, 128, is_simulated=True)
    camera._config, camera._name = config.GenicamCamera(producer="none.cti"), "camera S"
    web = config.Web(width_mm=10, mm_per_px=0.1, encoder_counts_per_m=10000, speed_m_min=10)
    camera._stamper = Stamper("1", "S", 128, web, 1000)
    buffer = SimpleNamespace(
        frame_id=1,
        timestamp_ns=10**9,
        payload_type=IMAGES[0],
        width=64,
        height=128,
        padding_x=0,
        raw_buffer=bytes([77]) * 64 * 128,
        size_filled=filled,
        delivered_image_height=delivered,
        is_complete=lambda: True,
    )
    (item,) = camera._read_out(buffer, 10**6)
    if rows:
        assert isinstance(item, Frame)
        assert item.pixels.shape == (rows, 64)
    else:
        assert isinstance(item, LostFrame)
        assert (item.reason, item.detail) == (Reason.FRAME_INCOMPLETE, said)
