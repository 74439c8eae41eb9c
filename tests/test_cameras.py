"""The stamper's promises, and images replayed from a folder."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector import config
from inspector.cameras import open_camera
from inspector.cameras.folder import FolderCamera, find_images
from inspector.cameras.loom import LoomCamera
from inspector.cameras.stamper import GEV_LAST_BLOCK_ID, MAX_GAP, Stamper
from inspector.errors import CameraError
from inspector.records import Acquired, EndOfWeb, Frame, LostFrame, Reason, Stamp

WEB = config.Web(width_mm=100, mm_per_px=0.21, encoder_counts_per_m=9973, speed_m_min=60)
PIECES = config.Web(width_mm=100, mm_per_px=0.21, encoder_counts_per_m=9973, speed_m_min=60, seamless=False)
ROWS = 37
PER_ROW = 0.21 / 1000 * 9973


def play(stamper: Stamper, ids: list[int], **rest: object) -> list[LostFrame | Stamp]:
    out: list[LostFrame | Stamp] = []
    for time_us, block_id in enumerate(ids):
        lost, stamp = stamper.stamp(block_id, time_us, **rest)  # type: ignore[arg-type]
        out += [*lost, stamp]
    return out


def stamps(events: list[LostFrame | Stamp]) -> list[Stamp]:
    return [e.stamp if isinstance(e, LostFrame) else e for e in events]


def check_contiguous(found: list[Stamp]) -> None:
    assert [s.sequence for s in found] == list(range(len(found)))
    for before, after in itertools.pairwise(found):
        assert before.encoder_end == after.encoder_start
        assert after.encoder_start <= after.encoder_end


# -- stamper ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), max_size=60), st.integers(0, 1 << 40))
def test_every_jump_of_k_gives_k_minus_one_lost_frames(steps: list[int], first: int) -> None:
    ids = [first + sum(steps[:n]) for n in range(len(steps) + 1)]
    events = play(Stamper("1", "S", ROWS, WEB, 100), ids)
    found = stamps(events)
    check_contiguous(found)
    assert [s.block_id for s in found] == list(range(ids[0], ids[-1] + 1))
    lost = [e for e in events if isinstance(e, LostFrame)]
    assert len(lost) == sum(steps) - len(steps)
    assert all(e.reason is Reason.FRAME_LOST and e.detail for e in lost)
    # Rows are counted from totals: the end is right to half a count however many frames there were.
    assert abs(found[-1].encoder_end - len(found) * ROWS * PER_ROW) <= 0.5


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(0, 70000), st.integers(65500, 65536)), min_size=1, max_size=40))
def test_frames_join_silently_only_when_the_camera_counted_one_on(ids: list[int]) -> None:
    stamper = Stamper("1", "S", ROWS, WEB, 100)
    found: list[Stamp] = []
    before: int | None = None
    first_id = 1
    for block_id in ids:
        if before is not None and block_id - before - 1 > MAX_GAP:
            with pytest.raises(CameraError, match="jumped"):
                stamper.stamp(block_id, 0)
            return
        lost, stamp = stamper.stamp(block_id, 0)
        first_id = first_id and min(1, block_id)
        next_id = block_id == (before or 0) + 1 or (before, block_id) == (GEV_LAST_BLOCK_ID, first_id)
        assert bool(lost) == (before is not None and not next_id)
        found += [*(e.stamp for e in lost), stamp]
        before = block_id
    check_contiguous(found)


def test_sixteen_bit_ids_wrap_to_one() -> None:
    events = play(Stamper("1", "S", ROWS, WEB, 100), [65533, 65534, 2, 3])
    assert [s.block_id for s in stamps(events)] == [65533, 65534, 65535, 1, 2, 3]
    assert sum(isinstance(e, LostFrame) for e in events) == 2


def test_sixteen_bit_ids_that_count_from_zero_wrap_to_zero() -> None:
    events = play(Stamper("1", "S", ROWS, WEB, 100, by_rows=True), [65534, 65535, 0, 1])
    assert [s.block_id for s in stamps(events)] == [65534, 65535, 0, 1]
    assert not any(isinstance(e, LostFrame) for e in events)
    stamper = Stamper("1", "S", ROWS, WEB, 100, by_rows=True)
    events = play(stamper, [0, *range(4000, 65534, 4000), 65533, 2])
    assert [s.block_id for s in stamps(events)][-6:] == [65533, 65534, 65535, 0, 1, 2]


def test_wide_ids_that_start_again_are_a_reset_not_a_wrap() -> None:
    events = play(Stamper("1", "S", ROWS, WEB, 100), [65535, 65536, 1])
    (lost,) = [e for e in events if isinstance(e, LostFrame)]
    assert "reset" in lost.detail


@pytest.mark.parametrize(("before", "now"), [(65000, 4064), (1000, 1), (70000, 1), (5, 5)])
def test_where_rows_alone_tell_the_place_a_reset_is_an_error(before: int, now: int) -> None:
    """Nobody knows how many frames went, so every place after it would be a guess; an encoder knows."""
    stamper = Stamper("7", "S", ROWS, WEB, 100, by_rows=True)
    stamper.stamp(before, 0)
    with pytest.raises(CameraError, match=rf"block id went from {before} to {now}.*restart line 7"):
        stamper.stamp(now, 0)
    with_encoder = Stamper("7", "S", ROWS, WEB, 100)
    with_encoder.stamp(before, 0, encoder=(0, 80))
    lost, stamp = with_encoder.stamp(now, 0, encoder=(8000, 8080))
    assert (len(lost), stamp.encoder_start) == (1, 8000)


def test_where_rows_alone_tell_the_place_a_wrap_is_none() -> None:
    events = play(Stamper("1", "S", ROWS, WEB, 100, by_rows=True), [65533, 65534, 2, 3])
    assert sum(isinstance(e, LostFrame) for e in events) == 2


@pytest.mark.parametrize("counts_per_m", [700, 1000, 2000, 2400, 2600, 10_000])
def test_a_coarse_encoder_makes_neither_holes_nor_overlaps(counts_per_m: float) -> None:
    """512 rows of 0.2 mm that follow each other; the camera latches whole counts at each first row."""
    web = msgspec.structs.replace(WEB, mm_per_px=0.2, encoder_counts_per_m=counts_per_m)
    stamper = Stamper("1", "S", 512, web, 100)
    length = round(512 * 0.0002 * counts_per_m)
    for n in range(2000):
        start = int(n * 512 * 0.0002 * counts_per_m)
        before = stamper.encoder_end
        lost, stamp = stamper.stamp(n + 1, 0, 512, (start, start + length))
        assert not lost
        assert stamp.encoder_start == before or n == 0


def test_a_camera_gone_for_thousands_of_frames_is_an_error() -> None:
    stamper = Stamper("1", "S9", ROWS, WEB, 100)
    stamper.stamp(1, 0)
    with pytest.raises(CameraError, match=r"S9.*5000 frames are missing"):
        stamper.stamp(5002, 0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(-2, 300)), min_size=1, max_size=40))
def test_intervals_follow_the_cameras_own_encoder(frames: list[tuple[int, int]]) -> None:
    stamper = Stamper("1", "S", 100, WEB, 100)
    block_id, place, found = 10, 5000, []
    for step, hole in frames:
        block_id, start = block_id + step, place + hole
        lost, stamp = stamper.stamp(block_id, 0, encoder=(start, start + 210))
        found += [*(e.stamp for e in lost), stamp]
        if block_id > 10 + frames[0][0]:
            # Web that passed unseen is never added to a frame.
            assert stamp.encoder_end - stamp.encoder_start <= 210 + 2 * PER_ROW
            assert bool(lost) == (step > 1 or hole > 2 * PER_ROW)
        place = start + 210
        assert stamp.encoder_end == place
    check_contiguous(found)


def test_an_encoder_that_runs_back_is_an_error() -> None:
    stamper = Stamper("7", "S", ROWS, WEB, 100)
    stamper.stamp(1, 0, encoder=(100_000, 100_080))
    with pytest.raises(CameraError, match=r"ran back from 100080 to 0; .*restart line 7"):
        stamper.stamp(2, 0, encoder=(0, 80))


@settings(deadline=None)
@given(
    st.sampled_from([0, 2**31]),  # where the camera's 32 bits begin: unsigned, signed
    st.lists(st.tuples(st.integers(1, 4), st.integers(-200, 200)), min_size=1, max_size=40),
    st.integers(-3000, 3000),
)
def test_a_count_of_32_bits_that_starts_again_goes_on(
    below: int, frames: list[tuple[int, int]], to_the_wrap: int
) -> None:
    """Wherever the wrap comes: in a frame, between two, or in lost ones."""

    def latched(place: int) -> tuple[int, int]:
        start = (place + below) % 2**32 - below
        return start, start + 210

    wrapping, straight = (Stamper("1", "S", 100, WEB, 100) for _ in range(2))
    block_id, place = 1, 2**32 - below + to_the_wrap
    off = latched(place)[0] - place
    for step, hole in [(1, 0), *frames]:
        block_id, place = block_id + step, place + hole + (step - 1) * 210
        lost, stamp = wrapping.stamp(block_id, 0, encoder=latched(place))
        also_lost, wanted = straight.stamp(block_id, 0, encoder=(place + off, place + off + 210))
        assert (lost, stamp) == (also_lost, wanted)
        place += 210


@pytest.mark.parametrize(
    ("end", "start", "went"),
    [
        (2**32 - 5000, 0, "ran back"),
        (5000, -(2**32), "ran back"),
        (2**31, 0, "ran back"),
        (2**32, 2**32 - 5000, "ran back"),
        (80, 2**32 - 10, "jumped"),  # back over 0
        (-(2**31) + 80, 2**31 - 10, "jumped"),
    ],
)
def test_a_count_that_was_set_or_ran_back_is_no_wrap(end: int, start: int, went: str) -> None:
    stamper = Stamper("7", "S", ROWS, WEB, 100)
    stamper.stamp(1, 0, encoder=(end - 80, end))
    with pytest.raises(CameraError, match=rf"{went} from {end} to {start}; .*restart line 7"):
        stamper.stamp(2, 0, encoder=(start, start + 80))


@settings(deadline=None)
@given(st.lists(st.integers(-209, 300), min_size=1, max_size=40))
def test_a_frame_is_where_the_encoder_says_also_when_the_web_ran_back(holes: list[int]) -> None:
    stamper = Stamper("1", "S", 100, WEB, 100)
    end = 5000
    stamper.stamp(1, 0, encoder=(end - 210, end))
    for block_id, hole in enumerate(holes, start=2):
        lost, stamp = stamper.stamp(block_id, 0, encoder=(end + hole, end + hole + 210))
        assert bool(lost) == (hole > 2 * PER_ROW)
        assert abs(stamp.encoder_start - (end + hole)) <= 2 * PER_ROW, "no frame is squeezed or stretched"
        end += hole + 210
        assert stamp.encoder_end == end


def test_a_shorter_frame_and_its_deadline() -> None:
    stamper = Stamper("1", "S", 100, WEB, 12.5)
    _, stamp = stamper.stamp(5, 1_000, rows=10)
    assert (stamp.encoder_start, stamp.encoder_end) == (0, round(10 * PER_ROW))
    assert stamp.deadline_us == 13_500


# -- folder ----------------------------------------------------------------------------------------


def picture(value: int = 90, shape: tuple[int, ...] = (48, 64)) -> np.ndarray:
    return np.random.default_rng(value).integers(value, value + 30, shape).astype(np.uint8)


def save(file: Path, pixels: np.ndarray, keep: float = 1.0) -> None:
    ok, data = cv2.imencode(file.suffix, pixels)
    assert ok
    file.write_bytes(data.tobytes()[: int(len(data) * keep)])


def camera(path: Path, web: config.Web = WEB, **rest: object) -> FolderCamera:
    settings = config.FolderCamera(path=path.name, **rest)  # type: ignore[arg-type]
    return FolderCamera("1", settings, web, 1000, path.parent)


def read_all(cam: FolderCamera, most: int = 100) -> list[Acquired]:
    cam.start()
    out: list[Acquired] = []
    while len(out) < most:
        item = cam.read(1.0)
        if isinstance(item, EndOfWeb):
            break
        assert item is not None
        out.append(item)
    cam.close()
    return out


def test_images_play_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number, name in ((10, "web10.png"), (2, "web2.bmp"), (1, "web1.tif")):
        save(tmp_path / name, picture(number))
    for name in ("notes.txt", ".hidden.png"):
        (tmp_path / name).write_text("no image")
    assert [p.name for p in find_images(tmp_path)] == ["web1.tif", "web2.bmp", "web10.png"]
    cam = camera(tmp_path)
    assert (cam.info.width_px, cam.info.height_px, cam.info.is_simulated) == (64, 48, True)
    frames = read_all(cam)
    assert all(isinstance(f, Frame) for f in frames)
    assert [f.stamp.sequence for f in frames] == [0, 1, 2]
    assert np.array_equal(frames[2].pixels, picture(10))
    assert isinstance(cam.read(0), EndOfWeb)


@pytest.mark.parametrize(
    ("name", "make", "sentence"),
    [
        ("b.png", lambda f: f.write_bytes(b""), "is empty"),
        ("b.png", lambda f: save(f, picture(), 0.6), "damaged, cut short"),
        ("b.jpg", lambda f: save(f, picture(), 0.6), "damaged, cut short"),
        ("b.tif", lambda f: save(f, picture(), 0.6), "damaged, cut short"),
        ("b.bmp", lambda f: save(f, picture(), 0.6), "damaged, cut short"),
        ("b.png", lambda f: f.write_text("no image"), "no image"),
        ("b.png", lambda f: f.mkdir(), "can't be read"),
        ("b.png", lambda f: save(f, picture().astype(np.uint16) * 200), "16 bits a channel, and 8 bits"),
        ("b.png", lambda f: save(f, picture(shape=(48, 64, 3))), "is in colour, and pixel_format is Mono8"),
        ("b.png", lambda f: save(f, picture(shape=(48, 64, 4))), "transparent"),
        ("b.png", lambda f: save(f, picture(shape=(48, 63))), "63 x 48 px on a seamless web of 64 x 48"),
        ("b.tif", lambda f: cv2.imwritemulti(str(f), [picture(), picture()]), "several pages"),
    ],
)
def test_an_unfit_image_is_named_and_keeps_its_place(tmp_path: Path, name: str, make, sentence: str) -> None:
    save(tmp_path / "a.png", picture())
    make(tmp_path / name)
    save(tmp_path / "c.png", picture())
    first, bad, last = read_all(camera(tmp_path))
    assert isinstance(first, Frame)
    assert isinstance(last, Frame)
    assert isinstance(bad, LostFrame)
    assert bad.reason is Reason.FRAME_INCOMPLETE
    assert str(tmp_path / name) in bad.detail
    assert sentence in bad.detail
    check_contiguous([first.stamp, bad.stamp, last.stamp])


def test_the_first_image_may_be_broken(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    save(tmp_path / "b.png", picture())
    assert [type(x) for x in read_all(camera(tmp_path))] == [LostFrame, Frame]


def test_grey_saved_as_colour_is_grey(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.dstack([picture()] * 3 + [np.full((48, 64), 255, np.uint8)]))
    (frame,) = read_all(camera(tmp_path))
    assert isinstance(frame, Frame)
    assert np.array_equal(frame.pixels, picture())


def test_colour_is_rgb_and_grey_is_refused_there(tmp_path: Path) -> None:
    blue_in_opencvs_order = np.zeros((48, 64, 3), np.uint8) + np.array([200, 0, 0], np.uint8)
    save(tmp_path / "a.png", blue_in_opencvs_order)
    save(tmp_path / "b.png", picture())
    frame, lost = read_all(camera(tmp_path, pixel_format="RGB8"))
    assert isinstance(frame, Frame)
    assert frame.pixels[0, 0].tolist() == [0, 0, 200]
    assert isinstance(lost, LostFrame)
    assert "is grey" in lost.detail


def test_pieces_may_differ_in_size(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture())
    save(tmp_path / "b.png", picture(shape=(96, 32)))
    first, second = read_all(camera(tmp_path, PIECES))
    assert isinstance(second, Frame)
    assert second.pixels.shape == (96, 32)
    assert second.stamp.encoder_end - first.stamp.encoder_end == pytest.approx(96 * PER_ROW, abs=1)


def test_a_loop_goes_on_and_counts_on(tmp_path: Path) -> None:
    for n in range(3):
        save(tmp_path / f"{n}.png", picture(n))
    items = read_all(camera(tmp_path, loop=True), most=8)
    check_contiguous([i.stamp for i in items])
    assert all(np.array_equal(i.pixels, picture(n % 3)) for n, i in enumerate(items))  # type: ignore[union-attr]


def test_an_image_that_vanishes_while_playing_is_lost(tmp_path: Path) -> None:
    for n in range(2):
        save(tmp_path / f"{n}.png", picture(n))
    cam = camera(tmp_path)
    (tmp_path / "1.png").unlink()
    assert [type(x) for x in read_all(cam)] == [Frame, LostFrame]


def test_nothing_to_play_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"nowhere: can't be played \(No such file or directory\)"):
        camera(tmp_path / "nowhere")
    with pytest.raises(CameraError, match="there is no image to play in it"):
        camera(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(CameraError, match=r"none of its 1 images can be played: .*a\.png: is empty"):
        camera(tmp_path)


def test_replay_keeps_an_absolute_schedule(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture())
    cam = camera(tmp_path, loop=True, frames_per_s=100)
    began = time.monotonic()
    read_all(cam, most=25)
    assert time.monotonic() - began >= 0.25
    cam = camera(tmp_path, loop=True, frames_per_s=0.01)
    cam.start()
    assert cam.read(0.01) is None


def test_close_ends_a_waiting_read_at_once(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture())
    cam = camera(tmp_path, frames_per_s=0.001)
    cam.start()
    got: list[object] = []
    reader = threading.Thread(target=lambda: got.append(cam.read(60)))
    reader.start()
    cam.close()
    cam.close()
    reader.join(10)
    assert got == [EndOfWeb()]


# -- open_camera -----------------------------------------------------------------------------------


def line(camera: config.CameraConfig) -> config.Line:
    bus = config.Bus(verdicts="ipc:///tmp/v", maps="ipc:///tmp/m", replay="ipc:///tmp/r")
    tiles = config.Tiles(size_mm=20, overlap_mm=2)
    return config.Line(recipe="demo", camera=camera, web=WEB, tiles=tiles, bus=bus)


def test_the_kind_decides(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture())
    cam = open_camera("1", line(config.FolderCamera(path=".")), tmp_path)
    assert isinstance(cam, FolderCamera)
    cam = open_camera("2", line(config.LoomCamera(width_px=64, height_px=16)), tmp_path)
    assert isinstance(cam, LoomCamera)


def test_real_frames_play(tmp_path: Path, shared: Path) -> None:
    for file in sorted((shared / "data" / "conveyor_frames_a" / "frames").iterdir())[:3]:
        (tmp_path / file.name).symlink_to(file)
    items = read_all(camera(tmp_path))
    assert [i.pixels.shape for i in items] == [(1080, 2048)] * 3  # type: ignore[union-attr]
