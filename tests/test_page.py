"""The report as a browser reads it: whole, self-contained, and every number one that the JSON has too."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from inspector.config import Site
from inspector.evaluating.evaluate import evaluate
from inspector.evaluating.gallery import figure, sections
from inspector.evaluating.operating import line_under_test
from inspector.evaluating.panels import Shown, picture_name
from inspector.evaluating.peaks import Peaks
from inspector.evaluating.report import Evaluation
from inspector.images import plots
from inspector.images.plots import Group, Series
from tests.flat_tree import make_flat_tree, set_limit, write
from tests.small_recipe import make_recipe, make_site, weave

VOID = {"meta", "img", "br", "line", "rect", "circle", "polyline"}
IDS = ("summary", "figures-by-kind", "by-kind", "by-size", "points")  # whose numbers are the evaluation's


class Page(HTMLParser):
    """Refuses tags that don't close in order; keeps links, words by section, and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.images: list[str] = []
        self.words: dict[str, list[str]] = {"": []}
        self.headings: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert tag not in {"script", "link", "iframe", "object", "base"}
        self.links += [value for name in ("src", "href") if (value := given.get(name))]
        if tag == "img":
            assert given["alt"]
            self.images.append(unquote(given["src"] or ""))
        if tag not in VOID:
            self.open.append((tag, given.get("id") or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1][0] in {"h2", "h3"}:
            self.headings.append(data)
        if not any(tag in {"style", "svg"} for tag, _ in self.open):
            section = next((name for _, name in self.open if name), "")
            self.words.setdefault(section, []).append(data)


def numbers(told: Any) -> Iterator[float]:
    """All in the JSON."""
    if isinstance(told, dict):
        told = list(told.values())
    if isinstance(told, list | tuple):
        for one in told:
            yield from numbers(one)
    elif isinstance(told, int | float) and not isinstance(told, bool):
        yield float(told)


def is_one_of(said: str, known: list[float]) -> bool:
    """Whether a number, rounded as it is written, is one of those; counts may be sums of two."""
    digits = len(said.partition(".")[2].partition("e")[0])
    value, scale = float(said), 10 ** math.floor(math.log10(abs(float(said)))) if float(said) else 1.0
    rounding = 0.5 * 10.0**-digits * (scale if "e" in said else 1.0)
    if not digits and value >= 1000:
        rounding = 0.5 * scale / 100  # three significant digits
    return any(abs(one - value) <= rounding * (1 + 1e-9) for one in known)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = make_site(tmp_path_factory.mktemp("page"))
    make_recipe(site, "stripes")
    set_limit(site)
    return site


@pytest.fixture(scope="module")
def reported(site: Site) -> tuple[Evaluation, Path]:
    """A tree with names that HTML and URLs would stumble over, at the limit of a line."""
    tree = make_flat_tree(site.root / "tree & <Söhne>")
    strange = tree / "test/hole/a #1 <50%> \"b\" & 'c'.png"
    write(strange, cv2.imread(str(tree / "test/hole/0.png"), cv2.IMREAD_GRAYSCALE))
    write(tree / "test/good/0.bmp", weave(0, 128, 256))  # the same stem twice
    folder = site.root / "out"
    line = line_under_test(site, "1", "stripes")
    return evaluate(tree, site.engines / "stripes", line=line, pictures=folder), folder


def test_the_page_is_whole_and_needs_nothing_else(reported: tuple[Evaluation, Path]) -> None:
    result, folder = reported
    text = (folder / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.images) == len(set(page.images)) == result.images == 8
    for file in page.images:
        assert (
            cv2.imdecode(np.frombuffer((folder / file).read_bytes(), np.uint8), cv2.IMREAD_COLOR) is not None
        )
    assert {unquote(link) for link in page.links} == set(page.images)
    assert "@import" not in text
    assert "url(" not in text
    assert set(re.findall(r"https?://[^\"]+", text)) == {
        "http://www.w3.org/2000/svg"
    }  # a name, never fetched


@pytest.fixture(scope="module")
def at_rate(site: Site) -> tuple[Evaluation, Path]:
    """The same with good tiles enough to show a rate of 1000 false alarms per 100 m."""
    tree = make_flat_tree(site.root / "more good")
    for number in range(14):
        write(tree / f"test/good/w{number}.png", weave(number, 128, 256))
    folder = site.root / "at rate"
    line = line_under_test(site, "1", "stripes")
    return evaluate(tree, site.engines / "stripes", line=line, pictures=folder), folder


@pytest.mark.parametrize("pack", ["reported", "at_rate"])
def test_every_number_of_the_tables_is_in_the_json(pack: str, request: pytest.FixtureRequest) -> None:
    result, folder = request.getfixturevalue(pack)
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    known = list(numbers(result.to_json()))
    # Counts of "n of N": N is the sum of a confusion's halves.
    counts = [one for one in known if one == int(one)]
    known += [a + b for a in counts for b in counts]
    explained = {
        "0",
        "0.3",
        "0.5",
        "1",
        "95",
        "100",
    }  # of the words: an interval of 95 %, per 100 m, 0 to 0.3
    for section in IDS:
        words = " ".join(page.words[section])
        words = words.replace(result.limit_source, "")
        found = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]\d+)?", words)
        assert len(found) > 5, section
        for said in found:
            assert said in explained or is_one_of(said, known), (section, said)


def test_escapes_at_a_rate_by_type_and_by_size(at_rate: tuple[Evaluation, Path]) -> None:
    result, folder = at_rate
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    words = page.words["points"]
    assert result.evaluation_operating_points is not None
    escapes = result.evaluation_operating_points[0].escapes
    assert escapes is not None
    stain = escapes.by_kind["stain"]
    assert (stain.images_escaped, stain.faults_escaped, stain.images_escaped_share_ci95) == (0, 1, None)
    at = words.index("stain")
    assert words[at : at + 4] == ["stain", "0 of 2", "1 of 2", "0.00 to 1.00"]
    at = words.index("from 64")
    assert words[at : at + 3] == ["from 64", "from 12.8", "1 of 1"]
    assert page.headings.count("By type") == page.headings.count("By size") == 1
    assert "images escaped at 1000" in words
    assert "images escaped at 100" not in words  # which these tiles can't show


def test_the_page_says_what_was_measured_with_what(reported: tuple[Evaluation, Path]) -> None:
    result, folder = reported
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    words = " ".join(page.words["provenance"])
    for fact in (
        result.recipe,
        result.onnx_sha256,
        f"{result.backend} {result.backend_version}, {result.precision}",
        "tree & <Söhne>",
        "0 px",
        "native resolution",
        result.date_utc,
        "0.2 mm/px, 31250 tiles per 100 m",
        f"10.0000 sigma ({result.limit_source})",
    ):
        assert fact in words
    assert "Evaluation operating points, no limits." in "".join(page.words["points"])
    assert page.headings == [
        "Figures",
        "At the limit",
        "Figures, by type",
        "Escapes at the limit, by type",
        "Escapes at the limit, by size",
        "Escapes at fixed rates of false alarms",
        "Scores",
        "ROC and PRO",
        "Pictures",
        "Best found",
        "Worst escapes",
        "Good images nearest the limit",
        "What was measured",
    ]


def test_pictures_come_in_the_order_to_look_at_them(reported: tuple[Evaluation, Path]) -> None:
    _, folder = reported
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    best = ["stain-1.png", "hole-a #1 <50%> \"b\" & 'c'.png"]  # found whole; above the limit without a mask
    worst = ["hole-1.png", "stain-0.png", "hole-0.png"]  # escaped; off the fault; found in part
    good = ["good-1.png", "good-0-2.png", "good-0.png"]  # a false alarm first; of one stem come two files
    assert set(page.images[:2]) == set(best)
    assert page.images[2:5] == worst
    assert page.images[5] == good[0]
    assert set(page.images[5:]) == set(good)
    words = "".join(page.words[""])
    assert "off the fault" in words
    assert "false alarm" in words
    assert "above the limit, no mask" in words


def test_without_a_limit_the_page_says_so(site: Site, tmp_path: Path) -> None:
    result = evaluate(
        make_flat_tree(tmp_path / "tree"),
        site.engines / "stripes",
        backend="onnxruntime",
        overlap_px=0,
        pictures=tmp_path / "out",
    )
    page = Page((tmp_path / "out/index.html").read_text(encoding="utf-8"))
    assert "No limit: nothing is held against one here." in "".join(page.words["summary"])
    assert "A limit never comes from test images." in "".join(page.words["summary"])
    assert {"of good tiles", "10%", "images escaped at 10%"} <= set(page.words["points"])
    assert "Faulty images with the lowest scores" in page.headings
    assert len(page.images) == result.images


def test_a_tree_without_masks_or_good_images_still_has_a_page(site: Site, tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"tree/test/hole/{number}.png", weave(number, 128, 256))
    line = line_under_test(site, "1", "stripes")
    evaluate(tmp_path / "tree", site.engines / "stripes", line=line, pictures=tmp_path / "out")
    page = Page((tmp_path / "out/index.html").read_text(encoding="utf-8"))
    assert len(page.images) == 2
    assert "2 faulty images without a mask" in "".join(page.words[""])


def shown(kind: str, name: str, *peaks: float) -> Shown:
    return Shown(name, Peaks(f"{kind}/{name}", kind, np.array(peaks), None, ()), None, 0.0)


@pytest.mark.parametrize(("median", "is_told"), [(2.9, False), (3.0, True)])
def test_a_picture_that_is_unlike_as_a_whole_says_so(median: float, is_told: bool) -> None:
    caption = figure(replace(shown("hole", "h", 30.0), median=median), 20.0)
    assert (f"as a whole unlike what was learnt (median {median})" in caption) == is_told


@pytest.mark.parametrize(
    ("faulty", "said"), [(None, "above the limit, no mask"), (False, "above the limit, but off the fault")]
)
def test_a_mask_outside_the_region_is_not_found(faulty: bool | None, said: str) -> None:
    tiles_faulty = None if faulty is None else np.array([faulty])
    one = Shown("h", Peaks("hole/h", "hole", np.array([30.0]), tiles_faulty, ()), None, 0.0)
    assert said in figure(one, 20.0)
    assert [part.title for part in sections([one], 20.0)] == [
        "Best found" if faulty is None else "Worst escapes"
    ]


def test_long_galleries_show_each_picture_once() -> None:
    many = [shown("good", f"g{n}", n) for n in range(30)] + [shown("hole", f"h{n}", n) for n in range(60)]
    for limit in (None, 20.5):
        parts = sections(many, limit)
        names = [one.file for part in parts for one in part.shown]
        assert sorted(names) == sorted(one.file for one in many)
        assert parts[0].shown[0].file == "h59"
        assert parts[1].shown[0].file == "h0"
        assert [one.file for one in parts[2].shown] == ["g29", "g28", "g27", "g26", "g25", "g24"]
        assert [len(part.shown) for part in parts] == [6, 12, 6, 66]


def test_pictures_never_share_a_file() -> None:
    taken: list[str] = []
    for kind, stem in (("a", "b"), ("a", "b"), ("a", "b-2"), ("a-b", "c"), ("a", "b-c")):
        taken.append(picture_name(kind, stem, taken))
    assert len(set(taken)) == 5
    assert taken[:2] == ["a-b.png", "a-b-2.png"]


def rects(svg: str) -> list[tuple[float, ...]]:
    return [
        tuple(map(float, found))
        for found in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg)
    ]


def test_bars_of_a_histogram_are_the_counts() -> None:
    groups = [
        Group("good", np.repeat([1.0, 5.0], [4, 2]), "#111111"),
        Group("faulty", np.array([9.0]), "#222222"),
    ]
    svg = plots.histogram(groups, 7.0, "tiles")
    heights = [height for _, _, _, height in rects(svg)]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert len(heights) == 3
    assert "limit 7.00" in svg
    assert "log scale" not in svg
    assert "6 good" in svg


def test_scores_far_out_share_the_last_bin() -> None:
    groups = [
        Group("good", np.arange(200) / 100, "#111111"),
        Group("faulty", np.array([3.0, 1e6]), "#222222"),
    ]
    svg = plots.histogram(groups, None, "tiles")
    assert "the last bin holds all from" in svg
    assert "1e+06" not in svg
    assert all(x + width <= plots.HISTOGRAM_PX for x, _, width, _ in rects(svg))


@pytest.mark.parametrize("scores", [[0.0], [-3.0, -3.0], [5.0] * 100])
def test_histograms_of_next_to_nothing(scores: list[float]) -> None:
    groups = [Group("good", np.array(scores), "#111111"), Group("faulty", np.zeros(0), "#222222")]
    assert rects(plots.histogram(groups, None, "images"))


def test_a_curve_keeps_its_corners() -> None:
    """A hundred thousand points drawn as a few hundred: steps stay steps."""
    x = np.repeat([0.0, 0.5, 1.0], [1, 60_000, 40_001])
    y = np.concatenate([[0.0], np.linspace(0, 0.8, 60_000), np.linspace(0.8, 1, 40_001)])
    svg = plots.curves([Series("ROC", x, y, "#111111")], "x", "y", 1.0, (0.5, 0.8), "a curve")
    (points,) = re.findall(r'<polyline points="([^"]+)"', svg)
    drawn = [tuple(map(float, point.split(","))) for point in points.split()]
    assert len(drawn) < 1000
    middle = {px for px, _ in drawn}
    assert len(middle) == 3  # nothing between 0, 0.5 and 1: no slope where there was a step
    assert "images at the limit" in svg


def test_bars_show_shares() -> None:
    assert plots.bar(1, 4).count("<rect") == 2
    assert plots.bar(0, 4).count("<rect") == 1
    assert plots.bar(4, 4).count("<rect") == 1
    assert plots.bar(0, 0).count("<rect") == 0


def test_warnings_stand_on_top(site: Site, tmp_path: Path) -> None:
    from inspector.evaluating.collect import Curves
    from inspector.evaluating.page import Report, page

    result = evaluate(
        make_flat_tree(tmp_path / "tree"), site.engines / "stripes", backend="onnxruntime", overlap_px=0
    )
    warned = replace(result, warnings=("trained <otherwise>",))
    text = page(Report(warned, [], Curves(None, None, None), []))
    assert text.index("Trained &lt;otherwise&gt;.") < text.index("<h2>Figures</h2>")
    Page(text)
