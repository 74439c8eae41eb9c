"""`make run`: line 3 of the demo plant, with nothing but this machine.

Builds the demo recipe's engine if this machine has none yet, starts a loom that feeds the virtual
camera through shared memory, and runs the line in front of it until Ctrl-C.

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

from inspector import backends
from inspector.errors import InspectorError

ROOT = Path(__file__).resolve().parents[1]
LINE = "3"
WEAVER = "2"  # the line of config.toml whose loom weaves the web
RECIPE = "demo"


def main() -> int:
    """Run the demo; the exit code is the line's."""
    arguments = sys.argv[1:]
    inspector = [sys.executable, "-m", "inspector"]
    code = ensure_engine()
    if code:
        return code
    with tempfile.TemporaryDirectory(prefix="inspector-demo-") as folder:
        feed = Path(folder) / "web.feed"
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
                [*inspector, "run", "--line", LINE, *arguments], cwd=ROOT, env=environment
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


def _wait(line: subprocess.Popen[bytes]) -> int:
    """Ctrl-C reaches the line by itself (same terminal): wait for its orderly end. SIGTERM is handed on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: line.terminate())
    return line.wait()


if __name__ == "__main__":
    sys.exit(main())
