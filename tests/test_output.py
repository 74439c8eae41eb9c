"""Standard output whose reader stalls or goes: nobody waits for him, what he missed is told, what is done is done."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inspector.output import ROOM_BYTES, Outlet
from inspector.tally import Tally
from inspector.view import LogLines, view_for
from tests.talking_line import PATIENCE_S

F_SETPIPE_SZ = 1031  # Linux
PIPE_BYTES = 4096


@contextmanager
def stalled_pipe() -> Iterator[tuple[int, Outlet]]:
    """A small pipe that nobody reads yet: its reading end, and an outlet into it."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, F_SETPIPE_SZ, PIPE_BYTES)
    with os.fdopen(writing, "w") as stream:
        yield reading, Outlet(stream)
        os.close(reading)  # whatever still writes gets an error, not a hole in another test's file
    # the outlet's thread may end its write only now; it holds nothing that a test waits for


def read_on(reading: int, outlet: Outlet) -> str:
    """All there is, as a reader gets it that goes on reading."""
    text = b""
    while outlet.is_behind() or select.select([reading], [], [], 0)[0]:
        if select.select([reading], [], [], 0.01)[0]:
            text += os.read(reading, 65536)
    return text.decode()


def test_a_writer_never_waits_and_what_was_taken_comes_whole_and_in_order() -> None:
    with stalled_pipe() as (reading, outlet):
        lines = [f"{number:05} {'x' * 90}\n" for number in range(3000)]
        taken = [line for line in lines if outlet.write(line)]
        assert ROOM_BYTES <= sum(map(len, taken)) + len(lines[0]) <= ROOM_BYTES + 2 * PIPE_BYTES
        outlet.settle(0.0)
        assert outlet.is_behind()
        assert read_on(reading, outlet) == "".join(taken)
        assert outlet.write("again\n") == 6
        outlet.settle(PATIENCE_S)
        assert os.read(reading, 100) == b"again\n"


def test_a_reader_that_is_gone_is_told_to_whoever_writes_next() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        outlet = Outlet(stream)
        outlet.write("lost\n")
        with pytest.raises(BrokenPipeError):
            outlet.settle(PATIENCE_S)
        outlet.write("")  # told once


def test_a_log_says_how_many_lines_a_stalled_reader_missed() -> None:
    with stalled_pipe() as (reading, outlet):
        log = LogLines(outlet)  # type: ignore[arg-type]
        for number in range(3000):
            log.say(f"{number:05} {'x' * 90}")
        got = read_on(reading, outlet)
        log.say("back again")
        log.say("and on")
        got = (got + read_on(reading, outlet)).splitlines()
    missed = [int(told) for line in got for told in re.findall(r"^log t=\S+Z dropped=(\d+)$", line)]
    assert missed
    assert sum(missed) + sum("xxx" in line for line in got) == 3000
    assert got[-2:] == ["back again", "and on"]
    assert got[-3].endswith(f" dropped={missed[-1]}")


def test_a_terminal_that_hangs_is_drawn_on_again_when_it_comes_back() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        outlet = Outlet(terminal)
        with view_for("line 1", outlet) as view:  # type: ignore[arg-type]
            for _ in range(1000):
                view.show(Tally(1.0).snapshot(0, 0, 0.0), 0.0)
            assert outlet.is_behind()
            assert read_on(ours, outlet).count("Ctrl-C ends") < 1000
            view.show(Tally(1.0).snapshot(0, 0, 0.0), 0.0)
            assert read_on(ours, outlet).count("Ctrl-C ends") == 1
        read_on(ours, outlet)
    os.close(ours)


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
