"""What tools print into pages: between two marks, so that the words around it stay."""

from __future__ import annotations

from pathlib import Path


def put_between(page: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between two marks of a page."""
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{page}: no {begin} ... {end}; put them where the figures belong")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")
