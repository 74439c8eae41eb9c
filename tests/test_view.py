"""What a person sees of a running line: the tally's counts, the live panel, the log lines."""

from __future__ import annotations

import dataclasses
import io
import math
import os
import pty
import select
import subprocess
import sys
import termios
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from inspector.records import Outcome, Reason
from inspector.tally import Snapshot, Tally
from inspector.view import LiveView, LogLines, panel, view_for
from tests.talking_line import defect, verdict

COUNTS_PER_M = 10_000.0


def counted() -> Snapshot:
    """Four triggers of two lanes: all good, a defect in lane 1, a lost frame, all good."""
    tally = Tally(COUNTS_PER_M)
    for number in range(4):
        tally.trigger(10.0 + number, verdict(number, 0).stamp)
        outcomes = {1: (Outcome.PASS, Outcome.FAIL), 2: (Outcome.NOT_INSPECTED,) * 2}.get(number)
        if number == 2:
            tally.lost(Reason.FRAME_LOST)
        else:
            tally.inspected(8)
        verdicts = [verdict(number, lane, o) for lane, o in enumerate(outcomes or (Outcome.PASS,) * 2)]
        tally.verdicts(verdicts, 10.1 + number)
    return tally.snapshot(queue=2, queue_peak=3, now_s=13.2)


def test_the_tally_counts_verdicts_metres_and_losses() -> None:
    seen = counted()
    length_m = (verdict().encoder_end - verdict().encoder_start) / COUNTS_PER_M
    assert (seen.triggers, seen.frames, seen.tiles) == (4, 3, 24)
    assert seen.metres == pytest.approx(4 * length_m)
    assert seen.outcomes == {"PASS": 5, "FAIL": 1, "NOT_INSPECTED": 2}
    assert seen.reasons == {"score": 1, "frame_lost": 2}
    assert seen.metres_by_outcome["FAIL"] == pytest.approx(length_m / 2)
    assert sum(seen.metres_by_outcome.values()) == pytest.approx(seen.metres)
    assert seen.lost == {"frame_lost": 1}
    assert seen.seconds == pytest.approx(3.1)
    assert seen.frames_per_s == pytest.approx(2 / 3)
    assert seen.tiles_per_s == pytest.approx(16 / 3)
    assert seen.p50_ms == pytest.approx(31.0625)
    assert [d.defect_id for d in seen.recent_defects] == ["1-0-0"]


def test_a_line_that_has_seen_nothing_has_no_rates_and_no_latency() -> None:
    seen = Tally(COUNTS_PER_M).snapshot(0, 0, 1.0)
    assert (seen.frames_per_s, seen.speed_m_min, seen.seconds) == (0.0, 0.0, 0.0)
    assert math.isnan(seen.p99_ms)
    assert seen.as_dict()["p99_ms"] is None


@pytest.mark.parametrize(("every_s", "stands_after_s"), [(0.5, 5.0), (12.0, 24.0)])
def test_a_web_that_stands_still_has_no_speed(every_s: float, stands_after_s: float) -> None:
    """A slow web's frames are rare: between two of them it has not stopped."""
    tally = Tally(COUNTS_PER_M)
    for number in range(4):
        tally.inspected(8)
        tally.verdicts([verdict(number)], number * every_s)
    last_s = 3 * every_s
    moves = tally.snapshot(0, 0, last_s + 0.99 * stands_after_s)
    assert moves.tiles_per_s == pytest.approx(8 / every_s)
    assert moves.speed_m_min > 0
    stands = tally.snapshot(0, 0, last_s + 1.01 * stands_after_s)
    assert (stands.frames_per_s, stands.tiles_per_s, stands.speed_m_min) == (0.0, 0.0, 0.0)
    assert (stands.frames, stands.metres) == (moves.frames, moves.metres)


def test_the_panel_shows_every_count() -> None:
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(panel(counted(), "line 1 · mill · denim"))
    text = console.export_text()
    for words in (
        "line 1 · mill · denim",
        "queue 2 (peak 3)",
        "drops 1",
        "p50 31 ms",
        "PASS 5",
        "FAIL 1",
        "NOT_INSPECTED 2",
        "reasons: frame_lost 2, score 1",
        "1-0-0",
        "Ctrl-C ends",
    ):
        assert words in text


def test_web_unlike_what_was_learnt_is_told_in_the_panel_and_in_the_log() -> None:
    like, unlike = counted(), dataclasses.replace(counted(), unlike_share=0.834)
    for seen, is_told in ((like, False), (unlike, True)):
        console, log = Console(record=True, width=120, file=io.StringIO()), io.StringIO()
        console.print(panel(seen, "line 1"))
        LogLines(log).show(seen, 0.0)
        assert ("83% of the last metre" in console.export_text()) == is_told
        assert ("unlike=0.83" in log.getvalue()) == is_told


def test_a_log_gets_a_line_for_each_new_defect_and_counts_every_few_seconds() -> None:
    log = io.StringIO()
    lines = LogLines(log)
    for now_s in (0.0, 1.0, 4.9, 5.1):
        lines.show(counted(), now_s)
    kinds = [line.split()[0] for line in log.getvalue().splitlines()]
    assert kinds == ["defect", "line", "line"]
    first, second, _ = log.getvalue().splitlines()
    for line in (first, second):
        told = datetime.strptime(line.split()[1], "t=%Y-%m-%dT%H:%M:%S%z")
        assert abs((datetime.now(UTC) - told).total_seconds()) < 60
    assert "id=1-0-0 y_m=0.05 x_mm=14.0" in first
    assert "pass=5 fail=1 not_inspected=2 drops=1" in second


def test_every_defect_of_a_torn_web_is_in_the_log_and_the_newest_in_the_panel() -> None:
    tally, log = Tally(COUNTS_PER_M), io.StringIO()
    lines = LogLines(log)
    for look in range(4):
        for number in range(30):
            torn = [defect(f"1-{look}-{number}-{place}") for place in range(4)]
            tally.verdicts([dataclasses.replace(verdict(number), defects=tuple(torn))], 1.0)
        lines.show(tally.snapshot(0, 0, 1.0), 0.0)
    assert log.getvalue().count(" id=") == 480
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(panel(tally.snapshot(0, 0, 1.0), "line 1"))
    shown = console.export_text()
    assert (shown.count("1-3-29-"), shown.count("1-3-2")) == (4, 12)


def test_a_log_of_months_remembers_no_more_defects_than_are_shown() -> None:
    log = io.StringIO()
    lines, seen = LogLines(log), counted()
    for number in range(100):
        recent = tuple(defect(f"1-{number}-{place}") for place in range(12))
        for _ in range(2):
            lines.show(dataclasses.replace(seen, recent_defects=recent), 0.0)
    assert log.getvalue().count(" id=") == 1200
    assert len(lines._told) == 12


def test_names_are_shown_as_they_are_written() -> None:
    """Square brackets of a plant's or camera's name are no markup, and a word between colons is no picture."""
    console = Console(record=True, width=120, file=io.StringIO(), force_terminal=True)
    console.print(panel(counted(), "hall [/b] [red]:warning:"))
    with Live(console=console, auto_refresh=False) as live:
        LiveView(live, "line 1").say("camera [/b] [red]:warning:")
    text = console.export_text()
    assert "hall [/b] [red]:warning:" in text
    assert "camera [/b] [red]:warning:" in text


def test_where_nobody_looks_on_there_are_log_lines() -> None:
    stream = io.StringIO()
    with view_for("line 1", stream) as view:
        view.say("ready")
    assert stream.getvalue() == "ready\n"


def test_the_live_view_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    """On a real terminal: keys aren't echoed into the panel, and are again afterwards, also after Ctrl-C."""
    code = (
        "import time\n"
        "from inspector.tally import Tally\n"
        "from inspector.view import view_for\n"
        "try:\n"
        "    with view_for('line 1') as view:\n"
        "        view.show(Tally(1.0).snapshot(0, 0, 0.0), 0.0)\n"
        "        view.say('READY')\n"
        "        time.sleep(30)\n"
        "except KeyboardInterrupt:\n"
        "    print('ENDED')\n"
    )
    ours, theirs = pty.openpty()
    assert termios.tcgetattr(theirs)[3] & termios.ECHO
    environment = os.environ | {"TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, env=environment, start_new_session=True
    )
    try:
        read_until(ours, b"READY")
        assert not termios.tcgetattr(theirs)[3] & termios.ECHO
        process.send_signal(2)
        read_until(ours, b"ENDED")
        assert termios.tcgetattr(theirs)[3] & termios.ECHO
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def test_a_line_in_the_background_of_a_shell_writes_log_lines() -> None:
    """The terminal is another job's: whoever changes it is stopped, and a panel would cover its output."""
    code = (
        "import fcntl, os, sys, termios\n"
        "from inspector.view import view_for\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os.setpgid(0, 0)\n"
        "    with view_for('line 1') as view:\n"
        "        view.say('READY')\n"
        "    os._exit(0)\n"
        "_, status = os.waitpid(child, os.WUNTRACED)\n"
        "if os.WIFSTOPPED(status):\n"
        "    os.kill(child, 9)\n"
        "    os.waitpid(child, 0)\n"
        "sys.exit('stopped' if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status))\n"
    )
    ours, theirs = pty.openpty()
    ended = subprocess.run(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert os.read(ours, 4096) == b"READY\r\n"
    os.close(ours)
    os.close(theirs)


def test_a_terminal_without_a_keyboard_gets_its_live_view(tmp_path: Path) -> None:
    code = "from inspector.view import view_for\nwith view_for('line 1') as view:\n    view.say('READY')\n"
    ours, theirs = pty.openpty()
    command = ["sh", "-c", 'exec "$0" -c "$1" <&-', sys.executable, code]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, text=True) as process:
        read_until(ours, b"READY")
        _, complaint = process.communicate(timeout=10)
    os.close(ours)
    os.close(theirs)
    assert (process.returncode, complaint) == (0, "")


def read_until(terminal: int, words: bytes) -> None:
    text, until_s = b"", time.monotonic() + 10
    while words not in text:
        assert select.select([terminal], [], [], max(0.0, until_s - time.monotonic()))[0], text
        text += os.read(terminal, 4096)
