"""What is wanted of the whole line, and whether the runs of a bench kept it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moved import Moved

LONG_MIN = 10.0  # of load without a drop, in one run
ENDS_MIN = 0.1  # of it, before the first frame and after the last
LATE_BATCHES = 2.0  # frame to verdict, in times of one of the engine's batches
CPU_SHARE = 0.1  # for acquisition and tiling, of what the line's process takes
Row = tuple[str, str, str]  # wanted, found, kept or not


@dataclass(frozen=True, slots=True)
class Loaded:
    """A run of the line at 90 % of the rate that its engine had alone."""

    report: dict[str, Any]  # of `run --summary`
    bare: float  # tiles/s
    tiles_per_frame: float

    @property
    def batch_ms(self) -> float:
        """What the bare engine takes for a frame's tiles."""
        return 1000 * self.tiles_per_frame / self.bare

    @property
    def late_batches(self) -> float:
        """p99 of frame to verdict, in batch times."""
        return float(self.report["p99_ms"] / self.batch_ms)

    def share(self, *names: str) -> float:
        """Of the CPU time that the line's process took, the virtual camera's in it."""
        cpu_s: dict[str, float] = self.report["cpu_s"]
        return sum(cpu_s[name] for name in names) / sum(cpu_s.values())


def wanted(loaded: list[Loaded], moved: Moved) -> str:
    """What is wanted of the whole line, what was found, and whether that keeps it, in Markdown."""
    rows = [_drops(loaded), _lateness(loaded), _cpu(loaded), _copies(moved)]
    return "\n".join(["| wanted | found | |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)])


def _drops(loaded: list[Loaded]) -> Row:
    longest = max(one.report["seconds"] for one in loaded) / 60
    drops = sum(sum(one.report["lost"].values()) for one in loaded)
    triggers = sum(one.report["triggers"] for one in loaded)
    kept = "kept" if longest >= LONG_MIN - ENDS_MIN else "too short to tell"
    return (
        f"at 90 % of the engine's rate no frame is dropped in {LONG_MIN:g} minutes",
        f"{drops} of {triggers} in {len(loaded)} runs, the longest of {longest:.1f} minutes",
        "NOT kept" if drops else kept,
    )


def _lateness(loaded: list[Loaded]) -> Row:
    worst = max(loaded, key=lambda one: one.late_batches)
    return (
        f"there, p99 of frame to verdict is under {LATE_BATCHES:g} times the engine's time for a frame's tiles",
        f"{worst.report['p99_ms']:.0f} ms in the worst run, {worst.late_batches:.2f} times {worst.batch_ms:.0f} ms",
        "kept" if worst.late_batches < LATE_BATCHES else "NOT kept",
    )


def _cpu(loaded: list[Loaded]) -> Row:
    worst = max(loaded, key=lambda one: one.share("acquire", "tiling"))
    acquiring, tiling = (100 * worst.share(name) for name in ("acquire", "tiling"))
    return (
        f"there, acquisition and tiling take under {100 * CPU_SHARE:.0f} % of the line's CPU time",
        f"{acquiring:.2f} % and {tiling:.2f} % in the worst run",
        "kept" if acquiring + tiling < 100 * CPU_SHARE else "NOT kept",
    )


def _copies(moved: Moved) -> Row:
    beyond = f"{moved.beyond:,.0f} bytes beyond these two"
    return (
        "no copy of pixels beyond the one out of the camera's buffer",
        f"{moved.frame_bytes:,.0f} bytes a frame out of it, {moved.tile_bytes:,.0f} into the engine's input; {beyond}",
        f"wanted one, has {'two: tiles overlap and bear margins' if moved.is_kept else 'more than two'}: NOT kept",
    )
