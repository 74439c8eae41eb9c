"""The demo plant of `make run`, where a machine is too slow for its speed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec
import pytest

from inspector import config

ROOT = Path(__file__).resolve().parents[1]


def test_a_slower_demo_differs_in_nothing_but_its_speed(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("demo", ROOT / "tools" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    demo.write_plant(tmp_path, 0.5)
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
