"""Pull cables and spoil frames of virtual cameras in a running process, through the control file.

SIMCAM_CTRL=/dev/shm/simcam.ctrl inspector run --line 3 &
python tools/simcam/control.py --ctrl /dev/shm/simcam.ctrl unplug 1
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

# The layout is control.h's.
MAGIC = b"SIMCTRL1"
HEADER_WORDS = BLOCK_WORDS = 64 // 4
DEVICES = 16
PLUG_COUNT, DROP_NEXT, INCOMPLETE_NEXT, CORRUPT_NEXT, LINE0_EDGES, OPENED, ACQUIRING, FRAMES = range(8)


class Control:
    """The control file of virtual cameras; made if it is not there. Cameras are numbered from 1.

    Raises ValueError when the file is something else, OSError when it can't be opened.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        path.touch()
        size = 4 * (HEADER_WORDS + DEVICES * BLOCK_WORDS)
        with path.open("r+b") as file:
            if file.read(8) not in (MAGIC, bytes(8), b""):
                raise ValueError(f"{path} is not a control file of virtual cameras")
            if path.stat().st_size < size:
                file.truncate(size)
        words = np.memmap(path, np.uint32, "r+", 0, (HEADER_WORDS + DEVICES * BLOCK_WORDS,))
        words[:2] = np.frombuffer(MAGIC, np.uint32)
        self._blocks = words[HEADER_WORDS:].reshape(DEVICES, BLOCK_WORDS)

    def unplug(self, camera: int) -> None:
        """Pull the cable; nothing when it is out already."""
        if self.plugged(camera):
            self._blocks[camera - 1, PLUG_COUNT] += 1

    def replug(self, camera: int) -> None:
        """Put the cable back; the camera has to be opened anew."""
        if not self.plugged(camera):
            self._blocks[camera - 1, PLUG_COUNT] += 1

    def plugged(self, camera: int) -> bool:
        """Whether the cable is in."""
        return int(self._blocks[camera - 1, PLUG_COUNT]) % 2 == 0

    def drop(self, camera: int, frames: int = 1) -> None:
        """Lose the next frames."""
        self._blocks[camera - 1, DROP_NEXT] = frames

    def incomplete(self, camera: int, frames: int = 1) -> None:
        """Deliver the next frames half filled."""
        self._blocks[camera - 1, INCOMPLETE_NEXT] = frames

    def corrupt(self, camera: int, frames: int = 1) -> None:
        """Fill the next frames with noise."""
        self._blocks[camera - 1, CORRUPT_NEXT] = frames

    def raise_line0(self, camera: int, edges: int = 1) -> None:
        """Rising edges on Line0: as many frames when TriggerSource is Line0."""
        self._blocks[camera - 1, LINE0_EDGES] += np.uint32(edges)

    def opened(self, camera: int) -> int:
        """How often the camera was opened since the file was made."""
        return int(self._blocks[camera - 1, OPENED])

    def acquiring(self, camera: int) -> bool:
        """Whether the camera is between AcquisitionStart and AcquisitionStop."""
        return bool(self._blocks[camera - 1, ACQUIRING])

    def frames(self, camera: int) -> int:
        """Frames begun so far, lost ones too, modulo 2^32."""
        return int(self._blocks[camera - 1, FRAMES])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ctrl", type=Path, required=True, help="the camera's SIMCAM_CTRL")
    parser.add_argument(
        "action", choices=["unplug", "replug", "drop", "incomplete", "corrupt", "line0", "show"]
    )
    parser.add_argument(
        "camera", type=int, help="1 is SIM0001", choices=range(1, DEVICES + 1), metavar="camera"
    )
    parser.add_argument("count", type=int, nargs="?", default=1, help="frames or edges (default 1)")
    arguments = parser.parse_args()
    try:
        control = Control(arguments.ctrl)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    camera, count = arguments.camera, arguments.count
    match arguments.action:
        case "unplug":
            control.unplug(camera)
        case "replug":
            control.replug(camera)
        case "drop":
            control.drop(camera, count)
        case "incomplete":
            control.incomplete(camera, count)
        case "corrupt":
            control.corrupt(camera, count)
        case "line0":
            control.raise_line0(camera, count)
    print(
        f"SIM{camera:04d}: {'plugged' if control.plugged(camera) else 'unplugged'}, "
        f"opened {control.opened(camera)} times, "
        f"{'acquiring' if control.acquiring(camera) else 'idle'}, {control.frames(camera)} frames"
    )


if __name__ == "__main__":
    main()
