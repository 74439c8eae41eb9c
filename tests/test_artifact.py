"""Recipes and manifests on disk: read back as written, whole or not at all, refused in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from inspector.backends.artifact import (
    SCHEMA,
    BuiltEngine,
    Manifest,
    load_manifest,
    load_recipe,
    see_that_it_takes_files,
    sha256_of,
    write_atomically,
    write_manifest,
    write_recipe,
)
from inspector.errors import ArtefactError
from tests.conftest import ROOT
from tests.graphs import write_tiny_recipe

ENGINE = BuiltEngine(
    precision="fp32",
    version="1.0",
    device="CPU",
    os="Linux x86_64",
    built_utc="2000-01-01T00:00:00+00:00",
    tiles="32 px",
    onnx_sha256="a" * 64,
    golden_sha256="b" * 64,
    golden_reference=(1.5, -2.25e-7, 3e38),
    golden_scores=(1.0, 0.1, 3e38),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "engines" / "tiny"


def test_a_recipe_is_read_back_as_written(folder: Path) -> None:
    recipe = write_tiny_recipe(folder)
    assert load_recipe(folder) == recipe
    strange = {'a "quoted" näme\\with.dots/0.png': "3" * 64, "del\x7f.png": "4" * 64}
    training = msgspec.structs.replace(recipe.training, learnt=strange, mm_per_px=0.1, resize=256, seed=0)
    write_recipe(folder, msgspec.structs.replace(recipe, training=training))
    assert load_recipe(folder).training == training
    assert load_recipe(folder).learnt_sha256 == {"3" * 64, "4" * 64}


def test_a_recipe_from_before_resize_was_written_down_loads() -> None:
    assert load_recipe(ROOT / "engines/demo").training.resize is None


@pytest.mark.parametrize(("channels", "shape"), [(1, (48, 48)), (3, (48, 48, 3))])
def test_a_recipe_knows_its_tiles(folder: Path, channels: int, shape: tuple[int, ...]) -> None:
    recipe = write_tiny_recipe(folder, channels=channels)
    assert recipe.tile_shape == shape
    assert recipe.cells == 8


def test_a_manifest_is_read_back_to_the_last_digit(folder: Path) -> None:
    planned = msgspec.structs.replace(ENGINE, plan="plans/openvino.plan", plan_sha256="c" * 64)
    manifest = Manifest(schema=SCHEMA, recipe="tiny", engines={"onnxruntime": ENGINE, "openvino": planned})
    write_manifest(folder, manifest)
    assert load_manifest(folder, "build it") == manifest


def test_no_manifest_is_none(folder: Path) -> None:
    assert load_manifest(folder, "build it") is None


def test_a_missing_recipe_names_those_there_are(folder: Path) -> None:
    write_tiny_recipe(folder)
    with pytest.raises(
        ArtefactError, match=r"no such recipe \(there are: tiny\); run `inspector train DATA --recipe tny`"
    ):
        load_recipe(folder.with_name("tny"))


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("schema = 1", "schema = 2", "schema 2, but this inspector reads schema 1"),
        ("schema = 1", "", "schema None, but"),
        ("tile_px = 32", "tile_px = ", "not valid TOML"),
        ("tile_px = 32\n", "", "missing key `tile_px`"),
        ("tile_px = 32", "tile_pix = 32", "unknown key `tile_pix`"),
        ("tile_px = 32", "tile_px = '32'", "tile_px: expected `int`, got `str`"),
        ("tile_px = 32", "tile_px = 33", "tile_px = 33 a multiple of px_per_cell = 4"),
        ("tile_px = 32", "tile_px = 32\nlucky = 7", "unknown key `lucky`"),
        ("channels = 1", "channels = 2", "channels = 2 must be 1 or 3"),
        ("epochs = 0", "epochs = 0\nlucky = 7", "training: unknown key `lucky`"),
        ('name = "tiny"', 'name = "denim"', "this is recipe 'denim' in a folder called 'tiny'"),
        ('onnx_sha256 = "', 'onnx_sha256 = "x', "onnx_sha256: expected"),
    ],
)
def test_a_bad_recipe_is_one_sentence(folder: Path, before: str, after: str, complaint: str) -> None:
    write_tiny_recipe(folder)
    file = folder / "recipe.toml"
    text = file.read_text()
    assert text.count(before) >= 1
    file.write_text(text.replace(before, after, 1))
    with pytest.raises(ArtefactError) as caught:
        load_recipe(folder)
    assert str(caught.value).startswith(f"{file}: ")
    assert complaint in str(caught.value)
    assert "`inspector train DATA --recipe tiny`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_whose_name_no_file_can_have_is_one_sentence(folder: Path) -> None:
    write_manifest(folder, Manifest(schema=SCHEMA, recipe="tiny", engines={"openvino": ENGINE}))
    file = folder / "manifest.toml"
    text = file.read_text()
    assert text.count('tiles = "32 px"') == 1
    file.write_text(text.replace('tiles = "32 px"', 'tiles = "32 px"\nplan = "a\\u0000b"'))
    with pytest.raises(ArtefactError) as caught:
        load_manifest(folder, "build it again")
    assert str(caught.value).startswith(f"{file}: engines[...].plan: ")
    assert str(caught.value).endswith("; build it again")


@pytest.mark.parametrize("data", [b"\xff\xfe garbage", b"\0" * 100, b"PK\x03\x04"])
def test_a_recipe_that_is_no_text(folder: Path, data: bytes) -> None:
    write_tiny_recipe(folder)
    (folder / "recipe.toml").write_bytes(data)
    with pytest.raises(ArtefactError, match="not valid TOML"):
        load_recipe(folder)


def test_writing_makes_the_folder_and_leaves_nothing_beside(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "file.toml"
    write_atomically(file, b"first")
    write_atomically(file, b"second")
    assert file.read_bytes() == b"second"
    assert list(file.parent.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A process that may write no file beyond 4 kB meets the same error as a disk without room."""
    file = tmp_path / "limits.toml"
    file.write_bytes(b"old")
    code = (
        "import resource, sys; from pathlib import Path; from inspector.backends.artifact import write_atomically;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        f"write_atomically(Path({str(file)!r}), b'x' * 10000)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 1
    assert f"{file}: can't be written (File too large), what was there before is untouched" in ran.stderr
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_late_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    file = tmp_path / "recipe.toml"
    file.write_bytes(b"old")

    def full(*arguments: object) -> None:
        raise OSError(28, os.strerror(28))

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ArtefactError, match=r"recipe\.toml: can't be written \(No space left on device\)"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    file, link = tmp_path / "shared/limits.toml", tmp_path / "limits.toml"
    file.write_bytes(b"old")
    link.symlink_to(file)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert sorted(tmp_path.rglob("*")) == sorted([file.parent, file, link])


def test_a_pipe_is_written_into_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, b"figures")
    assert os.read(reader, 100) == b"figures"
    os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_standard_output_is_written_to_by_its_name(tmp_path: Path) -> None:
    """Sent to a file, it is still where others write to before and after."""
    code = (
        "import sys; from pathlib import Path; from inspector.backends.artifact import write_atomically;"
        "print('before', flush=True); write_atomically(Path('/dev/stdout'), b'figures\\n'); print('after')"
    )
    with (tmp_path / "out").open("a") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True, timeout=60)
    assert (tmp_path / "out").read_text() == "before\nfigures\nafter\n"


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtefactError, match=r"can't be written .* mend the path"):
        write_atomically(tmp_path / "file" / "recipe.toml", b"new")


def test_a_folder_that_takes_no_files_is_told_before_anything_is_begun() -> None:
    with pytest.raises(
        ArtefactError, match=r"^/proc/self: no file can be written there \(.*nothing was begun"
    ):
        see_that_it_takes_files(Path("/proc/self"))


def test_digest() -> None:
    assert sha256_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
