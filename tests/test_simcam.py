"""The virtual camera, driven through plain Harvesters as any consumer would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from genicam import genapi, gentl
from harvesters.core import Callback, Harvester, ImageAcquirer

from inspector import config
from inspector.cameras.loom import Loom
from tests.virtual_camera import SIMCAM, Control, FeedWriter, numbered_rows, row_numbers

TIMEOUT_S = 10.0
GENICAM_ERRORS = (gentl.GenericException, genapi.GenericException)

OpenCamera = Callable[..., AbstractContextManager[ImageAcquirer]]


@dataclass
class Shot:
    """A fetched frame, copied."""

    block_id: int
    timestamp_ns: int
    data: np.ndarray
    width: int
    height: int
    pixel_format: str
    padding_px: int
    encoder: int | None

    @property
    def image(self) -> np.ndarray:
        return self.data.reshape(self.height, self.width)


@contextmanager
def harvest(producer: Path) -> Iterator[Harvester]:
    harvester = Harvester()
    try:
        harvester.add_file(str(producer))
        harvester.update()
        yield harvester
    finally:
        harvester.reset()


def close(acquirer: ImageAcquirer) -> None:
    """Also after an unplug, when Harvesters' own stop gives up half way."""
    streams = list(acquirer.data_streams)
    steps: list[Callable[[], Any]] = [acquirer.stop]
    for stream in streams:
        steps.append(lambda s=stream: s.stop_acquisition(gentl.ACQ_STOP_FLAGS_LIST.ACQ_STOP_FLAGS_KILL))
        steps.append(lambda s=stream: s.flush_buffer_queue(gentl.ACQ_QUEUE_TYPE_LIST.ACQ_QUEUE_ALL_DISCARD))
    for step in [*steps, acquirer._release_buffers, acquirer.destroy]:
        with suppress(*GENICAM_ERRORS):
            step()


@pytest.fixture
def open_camera(simcam: Path) -> OpenCamera:
    """Open a camera on the sources named by the environment."""

    @contextmanager
    def opened(serial: str = "SIM0001", **features: Any) -> Iterator[ImageAcquirer]:
        with harvest(simcam) as harvester:
            acquirer = harvester.create({"serial_number": serial})
            try:
                acquirer.num_buffers = 16
                acquirer.timeout_period_on_update_event_data_call = 20
                for name, value in {"AcquisitionLineRate": 1e6, **features}.items():
                    getattr(acquirer.remote_device.node_map, name).value = value
                yield acquirer
            finally:
                close(acquirer)

    return opened


def fetch(acquirer: ImageAcquirer) -> Shot:
    nodes = acquirer.remote_device.node_map
    with acquirer.fetch(timeout=TIMEOUT_S) as buffer:
        part = buffer.payload.components[0]
        return Shot(
            block_id=buffer.module.frame_id,
            timestamp_ns=buffer.timestamp_ns,
            data=part.data.copy(),
            width=part.width,
            height=part.height,
            pixel_format=part.data_format,
            padding_px=part.x_padding,
            encoder=nodes.ChunkEncoderValue.value if nodes.ChunkModeActive.value else None,
        )


def shots(acquirer: ImageAcquirer, count: int) -> list[Shot]:
    acquirer.start()
    return [fetch(acquirer) for _ in range(count)]


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Three images of 64x48, named by the environment as a stacked file."""
    images = np.random.default_rng(1).integers(0, 256, (3, 48, 64), np.uint8)
    images[:, :, 0] = np.arange(144).reshape(3, 48)  # so that a shifted row shows
    (tmp_path / "stack.raw").write_bytes(images.tobytes())
    monkeypatch.setenv("SIMCAM_IMAGES", str(tmp_path / "stack.raw"))
    monkeypatch.setenv("SIMCAM_WIDTH", "64")
    monkeypatch.setenv("SIMCAM_HEIGHT", "48")
    return images


# ---- who is there --------------------------------------------------------------------------------------


def test_devices_introduce_themselves(producer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMCAM_DEVICES", "3")
    with harvest(producer) as harvester:
        devices = harvester.device_info_list
        assert [d.serial_number for d in devices] == ["SIM0001", "SIM0002", "SIM0003"]
        assert {(d.vendor, d.model) for d in devices} == {("SimCam", "SimLine")}


def test_a_camera_taken_by_another_process_is_refused(open_camera: OpenCamera, producer: Path) -> None:
    other = (
        "import sys\nfrom harvesters.core import Harvester\nh = Harvester()\n"
        "h.add_file(sys.argv[1])\nh.update()\nprint(h.device_info_list[0].access_status)\n"
        "try:\n    h.create({'serial_number': 'SIM0001'}).destroy()\n    print('opened')\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
        "h.create({'serial_number': 'SIM0002'}).destroy()\nh.reset()\n"
    )
    command = [sys.executable, "-c", other, str(producer)]
    with open_camera():
        taken = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60
        ).stdout.splitlines()
    left = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert taken[0] == str(int(gentl.DEVICE_ACCESS_STATUS_LIST.DEVICE_ACCESS_STATUS_BUSY))
    assert taken[1].startswith("AccessDeniedException")
    assert "SIM0001 is in use by another process" in taken[1]
    assert left[1] == "opened"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SIMCAM_IMAGES": "/nonexistent/images"}, "No such file"),
        ({"SIMCAM_IMAGES": __file__}, "set SIMCAM_WIDTH"),
        ({"SIMCAM_IMAGES": __file__, "SIMCAM_WIDTH": "64", "SIMCAM_HEIGHT": "1000000"}, "SIMCAM_HEIGHT is"),
        ({"SIMCAM_IMAGES": str(SIMCAM)}, "holds no 8-bit binary PGM"),
        ({"SIMCAM_FEED": __file__}, "SIMFEED1"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(
    open_camera: OpenCamera, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(gentl.IoException, match=said), open_camera():
        pass


# ---- sources ---------------------------------------------------------------------------------------------


def test_stacked_images_follow_each_other_and_repeat(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera() as camera:
        taken = shots(camera, 7)
    assert [s.block_id for s in taken] == list(range(7))
    for shot in taken:
        np.testing.assert_array_equal(shot.image, stack[shot.block_id % 3])
    assert {(s.width, s.height, s.pixel_format) for s in taken} == {(64, 48, "Mono8")}


def test_a_line_scan_camera_sees_one_web_whatever_its_height(
    open_camera: OpenCamera, stack: np.ndarray
) -> None:
    with open_camera(Height=36, Width=32, OffsetX=16) as camera:
        taken = shots(camera, 6)
    web = np.concatenate([stack.reshape(-1, 64)] * 2)[: 6 * 36, 16:48]
    np.testing.assert_array_equal(np.concatenate([s.image for s in taken]), web)


def test_an_area_scan_camera_sees_one_image_a_frame(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera(DeviceScanType="Areascan", AcquisitionFrameRate=1000.0, Height=64, Width=80) as camera:
        taken = shots(camera, 4)
    for shot in taken:
        np.testing.assert_array_equal(shot.image[:48, :64], stack[shot.block_id % 3])
        assert not shot.image[48:].any(), "rows beyond the image are dark"
        assert not shot.image[:, 64:].any(), "columns beyond the image are dark"


def test_a_folder_is_played_in_name_order_without_its_broken_files(
    open_camera: OpenCamera,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, grey in (("b.pgm", 2), ("a.pgm", 1), ("C.PGM", 3)):
        (folder / name).write_bytes(b"P5 # made\n64\n16 255\n" + bytes([grey]) * 64 * 16)
    (folder / "short.pgm").write_bytes(b"P5 64 16 255\n" + bytes(10))
    (folder / "notes.txt").write_text("not an image")
    monkeypatch.setenv("SIMCAM_IMAGES", str(folder))
    with open_camera() as camera:
        greys = [np.unique(s.image).tolist() for s in shots(camera, 4)]
    assert greys == [[3], [1], [2], [3]], "by bytes: capitals first"
    assert "short.pgm is not a whole 8-bit binary PGM" in capfd.readouterr().err


def test_without_a_source_there_is_a_weave(open_camera: OpenCamera) -> None:
    with open_camera(Width=16384, Height=192) as camera:
        image = shots(camera, 1)[0].image
    np.testing.assert_array_equal(image[:96], image[96:])
    assert image.std() > 10


WRITER = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from feed import FeedWriter
width, ring, total, piece = map(int, sys.argv[3:])
writer = FeedWriter(sys.argv[2], width, ring)
print("ready", flush=True)
row = 0
while row < total:
    count = min(piece, total - row)
    rows = np.full((count, width), 100, np.uint8)
    rows[:, :8] = np.arange(row, row + count, dtype="<u8").view(np.uint8).reshape(count, 8)
    assert writer.write(rows, timeout_s=20) == count
    row += count
writer.close()
"""


def test_a_feed_from_another_process_is_seamless_and_its_encoder_exact(
    open_camera: OpenCamera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, frames = tmp_path / "feed", 60
    arguments = [str(feed), "256", "500", str(frames * 96 + 50), "77"]
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(SIMCAM), *arguments], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    with writer:
        assert writer.stdout.readline() == "ready\n"
        monkeypatch.setenv("SIMCAM_FEED", str(feed))
        with open_camera(
            Height=96, EncoderDivider=3, ChunkModeActive=True, AcquisitionLineRate=1e5
        ) as camera:
            assert camera.remote_device.node_map.Width.value == 256
            camera.num_buffers = frames  # so that none is lost, however slow this machine is
            taken = shots(camera, frames)
            dry = camera.try_fetch(timeout=0.1)
        writer.communicate(timeout=TIMEOUT_S)
    assert writer.returncode == 0
    assert dry is None, "50 rows left over are no frame"
    numbers = np.concatenate([row_numbers(s.image) for s in taken])
    np.testing.assert_array_equal(numbers, np.arange(frames * 96))
    assert [s.encoder for s in taken] == [3 * 96 * n for n in range(frames)]
    assert [s.block_id for s in taken] == list(range(frames))


def test_a_feed_waits_for_its_camera_and_the_camera_for_its_feed(
    open_camera: OpenCamera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMCAM_FEED", str(tmp_path / "feed"))
    with open_camera(Width=64, Height=32) as camera:
        camera.start()
        assert camera.try_fetch(timeout=0.05) is None, "no feed yet"
        writer = FeedWriter(tmp_path / "feed", 64, ring_rows=64)
        assert writer.write(numbered_rows(0, 32, 64), timeout_s=1) == 32
        np.testing.assert_array_equal(row_numbers(fetch(camera).image), np.arange(32))
        camera.stop()
        assert writer.write(numbered_rows(32, 96, 64), timeout_s=0.05) == 64, "a full ring takes no more"
        camera.start()
        np.testing.assert_array_equal(row_numbers(fetch(camera).image), np.arange(32, 64))
        assert writer.write(numbered_rows(96, 32, 64), timeout_s=TIMEOUT_S) == 32
        writer.close()
        again = FeedWriter(tmp_path / "feed", 64, ring_rows=64)
        again.write(numbered_rows(0, 32, 64), timeout_s=1)
        numbers = [int(row_numbers(fetch(camera).image)[0]) for _ in range(3)]
    assert numbers == [64, 96, 0], "the old feed's last rows, then the new feed's"


def test_a_ring_smaller_than_a_frame_is_refused(
    open_camera: OpenCamera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FeedWriter(tmp_path / "feed", 64, ring_rows=16)
    monkeypatch.setenv("SIMCAM_FEED", str(tmp_path / "feed"))
    with (
        open_camera(Height=32) as camera,
        pytest.raises(gentl.InvalidValueException, match="ring holds 16 rows"),
    ):
        camera.start()


def test_a_feed_has_one_reader(
    open_camera: OpenCamera, producer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FeedWriter(tmp_path / "feed", 64, ring_rows=64)
    monkeypatch.setenv("SIMCAM_FEED", str(tmp_path / "feed"))
    with harvest(producer) as harvester:
        first = harvester.create({"serial_number": "SIM0001"})
        try:
            with pytest.raises(gentl.IoException, match="read by another camera"):
                harvester.create({"serial_number": "SIM0002"})
        finally:
            first.destroy()


def test_the_loom_feeds_the_camera_and_tells_the_truth(
    open_camera: OpenCamera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, truth = tmp_path / "feed", tmp_path / "truth.jsonl"
    command = [
        sys.executable,
        str(SIMCAM / "feed.py"),
        "--line",
        "2",
        "--metres",
        "0.4",
        "--fault-every-m",
        "0.1",
    ]
    monkeypatch.setenv("SIMCAM_FEED", str(feed))
    subprocess.run([*command, "--feed", str(feed), "--truth", str(truth)], check=True, timeout=60)
    line = config.load(SIMCAM.parents[1] / "config.toml").plant.line["2"]
    assert isinstance(line.camera, config.LoomCamera)
    loom = Loom(
        line.camera.width_px,
        line.web.mm_per_px,
        line.camera.weave,
        line.camera.seed,
        config.FaultMix(per_m=10),
        line.web.width_mm,
    )
    with open_camera(Height=512, AcquisitionLineRate=1e5) as camera:
        web = np.concatenate([s.image for s in shots(camera, 4)])
    np.testing.assert_array_equal(web, loom.rows(2048))
    told = [json.loads(text) for text in truth.read_text().splitlines()]
    assert told == [asdict(fault) for fault in loom.truth(0, 2048 * line.web.mm_per_px / 1000)]


def test_a_line_without_a_loom_feeds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(SIMCAM / "feed.py"), "--feed", str(tmp_path / "feed"), "--line", "3"]
    said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert said.returncode == 1
    assert said.stderr.endswith("line 3 has no loom; lines with one: 2\n")
    assert "Traceback" not in said.stderr


def test_a_control_file_is_not_some_other_file(tmp_path: Path) -> None:
    (tmp_path / "ctrl").write_bytes(b"something else entirely")
    with pytest.raises(ValueError, match="not a control file"):
        Control(tmp_path / "ctrl")


def test_the_feed_writer_refuses_rows_that_do_not_fit(tmp_path: Path) -> None:
    writer = FeedWriter(tmp_path / "feed", 64, ring_rows=64)
    with pytest.raises(ValueError, match=r"uint8 \[n, 64\]"):
        writer.write(np.zeros((4, 65), np.uint8), timeout_s=0)
    with pytest.raises(ValueError, match="at least 1"):
        FeedWriter(tmp_path / "none", 64, ring_rows=0)


# ---- what features do -----------------------------------------------------------------------------------


def test_exposure_and_gain_scale_the_brightness(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera(ExposureTime=20.0, TriggerMode="On") as camera:
        nodes = camera.remote_device.node_map
        camera.start()
        nodes.TriggerSoftware.execute()
        half = fetch(camera).image
        nodes.Gain.value = 20.0  # x 10, so x 5 in all
        nodes.TriggerSoftware.execute()
        bright = fetch(camera).image
    np.testing.assert_array_equal(half, np.floor(stack[0] / 2 + 0.5))
    np.testing.assert_array_equal(bright, np.minimum(255, stack[1].astype(int) * 5))


@pytest.mark.parametrize(
    ("pixel_format", "expected"),
    [
        ("Mono10", lambda v: np.round(v * 1023 / 255)),
        ("Mono12", lambda v: np.round(v * 4095 / 255)),
        ("Mono12p", lambda v: np.round(v * 4095 / 255)),
        ("Mono12Packed", lambda v: np.round(v * 4095 / 255)),
        ("RGB8", lambda v: np.stack([v, v * 3 // 4, v // 2], -1)),
    ],
)
def test_pixel_formats_carry_the_source(
    open_camera: OpenCamera,
    stack: np.ndarray,
    pixel_format: str,
    expected: Callable[[np.ndarray], np.ndarray],
) -> None:
    with open_camera(PixelFormat=pixel_format) as camera:
        bits = {"Mono10": 16, "Mono12": 16, "RGB8": 24}.get(pixel_format, 12)
        assert camera.remote_device.node_map.PayloadSize.value == 64 * 48 * bits // 8
        shot = shots(camera, 1)[0]
    assert shot.pixel_format == pixel_format
    np.testing.assert_array_equal(shot.data, expected(stack[0].astype(int)).ravel())


def test_bayer_cells_are_red_green_green_blue(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera(PixelFormat="BayerRG8") as camera:
        image, grey = shots(camera, 1)[0].image, stack[0].astype(int)
    np.testing.assert_array_equal(image[0::2, 0::2], grey[0::2, 0::2])
    np.testing.assert_array_equal(image[0::2, 1::2], grey[0::2, 1::2] * 3 // 4)
    np.testing.assert_array_equal(image[1::2, 0::2], grey[1::2, 0::2] * 3 // 4)
    np.testing.assert_array_equal(image[1::2, 1::2], grey[1::2, 1::2] // 2)


def test_rows_can_be_padded(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera(SimPaddingX=12) as camera:
        shot = shots(camera, 1)[0]
    assert shot.padding_px == 12
    rows = shot.data.reshape(48, 76)
    np.testing.assert_array_equal(rows[:, :64], stack[0])
    assert not rows[:, 64:].any()


@pytest.mark.parametrize(
    ("features", "period_ms"),
    [
        ({"AcquisitionLineRate": 48 * 50.0}, 20.0),
        ({"DeviceScanType": "Areascan", "AcquisitionFrameRate": 100.0}, 10.0),
    ],
)
def test_the_rate_that_rules_sets_the_pace(
    open_camera: OpenCamera, stack: np.ndarray, features: dict[str, Any], period_ms: float
) -> None:
    with open_camera(**features) as camera:
        assert camera.remote_device.node_map.AcquisitionFrameRate.value == pytest.approx(1000 / period_ms)
        taken = shots(camera, 11)
    first, last = taken[0], taken[-1]
    period_ns = (last.timestamp_ns - first.timestamp_ns) / (last.block_id - first.block_id)
    assert period_ns / 1e6 == pytest.approx(period_ms, rel=0.15)


def test_a_line_scan_cameras_frame_rate_cannot_be_set(open_camera: OpenCamera) -> None:
    with open_camera() as camera, pytest.raises(gentl.AccessDeniedException, match="set AcquisitionLineRate"):
        camera.remote_device.node_map.AcquisitionFrameRate.value = 10.0


def test_what_shapes_a_frame_is_locked_while_acquiring(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera() as camera:
        camera.start()
        with pytest.raises(genapi.AccessException):
            camera.remote_device.node_map.Width.value = 32
        camera.stop()
        camera.remote_device.node_map.Width.value = 32


def test_each_software_trigger_gives_one_frame(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera(TriggerMode="On", TriggerSource="Software") as camera:
        camera.start()
        assert camera.try_fetch(timeout=0.05) is None
        for number in range(3):
            camera.remote_device.node_map.TriggerSoftware.execute()
            assert fetch(camera).block_id == number
        assert camera.try_fetch(timeout=0.05) is None


def test_line0_triggers_from_outside(
    open_camera: OpenCamera, stack: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMCAM_CTRL", str(tmp_path / "ctrl"))
    with open_camera(TriggerMode="On", TriggerSource="Line0") as camera:
        camera.start()
        camera.remote_device.node_map.TriggerSoftware.execute()
        assert camera.try_fetch(timeout=0.05) is None, "the source is Line0"
        Control(tmp_path / "ctrl").raise_line0(1, edges=2)
        assert [fetch(camera).block_id for _ in range(2)] == [0, 1]
        assert camera.try_fetch(timeout=0.05) is None


def test_a_multi_frame_acquisition_ends_by_itself(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera(AcquisitionMode="MultiFrame", AcquisitionFrameCount=3) as camera:
        assert [s.block_id for s in shots(camera, 3)] == [0, 1, 2]
        assert camera.try_fetch(timeout=0.05) is None


def test_chunks_can_be_chosen_and_the_encoder_reset(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera(ChunkModeActive=True, EncoderDivider=2) as camera:
        nodes = camera.remote_device.node_map
        nodes.ChunkSelector.value = "FrameID"
        nodes.ChunkEnable.value = False
        assert nodes.PayloadSize.value == 64 * 48 + 2 * 8
        assert [s.encoder for s in shots(camera, 3)] == [0, 96, 192]
        with pytest.raises(genapi.GenericException):
            _ = nodes.ChunkFrameID.value
        camera.stop()
        assert nodes.EncoderValue.value > 0
        nodes.EncoderReset.execute()
        assert nodes.EncoderValue.value == 0
        assert shots(camera, 1)[0].encoder == 0


def test_the_camera_tells_its_time(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera(ChunkModeActive=True) as camera:
        nodes = camera.remote_device.node_map
        nodes.TimestampLatch.execute()
        before = nodes.TimestampLatchValue.value
        shot = shots(camera, 1)[0]
        nodes.TimestampLatch.execute()
        assert before < shot.timestamp_ns < nodes.TimestampLatchValue.value


# ---- faults on command ----------------------------------------------------------------------------------


def test_a_drop_is_a_hole_in_the_block_ids_and_in_the_web(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera(SimDropEvery=3, ChunkModeActive=True) as camera:
        taken = shots(camera, 6)
    assert [s.block_id for s in taken] == [0, 1, 3, 4, 6, 7]
    assert [s.encoder for s in taken] == [48 * s.block_id for s in taken]
    for shot in taken:
        np.testing.assert_array_equal(shot.image, stack[shot.block_id % 3])


def test_frames_are_lost_when_nobody_gives_buffers(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera(AcquisitionMode="MultiFrame", AcquisitionFrameCount=5) as camera:
        camera.num_buffers = 2
        stream = camera.data_streams[0]
        nodes = camera.remote_device.node_map
        nodes.AcquisitionFrameCount.value = 2
        first = shots(camera, 2)
        camera.stop()
        assert [s.block_id for s in first] == [0, 1]
        nodes.AcquisitionMode.value = "Continuous"
        nodes.AcquisitionLineRate.value = 48 * 200.0
        camera.start()
        held = [camera.fetch(timeout=TIMEOUT_S) for _ in range(2)]
        while stream.num_underrun < 3:
            assert camera.try_fetch(timeout=0.02) is None
        for buffer in held:
            buffer.queue()
        assert fetch(camera).block_id >= 5


def test_incomplete_frames_are_not_handed_out(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera(SimIncompleteEvery=2) as camera:
        incomplete = []

        class OnIncomplete(Callback):
            def emit(self, context: Any) -> None:
                incomplete.append(1)

        camera.add_callback(ImageAcquirer.Events.INCOMPLETE_BUFFER, OnIncomplete())
        taken = shots(camera, 3)
    assert [s.block_id for s in taken] == [0, 2, 4]
    assert len(incomplete) == 2


def test_corrupt_frames_come_whole_with_garbage(open_camera: OpenCamera, stack: np.ndarray) -> None:
    with open_camera(SimCorruptEvery=2) as camera:
        taken = shots(camera, 4)
    good = [np.array_equal(s.image, stack[s.block_id % 3]) for s in taken]
    assert good == [True, False, True, False]


def test_faults_from_another_process(
    open_camera: OpenCamera, stack: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMCAM_CTRL", str(tmp_path / "ctrl"))
    control = [sys.executable, str(SIMCAM / "control.py"), "--ctrl", str(tmp_path / "ctrl")]
    with open_camera(TriggerMode="On") as camera:
        camera.start()
        said = subprocess.run([*control, "drop", "1", "2"], check=True, capture_output=True, text=True).stdout
        assert said.startswith("SIM0001: plugged, opened 1 times, acquiring")
        for _ in range(3):
            camera.remote_device.node_map.TriggerSoftware.execute()
        assert fetch(camera).block_id == 2
        assert Control(tmp_path / "ctrl").frames(1) == 3


def test_unplugged_and_plugged_in_again(
    open_camera: OpenCamera,
    stack: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIMCAM_CTRL", str(tmp_path / "ctrl"))
    control = Control(tmp_path / "ctrl")
    gone = gentl.DEVICE_ACCESS_STATUS_LIST.DEVICE_ACCESS_STATUS_NOACCESS
    with open_camera() as camera:
        shots(camera, 2)
        control.unplug(1)
        while camera.try_fetch(timeout=0.05) is not None:
            pass  # what had been delivered before
        assert camera.device.module.access_status == gone
        with pytest.raises(gentl.IoException, match="unplugged"):
            _ = camera.remote_device.node_map.Width.value
        control.replug(1)
        with pytest.raises(gentl.IoException, match="was since"):
            _ = camera.remote_device.node_map.Width.value
    with open_camera() as camera:
        np.testing.assert_array_equal(shots(camera, 1)[0].image, stack[0])
        camera.remote_device.node_map.SimUnplug.execute()
        assert not control.plugged(1)


def test_one_harvester_finds_a_camera_again(
    open_camera: OpenCamera,
    stack: np.ndarray,
    producer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIMCAM_CTRL", str(tmp_path / "ctrl"))
    control = Control(tmp_path / "ctrl")
    with harvest(producer) as harvester:
        for _ in range(3):
            camera = harvester.create({"serial_number": "SIM0001"})
            camera.remote_device.node_map.AcquisitionLineRate.value = 1e6
            try:
                np.testing.assert_array_equal(shots(camera, 1)[0].image, stack[0])
                control.unplug(1)
            finally:
                close(camera)
            harvester.update()
            assert [d.serial_number for d in harvester.device_info_list] == ["SIM0002"]
            control.replug(1)
            harvester.update()
            assert [d.serial_number for d in harvester.device_info_list] == ["SIM0001", "SIM0002"]


# ---- C ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_producer_is_clean_under_sanitizers(producer: Path, tmp_path: Path) -> None:
    probe = subprocess.run(
        ["cc", "-fsanitize=address,undefined", "-x", "c", "-", "-o", tmp_path / "probe"],
        input=b"int main(void) { return 0; }",
        check=False,
        capture_output=True,
    )
    if probe.returncode:
        pytest.skip("this cc has no address sanitizer")
    result = subprocess.run(
        ["make", "-s", "-C", SIMCAM, "check"],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert result.returncode == 0, result.stdout + result.stderr
