"""Weave a web into the virtual camera's shared-memory feed.

    python tools/simcam/feed.py --feed /dev/shm/simcam --line 2 --metres 20 --truth faults.jsonl

runs the loom of a line in config.toml and writes its rows as fast as the camera takes them, until it has
woven enough or is interrupted. ``FeedWriter`` needs nothing but numpy and serves any source of rows.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

# The layout is feed.h's.
MAGIC = b"SIMFEED1"
VERSION = 1
HEADER_BYTES = 4096
ENDED_WORD, WRITTEN_WORD, READ_WORD = 24 // 8, 64 // 8, 128 // 8
POLL_S = 0.001  # the reader is another process and cannot wake us


class FeedWriter:
    """A ring of web rows in a memory-mapped file, written here and read by one virtual camera.

    A new file takes the place of an old one of that name: a camera that still reads the old one takes its last
    rows and goes over to the new one. The counters are plain aligned 64-bit stores; their order after the pixels
    is what x86-64 guarantees.

    Args:
        path: of the file, best in /dev/shm.
        width: pixels of a row.
        ring_rows: rows the ring holds; at least the camera's Height, better several times that.

    Raises:
        ValueError: width or ring_rows below 1.
        OSError: the file can't be made.
    """

    def __init__(self, path: str | Path, width: int, ring_rows: int = 8192) -> None:
        if width < 1 or ring_rows < 1:
            raise ValueError(
                f"a feed needs rows of at least 1 pixel and at least 1 row, not {width} x {ring_rows}"
            )
        self.path, self.width, self.ring_rows = Path(path), width, ring_rows
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            with new.open("wb") as file:
                # All of it now: a file system that fills up later would kill whoever writes to the mapping.
                os.posix_fallocate(file.fileno(), 0, HEADER_BYTES + width * ring_rows)
                file.write(struct.pack("<8sIIQ", MAGIC, VERSION, width, ring_rows))
        except OSError as error:
            new.unlink(missing_ok=True)
            raise OSError(error.errno, os.strerror(error.errno or 0), str(self.path)) from error
        self._words = np.memmap(new, np.uint64, "r+", 0, (HEADER_BYTES // 8,))
        self._ring = np.memmap(new, np.uint8, "r+", HEADER_BYTES, (ring_rows, width))
        new.rename(self.path)  # whole from its first moment

    @property
    def written(self) -> int:
        """Rows written so far."""
        return int(self._words[WRITTEN_WORD])

    @property
    def taken(self) -> int:
        """Rows the camera has taken so far."""
        return int(self._words[READ_WORD])

    def write(self, rows: npt.NDArray[np.uint8], timeout_s: float) -> int:
        """Append rows, uint8 [n, width], waiting while the ring is full.

        Returns how many were accepted: fewer than ``n`` when the camera took too few within ``timeout_s``.
        Raises ValueError when the rows have another shape or type.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width or rows.dtype != np.uint8:
            raise ValueError(f"rows must be uint8 [n, {self.width}], not {rows.dtype} {list(rows.shape)}")
        deadline = time.monotonic() + timeout_s
        done = 0
        while done < len(rows):
            slot = self.written % self.ring_rows
            room = self.ring_rows - (self.written - self.taken)
            count = min(len(rows) - done, room, self.ring_rows - slot)
            if count == 0:
                if time.monotonic() >= deadline:
                    break
                time.sleep(POLL_S)
                continue
            self._ring[slot : slot + count] = rows[done : done + count]
            self._words[WRITTEN_WORD] += np.uint64(count)
            done += count
        return done

    def close(self) -> None:
        """Say that no more rows will come; the file stays until the camera has read it."""
        self._words[ENDED_WORD] = np.uint64(1)


def main() -> None:
    root = Path(__file__).parents[2]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--feed", type=Path, required=True, help="the camera's SIMCAM_FEED")
    parser.add_argument("--line", default="2", help="line of config.toml whose loom weaves (default 2)")
    parser.add_argument("--config", type=Path, default=root / "config.toml")
    parser.add_argument(
        "--metres", type=float, default=float("inf"), help="how much to weave (default: no end)"
    )
    parser.add_argument(
        "--fault-every-m", type=float, help="mean distance of faults, instead of the config's"
    )
    parser.add_argument("--truth", type=Path, help="JSON lines: one fault each, when it is about to be woven")
    parser.add_argument("--ring-rows", type=int, default=8192)
    arguments = parser.parse_args()
    try:
        weave(arguments)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")


def weave(arguments: argparse.Namespace) -> None:
    # Only the command needs the loom; a FeedWriter serves without the package.
    from inspector import config
    from inspector.cameras.loom import Loom
    from inspector.errors import InspectorError

    try:
        lines = config.load(arguments.config).plant.line
        line = lines.get(arguments.line)
        if line is None or not isinstance(line.camera, config.LoomCamera):
            looms = [name for name, other in lines.items() if isinstance(other.camera, config.LoomCamera)]
            sys.exit(
                f"{arguments.config}: line {arguments.line} has no loom; "
                f"lines with one: {', '.join(looms) or 'none'}"
            )
        camera, web = line.camera, line.web
        faults = camera.faults
        if arguments.fault_every_m is not None:
            per_m = 1 / arguments.fault_every_m if arguments.fault_every_m > 0 else 0.0
            faults = config.FaultMix(per_m=per_m, kinds=faults.kinds)
        loom = Loom(camera.width_px, web.mm_per_px, camera.weave, camera.seed, faults, web.width_mm)
    except InspectorError as error:
        sys.exit(str(error))

    writer = FeedWriter(arguments.feed, camera.width_px, arguments.ring_rows)
    truth = arguments.truth.open("w") if arguments.truth else None
    piece, woven = 256, 0
    metre_per_row = web.mm_per_px / 1000
    try:
        while woven * metre_per_row < arguments.metres:
            start_m, end_m = woven * metre_per_row, (woven + piece) * metre_per_row
            if truth:
                for fault in loom.truth(start_m, end_m):
                    if fault.y_m >= start_m or woven == 0:  # else it was told with the piece it began in
                        print(json.dumps(asdict(fault)), file=truth, flush=True)
            rows = loom.rows(piece)
            while len(rows):
                rows = rows[writer.write(rows, timeout_s=1.0) :]
            woven += piece
    finally:
        writer.close()
        if truth:
            truth.close()


if __name__ == "__main__":
    main()
