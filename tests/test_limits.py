"""Limits on disk: read back as written, and refused when they belong to anything else."""

from __future__ import annotations

import math
import shutil
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector import config
from inspector.config import Site
from inspector.errors import ArtefactError
from inspector.limits import (
    Limits,
    Provenance,
    RunProvenance,
    WideProvenance,
    has_measured_shape,
    limits_file,
    load_limits,
    sealed,
    to_toml,
)
from inspector.records import WideLimit, Zone

ROOT = Path(__file__).resolve().parents[1]
SHA = "ab" * 32

LIMITS = Limits(
    line="3",
    recipe="denim",
    onnx_sha256=SHA,
    mm_per_px=0.2,
    region_mm=(0.0, 409.6),
    limit_sigma=7.25,
    provenance=Provenance(
        date_utc="2026-11-24T02:00:00+00:00",
        inspector="0.1.0",
        engine="openvino 2026.4 bf16",
        data='good "frames" Köper\\2',
        images=12,
        images_sha256="cd" * 32,
        images_left_out=40,
        tiles=1200,
        tiles_per_100m=22322,
        false_alarms_per_100m=1.0,
        tile_rate=1 / 22322,
        highest_sigma=6.5,
        quantile_sigma=6.9,
        bound_sigma=7.25,
        confidence=0.95,
        tail_threshold_sigma=3.0,
        tail_exceedances=120,
        tail_scale_sigma=0.5,
        tail_shape=0.08,
        suspects=("007.png: 31.0 sigma at 120 mm from the left, 33 mm from the top",),
    ),
)

LOWERED = RunProvenance(
    date_utc="2026-11-24T02:00:00+00:00",
    inspector="0.1.0",
    previous_limit_sigma=7.25,
    previous_sha256="ab" * 32,
    previous_set_by_hand="",
    limit_sigma=6.1,
    epoch=1,
    from_m=0.0,
    to_m=40.0,
    first_seq=1,
    last_seq=390,
    good_m=40.0,
    strips=390,
    verdicts=390,
    verdicts_per_100m=976.6,
    stretches=40,
    strips_above=0,
    strips_beside=0,
    verdicts_not_inspected=0,
    verdicts_unheard=0,
    suspects=(),
    false_alarms_per_100m=1.0,
    verdict_rate=0.001,
    highest_sigma=5.9,
    quantile_sigma=6.0,
    bound_sigma=6.1,
    confidence=0.8,
    tail_threshold_sigma=5.0,
    tail_exceedances=39,
    tail_scale_sigma=0.4,
    tail_shape=0.0,
)
BLOT = WideLimit(
    name="blot",
    across_px=128,
    along_px=128,
    clip_sigma=8.0,
    mean_sigma=0.1,
    deviation_sigma=0.5,
    limit_deviations=7.1235,
)
BLOT_FOUND = WideProvenance(
    name="blot",
    blocks=90,
    block_px=(128, 256),
    block_rate=1e-4,
    highest=6.0,
    quantile=6.9,
    bound=7.1234,
    tail_threshold=3.0,
    tail_exceedances=15,
    tail_scale=1.0,
    tail_shape=0.0,
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    shutil.copy(ROOT / "config.toml", tmp_path)
    (tmp_path / "engines/denim").mkdir(parents=True)
    (tmp_path / "calibration").mkdir()
    (tmp_path / "engines/denim/recipe.toml").write_text(f'name = "denim"\nonnx_sha256 = "{SHA}"\n')
    found = config.load(tmp_path / "config.toml")
    limits_file(found, "3", "denim").write_text(to_toml(LIMITS), encoding="utf-8")
    return found


def refusal(site: Site, line_id: str = "3") -> str:
    with pytest.raises(ArtefactError) as caught:
        load_limits(site, line_id, "denim")
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "inspector calibrate DATA --recipe denim" in sentence or "inspector train" in sentence
    return sentence


def edit(site: Site, old: str, new: str) -> None:
    file = limits_file(site, "3", "denim")
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_limits_come_back_as_they_were_written(site: Site) -> None:
    assert load_limits(site, "3", "denim") == LIMITS


def test_the_file_is_toml_and_says_what_may_be_edited(site: Site) -> None:
    text = limits_file(site, "3", "denim").read_text(encoding="utf-8")
    assert tomllib.loads(text) == msgspec.to_builtins(msgspec.json.decode(msgspec.json.encode(LIMITS)))
    assert "set_by_hand" in text.splitlines()[1]
    assert len(text.splitlines()) < 60


def test_a_limit_may_be_moved_by_hand(site: Site) -> None:
    edit(site, "limit_sigma = 7.25", "limit_sigma = 9")
    edit(site, 'set_by_hand = ""', 'set_by_hand = "M. Weber, 3 May: too many alarms at the left selvedge"')
    moved = load_limits(site, "3", "denim")
    assert moved.limit_sigma == 9.0
    assert moved.provenance.bound_sigma == 7.25
    assert moved.set_by_hand.startswith("M. Weber")


@pytest.mark.parametrize("by_hand", ["", "  "])
def test_a_limit_moved_without_a_word_is_refused(site: Site, by_hand: str) -> None:
    edit(site, "limit_sigma = 7.25", "limit_sigma = 9")
    edit(site, 'set_by_hand = ""', f'set_by_hand = "{by_hand}"')
    said = refusal(site)
    assert (
        "line-3.denim.toml: limit_sigma = 9, but 7.2500 is what was measured and set_by_hand is empty" in said
    )
    assert "write into it who moved the limit, when and why, put the limit back, or run" in said


def test_what_a_run_wrote_is_measured_too(site: Site) -> None:
    file = limits_file(site, "3", "denim")
    provenance = msgspec.structs.replace(LIMITS.provenance, runs=(LOWERED,))
    lowered = msgspec.structs.replace(LIMITS, limit_sigma=6.1, provenance=provenance)
    file.write_text(to_toml(lowered), encoding="utf-8")
    assert load_limits(site, "3", "denim") == lowered
    edit(site, "limit_sigma = 6.1\nset_by", "limit_sigma = 7.25\nset_by")
    assert "limit_sigma = 7.25, but 6.1000 is what was measured" in refusal(site)


def test_a_window_moved_or_gone_without_a_word_is_refused(site: Site) -> None:
    file = limits_file(site, "3", "denim")
    wide = msgspec.structs.replace(LIMITS, wide=(BLOT,))
    provenance = msgspec.structs.replace(LIMITS.provenance, wide=(BLOT_FOUND,))
    file.write_text(to_toml(msgspec.structs.replace(wide, provenance=provenance)), encoding="utf-8")
    assert load_limits(site, "3", "denim").wide == (BLOT,)
    edit(site, "limit_deviations = 7.1235", "limit_deviations = 12")
    assert "wide 'blot': limit_deviations = 12, but 7.1234 is what was measured" in refusal(site)
    file.write_text(to_toml(msgspec.structs.replace(LIMITS, provenance=provenance)), encoding="utf-8")
    assert "wide 'blot': limit_deviations is gone, but 7.1234 is what was measured" in refusal(site)
    edit(site, 'set_by_hand = ""', 'set_by_hand = "M. Weber, 3 May: this cloth has clouds"')
    assert load_limits(site, "3", "denim").wide == ()


def test_missing_limits(site: Site) -> None:
    limits_file(site, "3", "denim").unlink()
    assert "line-3.denim.toml: no such file" in refusal(site)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-7.25", "0.0"])
def test_a_limit_that_would_pass_or_fail_everything(site: Site, value: str) -> None:
    edit(site, "limit_sigma = 7.25", f"limit_sigma = {value}")
    assert "limit_sigma" in refusal(site)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("limit_sigma = 7.25\n", "", "missing key `limit_sigma`"),
        ("limit_sigma", "limit_sgima", "unknown key `limit_sgima`"),
        ("limit_sigma = 7.25", 'limit_sigma = "high"', "limit_sigma: expected `float`, got `str`"),
        ("limit_sigma = 7.25", "limit_sigma = ", "can't be read"),
        ("    0.0,\n    409.6,", "409.6, 0.0", "two rising positions"),
        ("    0.0,\n", "nan,", "two rising positions"),
        (f'onnx_sha256 = "{SHA}"', 'onnx_sha256 = "abc"', "onnx_sha256"),
        ("[provenance]", "[provenence]", "unknown key `provenence`"),
    ],
)
def test_nonsense_by_hand(site: Site, old: str, new: str, said: str) -> None:
    edit(site, old, new)
    assert said in refusal(site)


def test_bytes_that_are_no_text(site: Site) -> None:
    limits_file(site, "3", "denim").write_bytes(b"\xff\xfe\x00")
    assert "can't be read" in refusal(site)


def test_limits_of_another_training(site: Site) -> None:
    (site.engines / "denim/recipe.toml").write_text(f'onnx_sha256 = "{"ef" * 32}"\n')
    assert "another training of recipe 'denim'" in refusal(site)


def test_limits_without_their_recipe(site: Site) -> None:
    (site.engines / "denim/recipe.toml").unlink()
    assert "recipe.toml: no such file" in refusal(site)


def test_limits_at_another_resolution(site: Site) -> None:
    edit(site, "mm_per_px = 0.2", "mm_per_px = 0.25")
    assert "calibrated at 0.25 mm/px, line 3 has 0.2" in refusal(site)


def test_limits_copied_from_another_line(site: Site) -> None:
    shutil.copy(limits_file(site, "3", "denim"), limits_file(site, "2", "denim"))
    assert "holds limits of line '3'" in refusal(site, "2")


def test_reading_limits_loads_nothing_of_learning() -> None:
    import subprocess
    import sys

    code = (
        "import sys, inspector.limits; sys.exit(any(m.startswith('inspector.learning') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ZONED = """
[[zones]]
from_mm = 0.0
to_mm = 200.0
factor = 0.8

[[zones]]
from_mm = 200.0
to_mm = 409.6
factor = 1.5

[[wide]]
name = "blot"
across_px = 128
along_px = 64
clip_sigma = 8.0
mean_sigma = 0.1
deviation_sigma = 0.5
limit_deviations = 9.0
"""


@pytest.fixture
def zoned(site: Site) -> Site:
    file = limits_file(site, "3", "denim")
    text = file.read_text(encoding="utf-8").replace("zones = []\nwide = []\n", "")
    file.write_text(text + ZONED, encoding="utf-8")
    return site


def test_zones_and_windows_come_back_as_they_were_written(zoned: Site) -> None:
    found = load_limits(zoned, "3", "denim")
    assert [zone.factor for zone in found.zones] == [0.8, 1.5]
    assert found.wide[0].limit_deviations == 9.0
    limits_file(zoned, "3", "denim").write_text(to_toml(found), encoding="utf-8")
    assert load_limits(zoned, "3", "denim") == found
    assert found.levels.limit_sigma == found.limit_sigma


MOVED = [
    ("factor = 1.5", "factor = 3.0"),
    ("to_mm = 200.0", "to_mm = 100.0"),
    ("mean_sigma = 0.1", "mean_sigma = -2.0"),
    ("limit_deviations = 9.0", "limit_deviations = 12.0"),
    (ZONED[ZONED.index("[[wide]]") :], ""),
]


@pytest.fixture
def measured(zoned: Site) -> Site:
    """With zones and windows as calibration and a run since found them."""
    found = load_limits(zoned, "3", "denim")
    runs = msgspec.structs.replace(found.provenance, runs=(LOWERED,), bound_sigma=9.5, highest_sigma=9.0)
    lowered = msgspec.structs.replace(found, limit_sigma=LOWERED.limit_sigma, provenance=runs)
    limits_file(zoned, "3", "denim").write_text(to_toml(sealed(lowered)), encoding="utf-8")
    return zoned


def move(site: Site, old: str, new: str) -> None:
    if "[[wide]]" in old:
        found = load_limits(site, "3", "denim")
        limits_file(site, "3", "denim").write_text(to_toml(msgspec.structs.replace(found, wide=())))
        return
    edit(site, old, new)
    if old == "to_mm = 200.0":
        edit(site, "from_mm = 200.0", "from_mm = 100.0")


@pytest.mark.parametrize(("old", "new"), MOVED)
def test_whatever_is_moved_of_zones_and_windows_wants_a_word(measured: Site, old: str, new: str) -> None:
    assert load_limits(measured, "3", "denim").wide[0].limit_deviations == 9.0
    move(measured, old, new)
    assert (
        "a zone or window isn't what was measured (levels_sha256 is of others) and set_by_hand is empty"
        in (refusal(measured))
    )
    edit(measured, 'set_by_hand = ""', 'set_by_hand = "M. Weber, 3 May: the left selvedge is loose"')
    load_limits(measured, "3", "denim")


@settings(deadline=None)
@given(st.floats(0.5, 1e4), st.floats(0.1, 1e4), st.floats(1.1, 9.0))
def test_zones_are_told_as_measured_wherever_the_limit_was_moved_to(
    bound: float, limit_sigma: float, factor: float
) -> None:
    """Calibration writes the limit rounded up, and its bound to the nearest."""
    zone = Zone(from_mm=0.0, to_mm=409.6, factor=0.9)
    found = sealed(
        msgspec.structs.replace(
            LIMITS,
            limit_sigma=math.ceil(bound * 1e4) / 1e4,
            zones=(zone,),
            provenance=msgspec.structs.replace(
                LIMITS.provenance, bound_sigma=round(bound, 4), highest_sigma=0.1
            ),
        )
    )
    by_hand = msgspec.structs.replace(found, limit_sigma=limit_sigma)
    assert has_measured_shape(found)
    assert has_measured_shape(by_hand)
    zones = (msgspec.structs.replace(zone, factor=factor),)
    assert not has_measured_shape(msgspec.structs.replace(found, zones=zones))
    assert not has_measured_shape(msgspec.structs.replace(by_hand, zones=zones))


def test_numbers_that_are_spelt_otherwise_are_the_same(measured: Site) -> None:
    edit(measured, "factor = 1.5", "factor = 1.50")
    load_limits(measured, "3", "denim")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("factor = 0.8", "factor = 0.0", "zone 1, 0 to 200 mm, has a factor of 0"),
        ("factor = 1.5", "factor = nan", "zone 2, 200 to 409.6 mm, has a factor of nan"),
        ("factor = 1.5", "factor = inf", "zone 2, 200 to 409.6 mm, has a factor of inf"),
        ("from_mm = 200.0", "from_mm = 210.0", "zone 2, 210 to 409.6 mm, must begin where the zone before"),
        ("to_mm = 409.6", "to_mm = 200.0", "wider than nothing"),
        ("to_mm = 409.6", "to_mm = inf", "wider than nothing"),
        ("factor = 1.5", "factors = 1.5", "unknown key `factors`"),
        ("across_px = 128", "across_px = 0", "wide 'blot': across_px = 0"),
        ("deviation_sigma = 0.5", "deviation_sigma = -1.0", "wide 'blot': deviation_sigma = -1"),
        ("limit_deviations = 9.0", "limit_deviations = nan", "wide 'blot': limit_deviations = nan"),
        ("limit_deviations = 9.0", "limit_deviations = 16.0", "15.8 is the highest"),
        ("mean_sigma = 0.1", "mean_sigma = nan", "can't reach its limit"),
    ],
)
def test_zones_and_windows_that_would_pass_or_fail_everything(
    zoned: Site, old: str, new: str, said: str
) -> None:
    edit(zoned, old, new)
    assert said in refusal(zoned)
