"""What tools that learn from packs share: a work folder outside the repository, and progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from plant import ROOT


def outside_repository(folder: Path) -> Path:
    """The folder, where neither packs nor what was learnt from them can get into git."""
    work = folder.resolve()
    if work.is_relative_to(ROOT):
        raise SystemExit(
            f"{work} lies in the repository, where recipes learnt from packs may not get; choose another"
        )
    return work


def told(what: str) -> Callable[..., None]:
    """Progress on one line of standard error."""

    def progress(done: int, total: int, note: str = "") -> None:
        print(f"\r{what}: {done}/{total} {note}\033[K", end="" if done < total else "\n", file=sys.stderr)

    return progress
