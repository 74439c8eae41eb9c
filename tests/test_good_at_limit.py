"""build-engine at a line's limit: an engine that decides otherwise on the calibration's good web is refused."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from inspector.backends import golden, open_backend
from inspector.backends.at_limit import Decisions, compare
from inspector.backends.golden import Tolerance
from inspector.backends.runtime import toolchain
from inspector.calibrating.calibrate import calibrate
from inspector.calibrating.good_at_limit import GoodAtLimit
from inspector.cli import main
from inspector.config import Site
from inspector.errors import ArtefactError
from inspector.interfaces import Backend
from inspector.limits import limits_file
from inspector.records import F32
from tests import contrast_graph
from tests.small_recipe import make_recipe, make_site, weave

IMAGES, PIECES = 8, 8 * 2 * 4  # blocks of 64 px in frames of 128 x 256 px


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A plant whose line was calibrated on good/."""
    site = make_site(tmp_path)
    make_recipe(site, "stripes")
    (tmp_path / "good").mkdir()
    for number in range(IMAGES):
        cv2.imwrite(str(tmp_path / f"good/{number}.png"), weave(number, 128, 256))
    calibrate(tmp_path / "good", "stripes", "1", site)
    return site


def build(site: Site, *words: str) -> Result:
    asked = ["build-engine", "--recipe", "stripes", "--config", str(site.file), "--precision", "fp32", *words]
    result = CliRunner().invoke(main, asked)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def at_the_limit(site: Site) -> tuple[str, ...]:
    return ("--line", "1", "--good", str(site.root / "good"))


def move_limit_into_good_web(site: Site) -> float:
    """By hand, to where every other block is above it: so that any deviation shows."""
    peaks = GoodAtLimit(site, "1", "stripes", site.root / "good").peaks(reference(site))
    file = limits_file(site, "1", "stripes")
    text = re.sub(
        r"(?m)^limit_sigma = .*$", f"limit_sigma = {np.median(peaks):.6f}", file.read_text(), count=1
    ).replace('set_by_hand = ""', 'set_by_hand = "A. Person, 2026-11-24: a trial"')
    file.write_text(re.sub(r"(?ms)^\[\[wide\]\].*?(?=^\[|\Z)", "", text))
    return float(np.median(peaks))


def reference(site: Site) -> Backend:
    return open_backend(site.engines / "stripes", "onnxruntime")


def test_an_engine_that_decides_alike(site: Site) -> None:
    move_limit_into_good_web(site)
    result = build(site, *at_the_limit(site))
    assert result.exit_code == 0, result.output
    assert (
        f"the fp32 engine decides 0 of {PIECES} pieces of good web otherwise than the reference (1 may be"
        in result.stdout
    )
    assert "not compared" not in result.stdout


def test_an_engine_that_decides_otherwise_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scores are 4 % high, which the golden tiles' tolerance is made to bear."""
    move_limit_into_good_web(site)
    tools = toolchain("openvino")
    compiled = tools.build_plan
    monkeypatch.setattr(contrast_graph, "SIGMA_GREY", contrast_graph.SIGMA_GREY / 1.04)
    contrast_graph.write_contrast_onnx(site.root / "high.onnx")
    high = (site.root / "high.onnx").read_bytes()
    monkeypatch.setattr(tools, "build_plan", lambda recipe, _, *rest: compiled(recipe, high, *rest))
    monkeypatch.setitem(golden.TOLERANCES, "fp32", Tolerance(0.01, 0.05))
    assert build(site).exit_code == 0
    before = (site.engines / "stripes/manifest.toml").read_bytes()
    result = build(site, *at_the_limit(site))
    assert result.exit_code == 4
    assert re.fullmatch(
        rf"inspector: recipe stripes: the fp32 engine decides \d+ of {PIECES} pieces of good web otherwise than the "
        r"reference \(1 may be, \d+ are as near to the limit as is tolerated\); train again\n",
        result.stderr,
    )
    assert (site.engines / "stripes/manifest.toml").read_bytes() == before


def test_an_engine_that_gives_no_numbers_for_good_web_is_at_fault_and_not_the_recipe(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With auto the next precision is tried; its golden and extreme tiles were fine."""
    real = GoodAtLimit.peaks

    def overflows(self: GoodAtLimit, engine: Backend) -> F32:
        if engine.info.backend == "openvino":
            raise ArtefactError("good/0.png: recipe stripes scores NaN or infinity; train it again")
        return real(self, engine)

    monkeypatch.setattr(GoodAtLimit, "peaks", overflows)
    result = build(site, *at_the_limit(site))
    assert result.exit_code == 4
    assert (
        "recipe stripes: the fp32 engine scores the line's good web NaN or infinity, the reference doesn't; train again"
        in result.stderr
    )


def test_what_calibration_left_out_is_left_out_here(site: Site) -> None:
    """Of twelve images two were learnt from and none held back; then two held back, which ten others can spare."""
    for number in range(IMAGES, 12):
        cv2.imwrite(str(site.root / f"good/{number}.png"), weave(number, 128, 256))
    files = sorted((site.root / "good").iterdir())
    for how in ({"learnt": files[:2]}, {"validation": files[:2]}):
        make_recipe(site, "stripes", **how)
        calibrate(site.root / "good", "stripes", "1", site)
        assert len(GoodAtLimit(site, "1", "stripes", site.root / "good").peaks(reference(site))) == 10 * 2 * 4


def test_other_images_than_those_of_the_calibration_are_refused(site: Site) -> None:
    cv2.imwrite(str(site.root / "good/99.png"), weave(99, 128, 256))
    result = build(site, *at_the_limit(site))
    assert result.exit_code == 6
    assert (
        f"good: not the {IMAGES} images that line 1 was calibrated with (folder good); give those"
        in result.stderr
    )


@pytest.mark.parametrize("words", [("--line", "1"), ("--good", "good")])
def test_a_line_and_its_good_web_go_together(site: Site, words: tuple[str, str]) -> None:
    result = build(site, *words)
    assert result.exit_code == 2
    assert "--line and --good go together" in result.stderr


def test_what_was_not_compared_is_said(site: Site) -> None:
    assert build(site).stdout.splitlines()[-1] == (
        "decisions at a line's limit were not compared; --line and --good do that"
    )


class Web:
    """AtLimit with nothing behind it."""

    limit_sigma = 10.0
    false_alarm_rate = 0.25

    def peaks(self, backend: Backend) -> F32:
        raise AssertionError


def test_decisions_are_counted_both_ways() -> None:
    before = np.array([9.0, 9.95, 10.0, 10.5, 11.0, 9.0, 9.0, 9.0, 9.0], np.float32)
    after = np.array([9.0, 10.1, 10.0, 9.90, 11.0, 9.0, 9.0, 9.0, np.nan], np.float32)
    assert compare(Web(), before, after, Tolerance(0.1, 0.0)) == Decisions(
        pieces=9, differ=2, allowed=2, near=2
    )


def test_one_may_always_differ() -> None:
    assert compare(Web(), np.zeros(3, np.float32), np.zeros(3, np.float32), Tolerance(1, 0)).allowed == 1
