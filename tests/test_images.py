"""Images in: what is taken, what is refused and how it is said."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.errors import ConfigError, DataError
from inspector.images.reading import (
    Cut,
    ImageFile,
    canvas,
    canvas_mask,
    cut_tiles,
    lay_tiles,
    open_data,
    read_image,
    read_images,
    read_mask,
)
from inspector.images.scoring import read_for

RNG = np.random.default_rng(7)
GREY = RNG.integers(0, 256, (96, 130), np.uint8)
COLOUR = RNG.integers(0, 256, (96, 130, 3), np.uint8)


def saved(path: Path, pixels: np.ndarray) -> ImageFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return ImageFile(path, "good")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp"])
def test_lossless_formats_come_back_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    assert np.array_equal(read_image(saved(tmp_path / f"a{suffix}", GREY)).pixels, GREY)
    colour = read_image(saved(tmp_path / f"b{suffix}", COLOUR[..., ::-1]))
    assert np.array_equal(colour.pixels, COLOUR)
    assert (colour.channels, len(colour.sha256)) == (3, 64)


def test_jpeg_is_read(tmp_path: Path) -> None:
    assert read_image(saved(tmp_path / "a.jpg", GREY)).pixels.shape == GREY.shape


def test_opaque_alpha_and_grey_in_colour_files_are_mono(tmp_path: Path) -> None:
    opaque = np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)])
    assert np.array_equal(read_image(saved(tmp_path / "a.png", opaque)).pixels, GREY)


def test_each_refusal_names_the_file_and_what_to_do(tmp_path: Path) -> None:
    whole, jpeg = (cv2.imencode(suffix, GREY)[1].tobytes() for suffix in (".png", ".jpg"))
    pages = tmp_path / "both.tif"
    assert cv2.imwritemulti(str(pages), [GREY, GREY])
    bad: dict[str, tuple[bytes | np.ndarray, str]] = {
        "empty.png": (b"", "is empty"),
        "text.png": (b"hello", "damaged, cut short or no image"),
        "cut.png": (whole[: len(whole) // 2], "damaged, cut short or no image"),
        "cut.jpg": (jpeg[: len(jpeg) * 3 // 4], "damaged, cut short or no image"),
        "pages.tif": (pages.read_bytes(), "holds several pages; save each as a file of its own"),
        "deep.png": (GREY.astype(np.uint16) * 256, "16 bits"),
        "glass.png": (np.dstack([COLOUR, GREY]), "transparent"),
    }
    for name, (content, words) in bad.items():
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            saved(tmp_path / name, content)
        with pytest.raises(DataError) as told:
            read_image(ImageFile(tmp_path / name, "good"))
        assert name in str(told.value)
        assert words in str(told.value)
    latin = Path(os.fsdecode(bytes(tmp_path) + b"/b\xe9.tif"))
    latin.write_bytes(pages.read_bytes())
    with pytest.raises(DataError, match=r"b\\udce9\.tif: its name is not UTF-8; rename it"):
        read_image(ImageFile(latin, "good"))
    with pytest.raises(DataError, match=r"gone\.png.*No such file"):
        read_image(ImageFile(tmp_path / "gone.png", "good"))


def test_grey_and_colour_are_not_mixed(tmp_path: Path) -> None:
    files = [saved(tmp_path / "a.png", GREY), saved(tmp_path / "b.png", COLOUR)]
    with pytest.raises(DataError, match=r"b\.png: a colour image, but a\.png is grey"):
        read_images(files)
    with pytest.raises(DataError, match=r"a\.png: a grey image, but the recipe is colour"):
        read_images(files, 3)


def test_a_black_or_blown_out_frame_of_a_colour_camera_is_one_of_its_frames(tmp_path: Path) -> None:
    black, white = (
        saved(tmp_path / f"{grey}.png", np.full((96, 130, 3), grey, np.uint8)) for grey in (0, 255)
    )
    colour = saved(tmp_path / "colour.png", COLOUR)
    assert [one.pixels.shape for one in read_images([black, white], 3)] == [COLOUR.shape] * 2
    assert [one.channels for one in read_images([black, colour, white])] == [3, 3, 3]
    assert [one.pixels.shape for one in read_images([black, white])] == [GREY.shape] * 2
    assert [one.channels for one in read_images([black, saved(tmp_path / "grey.png", GREY)])] == [1, 1]
    assert read_image(black).channels == 1
    assert read_for(black, 3).channels == 3


def test_grey_images_in_three_channels_take_the_memory_of_one(tmp_path: Path) -> None:
    files = [
        saved(tmp_path / f"{n}.bmp", np.dstack([np.full((512, 512), 90 + n, np.uint8)] * 3))
        for n in range(16)
    ]
    tracemalloc.start()
    try:
        images = read_images(files)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(one.pixels.nbytes for one in images) == 16 * 512 * 512
    assert most < 2 * 16 * 512 * 512, "all in three channels are three times as much"


def test_a_grey_frame_among_colours_is_as_if_it_had_never_been_grey(tmp_path: Path) -> None:
    colour, black = (
        saved(tmp_path / f"{name}.png", pixels)
        for name, pixels in (("a", COLOUR), ("b", np.zeros_like(COLOUR)))
    )
    _, one = read_images([colour, black])
    assert (one.pixels.shape, one.pixels_sha256) == (COLOUR.shape, read_images([black], 3)[0].pixels_sha256)


def test_one_picture_has_one_hash_of_its_pixels_in_whatever_lossless_file(tmp_path: Path) -> None:
    loose, tight = tmp_path / "loose.png", tmp_path / "tight.png"
    for file, level in ((loose, 1), (tight, 9)):
        assert cv2.imwrite(str(file), GREY, [cv2.IMWRITE_PNG_COMPRESSION, level])
    in_three = saved(tmp_path / "three.bmp", np.dstack([GREY] * 3))
    images = [read_image(one) for one in (ImageFile(loose, "good"), ImageFile(tight, "good"), in_three)]
    assert len({one.sha256 for one in images}) == 3
    assert len({one.pixels_sha256 for one in images}) == 1
    assert images[1].is_among({images[0].pixels_sha256})
    assert images[1].is_among({images[1].sha256})
    turned = read_image(saved(tmp_path / "turned.png", GREY.reshape(130, 96)))
    assert not turned.is_among({one.pixels_sha256 for one in images}), "the same bytes in another shape"


def test_a_tree_and_a_plain_folder(tmp_path: Path) -> None:
    for name in ("train/good/b", "train/good/a", "test/good/c", "test/hole/d", "ground_truth/hole/d_mask"):
        saved(tmp_path / f"{name}.png", GREY)
    (tmp_path / "train/good/notes.txt").write_text("no image")
    tree = open_data(tmp_path)
    assert [file.path.name for file in tree.good] == ["a.png", "b.png"]
    assert [(file.kind, file.mask is not None) for file in tree.test] == [("good", False), ("hole", True)]
    plain = open_data(tmp_path / "train/good")
    assert [file.path.name for file in plain.good] == ["a.png", "b.png"]
    assert plain.test == ()


def test_what_is_not_looked_at_is_told(tmp_path: Path) -> None:
    saved(tmp_path / "sub/a.png", GREY)
    for name in ("roll2/b.png", "roll2/deeper/c.tif"):
        saved(tmp_path / "sub" / name, GREY)
    for name in (".DS_Store", "d.webp", "E.WEBP", "readme", "roll3/notes.txt"):
        (tmp_path / "sub" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "sub" / name).write_text("no image")
    files, folder = open_data(tmp_path / "sub").good_overlooked
    assert files.startswith(
        f"3 files in {tmp_path}/sub are no images that this program reads (.webp, without a suffix); save them as .png"
    )
    assert folder.startswith(f"{tmp_path}/sub/roll2 holds 2 images that are not looked at; ")
    tree = tmp_path / "tree"
    for name in ("train/good/a.png", "train/good/roll2/b.png", "test/knot/c.png", "test/knot/roll2/d.png"):
        saved(tree / name, GREY)
    (beside_good,), (beside_test,) = open_data(tree).good_overlooked, open_data(tree).test_overlooked
    assert beside_good.startswith(f"{tree}/train/good/roll2 holds 1 images")
    assert beside_test.startswith(f"{tree}/test/knot/roll2 holds 1 images")


def test_good_in_capitals_is_no_kind_of_fault(tmp_path: Path) -> None:
    saved(tmp_path / "test/Good/c.png", GREY)
    with pytest.raises(
        DataError, match="test/Good: good web lies in a folder 'good', and this would be a fault"
    ):
        open_data(tmp_path)


def test_no_folder_and_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_data(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no images here"):
        open_data(tmp_path)


def test_masks(tmp_path: Path) -> None:
    truth = np.zeros(GREY.shape, np.uint8)
    truth[10, 10] = 255
    mask = saved(tmp_path / "m.png", truth).path
    assert read_mask(ImageFile(tmp_path / "x.png", "hole", mask), GREY.shape).sum() == 1
    assert not read_mask(ImageFile(tmp_path / "x.png", "good"), GREY.shape).any()
    with pytest.raises(DataError, match=r"m\.png: the mask is 130x96 px but its image 50x40"):
        read_mask(ImageFile(tmp_path / "x.png", "hole", mask), (40, 50))
    with pytest.raises(DataError, match="no mask"):
        read_mask(ImageFile(tmp_path / "x.png", "hole"), GREY.shape)
    for dark in (1, 127):
        saved(mask, np.where(truth > 0, dark, 0).astype(np.uint8))
        with pytest.raises(
            DataError, match=rf"m\.png: no pixel of the mask is above 127, but some are {dark}, not 0"
        ):
            read_mask(ImageFile(tmp_path / "x.png", "hole", mask), GREY.shape)
    two = truth.copy()
    two[30:34, 40:44] = 100
    saved(mask, two)
    told: list[str] = []
    assert read_mask(ImageFile(tmp_path / "x.png", "hole", mask), GREY.shape, told.append).sum() == 1
    assert told == [f"{mask} at column 40, row 30"]
    two[30:34, 40:44] = 40  # a speck of lossy compression
    two[10, 11] = 100  # a rim
    saved(mask, two)
    assert read_mask(ImageFile(tmp_path / "x.png", "hole", mask), GREY.shape, told.append).sum() == 1
    assert len(told) == 1
    saved(mask, np.zeros_like(truth))
    assert not read_mask(ImageFile(tmp_path / "x.png", "hole", mask), GREY.shape).any(), (
        "no fault, but drawn so"
    )
    squeezed = canvas_mask(truth > 0, Cut(32, 16, resize=32))
    assert squeezed.any(), "a fault of one pixel must survive the squeeze"


@pytest.mark.parametrize("corner", range(4))
def test_squeezed_masks_lose_no_fault_and_leave_none_in_pieces(corner: int) -> None:
    """A small fault beside a large one, and a scratch of two pixels: nearest pixels alone miss or shatter them."""
    truth = np.zeros((1024, 1024), np.bool_)
    truth[600:700, 600:800] = True
    truth[100 + corner : 102 + corner, 500 + corner : 502 + corner] = True
    along = np.arange(200, 500)
    truth[along, along] = truth[along, along + 1] = True
    squeezed = canvas_mask(truth, Cut(256, 32, resize=256))
    faults, labels = cv2.connectedComponents(squeezed.astype(np.uint8), connectivity=8)
    assert faults - 1 == 3
    assert labels[25:27, 125:127].any()
    alone = np.zeros_like(truth)
    alone[600:700, 600:800] = True
    assert canvas_mask(alone, Cut(256, 32, resize=256)).sum() == 25 * 50, (
        "a fault of some size stays as large as it is"
    )


def test_tiles_hold_real_neighbours_and_mirror_only_at_the_edges(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path / "a.png", GREY))
    tiles = cut_tiles(image, Cut(32, 8), lay_tiles(image, Cut(32, 8)))
    mirrored = np.pad(GREY, ((8, 8), (8, 10)), "reflect")  # right edge filled up to whole cells of 4 px
    assert tiles.shape == (3 * 5, 48, 48)
    rows, columns = (0, 32, 64), (0, 32, 64, 96, 100)
    expected = [mirrored[r : r + 48, c : c + 48] for r in rows for c in columns]
    assert np.array_equal(tiles, np.stack(expected))


def test_tiles_cut_astray_are_the_webs_own_pixels_at_other_places(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path / "a.png", GREY))
    how = Cut(32, 8)
    laid = lay_tiles(image, how)
    tiles, again = (cut_tiles(image, how, laid.astray(how, np.random.default_rng(1))) for _ in range(2))
    assert np.array_equal(tiles, again)
    mirrored = np.pad(GREY, ((8, 8), (8, 10)), "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(mirrored, (48, 48))
    rows, columns = np.repeat((0, 32, 64), 5), np.tile((0, 32, 64, 96, 100), 3)
    moved = 0
    for tile, row, column in zip(tiles, rows, columns, strict=True):
        places = np.argwhere((windows == tile).all((2, 3)))
        assert (np.abs(places - (row, column)).max(1) <= 16).any(), "up to half a stride off its place"
        moved += not (places == (row, column)).all(1).any()
    assert moved > 10


def test_resize_makes_one_tile_of_a_whole_image(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path / "a.png", COLOUR))
    how = Cut(64, 16, resize=64)
    tiles = cut_tiles(image, how, lay_tiles(image, how))
    assert tiles.shape == (1, 96, 96, 3)
    assert np.array_equal(tiles[0, 16:80, 16:80], canvas(image.pixels, how))


def test_tiles_that_cannot_be_cut(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path / "small.png", GREY))
    with pytest.raises(
        DataError, match=r"small\.png: 130x96 px is smaller than a tile of 128 px.*--resize 128"
    ):
        lay_tiles(image, Cut(128, 16))
    with pytest.raises(ConfigError, match="--resize 64 is smaller than a tile"):
        Cut(128, 16, resize=64)
    with pytest.raises(ConfigError, match="don't divide into cells"):
        Cut(30, 8)
    with pytest.raises(ConfigError, match="overlap"):
        Cut(32, 8, overlap_px=20)
