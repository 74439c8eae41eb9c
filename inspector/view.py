"""What a person sees of a running line: a live picture on a terminal, structured lines in a log otherwise."""

from __future__ import annotations

import math
import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from inspector.output import Outlet, say
from inspector.records import Defect, Outcome
from inspector.tally import Snapshot

LOG_EVERY_S = 5.0
DEFECTS_SHOWN = 12  # in the panel
COLOURS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.NOT_INSPECTED: "yellow"}


class View(Protocol):
    """Shows a running line. Called from the main thread only, which on an Outlet never waits."""

    def show(self, snapshot: Snapshot, now_s: float) -> None:
        """The line as it stands; called some four times a second."""

    def say(self, text: str) -> None:
        """Something happened that is worth a line."""


@contextmanager
def view_for(title: str, stream: TextIO | None = None) -> Iterator[View]:
    """A live view where a person looks on; log lines for a file, a journal, or a terminal that another job has."""
    stream = stream or sys.stdout
    if not (
        stream and stream.isatty() and _is_ours(stream)
    ):  # none: the line was started with its output closed
        yield LogLines(stream)
        return
    console = Console(file=cast(TextIO, Closable(stream)))
    is_behind = stream.is_behind if isinstance(stream, Outlet) else lambda: False
    with _no_echo(), Live(console=console, auto_refresh=False, transient=False) as live:
        yield LiveView(live, title, is_behind)


@contextmanager
def _no_echo() -> Iterator[None]:
    """Keys, and the terminal's own ^C, would move the cursor from where the panel is drawn again."""
    if not (sys.stdin and sys.stdin.isatty() and _is_ours(sys.stdin)):  # none: started with its input closed
        yield
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    silent = termios.tcgetattr(keyboard)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(keyboard, termios.TCSANOW, silent)
    try:
        yield
    finally:
        if _is_ours(sys.stdin):
            with suppress(termios.error):  # its window is closed: there is nothing left to put right
                # TCSADRAIN would wait for one that hangs.
                termios.tcsetattr(keyboard, termios.TCSANOW, before)


def _is_ours(terminal: TextIO) -> bool:
    """Not while another job of the shell has it: whoever changes it from the background is stopped (SIGTTOU)."""
    try:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:  # not the terminal that this process belongs to, so that no shell shares it out
        return True


class Closable:
    """A terminal whose window may be closed: what is written then is lost, and no reason to stop the line."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)

    def write(self, text: str) -> None:
        """Write, or do nothing."""
        with suppress(OSError):
            self._terminal.write(text)

    def flush(self) -> None:
        """Flush, or do nothing."""
        with suppress(OSError):
            self._terminal.flush()


class LiveView:
    """A panel that redraws itself in place."""

    def __init__(self, live: Live, title: str, is_behind: Callable[[], bool] = lambda: False) -> None:
        self._live = live
        self._title = title
        self._is_behind = is_behind

    def show(self, snapshot: Snapshot, now_s: float) -> None:
        """Redraw; not while the terminal hangs, since each drawing starts where the last one ended."""
        self._live.update(panel(snapshot, self._title), refresh=not self._is_behind())

    def say(self, text: str) -> None:
        """Print above the panel."""
        self._live.console.print(Text(text))


class LogLines:
    """One ``key=value`` line every LOG_EVERY_S seconds, and one for each new defect, each with the time in UTC."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._next_s = 0.0
        self._told: set[str] = set()
        self._failed = False
        self._dropped = 0

    def show(self, snapshot: Snapshot, now_s: float) -> None:
        """Write the defects that are new, and the counts when it is time again."""
        for defect in snapshot.recent_defects:
            if defect.defect_id not in self._told:
                self.say(f"defect {_logfmt({'t': _utc(), **defect_fields(defect)})}")
        self._told = {defect.defect_id for defect in snapshot.recent_defects}  # what is gone comes no more
        if now_s >= self._next_s:
            self._next_s = now_s + LOG_EVERY_S
            self.say(f"line {_logfmt({'t': _utc(), **line_fields(snapshot)})}")

    def say(self, text: str) -> None:
        """Write one line. A full disk or a reader that is gone is told once: it is no reason to stop the line.

        Where the reader stalls lines are dropped; how many stands before the first that he gets again.
        """
        if self._stream is None:
            return
        gap = f"log {_logfmt({'t': _utc(), 'dropped': self._dropped})}\n" if self._dropped else ""
        try:
            is_taken = self._stream.write(f"{gap}{text}\n")
            self._stream.flush()
            self._dropped = 0 if is_taken else self._dropped + 1
        except OSError as error:
            if not self._failed:
                self._failed = True
                with suppress(OSError):
                    print(
                        f"inspector: log lines can't be written ({error.strerror}); the line goes on",
                        file=sys.stderr,
                        flush=True,
                    )


class ProgressBar(Protocol):
    """Told how far a piece of work is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total``, and in a few words how well it goes."""


@contextmanager
def progress_bar(what: str) -> Iterator[ProgressBar]:
    """A bar with the time left, on standard error; yields ``progress(done, total)``. Silent where nobody looks on."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=None, note="")

        def progress(done: int, total: int, note: str = "") -> None:
            bars.update(task, completed=done, total=total, note=note)

        yield progress


class Steps:
    """What a person sees of work that has steps: lines that stay, and a bar where somebody looks on."""

    def say(self, text: str) -> None:
        """Print some lines at once: whoever reads a log in the morning wants to know how far it came."""
        say(text)

    def bar(self, what: str) -> AbstractContextManager[ProgressBar]:
        """Show how far a step is."""
        return progress_bar(what)


def panel(snapshot: Snapshot, title: str) -> Panel:
    """Draw a snapshot: rates, verdicts, losses, latency, and the latest defects."""
    rates = Table.grid(padding=(0, 3))
    rates.add_row(
        _pair("web", f"{snapshot.metres:8.2f} m"),
        _pair("speed", f"{snapshot.speed_m_min:5.1f} m/min"),
        _pair("frames/s", f"{snapshot.frames_per_s:6.2f}"),
        _pair("tiles/s", f"{snapshot.tiles_per_s:6.0f}"),
    )
    rates.add_row(
        _pair("queue", f"{snapshot.queue} (peak {snapshot.queue_peak})"),
        _pair("drops", str(sum(snapshot.lost.values()))),
        _pair("late", str(snapshot.late)),
        _pair("frame to verdict", f"p50 {_ms(snapshot.p50_ms)}  p99 {_ms(snapshot.p99_ms)}"),
    )
    verdicts = Text("verdicts   ")
    for outcome in Outcome:
        count = snapshot.outcomes.get(outcome.value, 0)
        metres = snapshot.metres_by_outcome.get(outcome.value, 0.0)
        verdicts.append(f"{outcome.value} {count}", style=COLOURS[outcome] if count else "dim")
        verdicts.append(f" ({metres:.2f} m)   ", style="dim")
    if snapshot.reasons:
        counts = ", ".join(f"{k} {v}" for k, v in sorted(snapshot.reasons.items()))
        verdicts.append(f"reasons: {counts}", style="dim")
    unlike = []
    if snapshot.unlike_share:
        told = f"{snapshot.unlike_share:.0%} of the last metre is as a whole unlike what the recipe learnt"
        unlike = [Text(f"{told}: another fabric, other light or focus?", style="bold red"), Text()]
    return Panel(
        Group(rates, Text(), verdicts, Text(), *unlike, defect_table(snapshot)),
        title=Text(title),
        subtitle=f"{snapshot.state} · Ctrl-C ends",
    )


def defect_table(snapshot: Snapshot) -> Table:
    """The latest defects, newest first."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("defect", "along m", "across mm", "length mm", "width mm", "area mm²", "peak σ"):
        table.add_column(column, justify="left" if column == "defect" else "right")
    for defect in reversed(snapshot.recent_defects[-DEFECTS_SHOWN:]):
        table.add_row(
            defect.defect_id,
            f"{defect.y_m:.3f}",
            f"{defect.x_mm:.1f}",
            f"{defect.length_mm:.1f}",
            f"{defect.width_mm:.1f}",
            f"{defect.area_mm2:.1f}",
            f"{defect.peak_sigma:.1f}",
        )
    if not snapshot.recent_defects:
        table.add_row("none yet", "", "", "", "", "", "")
    return table


def line_fields(snapshot: Snapshot) -> dict[str, object]:
    """The counts of a snapshot as flat fields."""
    return {
        "state": snapshot.state,
        "metres": round(snapshot.metres, 3),
        "frames_per_s": round(snapshot.frames_per_s, 2),
        "tiles_per_s": round(snapshot.tiles_per_s, 1),
        **{o.value.lower(): snapshot.outcomes.get(o.value, 0) for o in Outcome},
        "drops": sum(snapshot.lost.values()),
        "late": snapshot.late,
        "queue": snapshot.queue,
        "p50_ms": _number(snapshot.p50_ms),
        "p99_ms": _number(snapshot.p99_ms),
        "defects": snapshot.defects,
        **({"unlike": round(snapshot.unlike_share, 2)} if snapshot.unlike_share else {}),
    }


def defect_fields(defect: Defect) -> dict[str, object]:
    """A defect as flat fields."""
    return {
        "id": defect.defect_id,
        "y_m": round(defect.y_m, 4),
        "x_mm": round(defect.x_mm, 1),
        "length_mm": round(defect.length_mm, 1),
        "width_mm": round(defect.width_mm, 1),
        "area_mm2": round(defect.area_mm2, 2),
        "peak_sigma": round(defect.peak_sigma, 1),
    }


def _pair(name: str, value: str) -> Text:
    return Text.assemble((f"{name} ", "dim"), (value, "bold"))


def _ms(value: float) -> str:
    return f"{value:.0f} ms" if math.isfinite(value) else "-"


def _number(value: float) -> float | str:
    return round(value, 1) if math.isfinite(value) else "-"


def _utc() -> str:
    """Now, to the second: a log that is a plain file has no other clock."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _logfmt(fields: dict[str, object]) -> str:
    return " ".join(f"{k}={v}" if " " not in str(v) else f'{k}="{v}"' for k, v in fields.items())
