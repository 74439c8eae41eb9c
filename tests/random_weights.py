"""Teachers' weights without a download: random, seeded."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from inspector.learning.teachers import PAIRS, build_trunk


def write_random_weights(folder: Path, preset: str = "balanced") -> list[Path]:
    """Files for --weights; a teacher that knows nothing still disagrees with its student about a hole."""
    files = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for spec in PAIRS[preset]:
            files.append(folder / f"{spec.network}.safetensors")
            save_file(build_trunk(spec).state_dict(), files[-1])
    return files
