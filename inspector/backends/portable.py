"""Where a plan of ``build-engine --portable`` may be loaded besides the GPU and the TensorRT that it was built with.

NVIDIA promises two things of such plans ("Engine Compatibility" in TensorRT's documentation; headers' words on
HardwareCompatibilityLevel): a plan of VERSION_COMPATIBLE goes with every later version of the same major, and one of
AMPERE_PLUS with every GPU of compute capability 8.0 or later, Jetsons left out. Some pairs of majors go too; we take
none. Operating system and kind of CPU bind every plan. Not run on hardware.
"""

from __future__ import annotations

import re

AMPERE = 80  # compute capability 8.0, as device names have it


def version_fits(then: str, now: str) -> bool:
    """Whether ``now`` is ``then``, or "tensorrt X.Y.Z" of the same major version and later."""
    if then == now:
        return True
    built, here = (re.fullmatch(r"tensorrt (\d+(?:\.\d+)+)", version) for version in (then, now))
    if built is None or here is None:
        return False
    oldest, newest = ([int(part) for part in found[1].split(".")] for found in (built, here))
    return oldest[0] == newest[0] and oldest <= newest


def device_fits(then: str, now: str) -> bool:
    """Whether ``now`` is ``then``, or both are GPUs from Ampere on, by their names (``gpu.gpu_name``)."""
    found = [re.search(r", SM(\d+), CUDA ", device) for device in (then, now)]
    return then == now or all(one is not None and int(one[1]) >= AMPERE for one in found)
