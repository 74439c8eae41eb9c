"""The learning curve: what is trained on, what is fitted, and what is said of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch

from inspector.learning import curve
from inspector.learning.curve import Point, Trend, draw, measure, summary
from inspector.learning.distance import Students
from inspector.learning.distill import Course, Lesson, Standing, look
from inspector.learning.students import build_students
from inspector.learning.teachers import random_teachers
from tests.small_recipe import weave


def test_a_power_law_is_found_again() -> None:
    points = [Point(n, 0.3 * n**-0.25) for n in (5, 10, 20)]
    found = Trend.of(points)
    assert (found.factor, found.power) == (pytest.approx(0.3), pytest.approx(0.25))
    assert found.gain == pytest.approx(1 - 2**-0.25)


@pytest.mark.parametrize(
    ("values", "said", "unsaid"),
    [
        ((0.20, 0.16, 0.12), "twice as many images (80) would bring about 23% less, by a power law", "guess"),
        ((0.12, 0.119, 0.1185), "would bring next to nothing; other rolls", "guess"),
        ((0.12, 0.13, 0.14), "would bring next to nothing; other rolls", "guess"),
        ((0.20, 0.14, 0.16), "these points don't lie on a line, so take that as a guess", "nothing"),
    ],
)
def test_what_is_said_of_it(values: tuple[float, ...], said: str, unsaid: str) -> None:
    points = [Point(n, value) for n, value in zip((10, 20, 40), values, strict=True)]
    text = summary(points, 9)
    assert said in text
    assert unsaid not in text
    assert "disagreement on 9 held-back good images, after about 200 steps each" in text
    assert "    10 images  0." in text
    assert text.endswith("not how well faults are found")


def test_one_point_is_no_curve() -> None:
    assert summary([Point(4, 0.1)], 1).endswith("too few images to tell what more would bring")


def test_the_drawing_is_whole_and_reaches_to_twice_as_many_images() -> None:
    root = ET.fromstring(draw([Point(5, 0.2), Point(10, 0.15), Point(20, 0.12)]))
    space = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{space}circle")) == 3
    said = [text.text for text in root.iter(f"{space}text")]
    assert {"0.2", "0.15", "0.12", "40", "good images learnt from"} <= set(said)


def test_parts_of_the_images_are_learnt_whole_and_from_the_same_students(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted and asked for again, the curve is the same; all of the images disagree least."""
    teachers = random_teachers("balanced", 1, 0)

    def silent(done: int, total: int, note: str = "") -> None:
        notes.append(note)

    notes: list[str] = []
    tiles = np.stack([weave(n, 64, 64) // (1 + n // 2 % 4) for n in range(16)])
    training = look(teachers, tiles, silent)
    validation = look(teachers, tiles[::2] + 1, silent)
    image_of = np.repeat(np.arange(8, dtype=np.int32), 2)
    monkeypatch.setattr(curve, "STEPS", 32)
    seen: list[Lesson] = []
    course = Course(99, 3, "test", patience=1)

    def run(folder: Path, progress: object = silent) -> list[Point]:
        def build() -> torch.nn.Module:
            return build_students("balanced", 1, 3)

        return measure(build, training, image_of, validation, course, folder, progress)  # type: ignore[arg-type]

    distill = curve.distill
    units: list[torch.Tensor] = []

    def watched(students: Students, lesson: Lesson, *given: object, **more: object) -> Standing:
        standing = distill(students, lesson, *given, **more)  # type: ignore[arg-type]
        seen.append(lesson)
        units.append(students.yardsticks[0].deviation)
        return standing

    monkeypatch.setattr(curve, "distill", watched)
    whole = run(tmp_path / "whole")
    assert [point.images for point in whole] == [2, 4, 8]
    assert [len(lesson.tiles) for lesson in seen] == [4, 8, 16]
    assert all(np.array_equal(lesson.tiles, tiles[: len(lesson.tiles)]) for lesson in seen)
    assert all(torch.equal(unit, units[-1]) for unit in units), "one axis has one unit"
    assert whole[-1].disagreement < whole[0].disagreement
    assert any(note.startswith("learning curve, 4 images: loss ") for note in notes)

    def interrupt(done: int, total: int, note: str = "") -> None:
        if note.startswith("learning curve, 4") and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", interrupt)
    assert run(tmp_path / "broken") == whole


@pytest.mark.parametrize(("images", "steps"), [(320, 160), (160, 200), (24, 198), (9, 201)])
def test_every_point_takes_as_many_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int, steps: int
) -> None:
    """An image is a tile, and its relit copy; 160 steps are those of the most tiles that are learnt from."""
    lesson = Lesson(np.zeros((2 * images, 8, 8), np.uint8), [torch.zeros(2 * images, 1, 1, 1)])
    taken: list[int] = []

    def count(
        students: object, part: Lesson, validation: Lesson, course: Course, *_: object, **__: object
    ) -> Standing:
        taken.append(course.epochs * -(-len(part.tiles) // course.batch))
        return Standing(best_loss=1.0)

    monkeypatch.setattr(curve, "distill", count)
    image_of = np.tile(np.arange(images, dtype=np.int32), 2)
    measure(lambda: None, lesson, image_of, lesson, Course(9, 0, "test"), tmp_path, lambda *_: None)  # type: ignore[arg-type, return-value]
    assert taken[-1] == steps
    assert taken == pytest.approx([steps] * 3, rel=0.02)
