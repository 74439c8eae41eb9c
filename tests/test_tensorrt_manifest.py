"""What the manifest keeps of a TensorRT plan, and where it lets one be loaded.

What wants a GPU of TensorRT's module is taken from ONNX Runtime: nothing is shown of plans, all of the bookkeeping.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from inspector.backends import build_engine, building, gpu, onnxruntime, open_backend, tensorrt
from inspector.backends.artifact import Recipe, load_manifest
from inspector.backends.runtime import Means
from inspector.errors import ArtefactError
from tests.graphs import write_tiny_recipe


class Machine:
    """TensorRT and a GPU by name alone."""

    version, device = "tensorrt 10.16.1.11", "NVIDIA L4, SM89, CUDA 12.4"

    def __init__(self) -> None:
        self.built: list[Means] = []
        self.opened_as_portable: list[bool] = []


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    machine = Machine()

    def build_plan(recipe: Recipe, graph: bytes, precision: str, means: Means) -> bytes:
        machine.built.append(means)
        return b"a plan"

    def open_runtime(
        recipe: Recipe, graph: bytes, plan: bytes, precision: str, threads: int, portable: bool
    ) -> Any:
        machine.opened_as_portable.append(portable)
        return onnxruntime.open_runtime(recipe, graph, b"", "fp32", 1)

    monkeypatch.setattr(tensorrt, "library_version", lambda: machine.version)
    monkeypatch.setattr(tensorrt, "device_name", lambda: machine.device)
    monkeypatch.setattr(tensorrt, "build_plan", build_plan)
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


# Portable plans

HERE = (Machine.version, Machine.device)


def moved(machine: Machine, folder: Path, portable: bool, version: str, device: str) -> None:
    """Build here; open where version and device are others."""
    machine.version, machine.device = HERE
    build_engine(folder, "tensorrt", "fp32", means=Means(portable=portable))
    machine.version, machine.device = version, device
    opened = open_backend(folder, "tensorrt")
    assert opened.info.version == version
    assert opened.info.device == device
    opened.close()


@pytest.mark.parametrize("portable", [True, False])
def test_what_is_built_is_what_is_loaded(machine: Machine, folder: Path, portable: bool) -> None:
    moved(machine, folder, portable, *HERE)
    assert [means.portable for means in machine.built] == [portable]
    assert machine.opened_as_portable == [portable, portable]  # to be proved, and to run
    assert ("portable = true" in (folder / "manifest.toml").read_text()) is portable


@pytest.mark.parametrize("apart", [True, False])
def test_the_manifest_says_whether_a_plan_is_of_three_engines(
    machine: Machine, folder: Path, apart: bool
) -> None:
    built = build_engine(folder, "tensorrt", "fp32", means=Means(apart=apart)).engines["tensorrt"]
    assert [means.apart for means in machine.built] == [apart] == [built.apart]
    open_backend(folder, "tensorrt").close()


@pytest.mark.parametrize(
    ("version", "device"),
    [
        ("tensorrt 10.16.1.12", HERE[1]),
        ("tensorrt 10.20", HERE[1]),
        (HERE[0], "NVIDIA A2, SM86, CUDA 12.4"),
        (HERE[0], "NVIDIA RTX PRO 6000, SM120, CUDA 13.0"),
        ("tensorrt 10.17.0.1", "NVIDIA A100-SXM4-40GB, SM80, CUDA 12.8"),
    ],
)
def test_a_portable_plan_opens_on_later_versions_and_gpus_from_ampere_on(
    machine: Machine, folder: Path, version: str, device: str
) -> None:
    moved(machine, folder, True, version, device)
    with pytest.raises(
        ArtefactError, match=r"built for another (library version|device): .*; run `inspector build"
    ):
        moved(machine, folder, False, version, device)


@pytest.mark.parametrize(
    ("version", "device", "what"),
    [
        ("tensorrt 10.3.0", HERE[1], "library version"),
        ("tensorrt 10.16.1.9", HERE[1], "library version"),
        ("tensorrt 11.4.0.106", HERE[1], "library version"),
        ("tensorrt_rtx 10.17.0", HERE[1], "library version"),
        (HERE[0], "Tesla T4, SM75, CUDA 12.4", "device"),
        (HERE[0], "another one", "device"),
    ],
)
def test_a_portable_plan_stays_where_it_is_not_promised(
    machine: Machine, folder: Path, version: str, device: str, what: str
) -> None:
    with pytest.raises(ArtefactError) as caught:
        moved(machine, folder, True, version, device)
    then, now = (HERE[0], version) if what == "library version" else (HERE[1], device)
    assert f"the engine was built for another {what}: {then}, here it is {now}; run `" in str(caught.value)


def test_what_is_to_be_built_again_is_told_as_it_was_built(machine: Machine, folder: Path) -> None:
    build_engine(folder, "tensorrt", "fp32", means=Means(portable=True, apart=True, workspace_mb=512))
    machine.version = "tensorrt 11.0.0"
    with pytest.raises(
        ArtefactError,
        match="--recipe tiny --backend tensorrt --precision fp32 --portable --apart --workspace-mb 512`",
    ):
        open_backend(folder, "tensorrt")


def test_a_portable_plan_is_bound_to_its_operating_system(
    machine: Machine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(building, "os_name", lambda: "Windows AMD64")
        build_engine(folder, "tensorrt", "fp32", means=Means(portable=True))
    with pytest.raises(ArtefactError, match="another operating system: Windows AMD64, here it is "):
        open_backend(folder, "tensorrt")


def test_portable_by_hand_moves_no_cpus_engine(folder: Path) -> None:
    build_engine(folder, "onnxruntime")
    file = folder / "manifest.toml"
    text = file.read_text().replace('precision = "fp32"', 'precision = "fp32"\nportable = true')
    file.write_text(re.sub('^version = ".*"$', 'version = "1.0"', text, flags=re.M))
    with pytest.raises(ArtefactError, match=r"another library version: 1\.0, here it is "):
        open_backend(folder, "onnxruntime")
