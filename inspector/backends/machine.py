"""What machine this is, for a report that leaves it: nothing of whose it is, or what it is called."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from inspector.backends.building import os_name


def machine_facts() -> dict[str, str | int]:
    """Operating system, CPU, cores and Python; no names of hosts or users."""
    return {
        "os": os_name(),
        "distribution": _distribution(),
        "kernel": platform.release(),
        "cpu": _cpu(),
        "cores": os.cpu_count() or 0,
        "cores_usable": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }


def without_folders(sentence: str, root: Path) -> str:
    """A sentence in which files are named from ``root``, or by their names alone: folders bear people's names."""
    return re.sub(r"(?<![\w.])/(?:[^\s/:;,()'\"]+/)+", "", sentence.replace(f"{root}/", ""))


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown"


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or "unknown"
