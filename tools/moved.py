"""How many bytes a frame of line 3 moves between the camera's buffer and the engine's input, and who moves them.

    python tools/moved.py [--frames 40] [--page docs/speed.md]

Runs the line's camera (the virtual one) and its tiler as the line does, in a process of their own in front of which
`moved.c` stands: it counts what memcpy and memmove copy and what memory is taken, by the library that asks. A run over
few frames is set off against one over more, so that what the start costs is in neither figure. No counter of ours is
in the code that is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from marked import put_between
from plant import ROOT, demo_plant, write_plant

from inspector import cameras, config
from inspector.backends.artifact import load_recipe
from inspector.backends.engine import info_of
from inspector.limits import load_limits
from inspector.records import EndOfWeb, Frame
from inspector.tiling import Tiler, grid_for

LINE = "3"
FEW, MORE = 5, 45  # frames
FRAMES_PER_S = 20.0  # of the virtual camera: no engine waits behind
TIMEOUT_S = 30.0  # for one frame
SHOWN = 1000  # bytes a frame; less is not worth a row
TOLERATED = 0.01  # of a frame: messages, names, places of tiles
BEGIN, END = "<!-- bytes a frame: tools/moved.py -->", "<!-- end of bytes a frame -->"


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes a frame."""

    copied: float  # by memcpy and memmove
    taken: float  # of memory, in blocks of 4 KB and more


@dataclass(frozen=True, slots=True)
class Moved:
    """What a frame moves, by the library that moves it, beside what it can't do without."""

    shape: tuple[int, ...]  # of a frame
    frame_bytes: float  # of its pixels as the line keeps them
    tiles: float  # a frame
    tile_bytes: float  # of all of a frame's tiles, with their margins
    producer: str  # the camera's own library: what it copies, a real camera's DMA writes
    by_library: dict[str, Bytes]

    @property
    def needed(self) -> float:
        """One copy out of the camera's buffer, one into the engine's input."""
        return self.frame_bytes + self.tile_bytes

    @property
    def beyond(self) -> float:
        """Bytes a frame that are copied, or taken to be written to, beyond those two copies; never below 0."""
        ours = [moved for library, moved in self.by_library.items() if library != self.producer]
        most = max(sum(moved.copied for moved in ours), sum(moved.taken for moved in ours))
        return max(0.0, most - self.needed)

    @property
    def is_kept(self) -> bool:
        """Whether no pixels are copied a third time."""
        return self.beyond <= TOLERATED * self.frame_bytes

    def table(self) -> str:
        """What it comes to, in Markdown."""
        height, width = self.shape[:2]
        rows = [
            f"A frame of line {LINE} is {width} x {height} px: {self.frame_bytes:,.0f} bytes.",
            f"Its {self.tiles:.1f} tiles with their margins are {self.tile_bytes:,.0f}.",
            "",
            "| library | bytes copied a frame | bytes of memory taken a frame |",
            "|---|---|---|",
        ]
        for library, moved in sorted(self.by_library.items(), key=lambda item: -item[1].copied):
            if max(moved.copied, moved.taken) >= SHOWN:
                whose = " (the camera's DMA)" if library == self.producer else ""
                rows.append(f"| `{library}`{whose} | {moved.copied:,.0f} | {moved.taken:,.0f} |")
        return "\n".join(
            [*rows, "", f"Copied or taken beyond one frame and its tiles: {self.beyond:,.0f} bytes a frame."]
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=MORE - FEW)
    parser.add_argument("--page", type=Path, help="a page with a place for the table")
    parser.add_argument("--carry", nargs=2, metavar=("CONFIG", "FRAMES"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.carry:
        print(json.dumps(carry(Path(given.carry[0]), int(given.carry[1]))))
        return
    table = measure(given.frames).table()
    print(table)
    if given.page:
        put_between(given.page, BEGIN, END, table)


def carry(config_file: Path, frames: int) -> dict[str, float]:
    """Take so many frames from the camera to tiles, as the line does, and let them go; say how much that was."""
    site = config.load(config_file)
    line = site.line(LINE)
    recipe = load_recipe(site.engines / line.recipe)
    grid = grid_for(line, info_of(recipe, line.engine.backend, "", "", "", ""))
    camera = cameras.open_camera(LINE, line, site.root)
    seen: dict[str, float] = dict.fromkeys(
        ("frames", "frame_bytes", "tiles", "tile_bytes", "height", "width"), 0
    )
    try:
        tiler = Tiler.for_line(grid, line, camera.info, load_limits(site, LINE, line.recipe).region_mm)
        camera.start()
        while seen["frames"] < frames:
            item = camera.read(TIMEOUT_S)
            if item is None or isinstance(item, EndOfWeb):
                raise SystemExit("the virtual camera gives no frames")
            if isinstance(item, Frame):
                seen["frames"] += 1
                seen["frame_bytes"] += item.pixels.nbytes
                seen["height"], seen["width"] = item.pixels.shape[:2]
            for strip in tiler.push(item):
                if strip.batch is not None:
                    seen["tiles"] += len(strip.batch.pixels)
                    seen["tile_bytes"] += strip.batch.pixels.nbytes
    finally:
        camera.close()
    return seen


def measure(frames: int = MORE - FEW) -> Moved:
    """Run the line's way from camera to tiles twice, ``frames`` apart, and return what a frame moves."""
    plant = demo_plant()
    features = plant["line"][LINE]["camera"]["features"]
    features["AcquisitionLineRate"] = FRAMES_PER_S * features["Height"]
    with tempfile.TemporaryDirectory(prefix="inspector-moved-") as folder:
        config_file = write_plant(Path(folder), plant)
        counter = _compiled(Path(folder))
        (less, before), (more, after) = (
            _run(config_file, count, counter, Path(folder) / "moved.tsv") for count in (FEW, FEW + frames)
        )
    apart = more["frames"] - less["frames"]
    return Moved(
        shape=(int(more["height"]), int(more["width"])),
        frame_bytes=(more["frame_bytes"] - less["frame_bytes"]) / apart,
        tiles=(more["tiles"] - less["tiles"]) / apart,
        tile_bytes=(more["tile_bytes"] - less["tile_bytes"]) / apart,
        producer=Path(plant["line"][LINE]["camera"]["producer"]).name,
        by_library={
            name: Bytes(
                *(
                    (now - then) / apart
                    for now, then in zip(after[name], before.get(name, (0, 0)), strict=True)
                )
            )
            for name in after
        },
    )


def _compiled(folder: Path) -> Path:
    """Build the counter. It answers to calls of memcpy by name: the compiler must not make any of its own."""
    library = folder / "moved.so"
    source = Path(__file__).with_name("moved.c")
    flags = ["-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fno-builtin", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", str(library), str(source), "-ldl"], check=True)
    return library


def _run(
    config_file: Path, frames: int, counter: Path, out: Path
) -> tuple[dict[str, float], dict[str, tuple[int, int]]]:
    """What `carry` says that it took along, and what was counted meanwhile: library -> (copied, taken)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIMCAM_")}
    environment |= {"LD_PRELOAD": str(counter), "MOVED_OUT": str(out), "SIMCAM_LOCK_DIR": str(out.parent)}
    command = [sys.executable, __file__, "--carry", str(config_file), str(frames)]
    ran = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    counted: dict[str, tuple[int, int]] = {}
    for row in out.read_text().splitlines():
        copied, taken, path = row.split("\t")
        name = Path(path).name.split(".cpython-")[0]
        already = counted.get(name, (0, 0))
        counted[name] = already[0] + int(copied), already[1] + int(taken)
    return json.loads(ran.stdout), counted


if __name__ == "__main__":
    main()
