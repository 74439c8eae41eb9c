"""Standard output whose reader goes: what was begun is done."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path


def closed_pipe() -> io.BufferedWriter:
    """A pipe whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "wb")


def test_work_says_on_to_nobody_and_ends_well() -> None:
    """As Python leaves it: what a print could not write fails the exit, code 120."""
    code = "from inspector.output import say\nsay('one')\nsay('two')\nprint('three')\n"
    with closed_pipe() as closed:
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")


WEB = ("--width-mm", "1600", "--speed-m-min", "30", "--mm-per-px", "0.2")


def test_figures_that_were_asked_for_are_written_though_nobody_reads_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "inspector", "capacity", *WEB, "--json", str(tmp_path / "needs.json")]
    with closed_pipe() as closed:
        done = subprocess.run(
            command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "needs.json").read_text().startswith("{")
