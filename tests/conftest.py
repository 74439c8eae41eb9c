"""What several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

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
