"""`tools/visible.py`: the d' of a fault is what an observer who knows it would really have."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from inspector import config
from inspector.cameras.loom import Loom
from inspector.cameras.truth import Fault
from tests.conftest import ROOT

MM_PER_PX = 0.2
DRAWS = 400


@pytest.fixture
def visible(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("visible")


def a_fault(top: int, left: int, height: int, width: int) -> Fault:
    mm = MM_PER_PX
    return Fault("spot", left * mm, top * mm / 1000, width * mm, height * mm, height * width * mm * mm, 10.0)


def test_in_white_noise_it_is_the_faults_energy(visible: Any) -> None:
    good = np.full((400, 400), 100, np.uint8)
    faulty = good.copy()
    faulty[40:50, 60:90] += 12
    power = np.full((visible.BLOCK_PX, visible.BLOCK_PX), 7.0**2)
    found = visible._visibility(a_fault(40, 60, 10, 30), faulty, good, power, MM_PER_PX)
    assert found == pytest.approx(12 * (10 * 30) ** 0.5 / 7)


def test_in_coloured_noise_it_is_what_a_matched_filter_measures(visible: Any) -> None:
    side = visible.BLOCK_PX
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    power = 400 / (1 + (frequency / 0.05) ** 2) + 5
    good = np.full((side, side), 100, np.uint8)
    faulty = good.copy()
    faulty[80:100, 90:96] += 8
    change = faulty.astype(np.float64) - good
    matched = np.fft.ifft2(np.fft.fft2(change) / power).real
    random = np.random.default_rng(3)
    noise = [
        np.fft.ifft2(np.fft.fft2(random.normal(size=(side, side))) * np.sqrt(power)).real
        for _ in range(DRAWS)
    ]
    measured = float((change * matched).sum() / np.std([float((one * matched).sum()) for one in noise]))
    found = visible._visibility(a_fault(80, 90, 20, 6), faulty, good, power, MM_PER_PX)
    assert found == pytest.approx(measured, rel=0.12)  # three standard errors of so many draws


def test_every_fault_of_the_loom_has_one(visible: Any) -> None:
    found = visible.visibilities(640, MM_PER_PX, 802, 5.0, 2.0)
    web = Loom(640, MM_PER_PX, "plain", 802, config.FaultMix(per_m=5.0))
    assert len(found) == len(web.truth(0.0, 2.0)) > 3
    assert min(found) > 2
    assert max(found) > 3 * min(found)
