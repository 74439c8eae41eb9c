"""Copies of the demo plant for tools: another config, the same engines, limits and virtual camera."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import tomli_w

ROOT = Path(__file__).resolve().parents[1]


def demo_plant() -> dict[str, Any]:
    """Return the demo plant's config as it stands in config.toml, to be changed and written elsewhere."""
    return tomllib.loads((ROOT / "config.toml").read_text())


def write_plant(folder: Path, plant: dict[str, Any]) -> Path:
    """Write a config into a folder, with what its relative paths want beside it; return the file."""
    file = folder / "config.toml"
    file.write_text(tomli_w.dumps(plant))
    for name in ("engines", "calibration", "tools"):
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name)
    return file
