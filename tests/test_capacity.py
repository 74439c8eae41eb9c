"""What a web needs: figures against those worked out by hand, and against what the line itself does."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from inspector import config
from inspector.backends import build_engine, open_backend
from inspector.backends.artifact import write_recipe
from inspector.backends.openvino import count_work
from inspector.backends.work import Work
from inspector.bus import wire
from inspector.capacity import Asked, Rate, figure, table
from inspector.capacity.figures import BYTES_PER_VALUE, HEADER_BYTES, PEAK_SHARE, VERDICT_BYTES
from inspector.capacity.hardware import LINKS, Gpu
from inspector.capacity.presets import PRESETS
from inspector.capacity.words import FITS, NOT, UNKNOWN, WIDTH, _down, rows
from inspector.check.plan import too_late
from inspector.cli import main
from inspector.errors import ArtefactError, ConfigError
from inspector.interfaces import Backend, EngineInfo
from inspector.records import Frame, Grid, Stamp
from inspector.tiling import Tiler, check_frame_size, grid_for, plan_for
from inspector.tiling.region import whole_frame
from tests.conftest import ROOT
from tests.graphs import SIDE_PX, TILE_PX, tiny_graph, write_tiny_recipe

GRID = Grid(tile_px=256, margin_px=32, overlap_px=32, px_per_cell=4)
WEB = {"--width-mm": "1600", "--speed-m-min": "30", "--mm-per-px": "0.2"}


def asked(**changes: object) -> Asked:
    web = {"width_mm": 1600.0, "speed_m_min": 30.0, "mm_per_px": 0.2, "grid": GRID, "frame_rows": 1024}
    return Asked(**{**web, **changes})  # type: ignore[arg-type]


def row(of: Asked, what: str) -> tuple[str, str]:
    """Mark and sentence of the one row with this name."""
    ((mark, sentence),) = [(one.mark, one.sentence) for one in rows(of, figure(of)) if one.what == what]
    return mark, sentence


# -- figures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width_mm", "speed_m_min", "mm_per_px", "khz", "mpx_per_s", "without", "with_overlap"),
    [
        (1600, 30, 0.2, 2.5, 20, 312.5, 402),
        (1800, 60, 0.2, 5, 45, 703, 915),
        (2000, 120, 0.25, 8, 64, 1000, 1286),
    ],
)
def test_the_load_of_real_lines(
    width_mm: float,
    speed_m_min: float,
    mm_per_px: float,
    khz: float,
    mpx_per_s: float,
    without: float,
    with_overlap: float,
) -> None:
    needs = figure(asked(width_mm=width_mm, speed_m_min=speed_m_min, mm_per_px=mm_per_px))
    assert needs.lines_per_s == pytest.approx(khz * 1000)
    assert needs.mpx_per_s == pytest.approx(mpx_per_s)
    assert needs.tiles_per_s_without_overlap == pytest.approx(without, abs=0.5)
    assert needs.tiles_per_s == pytest.approx(with_overlap, abs=0.5)


@pytest.mark.parametrize("seamless", [True, False])
@pytest.mark.parametrize("frame_rows", [300, 512, 1024])
def test_tiles_are_those_that_check_plans(frame_rows: int, seamless: bool) -> None:
    line = config.load(ROOT / "config.toml").line("3")
    line = msgspec.structs.replace(line, web=msgspec.structs.replace(line.web, seamless=seamless))
    plan = plan_for(GRID, line, round(line.web.width_mm / line.web.mm_per_px), frame_rows)
    web = asked(width_mm=409.6, speed_m_min=line.web.speed_m_min, frame_rows=frame_rows, seamless=seamless)
    needs = figure(web)
    assert (needs.tiles_across, needs.tiles_per_s) == (plan.tiles_across, plan.tiles_per_s)


@pytest.mark.parametrize("seamless", [True, False])
@pytest.mark.parametrize("frame_rows", [40, 64, 100, 333])
def test_a_row_waits_as_long_as_the_tiler_lets_it(frame_rows: int, seamless: bool) -> None:
    grid = Grid(tile_px=32, margin_px=8, overlap_px=8, px_per_cell=4)
    tiler = Tiler(grid, whole_frame, seamless=seamless)
    waits, tiles = [], []
    for number in range(40):
        start, end = number * frame_rows, (number + 1) * frame_rows  # counts are rows
        stamp = Stamp("1", "cam", number, number, start, end, 0, 0)
        (strip,) = tiler.push(Frame(stamp, np.zeros((frame_rows, 64), np.uint8)))
        if strip.encoder_end > strip.encoder_start and strip.batch is not None:
            waits.append(end - strip.encoder_start)
            tiles.append(len(strip.batch.pixels))
    rate = Rate(100_000.0, 1, "made up")
    needs = figure(asked(grid=grid, width_mm=12.8, frame_rows=frame_rows, rate=rate, seamless=seamless))
    most = round(needs.reach.filling_s * needs.lines_per_s)
    assert most - (grid.stride_px if seamless else 0) <= max(waits) <= most
    assert max(tiles) == round(needs.reach.engine_s * 100_000)


def test_cameras_side_by_side_cover_the_web() -> None:
    needs = figure(asked())
    assert [camera.count for camera in needs.cameras] == [4, 2, 1, 1]
    for camera in needs.cameras:
        seams = (camera.count - 1) * GRID.overlap_px
        assert camera.count * camera.sensor_px - seams - camera.spare_px == 8000
        assert camera.spare_px >= 0
    assert figure(asked(width_mm=409.6)).cameras[0].count == 1
    assert figure(asked(width_mm=409.8)).cameras[0].count == 2


def test_a_camera_sees_a_tile_at_least() -> None:
    """Seams as wide as a sensor leave it nothing of its own to see."""
    wide = Grid(tile_px=4096, margin_px=32, overlap_px=2048, px_per_cell=4)
    assert [one.sensor_px for one in figure(asked(grid=wide)).cameras] == [4096, 8192, 16384]


def test_the_slowest_link_that_carries_a_camera() -> None:
    speeds = [link.mb_s for link in LINKS]
    assert speeds == sorted(speeds)
    *_, camera = figure(asked(speed_m_min=120.0)).cameras  # 10 kHz of 16384 px: 164 MB/s
    assert camera.grey_mb_s == pytest.approx(163.84)
    assert camera.colour_mb_s == pytest.approx(3 * 163.84)
    assert (camera.grey_link, camera.colour_link) == ("2.5GigE", "5GigE")


def test_a_camera_that_no_link_carries() -> None:
    fast = asked(width_mm=20.0, speed_m_min=1000.0, mm_per_px=0.02)  # 833 kHz
    assert [camera.grey_link for camera in figure(fast).cameras] == ["CXP-6 x4", "CXP-12 x4", "", ""]
    cameras = [one.sentence for one in rows(fast, figure(fast)) if one.what == "cameras"]
    assert cameras[-1].endswith("MB/s each, no link known here; colour 40960 MB/s, no link known here")


def test_cores_from_a_measured_rate() -> None:
    needs = figure(asked(rate=Rate(40.0, 2, "made up")))
    assert needs.cores is not None
    assert needs.cores.needed == 23  # 401.8 * 1.1 / 20
    assert not needs.cores.fits
    slower = asked(rate=Rate(40.0, 2, "made up"), speed_m_min=needs.cores.most_speed_m_min * 0.999)
    assert row(slower, "cores")[0] == FITS
    assert row(asked(rate=Rate(442.0, 2, "made up")), "cores")[0] == FITS
    assert row(asked(rate=Rate(441.0, 2, "made up")), "cores")[0] == NOT


def test_a_rate_from_a_busy_machine_is_told() -> None:
    busy, alone = (row(asked(rate=Rate(40.0, 2, "here", got)), "cores")[1] for got in (0.5, 1.9))
    assert "other work left the engine 0.5 of these 2, so the rate is too low" in busy
    assert "other work" not in alone


@pytest.mark.parametrize(
    ("work", "least", "most", "bound"),
    [
        (Work(2 * 10**9, 10**8, 4 * 10**8), 125, 500, "memory"),  # 100e9 B/s / 800e6 B, / 200e6 B
        (Work(6 * 10**9, 10**6, 10**7), 500, 500, "arithmetic"),  # 10e12 * 0.3 / 6e9
    ],
)
def test_gpus_from_the_roofline(work: Work, least: float, most: float, bound: str) -> None:
    assert (PEAK_SHARE, BYTES_PER_VALUE) == (0.3, 2)
    (need,) = figure(asked(work=work, gpus=(Gpu("made up", 10.0, 100.0),))).gpus
    assert need.least_tiles_per_s == pytest.approx(least)
    assert need.most_tiles_per_s == pytest.approx(most)
    assert (need.bound, need.needed) == (bound, math.ceil(401.8 * 1.1 / least))


def test_messages_are_as_large_as_they_are_reckoned() -> None:
    head = {
        "line_id": "3",
        "epoch": 1_795_000_000_000_000,
        "seq": 123_456,
        "t_acq_us": 1_795_000_000_000_000,
        "t_pub_us": 1_795_000_000_000_000,
        "mono_us": 123_456_789_012,
        "state": wire.State.CONTINUOUS,
        "job_id": "",
        "recipe_id": "denim",
        "recipe_rev": "c" * 12,
        "part_id": "",
        "engine_sha256": "c" * 64,
        "calibration_sha256": "c" * 64,
        "is_simulated": False,
    }
    verdict = wire.VerdictHeader(
        **head,  # type: ignore[arg-type]
        schema=wire.schema("verdict"),
        result_id="3-1795000000000000-123456-0",
        lane=0,
        enc_start=123_456_789,
        enc_end=123_458_789,
        y_start_m=12345.6789,
        y_end_m=12345.8789,
        x_start_mm=0.0,
        x_end_mm=1600.0,
        verdict=wire.Outcome.PASS,
        reason=wire.Reason.NONE,
        detail="",
        score=18.40000057220459,
        limit=25.8,
        n_tiles=180,
        n_tiles_inspected=180,
        defect_ids=(),
        reject_enc=123_458_789,
        deadline_enc=123_456_789,
        sequence=123_456,
        block_id=123_456,
        acq_ms=1.234,
        infer_ms=123.456,
        total_ms=123.456,
    )
    size = len(wire.encode(verdict)) + len(wire.topic("3", "verdict"))
    assert 0.9 * VERDICT_BYTES <= size <= VERDICT_BYTES
    defect = wire.DefectHeader(
        **head,  # type: ignore[arg-type]
        schema=wire.schema("defect"),
        defect_id="3-163-0",
        phase="new",
        lane=0,
        x_mm=240.0,
        y_m=12345.6789,
        w_mm=17.2,
        h_mm=15.4,
        area_mm2=187.5123,
        length_mm=17.2123,
        width_mm=15.4123,
        peak=154.512312,
        image="image/png",
    )
    header = len(wire.encode(defect)) + len(wire.topic("3", "defect"))
    assert 0.9 * HEADER_BYTES <= header <= HEADER_BYTES
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    kept = figure(asked()).storage
    _, cells = wire.pack_map(np.zeros((64, 64), np.float32))
    for pixels, reckoned in ((noise[..., 0], kept.grey_defect_bytes), (noise, kept.colour_defect_bytes)):
        payload = len(wire.pack_image(pixels)) + len(cells)
        assert payload + 2 * header <= reckoned <= 1.02 * (payload + 2 * HEADER_BYTES)
    assert kept.verdicts_gb_day == pytest.approx(2500 / 1024 * VERDICT_BYTES * 86400 / 1e9)
    assert kept.grey_gb_day == pytest.approx(1728)


def test_without_a_recipe_presets_are_told_and_nothing_is_said_of_this_machine() -> None:
    web = asked(smallest_fault_mm=0.6, ejector_m=5.0)
    told = rows(web, figure(web))
    cores = [one.sentence for one in told if one.what == "cores"]
    assert cores == [  # 401.8 * 1.1 / (48, 141, 346, 488 / 2)
        "19 with preset balanced: 402 tiles/s x 1.1, at 48 tiles/s on 2, measured there",
        "7 with preset fast: 402 tiles/s x 1.1, at 141 tiles/s on 2, measured there",
        "3 with preset faster: 402 tiles/s x 1.1, at 346 tiles/s on 2, measured there",
        "2 with preset fastest: 402 tiles/s x 1.1, at 488 tiles/s on 2, measured there",
    ]
    gpus = [one.sentence for one in told if one.what == "GPUs"]
    assert [one.split("preset ")[1] for one in gpus] == [
        f"{name}; computed, not run on hardware" for name in ("balanced", "fast", "faster", "fastest")
    ]
    assert gpus[2].startswith(
        "1 x NVIDIA T4 (4963 to 18519 tiles/s each) or "
    )  # 320e9 / (2 * 32_238_872), to 320e9 / (2 * 8_639_960)
    assert {one.what for one in told if one.mark == UNKNOWN} == {"own cores"}
    faster = asked(speed_m_min=2000.0)
    (t4, _), *_ = [one.gpus for one in figure(faster).presets]
    assert t4.needed == math.ceil(1.1 * figure(faster).tiles_per_s / t4.least_tiles_per_s) > 30


def test_presets_are_of_their_own_tiles_only() -> None:
    web = asked(grid=Grid(tile_px=512, margin_px=32, overlap_px=64, px_per_cell=4))
    assert figure(web).presets == ()
    assert [row(web, what)[0] for what in ("cores", "GPUs")] == [UNKNOWN, UNKNOWN]


def test_what_is_known_takes_the_presets_place() -> None:
    work = Work(10**9, 10**7, 10**8)
    assert figure(asked(rate=Rate(40.0, 2, "made up"), work=work)).presets == ()
    rated = asked(rate=Rate(40.0, 2, "made up"))
    assert row(rated, "cores")[0] == NOT
    assert len([one for one in rows(rated, figure(rated)) if one.what == "GPUs"]) == len(PRESETS)


# -- verdicts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault_mm", [0.05, 0.3, 0.4, 0.59])
def test_a_fault_under_three_pixels_does_not_fit_and_the_advice_does(fault_mm: float) -> None:
    mark, sentence = row(asked(smallest_fault_mm=fault_mm), "fault")
    assert (mark, "does NOT fit: " in sentence) == (NOT, True)
    finest = float(sentence.split("--mm-per-px ")[1].split(" ")[0])
    assert finest > 0.9 * fault_mm / 3
    finer = asked(smallest_fault_mm=fault_mm, mm_per_px=finest, width_mm=800.0)
    assert row(finer, "fault")[0] == FITS


def test_a_fault_of_three_pixels_fits() -> None:
    assert 0.6 / 0.2 < 3  # in floating point
    assert row(asked(smallest_fault_mm=0.6), "fault")[0] == FITS


def test_frames_shorter_than_a_tile_and_its_margin_do_not_fit() -> None:
    assert row(asked(frame_rows=288), "frames")[0] == FITS
    mark, sentence = row(asked(frame_rows=287), "frames")
    assert mark == NOT
    assert sentence.endswith("give --frame-rows 288 or more")


def test_an_ejector_where_it_is_said_to_be_enough_is_enough() -> None:
    least_m = figure(asked()).reach.least_ejector_m
    assert row(asked(ejector_m=least_m * 1.001), "ejector")[0] == FITS
    mark, sentence = row(asked(ejector_m=least_m * 0.9), "ejector")
    assert mark == NOT
    assert f"put it {least_m:.2f} m or more behind the camera" in sentence


@pytest.mark.parametrize("mm_per_px", [0.07, 0.1, 0.13, 0.2, 0.21])
@pytest.mark.parametrize("speed_m_min", [0.5, 7.0, 30.0, 120.0, 333.0])
@pytest.mark.parametrize("rate", [None, Rate(12345.6, 2, "made up")])
def test_an_ejector_where_it_is_advised_is_in_time(
    mm_per_px: float, speed_m_min: float, rate: Rate | None
) -> None:
    web = asked(mm_per_px=mm_per_px, speed_m_min=speed_m_min, rate=rate)
    advised_m = float(row(web, "ejector")[1].split("it must be ")[1].split()[0])
    assert row(replace(web, ejector_m=advised_m), "ejector")[0] == FITS
    mark, sentence = row(replace(web, ejector_m=advised_m / 2), "ejector")
    assert (mark, f"put it {advised_m:.2f} m or more" in sentence) == (NOT, True)
    a_ms = speed_m_min / 60_000
    assert figure(web).reach.least_ejector_m <= advised_m < figure(web).reach.least_ejector_m + 0.01 + a_ms


def test_a_way_to_the_ejector_is_rounded_up() -> None:
    web = asked(mm_per_px=0.13)
    assert figure(web).reach.least_ejector_m == pytest.approx(0.3029, abs=5e-5)
    assert "it must be 0.31 m or more" in row(web, "ejector")[1]


@pytest.mark.parametrize("left_ms", [0.0, 0.3, 0.6, 0.9, 1.1, 1.4, 1.7, 2.0])
def test_a_deadline_that_is_advised_can_be_set(left_ms: float) -> None:
    """With less than a millisecond left there may be no whole one to set: that doesn't fit."""
    near = asked(ejector_m=figure(asked()).reach.least_ejector_m + left_ms * 30 / 60_000)
    reach = figure(near).reach
    assert reach.most_deadline_ms is not None
    whole = range(math.ceil(reach.engine_s * 1000), math.floor(reach.most_deadline_ms) + 1)
    mark, sentence = row(near, "ejector")
    assert mark == (FITS if whole else NOT)
    if whole:
        least, most = row(near, "deadline")[1].split(" between ")[1].split(" and ")
        assert (int(least), int(most)) == (whole[0], whole[-1])
        for deadline_ms in (whole[0], whole[-1]):
            assert row(replace(near, deadline_ms=float(deadline_ms)), "deadline")[0] == FITS
    else:
        assert "not a whole millisecond is left for overload.deadline_ms" in sentence
        assert "deadline" not in [one.what for one in rows(near, figure(near))]


@pytest.mark.parametrize("beside_m", [-1e-13, 0.0, 1e-13])
def test_an_ejector_at_the_very_least_is_in_time_whatever_floating_point_makes_of_it(beside_m: float) -> None:
    least = asked(rate=Rate(450.0, 2, "made up"))  # 180 tiles in 400 ms
    mark, sentence = row(replace(least, ejector_m=0.4624 + beside_m), "ejector")
    assert (mark, sentence.endswith(": 0 s are left for the bus and the PLC")) == (FITS, True)
    deadline = row(replace(least, ejector_m=0.4624 + beside_m), "deadline")[1]
    assert deadline == "set the line's overload.deadline_ms between 400 and 400"


def test_fewer_rows_are_not_advised_where_they_leave_no_deadline() -> None:
    """With the fewest rows a deadline of 162.91 to 162.96 ms would do, and none of whole milliseconds."""
    fewest = figure(asked(frame_rows=288)).reach
    assert fewest.engine_s * 1000 == pytest.approx(162.91, abs=0.005)
    near = asked(frame_rows=1024, ejector_m=fewest.least_ejector_m + 0.05 * 30 / 60_000)
    assert row(near, "ejector")[1].endswith("or use smaller tiles")


def test_fewer_rows_are_advised_where_they_are_enough_and_a_slower_web_never() -> None:
    tall = asked(frame_rows=1024)
    short = figure(asked(frame_rows=figure(tall).least_frame_rows)).reach.least_ejector_m
    _, enough = row(asked(frame_rows=1024, ejector_m=short * 1.01), "ejector")
    assert enough.endswith("or take frames of fewer rows (288 at least)")
    _, too_near = row(asked(frame_rows=1024, ejector_m=short * 0.9), "ejector")
    assert too_near.endswith("or use smaller tiles")
    for speed in (1.0, 30.0):
        assert "slow" not in row(asked(speed_m_min=speed, ejector_m=short * 0.9), "ejector")[1]


@pytest.mark.parametrize(
    ("speed", "words"), [(108.64, "108"), (2.78, "2.7"), (0.0456, "0.045"), (99.9, "99"), (30.0, "30")]
)
def test_a_speed_that_fits_is_rounded_down(speed: float, words: str) -> None:
    assert _down(speed) == words


def test_the_lines_own_deadline_against_the_ejectors() -> None:
    reach = figure(asked(ejector_m=1.0)).reach
    assert reach.available_s == pytest.approx(2.0)
    assert reach.filling_s == pytest.approx((1024 + 256 + 32) / 2500)
    assert reach.most_deadline_ms == pytest.approx(2000 - 524.8)
    assert row(asked(ejector_m=1.0, deadline_ms=1475.0), "deadline")[0] == FITS
    late, why = row(asked(ejector_m=1.0, deadline_ms=1476.0), "deadline")
    assert (late, "too late for the ejector" in why) == (NOT, True)
    early, why = row(asked(ejector_m=1.0, deadline_ms=100.0), "deadline")
    assert (early, "a frame's tiles can take longer" in why) == (NOT, True)


def test_the_last_line_names_what_does_not_fit_and_what_was_not_told() -> None:
    web = asked(smallest_fault_mm=0.3, ejector_m=5.0)
    assert table(web, figure(web))[-1] == (
        "does NOT fit: fault; what to change stands above; not told: own cores"
    )
    whole = asked(
        smallest_fault_mm=0.6, ejector_m=5.0, rate=Rate(999.0, 2, "made up"), work=Work(10**9, 10**7, 10**8)
    )
    assert table(whole, figure(whole))[-1] == "fits, as far as it was asked"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width_mm": 40.0}, "narrower than a tile of 256 px; give --mm-per-px 0.15 or less"),
        ({"mm_per_px": 1e-6}, "which no camera sees; look at the units"),
        ({"width_mm": 1e9}, "which no camera sees"),
        ({"speed_m_min": 1e9}, "which no camera sees"),
    ],
)
def test_webs_that_can_not_be(changes: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        figure(asked(**changes))


TILE_SHAPE = (SIDE_PX, SIDE_PX)

# -- the work in a graph ----------------------------------------------------------------------------------


def test_the_work_of_a_tiny_graph_counted_by_hand() -> None:
    work = count_work("tiny", tiny_graph(), TILE_SHAPE)
    side2 = SIDE_PX**2
    assert work.flop == 2 * side2 * (8 * 1 * 9 + 8 * 8 * 9)
    assert work.values_fused == (side2 + 8 * 9 + 8 * side2) + (8 * side2 + 8 * 8 * 9 + 8 * side2)
    assert work.values_unfused > work.values_fused + 2 * 8 * side2  # the ReLU's at least


def test_grouped_strided_and_matrix_products() -> None:
    def tensor(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(np.ones(shape, np.float32), name)

    node = helper.make_node
    half = SIDE_PX // 2
    nodes = [
        node("Cast", ["tiles"], ["float"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["float", "one"], ["grey"]),
        node("Conv", ["grey", "stem"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Conv", ["a", "depthwise"], ["b"], pads=[1, 1, 1, 1], group=4),
        node("MatMul", ["b", "right"], ["c"]),
        node("Reshape", ["c", "tall"], ["d"]),
        node("Gemm", ["d", "low"], ["e"], transA=1),
        node("ReduceMax", ["e", "all"], ["score"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, ["N", SIDE_PX, SIDE_PX])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [])],
        [
            tensor("stem", 4, 1, 3, 3),
            tensor("depthwise", 4, 1, 3, 3),
            tensor("right", half, 5),
            tensor("low", 4 * half, 3),
            numpy_helper.from_array(np.array([4 * half, 5], np.int64), "tall"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
            numpy_helper.from_array(np.array([0, 1], np.int64), "all"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    work = count_work("products", model.SerializeToString(), TILE_SHAPE)
    assert work.flop == 2 * (4 * 9 * half**2 + 4 * 9 * half**2 + 4 * half * 5 * half + 5 * 3 * 4 * half)


def test_a_graph_that_can_not_be_read() -> None:
    with pytest.raises(ArtefactError, match="recipe broken: OpenVINO can't read its graph"):
        count_work("broken", b"no graph", TILE_SHAPE)


# -- the command ------------------------------------------------------------------------------------------


def invoke(*words: str) -> Result:
    result = CliRunner().invoke(main, ("capacity", *words), prog_name="inspector")
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def web(**changes: str) -> list[str]:
    options = WEB | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    return [word for pair in options.items() for word in pair]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.toml").write_bytes((ROOT / "config.toml").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INSPECTOR_CONFIG", raising=False)
    return tmp_path


def test_a_web_alone_wants_no_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*web(smallest_fault_mm="0.6"))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "402 tiles/s: 36 of 256 px across" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= WIDTH


def test_what_does_not_fit_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = web(smallest_fault_mm="0.4", tiles_per_s="120", cores="8", ejector_m="0.1", speed_m_min="60")
    result = invoke(*words, "--json", "needs.json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "does NOT fit: fault, cores, ejector; " in result.stdout.splitlines()[-1]
    figures = json.loads((tmp_path / "needs.json").read_text())
    rate = {"tiles_per_s": 120.0, "cores": 8, "source": "as given", "got_cores": None}
    assert figures["asked"]["rate"] == rate
    assert figures["figures"]["cores"]["needed"] == 59  # 36 tiles across, 803.6 tiles/s
    assert [one["what"] for one in figures["rows"] if one["mark"] == NOT] == ["fault", "cores", "ejector"]


def test_a_recipe_is_measured_here_and_counted(plant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.capacity.asking.RATE_S", 0.05)
    folder = plant / "engines" / "tiny"
    folder.mkdir(parents=True)
    write_tiny_recipe(folder)
    assert invoke(*web(recipe="tiny")).exit_code == 4  # no engine was built
    assert invoke(*web(recipe="tiny", tiles_per_s="40")).exit_code == 0  # none is wanted
    build_engine(folder, "openvino", "fp32")
    result = invoke(*web(recipe="tiny"), "--json", "needs.json")
    assert (result.exit_code, result.stderr) == (0, "")
    figures = json.loads((plant / "needs.json").read_text())
    assert figures["asked"]["grid"]["tile_px"] == TILE_PX
    assert figures["asked"]["rate"]["source"] == "measured here: recipe tiny, openvino fp32"
    assert figures["asked"]["rate"]["tiles_per_s"] > 0
    assert figures["asked"]["rate"]["got_cores"] > 0
    gpus = [one["sentence"] for one in figures["rows"] if one["what"] == "GPUs"]
    assert len(gpus) == 2
    assert all(sentence.endswith("computed, not run on hardware") for sentence in gpus)
    one_gpu = invoke(*web(recipe="tiny", tiles_per_s="40", gpu_tflops="10", gpu_gb_s="100"))
    assert "(10 TFLOPS, 100 GB/s; bound by memory)" in one_gpu.stdout


def run_line_3_on(backend: str, plant: Path) -> None:
    file = plant / "config.toml"
    lanes = "lanes = { count = 2 }\n"  # it alone has any
    assert lanes in file.read_text()
    file.write_text(file.read_text().replace(lanes, f'{lanes}engine = {{ backend = "{backend}" }}\n'))


@pytest.fixture
def gpu_line(plant: Path) -> Path:
    run_line_3_on("tensorrt", plant)
    return plant


def rows_of(plant: Path, *words: str) -> dict[str, tuple[str, str]]:
    """Mark and sentence by name: the last of each."""
    result = invoke(*words, "--json", "needs.json")
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads((plant / "needs.json").read_text())["rows"]
    return {one["what"]: (one["mark"], one["sentence"]) for one in told}


def test_the_rate_of_a_lines_gpu_is_not_that_of_cores(gpu_line: Path) -> None:
    speed = ["--line", "3", "--speed-m-min", "120"]
    enough = rows_of(gpu_line, *speed, "--tiles-per-s", "2000")
    assert enough["engine"] == (
        FITS,
        "402 tiles/s x 1.1, at 2000 tiles/s on the line's GPU (as given); that is enough",
    )
    mark, too_slow = rows_of(gpu_line, *speed, "--tiles-per-s", "400")["engine"]
    assert mark == NOT
    assert (
        "at 400 tiles/s on the line's GPU (as given); that carries 108 m/min; take a faster GPU" in too_slow
    )
    mark, unknown = rows_of(gpu_line, *speed)["engine"]
    assert (mark, "--tiles-per-s with the rate that `inspector check` tells" in unknown) == (UNKNOWN, True)
    for words in ([], ["--tiles-per-s", "2000"], ["--tiles-per-s", "400"]):
        assert not {"cores", "own cores"} & rows_of(gpu_line, *speed, *words).keys()
        assert "cores" not in invoke(*speed, *words).stdout


def test_the_speed_that_a_gpu_carries_is_one(gpu_line: Path) -> None:
    rate = ["--line", "3", "--tiles-per-s", "400"]
    assert rows_of(gpu_line, *rate, "--speed-m-min", "108")["engine"][0] == FITS
    assert rows_of(gpu_line, *rate, "--speed-m-min", "109")["engine"][0] == NOT


def test_cores_are_refused_of_a_line_on_a_gpu(gpu_line: Path) -> None:
    result = invoke("--line", "3", "--tiles-per-s", "2000", "--cores", "4")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "inspector: the line's engine runs on a GPU (engine.backend = 'tensorrt'), and a GPU's rate is not that of "
        "cores; leave --cores out\n"
    )


def test_a_line_on_a_gpu_has_its_own_engine_measured(gpu_line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.capacity.asking.RATE_S", 0.05)
    folder = gpu_line / "engines" / "tiny"
    folder.mkdir(parents=True)
    write_tiny_recipe(folder)
    build_engine(folder, "onnxruntime", "fp32")
    words = ["--line", "3", "--recipe", "tiny", "--overlap-px", "4"]
    missing = invoke(*words)
    assert missing.exit_code == 4
    assert "no engine was built for tensorrt on this machine" in missing.stderr
    opened: list[str] = []

    def stand_in(engine_dir: Path, backend: str) -> Backend:
        opened.append(backend)
        return open_backend(engine_dir, "onnxruntime")

    monkeypatch.setattr("inspector.capacity.asking.open_backend", stand_in)
    mark, sentence = rows_of(gpu_line, *words)["engine"]
    assert mark in (FITS, NOT)
    assert "tiles/s on the line's GPU (measured here: recipe tiny, " in sentence
    rate = json.loads((gpu_line / "needs.json").read_text())["asked"]["rate"]
    assert (rate["cores"], rate["got_cores"]) == (None, None)
    assert opened == ["tensorrt"]


def test_a_line_on_another_cpu_backend_has_that_measured(
    plant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.capacity.asking.RATE_S", 0.05)
    run_line_3_on("onnxruntime", plant)
    folder = plant / "engines" / "tiny"
    folder.mkdir(parents=True)
    write_tiny_recipe(folder)
    build_engine(folder, "onnxruntime", "fp32")
    told = rows_of(plant, "--line", "3", "--recipe", "tiny", "--overlap-px", "4")
    assert "(measured here: recipe tiny, onnxruntime fp32), if rate grows with cores" in told["cores"][1]


def test_an_engine_that_fails_when_measured_is_one_sentence(
    plant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("inspector.capacity.asking.measure_rate", fail)
    folder = plant / "engines" / "tiny"
    folder.mkdir(parents=True)
    write_tiny_recipe(folder)
    build_engine(folder, "openvino", "fp32")
    result = invoke(*web(recipe="tiny"))
    assert result.exit_code == 4
    assert result.stderr == (
        "inspector: recipe tiny: openvino fails at scoring tiles (out of memory); "
        "run `inspector build-engine --recipe tiny --backend openvino`\n"
    )


def test_a_line_tells_what_options_do_not(plant: Path) -> None:
    invoke("--line", "3", "--speed-m-min", "36", "--json", "needs.json")
    line = json.loads((plant / "needs.json").read_text())["asked"]
    assert (line["width_mm"], line["mm_per_px"], line["speed_m_min"]) == (409.6, 0.2, 36.0)
    assert (line["frame_rows"], line["lanes"]) == (512, 2)
    assert (line["ejector_m"], line["deadline_ms"]) == (1.5, 4000.0)
    assert line["grid"] == {"tile_px": 256, "margin_px": 32, "overlap_px": 32, "px_per_cell": 4}
    invoke("--line", "3", "--mm-per-px", "0.1", "--overlap-px", "62", "--json", "needs.json")
    finer = json.loads((plant / "needs.json").read_text())["asked"]["grid"]
    assert (finer["tile_px"], finer["overlap_px"]) == (
        256,
        64,
    )  # tiles are the recipe's px; whole cells overlap


def lone_frames(plant: Path, height: int, reject_distance_m: float, deadline_ms: int) -> str:
    """Line 3 of the plant at 2 m/min, each of its frames a piece of its own; what the command says of it."""
    text = (plant / "config.toml").read_text()
    before, line = text.split("[line.3]")
    for old, new in (
        ("speed_m_min = 18", "speed_m_min = 2, seamless = false"),
        ("deadline_ms = 4000", f"deadline_ms = {deadline_ms}"),
        ("reject_distance_m = 1.5", f"reject_distance_m = {reject_distance_m}"),
        ("Height = 512", f"Height = {height}"),
    ):
        assert line.count(old) == 1
        line = line.replace(old, new)
    (plant / "config.toml").write_text(f"{before}[line.3]{line}")
    result = invoke("--line", "3", "--tiles-per-s", "100")
    assert (result.exit_code, result.stderr) == (0, "")
    return " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("height", "reject_distance_m", "deadline_ms", "misfits"),
    [
        (256, 0.08, 800, ""),
        (256, 0.05, 800, "ejector"),
        (256, 0.08, 900, "deadline"),
        (300, 0.08, 590, ""),
        (300, 0.08, 610, "deadline"),
        (255, 0.08, 800, "frames"),
    ],
)
def test_frames_that_join_no_other_fit_where_check_says_so(
    plant: Path, height: int, reject_distance_m: float, deadline_ms: int, misfits: str
) -> None:
    """A row waits for its own frame alone, and a frame is high enough with a tile."""
    said = lone_frames(plant, height, reject_distance_m, deadline_ms)
    verdict = f"does NOT fit: {misfits}; what" if misfits else "fits, as far as it was asked"
    assert verdict in said
    line = config.load(plant / "config.toml").line("3")
    if misfits == "frames":
        assert "and a tile takes 256 rows; give --frame-rows 256 or more" in said
        with pytest.raises(ConfigError, match="smaller than a tile"):
            check_frame_size(GRID, height, 2048, seamless=False)
        return
    check_frame_size(GRID, height, 2048, seamless=False)
    assert bool(too_late(line, GRID, height)) == bool(misfits)


def test_the_tiles_of_frames_that_join_no_other_are_told(plant: Path) -> None:
    said = lone_frames(plant, 300, 1.5, 4000)
    assert (
        "10 tiles/s: 9 of 256 px across, 2 row(s) in each frame of 300 px, which joins no other (web.seamless); "
        "without the overlap of 32 px 8.89"
    ) in said
    assert "a seam adds up to 1.11 tiles/s" in said


@pytest.mark.parametrize("example", [0, 1])
def test_the_docs_show_what_the_command_prints(example: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = (ROOT / "docs/capacity.md").read_text().split("```\n")[1::2]
    command, printed = blocks[2 * example : 2 * example + 2]
    assert command.startswith("inspector capacity ")
    assert ("--recipe" in command) == (example == 1)
    shown = invoke(*command.split()[2:]).stdout
    if example:
        shown, printed = without_gpus(shown), without_gpus(printed)
    assert shown == printed


def without_gpus(printed: str) -> str:
    """Other versions of OpenVINO read a graph as other operations, and so count other memory traffic."""
    before, _, rest = printed.partition("      GPUs ")
    return before + rest[rest.index("      storage ") :]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --width-mm, or --line for one of the config"),
        (["--width-mm", "1600", "--speed-m-min", "30"], "give --mm-per-px, or --line"),
        (
            ["--width-mm", "1600", "--speed-m-min", "30", "--smallest-fault-mm", "0.6"],
            "give --mm-per-px (0.2 at most for such a smallest fault), or --line",
        ),
        (["--line", "9"], "there is no line '9'; the plant has: 1, 2, 3"),
        (web(cores="4"), "--cores tells on how many cores --tiles-per-s was measured"),
        (web(gpu_tflops="65"), "give both --gpu-tflops and --gpu-gb-s"),
        (web(gpu_tflops="65", gpu_gb_s="320"), "give --recipe too"),
        (web(overlap_px="129"), "more than half of a tile of 256 px; give --overlap-px 128 at most"),
        (
            web(tile_px="36", overlap_px="19"),
            "an overlap of 19 px is more than half of a tile of 36 px; give ",
        ),
        (web(tile_px="250"), "tiles of 250 px don't divide into cells of 4 px"),
        (web(tile_px="32"), "no wider than the usual margin of 32 px, and no line can cut such tiles"),
        (
            ["--line", "3", "--tile-px", "48"],
            "an overlap of 32 px is more than half of a tile of 48 px; give ",
        ),
        (web(width_mm="40"), "narrower than a tile"),
        (web(json="no/needs.json"), "no/needs.json: can't be written there"),
    ],
)
def test_a_question_that_can_not_be_answered(plant: Path, words: list[str], said: str) -> None:
    result = invoke(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    (sentence,) = result.stderr.splitlines()
    assert said in sentence


@pytest.mark.parametrize(
    ("refused", "option"),
    [
        ({"overlap_px": "129"}, "--overlap-px"),
        ({"tile_px": "36", "overlap_px": "19"}, "--overlap-px"),
        ({"tile_px": "32"}, "--tile-px"),
    ],
)
def test_tiles_that_are_advised_are_taken(refused: dict[str, str], option: str) -> None:
    advice = invoke(*web(**refused)).stderr.split(f"give {option} ")[1].split()[0]
    taken = invoke(*web(**refused | {option.removeprefix("--").replace("-", "_"): advice}))
    assert (taken.exit_code, taken.stderr) == (0, "")


@pytest.mark.parametrize(
    ("tile_px", "overlap_px"),
    [
        (256.0, 128.0),
        (36.0, 18.0),  # 20 px in whole cells
        (256.4, 128.2),  # 132 px
        (36.0, 18.1),  # the config refuses it
        (256.0, 132.0),
    ],
)
def test_a_lines_overlap_is_refused_where_a_run_refuses_it(
    plant: Path, tile_px: float, overlap_px: float
) -> None:
    """By config.load and grid_for, of which a run asks both; the grids are the same where neither does."""
    file = plant / "config.toml"
    text = file.read_text()
    ours = f"tiles = {{ size_mm = {tile_px * 0.2:.4f}, overlap_mm = {overlap_px * 0.2:.4f} }}"
    file.write_text(text.replace("tiles = { size_mm = 51.2, overlap_mm = 6.4 }", ours))
    result = invoke("--line", "3", "--json", "needs.json")
    try:
        line = config.load(file).line("3")
        grid = grid_for(line, EngineInfo("demo", "openvino", "", "", "", round(tile_px), 32, 4, 1, ""))
    except ConfigError:
        assert (result.exit_code, "more than half of" in result.stderr) == (2, True)
    else:
        assert json.loads((plant / "needs.json").read_text())["asked"]["grid"] == asdict(grid)


def test_a_recipe_whose_margin_is_no_narrower_than_its_tile(plant: Path) -> None:
    folder = plant / "engines" / "tiny"
    folder.mkdir(parents=True)
    write_recipe(folder, msgspec.structs.replace(write_tiny_recipe(folder), margin_px=TILE_PX))
    result = invoke(*web(recipe="tiny", tiles_per_s="40"))
    assert result.exit_code == 4
    assert result.stderr == (
        "inspector: recipe tiny: tiles of 32 px are no wider than their margin of 32 px, and no line can cut such "
        "tiles; train the recipe again with a narrower --margin-px\n"
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [("mm_per_px", "0"), ("speed_m_min", "-30"), ("width_mm", "nan"), ("ejector_m", "inf"), ("cores", "0")],
)
def test_numbers_that_are_none(option: str, value: str) -> None:
    result = invoke(*web(**{option: value}))
    assert result.exit_code == 2
    assert f"Invalid value for '--{option.replace('_', '-')}'" in result.stderr


def test_a_recipe_has_its_own_tiles(plant: Path) -> None:
    folder = plant / "engines" / "tiny"
    folder.mkdir(parents=True)
    write_tiny_recipe(folder)
    result = invoke(*web(recipe="tiny", tile_px="64", tiles_per_s="40"))
    assert (result.exit_code, "recipe tiny has tiles of 32 px; leave --tile-px out" in result.stderr) == (
        2,
        True,
    )


def test_a_line_whose_tiles_are_no_tiles(plant: Path) -> None:
    file = plant / "config.toml"
    file.write_text(file.read_text().replace("mm_per_px = 0.2", "mm_per_px = 1e-300"))
    result = invoke("--line", "3", "--mm-per-px", "0.2")
    assert result.exit_code == 2
    assert "set it to that of its recipe's tiles" in result.stderr
