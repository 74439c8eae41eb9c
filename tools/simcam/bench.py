"""How many frames a second the virtual camera delivers through Harvesters, each fetched and copied.

    python tools/simcam/bench.py [--frames 1000] [--runs 5] [--width 2048] [--height 1024] [--fps 2000]

The camera is asked for more than it can do; drops are gaps in its block ids.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harvesters.core import Harvester

PRODUCER = Path(__file__).parent / "simcam.cti"


def run(acquirer: Any, frames: int) -> tuple[float, float, int]:
    """Acquire ``frames`` frames; return seconds of wall clock, seconds of CPU, and frames dropped."""
    size = acquirer.remote_device.node_map.PayloadSize.value
    copy = np.empty(size, np.uint8)
    ids = []
    acquirer.start()
    try:
        with acquirer.fetch(timeout=5.0):
            wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(frames):
            with acquirer.fetch(timeout=5.0) as buffer:
                np.copyto(copy, buffer.payload.components[0].data)
                ids.append(buffer.module.frame_id)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        acquirer.stop()
    return wall, cpu, ids[-1] - ids[0] + 1 - len(ids)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--fps", type=float, default=1000.0, help="asked of the camera")
    arguments = parser.parse_args()

    logging.getLogger("harvesters").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SIMCAM_LOCK_DIR"] = folder  # no quarrel with a line that runs beside
        harvester = Harvester()
        harvester.add_file(str(PRODUCER))
        harvester.update()
        acquirer = harvester.create(0)
        try:
            acquirer.num_buffers = 16
            acquirer.timeout_period_on_update_event_data_call = 100
            nodes = acquirer.remote_device.node_map
            nodes.Width.value, nodes.Height.value = arguments.width, arguments.height
            nodes.AcquisitionLineRate.value = arguments.fps * arguments.height
            results = []
            for number in range(arguments.runs):
                wall, cpu, drops = run(acquirer, arguments.frames)
                results.append(arguments.frames / wall)
                print(
                    f"run {number + 1}: {arguments.frames / wall:7.1f} frames/s, {1e3 * wall / arguments.frames:.3f} "
                    f"ms/frame, {1e3 * cpu / arguments.frames:.3f} ms CPU/frame, {drops} dropped"
                )
        finally:
            acquirer.destroy()
            harvester.reset()
    print(
        f"median: {statistics.median(results):.1f} frames/s of {arguments.width}x{arguments.height} Mono8, "
        f"{1e3 / statistics.median(results):.3f} ms/frame ({arguments.fps:g} asked)"
    )


if __name__ == "__main__":
    main()
