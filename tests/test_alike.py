"""Good images that are not alike are named; real good images, however they vary, are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inspector.errors import DataError
from inspector.images.reading import Cut, Image, ImageFile, open_data, read_image
from inspector.learning.alike import refuse_unlike
from inspector.learning.split import hold_back
from inspector.records import U8
from tests.small_recipe import weave

LIGHT = "; take out what differs, or take all images anew under one light and exposure"
NOTHING = "; take out what shows nothing"
SCALE = "; take out what differs, or let --resize bring all images to one size"


def named(pixels: Sequence[U8]) -> list[Image]:
    return [
        Image(ImageFile(Path(f"good/{n}.png"), "good"), one, str(n), str(n)) for n, one in enumerate(pixels)
    ]


def cloth(count: int, *odd: U8) -> list[Image]:
    """``count`` images of one weave, about grey 120, and the odd ones after them."""
    return named([*(weave(seed, 128, 192) for seed in range(count)), *odd])


def brighter(factor: float) -> U8:
    return np.clip(weave(99, 128, 192) * factor, 0, 255).astype(np.uint8)


def refusal(images: Sequence[Image], *, squeezed: bool = False) -> str:
    with pytest.raises(DataError) as caught:
        refuse_unlike(images, squeezed=squeezed)
    return str(caught.value)


@pytest.mark.parametrize("count", [4, 5, 30])
@pytest.mark.parametrize(
    ("odd", "sentence"),
    [
        (
            np.full((128, 192), 120, np.uint8),
            ": 0.0 greys of contrast, but the median of all images is 7.8 greys of contrast" + NOTHING,
        ),
        (
            np.where(weave(99, 128, 192) > 120, 255, 0).astype(np.uint8),
            ": 100 % black or white, but the median of all images is 0 % black or white" + LIGHT,
        ),
        (
            brighter(0.3),
            ": grey 35 on average, but the median of all images is grey 120 on average" + LIGHT,
        ),
        (
            brighter(1.8),
            ": grey 215 on average, but the median of all images is grey 120 on average" + LIGHT,
        ),
        (
            weave(99, 128, 400),
            ": 400 px wide, but the median of all images is 192 px wide" + SCALE,
        ),
        (weave(99, 60, 192), ": 60 px high, but the median of all images is 128 px high" + SCALE),
    ],
    ids=["blank", "saturated", "dark", "bright", "wide", "low"],
)
def test_one_image_that_is_unlike_the_rest_is_named(count: int, odd: U8, sentence: str) -> None:
    said = refusal(cloth(count, odd))
    assert said.startswith(f"good/{count}.png: ")
    assert said.endswith(sentence)


def test_colour_images_are_held_against_each_other_too() -> None:
    rosy = [np.repeat(weave(seed, 64, 64)[..., None], 3, axis=2) // [1, 2, 2] for seed in range(6)]
    images = named([one.astype(np.uint8) for one in rosy])
    refuse_unlike(images, squeezed=False)
    bright = named([*(one.astype(np.uint8) for one in rosy), np.minimum(rosy[0] * 2, 250).astype(np.uint8)])
    assert refusal(bright).startswith("good/6.png: grey 158 on average, but ")


def test_all_that_differ_are_named_up_to_five() -> None:
    said = refusal(cloth(40, *[brighter(0.2)] * 3))
    assert said.startswith("good/40.png, good/41.png, good/42.png: grey 24 on average, grey 24 ")
    said = refusal(cloth(40, *[np.zeros((128, 192), np.uint8)] * 7))
    assert said.startswith(
        "good/40.png, good/41.png, good/42.png, good/43.png, good/44.png and 2 more: 0.0 greys of contrast, "
    )


def test_sizes_may_differ_where_images_are_squeezed() -> None:
    images = cloth(6, weave(99, 500, 500))
    refuse_unlike(images, squeezed=True)
    assert refusal(images).startswith("good/6.png: 500 px wide")


@pytest.mark.parametrize(
    "images",
    [
        [],
        cloth(1),
        named([weave(0, 64, 64)] * 6),
        # A second light that many images have, a lamp that ages, sizes within a factor of two, a smooth web.
        cloth(7, brighter(0.4), brighter(0.4)),
        named([(weave(n, 64, 64) * (1 - n / 24)).astype(np.uint8) for n in range(20)]),
        cloth(6, weave(99, 65, 192), weave(99, 128, 380)),
        named([np.full((64, 64), 100 + n % 3, np.uint8) for n in range(6)]),
        named([weave(n, 64, 64) // (12 if n == 3 else 6) + 80 for n in range(6)]),
    ],
    ids=["none", "one", "the same", "two lights", "drift", "sizes", "all blank", "faint"],
)
def test_what_good_web_may_do_is_not_refused(images: list[Image]) -> None:
    refuse_unlike(images, squeezed=False)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (
            cloth(8, *[brighter(0.3)] * 4),
            "4 of 12 good images look otherwise (good/8.png, good/9.png, good/10.png, good/11.png: grey 35 on average, "
            "the median of all grey 119 on average) and are learnt as a look of this web; if the line never shows it"
            + LIGHT.replace(";", ","),
        ),
        (
            cloth(16, *[weave(99, 128, 768)] * 8),
            "8 of 24 good images look otherwise (good/16.png, good/17.png, good/18.png, good/19.png, good/20.png and 3 "
            "more: 768 px wide, the median of all 192 px wide) and are learnt as a look of this web; if the line never "
            "shows it" + SCALE.replace(";", ","),
        ),
    ],
    ids=["dark", "large"],
)
def test_many_that_differ_are_told_and_learnt(images: list[Image], told: str) -> None:
    assert refuse_unlike(images, squeezed=False) == [told]
    assert refuse_unlike(images[:8], squeezed=False) == []


@pytest.mark.parametrize(
    ("count", "different", "sentence"),
    [
        (0, 0, "good: 0 good images are too few; training wants at least 5, better 20 or more"),
        (1, 1, "good: 1 good image is too few; training wants at least 5, better 20 or more"),
        (
            9,
            1,
            "good: 1 good image (9, but only 1 different) is too few; training wants at least 5, better 20 or more",
        ),
    ],
)
def test_none_one_and_copies_of_one_are_too_few(count: int, different: int, sentence: str) -> None:
    images = [
        replace(image, pixels_sha256=str(n % max(1, different))) for n, image in enumerate(cloth(count))
    ]
    with pytest.raises(DataError) as caught:
        hold_back(images, Cut(64, 32), 0, Path("good"))
    assert str(caught.value) == sentence


PACKS = ("aitex_fabric02", "conveyor_frames_a/frames", "magnetic_tile", "mvtec_grid", "tilda_fabric_a")


@pytest.mark.parametrize("pack", PACKS)
def test_real_good_images_are_alike_in_whatever_part_of_a_pack(shared: Path, pack: str) -> None:
    images = [read_image(file) for file in open_data(shared / "data" / pack).good]
    assert len(images) >= 14
    refuse_unlike(images, squeezed=False)
    for begin in range(0, len(images) - 10, 10):
        refuse_unlike(images[begin : begin + 10], squeezed=True)
