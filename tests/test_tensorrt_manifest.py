"""What the manifest keeps of a TensorRT plan, and where it lets one be loaded.

What wants a GPU of TensorRT's module is taken from ONNX Runtime: nothing is shown of plans, all of the bookkeeping.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from inspector.backends import build_engine, gpu, onnxruntime, open_backend, tensorrt
from inspector.backends.artifact import load_manifest
from tests.graphs import write_tiny_recipe


class Machine:
    """TensorRT and a GPU by name alone."""

    version, device = "tensorrt 10.16.1.11", "NVIDIA L4, SM89, CUDA 12.4"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    machine = Machine()

    def open_runtime(recipe: Any, graph: bytes, plan: bytes, *rest: Any) -> Any:
        return onnxruntime.open_runtime(recipe, graph, b"", "fp32", 1)

    monkeypatch.setattr(tensorrt, "library_version", lambda: machine.version)
    monkeypatch.setattr(tensorrt, "device_name", lambda: machine.device)
    monkeypatch.setattr(tensorrt, "build_plan", lambda *_: b"a plan")
    monkeypatch.setattr(tensorrt, "open_runtime", open_runtime)
    monkeypatch.setattr(gpu, "DRIVER_VERSION", tmp_path / "version")
    (tmp_path / "version").write_text("550.54.14\n")
    return machine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_recipe(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.mark.usefixtures("machine")
def test_the_manifest_keeps_driver_and_profile(folder: Path) -> None:
    build_engine(folder, "tensorrt", "fp32")
    manifest = load_manifest(folder, "")
    assert manifest is not None
    built = manifest.engines["tensorrt"]
    assert (built.driver, built.profile) == ("550.54.14", (1, 16, 32))
    assert built.device == Machine.device
    open_backend(folder, "tensorrt").close()


@pytest.mark.usefixtures("machine")
def test_a_driver_that_nobody_knows_is_left_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "version").unlink()
    build_engine(folder, "tensorrt", "fp32")
    assert "driver" not in (folder / "manifest.toml").read_text()
    open_backend(folder, "tensorrt").close()


@pytest.mark.usefixtures("machine")
def test_another_driver_is_no_other_machine(folder: Path, tmp_path: Path) -> None:
    build_engine(folder, "tensorrt", "fp32")
    (tmp_path / "version").write_text("580.1\n")
    open_backend(folder, "tensorrt").close()


@pytest.mark.usefixtures("machine")
def test_a_manifest_of_before_opens_as_it_is(folder: Path) -> None:
    """Written when neither driver nor profile were kept."""
    build_engine(folder, "tensorrt", "fp32")
    file = folder / "manifest.toml"
    text, taken_out = re.subn(r"^(driver = .*|profile = \[[^]]*\])\n", "", file.read_text(), flags=re.M)
    assert taken_out == 2
    file.write_text(text)
    open_backend(folder, "tensorrt").close()


def test_a_cpus_engine_has_neither(folder: Path) -> None:
    built = build_engine(folder, "onnxruntime").engines["onnxruntime"]
    assert (built.driver, built.profile) == ("", ())
    assert not re.search("driver|profile", (folder / "manifest.toml").read_text())
