"""Every link of a page leads somewhere: its file is there, and so is the heading that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def prose(page: Path) -> str:
    """A page without its blocks of code, in which nothing is a link or a heading."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Where links and pictures lead to, but for other sites; code in backticks holds none."""
    targets = re.findall(r"\]\(([^()\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """What headings are called in a link, as GitHub makes it of their words; a second of a name has -1."""
    made: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        plain = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        while (name := f"{plain}-{number}" if number else plain) in made:
            number += 1
        made.add(name)
    return made


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def test_every_page_is_reached_from_the_readme() -> None:
    reached, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        reached.add(page)
        files = [(page.parent / target.partition("#")[0]).resolve() for target in links(page)]
        todo += [file for file in files if file.suffix == ".md" and file not in reached]
    assert [page for page in PAGES if page not in reached] == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    """The test above can fail: a file that isn't there, and a heading that isn't."""
    page = tmp_path / "page.md"
    page.write_text(
        "# One `x`, two\n[a](#one-x-two) [b](#three) [c](gone.md) `[d](code.md)`\n```\n[e](code.md)\n```\n"
    )
    assert links(page) == ["#one-x-two", "#three", "gone.md"]
    assert anchors(page) == {"one-x-two"}
    with pytest.raises(AssertionError, match=r"#three.*gone\.md"):
        test_every_link_leads_somewhere(page)
