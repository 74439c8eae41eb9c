"""The parts of a teaching: what is recorded, who stands out, how web is shared out, what drawn faults show."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from inspector import config
from inspector.backends import open_backend
from inspector.backends.artifact import load_recipe
from inspector.backends.rate import TOO_SLOW
from inspector.calibrating.calibrate import calibrate, set_limits, target_of
from inspector.calibrating.calibrated import GoodWeb as ScoredWeb
from inspector.calibrating.calibrated import Suspect
from inspector.cameras.loom import Loom
from inspector.errors import ArtefactError, CameraError, ConfigError
from inspector.interfaces import CameraInfo, EngineInfo
from inspector.records import (
    Acquired,
    EndOfWeb,
    Frame,
    Grid,
    LostFrame,
    Reason,
    Region,
    ScoreMap,
    Stamp,
    TileBatch,
)
from inspector.teaching import drawn, proof, record
from inspector.teaching.drawn import KINDS, SIZES_MM, TRIES, GoodWeb, draw, try_faults
from inspector.teaching.left_out import suspected
from inspector.teaching.outliers import Look, look_at, standouts
from inspector.teaching.record import Recorded, Recording, Wanted
from inspector.teaching.second_look import look_again
from inspector.teaching.shares import Needs, needs_of, share_out
from inspector.teaching.teach import _cut_to_region
from inspector.teaching.teachable import grid_to_be, refuse_little_room
from inspector.tiling import grid_for
from tests.small_recipe import PLANT, make_recipe, make_site, weave

HEIGHT, WIDTH = 64, 96
MM_PER_PX = 0.2
FRAME_M = HEIGHT * MM_PER_PX / 1000
COUNTS = 128  # of a frame
WHOLE = Region(0, WIDTH, 0, HEIGHT)


# -- recording ---------------------------------------------------------------------------------------------


class Script:
    """A camera that gives what it is told to give, then nothing."""

    def __init__(self, items: Sequence[Acquired | EndOfWeb | None]) -> None:
        self.info = CameraInfo("loom", "test", "script", "S1", "Mono8", WIDTH, HEIGHT, True)
        self._items = list(items)

    def start(self) -> None:
        pass

    def read(self, timeout_s: float) -> Acquired | EndOfWeb | None:
        return self._items.pop(0) if self._items else None

    def close(self) -> None:
        pass


def stamp(place: int, start: int | None = None, end: int | None = None) -> Stamp:
    begin = 5000 + place * COUNTS if start is None else start
    return Stamp("1", "S1", place, place, begin, begin + COUNTS if end is None else end, 0, 0)


def frame(place: int, pixels: np.ndarray | None = None) -> Frame:
    return Frame(stamp(place), weave(place, HEIGHT, WIDTH) if pixels is None else pixels)


def recorded(
    items: Sequence[Acquired | EndOfWeb | None], folder: Path, frames: int, most: int = 1000
) -> Recording:
    wanted = Wanted(frames * FRAME_M, FRAME_M, most, 32, COUNTS / FRAME_M)
    return record.record(
        Script(items), wanted, folder, lambda pixels: WHOLE if pixels.max() else None, lambda *_: None
    )


def test_frames_are_written_without_loss_and_named_after_their_place(tmp_path: Path) -> None:
    got = recorded([frame(place) for place in range(9)], tmp_path, 5)
    assert got.triggers == 5, "no more web is taken than asked for"
    assert [round(one.place_m / FRAME_M) for one in got.frames] == [0, 1, 2, 3, 4]
    assert [one.file.name for one in got.frames][:2] == ["00000.000m.png", "00000.013m.png"]
    for place, one in enumerate(got.frames):
        assert (cv2.imread(str(one.file), cv2.IMREAD_UNCHANGED) == weave(place, HEIGHT, WIDTH)).all()


def test_colour_is_written_as_it_was_seen(tmp_path: Path) -> None:
    pixels = np.dstack([weave(seed, HEIGHT, WIDTH) for seed in range(3)])
    record.write_frame(tmp_path / "rgb.png", pixels)
    assert (cv2.imread(str(tmp_path / "rgb.png"))[..., ::-1] == pixels).all()


def test_what_tells_nothing_is_counted_and_said(tmp_path: Path) -> None:
    same, black = weave(0, HEIGHT, WIDTH), np.zeros((HEIGHT, WIDTH), np.uint8)
    items = [
        frame(0, same),
        frame(1, same),
        LostFrame(stamp(2), Reason.FRAME_LOST),
        None,
        LostFrame(stamp(3), Reason.FRAME_INCOMPLETE),
        frame(4),
        Frame(stamp(5, 5000 + 5 * COUNTS, 5000 + 5 * COUNTS), weave(50, HEIGHT, WIDTH)),
        frame(5, weave(51, HEIGHT // 2, WIDTH)),
        frame(6, black),
        frame(7),
    ]
    got = recorded(items, tmp_path, 8)
    assert [round(one.place_m / FRAME_M) for one in got.frames] == [0, 4, 7]
    assert got.text() == (
        "recorded 0.10 m: 9 frames, 1 lost, 1 incomplete, 1 while the web stood still, 1 the same as one before, "
        "1 of another size, 1 without web in view; 3 kept, 0 MB"
    )


@pytest.mark.parametrize("creep", [1, COUNTS // 20])
def test_a_creeping_web_is_one_spot_and_no_metres_of_frames(tmp_path: Path, creep: int) -> None:
    """At a free line rate frames overlap, and bear one name where they begin within a millimetre of each other."""
    overlapping = [
        Frame(stamp(n, 5000 + n * creep, 5000 + n * creep + COUNTS), weave(n, HEIGHT, WIDTH))
        for n in range(9)
    ]
    running = [frame(place) for place in range(2, 6)]
    got = recorded([*overlapping, *running], tmp_path, 6)
    assert len(got.frames) == 1 + len(running)
    assert len({one.file for one in got.frames}) == len(got.frames)
    assert got.still == 8


def test_more_than_is_of_use_is_thinned_evenly(tmp_path: Path) -> None:
    lost = {10, 11, 12, 13}
    items: list[Acquired] = [
        LostFrame(stamp(place), Reason.FRAME_LOST) if place in lost else frame(place) for place in range(40)
    ]
    got = recorded(items, tmp_path, 40, most=10)
    places = [round(one.place_m / FRAME_M) for one in got.frames]
    assert 9 <= len(places) <= 10
    assert max(np.diff(places)) <= 4 + 2
    assert places[-1] >= 34, "up to the end of the web"
    assert got.thinned == 36 - len(places)


def test_a_web_that_ends_and_one_that_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got = recorded([frame(0), frame(1), EndOfWeb()], tmp_path, 5)
    assert got.web_ended
    assert got.metres == pytest.approx(2 * FRAME_M)
    monkeypatch.setattr(record, "FIRST_FRAME_S", 0.0)
    monkeypatch.setattr(record, "STILL_S", 0.0)
    with pytest.raises(CameraError, match="camera S1: no frame within 0 s; is the web moving"):
        recorded([], tmp_path, 5)
    monkeypatch.setattr(record, "FIRST_FRAME_S", 10.0)
    still = [Frame(stamp(0, 5000 + COUNTS, 5000 + COUNTS), weave(place, HEIGHT, WIDTH)) for place in range(9)]
    with pytest.raises(CameraError, match=r"after 0\.01 of 0\.064 m the web stood still for 0 s; start it"):
        recorded([frame(0), *still], tmp_path, 5)


def test_a_disk_without_room_is_found_out_first(tmp_path: Path) -> None:
    refuse_little_room(tmp_path, 0.0)
    with pytest.raises(ArtefactError, match="MB are free there, and teaching wants 1000000300 MB"):
        refuse_little_room(tmp_path, 1e9)


# -- who stands out ----------------------------------------------------------------------------------------


def looks(count: int, spoilt: dict[int, np.ndarray] | None = None, drift: float = 0.0) -> list[Look]:
    frames = [weave(seed, 128, 256).astype(np.float32) + drift * seed for seed in range(count)]
    for place, change in (spoilt or {}).items():
        frames[place] = frames[place] + change
    region = Region(0, 256, 0, 128)
    return [look_at(np.clip(one, 0, 255).astype(np.uint8), region) for one in frames]


def hole() -> np.ndarray:
    change = np.zeros((128, 256), np.float32)
    change[48:64, 96:112] = -80
    return change


def test_good_web_has_no_outliers_even_where_its_light_drifts() -> None:
    assert standouts(looks(40)) == [None] * 40
    assert standouts(looks(40, drift=1.5)) == [None] * 40, "60 greys from end to end"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (hole(), "a spot 79.8 greys darker"),
        (np.full((128, 256), 40.0), "mean grey 159, in the others 120"),
    ],
    ids=["hole", "flash"],
)
def test_a_frame_that_differs_is_told_from_the_others(change: np.ndarray, why: str) -> None:
    found = standouts(looks(40, {17: change}))
    assert [place for place, one in enumerate(found) if one] == [17]
    assert found[17] is not None
    assert found[17].why.startswith(why)


def test_a_hole_is_told_where_it_is() -> None:
    one = standouts(looks(40, {17: hole()}))[17]
    assert one is not None
    assert one.box_px is not None
    left, top, right, bottom = one.box_px
    assert left <= 104 < right
    assert top <= 56 < bottom


def test_a_stretch_that_differs_stands_out_although_its_neighbours_do_too() -> None:
    found = standouts(looks(60, {place: np.full((128, 256), 60.0) for place in range(20, 34)}))
    assert [place for place, one in enumerate(found) if one] == list(range(20, 34))


def test_background_beside_the_web_is_no_spot() -> None:
    frames = []
    for seed in range(20):
        pixels = weave(seed, 128, 256)
        pixels[:, : 16 * (1 + seed % 3)] = 0  # the web wanders
        frames.append(look_at(pixels, Region(64, 256, 0, 128)))
    assert standouts(frames) == [None] * 20


def test_what_calibration_sets_apart_is_shown_once_and_where() -> None:
    look = look_at(weave(0, 128, 256), Region(0, 256, 0, 128))
    frames = [Recorded(Path(f"limit/{place}.png"), place, Region(0, 256, 0, 128), look) for place in range(4)]
    found = [
        Suspect(Path("limit/2.png"), 31.04, (18.0, 42.0), ""),
        Suspect(Path("limit/0.png"), 9.0, (6.0, 6.0), "blot"),
        Suspect(Path("limit/2.png"), 31.04, (18.0, 42.0), "across"),
    ]
    left = suspected(found, frames)
    assert [(one.frame, one.why, one.box_px) for one in left] == [
        (frames[2], "31.0 sigma when the limit was set", (18, 42, 18, 42)),
        (frames[0], "9.0 sigma when the limit was set, large and faint (blot)", (6, 6, 6, 6)),
    ]


# -- how web is shared out ---------------------------------------------------------------------------------


def line_of(tmp_path: Path) -> config.Line:
    (tmp_path / "config.toml").write_text(PLANT)
    return config.load(tmp_path / "config.toml").line("1")


def needs(line: config.Line, **more: float) -> Needs:
    asked = {"false_alarms_per_100m": 1.0, "held_back_share": 0.2} | more
    return needs_of(line, Grid(64, 32, 0, 4), 128, 256, most_learnt_tiles=320, **asked)


def test_a_web_wider_than_the_camera_sees_is_refused_before_it_is_recorded(tmp_path: Path) -> None:
    camera = CameraInfo("genicam", "V", "M", "S", "Mono8", 128, 128, is_simulated=False)
    with pytest.raises(ConfigError, match=r"web.width_mm = 51.2, but the camera sees 25.6 mm of it"):
        grid_to_be(make_site(tmp_path), "1", "cloth", camera)


def test_needs_follow_from_the_grid(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    usual = needs(line)
    assert usual.frame_m == pytest.approx(0.0256)
    assert usual.tiles == 8
    assert usual.enough_to_learn == 50  # 40 for 320 tiles, and a fifth held back
    assert usual.fewest_for_limit == 7  # 50 tiles at least
    assert usual.fewest == 10 + 9 + 3
    assert usual.metres(usual.fewest) == 0.6
    rarer = needs(line, false_alarms_per_100m=0.01)  # one tile in 3.1 million, seen 1000 times less far
    assert rarer.fewest_for_limit == 391
    with pytest.raises(
        ConfigError, match="1e\\+06 false alarms per 100 m can't be had: there are 31250 tiles"
    ):
        needs(line, false_alarms_per_100m=1e6)
    overlapping = Grid(64, 32, 16, 4)  # 3 rows of 5 tiles in a frame of 128 rows, which joins no other
    asked = {"false_alarms_per_100m": 1e6, "most_learnt_tiles": 320, "held_back_share": 0.2}
    with pytest.raises(ConfigError, match="there are 58594 tiles"):
        needs_of(line, overlapping, 128, 256, **asked)


@pytest.mark.parametrize("count", [22, 25, 40, 98, 400, 1000])
def test_no_frame_serves_twice_and_long_web_goes_to_the_limit(tmp_path: Path, count: int) -> None:
    wanted = needs(line_of(tmp_path))
    shares = share_out(range(count), wanted)
    assert sorted((*shares.learn, *shares.limit, *shares.proof)) == list(range(count))
    assert 10 <= len(shares.learn) <= wanted.enough_to_learn
    assert len(shares.limit) >= wanted.fewest_to_begin_with
    assert len(shares.proof) >= 2
    if count >= 400:
        assert len(shares.limit) > 0.6 * count
    for part in (shares.learn, shares.limit, shares.proof):
        apart = np.diff([-1, *part, count])
        assert apart.max() <= 2.5 * count / len(part) + 1, "from end to end"


def test_many_tiles_bring_no_better_limit_but_rare_false_alarms_want_more(tmp_path: Path) -> None:
    line = line_of(tmp_path)
    assert needs(line).most_for_limit == 250  # 2000 tiles
    assert needs(line, false_alarms_per_100m=0.01).most_for_limit == 3907  # ten times the fewest: sound


# -- the second look -----------------------------------------------------------------------------------------


def test_limits_on_what_the_second_look_has_seen_are_those_of_calibrate(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    engine_dir, line = make_recipe(site, "stripes"), site.line("1")
    frames = []
    (tmp_path / "limit").mkdir()
    for place in range(12):
        file, pixels = tmp_path / f"limit/{place:02}.png", weave(place, 128, 256)
        record.write_frame(file, pixels)
        region = Region(0, 256, 0, 128)
        frames.append(Recorded(file, place * 0.0256, region, look_at(pixels, region)))
    with closing(open_backend(engine_dir, "onnxruntime", 1)) as backend:
        grid = grid_for(line, backend.info)
        look = look_again(backend, grid, frames, "after training", lambda *_: None)
        web = ScoredWeb(look.good, 0, 0, backend.info, grid)
    assert [image.file.path for image in web.images] == [frame.file for frame in look.kept]
    for left in look.left:
        left.frame.file.unlink()
    target = target_of(1.0, None, line)
    found = set_limits(web, load_recipe(engine_dir), "1", site, target, data=tmp_path / "limit").limits
    again = calibrate(tmp_path / "limit", "stripes", "1", site).limits
    provenance = msgspec.structs.replace(found.provenance, date_utc=again.provenance.date_utc)
    assert msgspec.structs.replace(found, provenance=provenance) == again


# -- drawn faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size_px", [0.5, 2.5, 10.0])
def test_a_drawn_fault_has_its_kind_size_and_contrast(kind: str, size_px: float) -> None:
    web = np.full((200, 220), 128, np.uint8)
    with_fault, mask = draw(kind, web, (100.0, 110.0), size_px, 0.2, 10.0)
    assert (web == 128).all(), "the web itself stays"
    assert mask.any()
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    high, wide = len(rows), len(columns)
    thread = round(drawn.THREAD_MM / 0.2)
    expected = {"missing thread along": (thread, size_px), "missing thread across": (size_px, thread)}
    for seen, asked in zip((high, wide), expected.get(kind, (size_px, size_px)), strict=True):
        assert abs(seen - max(1.0, asked)) <= 2
    off = with_fault.astype(int) - web
    assert (off > 0).any() == (kind == "bright spot")
    if size_px > 2:
        contrast = {"hole": 50, "soft stain": 20}.get(kind, 25)
        assert np.abs(off).max() == contrast
    coloured, _ = draw(kind, np.dstack([web] * 3), (100.0, 110.0), size_px, 0.2, 10.0)
    assert (coloured == with_fault[..., None]).all()


class Darkest:
    """An engine whose score is how much darker than grey 128 a cell is, deepest pixel."""

    info = EngineInfo("dark", "test", "", "", "", 64, 32, 4, 1, "")

    def infer(self, batch: TileBatch) -> ScoreMap:
        inner = batch.pixels[:, 32:96, 32:96].astype(np.float32)
        cells = (128 - inner).reshape(len(inner), 16, 4, 16, 4).max(axis=(2, 4))
        return ScoreMap(batch.stamp, cells, cells.max(axis=(1, 2)), 4, batch.origins_px)

    def close(self) -> None:
        pass


def tried(webs: Sequence[np.ndarray], exceeds: Callable[[np.ndarray, int], np.ndarray]) -> list[drawn.Row]:
    """Faults on webs of which the engine says -7 everywhere."""
    good = [GoodWeb(web, np.full([-(-n // 4) for n in web.shape], -7, np.float32), 40) for web in webs]
    return try_faults(Darkest(), Grid(64, 32, 0, 4), good, MM_PER_PX, exceeds, lambda *_: None)


def test_found_is_what_exceeds_the_limit_on_the_fault_itself() -> None:
    rng = np.random.default_rng(1)
    webs = [np.where(rng.random((130, 200)) < 0.5, 118, 138).astype(np.uint8) for _ in range(3)]

    def rows(limit: float) -> dict[str, drawn.Row]:
        found = tried(webs, lambda cells, left_px: cells > limit)
        return {row.kind: row for row in found}

    assert all(row.found == (TRIES,) * len(SIZES_MM) for row in rows(9.0).values()), (
        "the web itself exceeds that"
    )
    at_30 = rows(30.0)
    assert at_30["hole"].found[1:] == (TRIES,) * 3
    assert at_30["hole"].always_from_mm is not None
    assert at_30["bright spot"].found == (0,) * len(SIZES_MM)
    assert at_30["bright spot"].always_from_mm is None
    assert not any(any(row.found) for row in rows(200.0).values())


def test_a_fault_elsewhere_on_the_tile_is_not_taken_for_the_drawn_one() -> None:
    web = np.full((64, 64), 128, np.uint8)
    web[:4] = 0
    (row,) = (one for one in tried([web], lambda cells, left_px: cells > 100) if one.kind == "bright spot")
    assert row.found[0] < TRIES


def test_limits_are_asked_for_with_the_good_web_around_the_fault_and_its_place() -> None:
    asked = []

    def exceeds(cells: np.ndarray, left_px: int) -> np.ndarray:
        asked.append((cells.shape, left_px, (cells == -7).sum()))
        return cells > 1e9

    tried([np.full((100, 140), 128, np.uint8)], exceeds)
    assert set(asked) == {((25, 35), 40, 25 * 35 - 16 * 16)}


def test_a_row_tells_the_size_from_which_every_try_was_found() -> None:
    assert drawn._row("hole", [8, 7, 8, 8]) == drawn.Row("hole", (8, 7, 8, 8), 2.0)
    assert drawn._row("hole", [8, 8, 8, 7]).always_from_mm is None
    assert dataclasses.replace(drawn._row("hole", [8, 8, 8, 8])).always_from_mm == 0.5


def test_the_looms_good_web_has_no_outliers() -> None:
    loom = Loom(512, 0.2, "twill", 4, config.FaultMix(per_m=0.0))
    region = Region(0, 512, 0, 256)
    assert standouts([look_at(loom.rows(256), region) for _ in range(30)]) == [None] * 30


@pytest.mark.parametrize(
    ("speed_m_min", "frame_rows", "needs"),
    [
        (0.1, 128, 1),
        (60_000, 128, 312_500),
        (60_000, 80, 500_000),  # two rows of tiles cover 80 rows, the second shifted inwards
    ],
)
def test_whether_the_engine_keeps_up_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed_m_min: float, frame_rows: int, needs: int
) -> None:
    monkeypatch.setattr(proof, "RATE_S", 0.1)
    site = make_site(tmp_path)
    line = site.line("1")
    line = msgspec.structs.replace(line, web=msgspec.structs.replace(line.web, speed_m_min=speed_m_min))
    with closing(open_backend(make_recipe(site, "stripes"), "onnxruntime", 1)) as backend:
        said = proof.speed_of(backend, grid_for(line, backend.info), line, (0.0, 51.2), frame_rows)
    told = re.fullmatch(rf"{speed_m_min:g} m/min needs (\d+) tiles/s; the engine does \d+ here(; .*)?", said)
    assert told is not None, said
    assert int(told[1]) == needs
    assert told[2] == (f"; {TOO_SLOW}" if speed_m_min > 1 else None)


def test_a_colour_cameras_colourless_frame_stays_in_colour_when_it_is_cut(tmp_path: Path) -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "0.png"), grey)
    frame = Recorded(tmp_path / "0.png", 0.0, Region(8, 88, 0, HEIGHT), look_at(grey, WHOLE))
    _cut_to_region([frame], tmp_path / "cut", 3)
    cut = cv2.imread(str(tmp_path / "cut/0.png"), cv2.IMREAD_UNCHANGED)
    assert cut is not None
    assert cut.shape == (HEIGHT, 80, 3)
