"""What several test files share."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

from tests.virtual_camera import SIMCAM

# A job in a script's background inherits an ignored SIGINT, and would hand it on to the processes of tests.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("house", derandomize=True, database=None)  # the same examples every time
settings.load_profile("house")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real images and weights beside the checkout; tests that need them skip where they are absent."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (real images and teacher weights), which is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def producer() -> Path:
    """The virtual camera, built."""
    if not shutil.which("cc") or not shutil.which("make"):
        pytest.skip("building the virtual camera takes make and a C compiler (cc)")
    subprocess.run(["make", "-s", "-C", SIMCAM], check=True)
    return SIMCAM / "simcam.cti"


@pytest.fixture
def simcam(producer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The virtual camera with none of this machine's settings; its lock files stay in this test's folder."""
    for name in ("FEED", "IMAGES", "WIDTH", "HEIGHT", "DEVICES", "CTRL"):
        monkeypatch.delenv(f"SIMCAM_{name}", raising=False)
    monkeypatch.setenv("SIMCAM_LOCK_DIR", str(tmp_path))
    return producer
