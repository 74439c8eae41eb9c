"""`make run`: line 3 of the demo plant, with nothing but this machine.

Builds the demo recipe's engine if this machine has none yet, starts a loom that feeds the virtual
camera through shared memory, and runs the line in front of it until Ctrl-C. Where the engine is too slow here for
the speed in config.toml the web runs slower, and says so: a plant would buy another machine.

    python tools/demo.py [-- arguments of `inspector run`]
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from plant import ROOT, demo_plant, write_plant

from inspector import backends, config
from inspector.backends.rate import RATE_S, measure_rate
from inspector.errors import InspectorError
from inspector.tiling import grid_for, plan_for

LINE = "3"
WEAVER = "2"  # the line of config.toml whose loom weaves the web
RECIPE = "demo"
SHARE = 0.6  # of the bare engine's rate; loom and camera want the same cores


def main() -> int:
    """Run the demo; the exit code is the line's."""
    arguments = sys.argv[1:]
    inspector = [sys.executable, "-m", "inspector"]
    code = ensure_engine()
    if code:
        return code
    with tempfile.TemporaryDirectory(prefix="inspector-demo-") as folder:
        feed = Path(folder) / "web.feed"
        config_file = plant_at(Path(folder), affordable_share())
        environment = os.environ | {"SIMCAM_FEED": str(feed)}
        loom = subprocess.Popen(
            [sys.executable, str(ROOT / "tools/simcam/feed.py"), "--feed", str(feed), "--line", WEAVER],
            cwd=ROOT,
        )
        try:
            while not feed.exists() and loom.poll() is None:
                time.sleep(0.05)
            print("In another terminal: .venv/bin/inspector events --line 3", flush=True)
            line = subprocess.Popen(
                [*inspector, "run", "--config", str(config_file), "--line", LINE, *arguments],
                cwd=ROOT,
                env=environment,
            )
            return _wait(line)
        finally:
            loom.terminate()
            loom.wait()


def ensure_engine() -> int:
    """Build the demo recipe's engine unless it was built for this machine, by these versions; an exit code."""
    try:
        backends.open_backend(ROOT / "engines" / RECIPE, "openvino", 0).close()
    except InspectorError:
        command = [sys.executable, "-m", "inspector", "build-engine", "--recipe", RECIPE]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    return 0


def affordable_share() -> float:
    """How much of the configured speed this machine's engine can inspect, at most 1; says so where it is less."""
    site = config.load(ROOT / "config.toml")
    line = site.line(LINE)
    assert isinstance(line.camera, config.GenicamCamera)
    backend = backends.open_backend(site.engines / RECIPE, line.engine.backend, line.engine.threads)
    try:
        width = int(line.camera.features["Width"])
        plan = plan_for(grid_for(line, backend.info), line, width, line.frame_rows)
        rate = measure_rate(backend, RATE_S).tiles_per_s
    finally:
        backend.close()
    share = min(1.0, SHARE * rate / plan.tiles_per_s)
    if share < 1:
        speed = line.web.speed_m_min
        print(
            f"the engine does {rate:.0f} tiles/s here, and loom and camera want the same cores: of {speed:g} m/min, "
            f"{plan.tiles_per_s:.0f} tiles/s, the demo's web runs at {share * speed:.1f} m/min",
            flush=True,
        )
    return share


def plant_at(folder: Path, share: float) -> Path:
    """Return the config of a plant whose line runs at a share of its speed: at all of it, the demo plant's own."""
    if share == 1:
        return ROOT / "config.toml"
    plant = demo_plant()
    line = plant["line"][LINE]
    line["web"]["speed_m_min"] *= share
    line["camera"]["features"]["AcquisitionLineRate"] *= share
    return write_plant(folder, plant)


def _wait(line: subprocess.Popen[bytes]) -> int:
    """Ctrl-C reaches the line by itself (same terminal): wait for its orderly end. SIGTERM is handed on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: line.terminate())
    return line.wait()


if __name__ == "__main__":
    sys.exit(main())
