"""The demo plant of `make run`, where a machine is too slow for its speed."""

from __future__ import annotations

import importlib
from pathlib import Path

import msgspec
import pytest

from inspector import config
from inspector.calibrating.calibrated import digest_of
from inspector.limits import load_limits, sealed

ROOT = Path(__file__).resolve().parents[1]


def test_a_slower_demo_differs_in_nothing_but_its_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    demo = importlib.import_module("demo")
    assert demo.plant_at(tmp_path, 1.0) == ROOT / "config.toml"
    assert demo.plant_at(tmp_path, 0.5) == tmp_path / "config.toml"
    whole, slower = (config.load(folder / "config.toml") for folder in (ROOT, tmp_path))
    one, other = whole.line("3"), slower.line("3")
    assert isinstance(one.camera, config.GenicamCamera)
    assert isinstance(other.camera, config.GenicamCamera)
    assert other.web.speed_m_min == pytest.approx(one.web.speed_m_min / 2)
    rate = "AcquisitionLineRate"
    assert other.camera.features[rate] == pytest.approx(one.camera.features[rate] / 2)
    features = {**other.camera.features, rate: one.camera.features[rate]}
    same = msgspec.structs.replace(
        other,
        web=msgspec.structs.replace(other.web, speed_m_min=one.web.speed_m_min),
        camera=msgspec.structs.replace(other.camera, features=features),
    )
    assert same == one
    assert slower.plant.line.keys() == whole.plant.line.keys()
    assert (tmp_path / "engines" / "demo" / "model.onnx").is_file()


@pytest.mark.parametrize("line_id", ["1", "2", "3"])
def test_committed_limits_tell_their_images_and_engine_and_are_as_they_were_found(line_id: str) -> None:
    limits = load_limits(config.load(ROOT / "config.toml"), line_id, "demo")
    assert limits == sealed(limits)
    found = limits.provenance
    assert len(limits.images) == found.images == 100
    assert digest_of(limits.images.values()) == found.images_sha256
    assert len(found.engine_sha256) == 64
    assert limits.set_by_hand == ""
