"""The default recipe on packs of real images, beside the marks it is held to.

    python tools/packs.py --data ../shared/data --work /tmp/packs [--table packs.md] [--only mvtec_grid ...] [--native]
        [options of `inspector train`]

For every pack: `inspector train` on its good images, then `inspector evaluate`, with the same options for all;
only how an image becomes tiles differs, as it does in the marks. Prints a Markdown table with bootstrap
intervals. With --native no image is squeezed: all are cut into tiles of their own pixels (images of one size, as
training wants them). The work folder must lie outside the repository: neither packs nor what was learnt may get in.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from real_cloth import inspector
from workfolder import outside_repository

SQUEEZED = ("--resize", "256")
# pack -> how to train, how to evaluate, whether its masks say where, marks (image or tile, pixel, AUPRO; %)
PACKS: dict[str, tuple[tuple[str, ...], tuple[str, ...], bool, tuple[float, ...]]] = {
    "mvtec_grid": (SQUEEZED, SQUEEZED, True, (98.8, 97.6, 93.5)),
    "tilda_fabric_a": (SQUEEZED, SQUEEZED, False, (99.0,)),
    "magnetic_tile": (SQUEEZED, SQUEEZED, True, (82.1, 77.2, 70.5)),
    "aitex_fabric02": ((), ("--region", "auto", "--overlap-px", "0"), True, (88.0, 98.5, 94.0)),
}
NATIVE = ((), ("--region", "whole", "--overlap-px", "0"))  # of packs that are squeezed else
FIGURES = ("image_auroc", "pixel_auroc", "aupro")


def row(pack: str, seconds: float, found: dict[str, Any]) -> str:
    """A pack's row; tiles count instead of images where images are cut into tiles."""
    _, _, has_masks, marks = PACKS[pack]
    native = found["resize"] is None
    squeezed = "--resize" in PACKS[pack][0]  # so its marks are of whole images
    names = ("tile_auroc" if native else "image_auroc", *FIGURES[1:]) if has_masks else FIGURES[:1]
    cells = [
        _cell(found, name, None if native and squeezed else mark)
        for name, mark in zip(names, marks, strict=True)
    ]
    cells += ["-"] * (len(FIGURES) - len(cells))
    frames = _cell(found, "image_auroc", marks[0] if squeezed else 95.5) if native else "-"
    return (
        f"| {pack}{' (tiles)' if native else ''} | {' | '.join(cells)} | {frames} | {seconds:.0f} "
        f"| {found['tiles_per_second']:.0f} |"
    )


def _cell(found: dict[str, Any], name: str, mark: float | None) -> str:
    """A figure, its interval, and where it has one the mark that it is held to."""
    low, high = (100 * end for end in found[f"{name}_ci95"])
    value = 100 * found[name]
    sure = (
        f" ({low:.1f} to {high:.1f})" if low < high else ""
    )  # 100 to 100 would promise what few images can't
    if mark is None:
        return f"{value:.1f}{sure}"
    bold = "**" if value >= mark else ""
    return f"{bold}{value:.1f}{bold}{sure}; {mark:g}"


def main() -> int:
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the packs")
    parser.add_argument("--work", type=Path, required=True, help="folder outside the repository")
    parser.add_argument("--table", type=Path, help="write the Markdown there too")
    parser.add_argument("--only", nargs="+", choices=PACKS, default=list(PACKS))
    parser.add_argument("--native", action="store_true", help="squeeze no image")
    given, options = parser.parse_known_args()
    work = outside_repository(given.work)
    work.mkdir(parents=True, exist_ok=True)
    (work / "config.toml").write_text('plant = "packs"\n[line]\n')
    lines = [
        "| pack | image or tile AUROC | pixel AUROC | AUPRO | frames (image AUROC) | train and build, s | tiles/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for pack in given.only:
        how_trained, how_evaluated, _, _ = PACKS[pack]
        if given.native and how_trained == SQUEEZED:
            how_trained, how_evaluated = NATIVE
        data, began_s = (given.data / pack).resolve(), time.monotonic()
        inspector(work, "train", data, "--recipe", pack, "--overwrite", *how_trained, *options)
        seconds = time.monotonic() - began_s
        result = work / f"{pack}.json"
        pictures = ("--pictures", work / "pictures" / pack)
        inspector(work, "evaluate", data, "--recipe", pack, "--json", result, *how_evaluated, *pictures)
        lines.append(row(pack, seconds, json.loads(result.read_text())))
    print("\n" + "\n".join(lines))
    if given.table:
        given.table.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
