"""What a bench found: ways to run a recipe, how fast each is, and which to take, for eyes and for a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from inspector import __version__
from inspector.backends.building import rebuild_command
from inspector.backends.machine import machine_facts
from inspector.backends.rate import Rounds
from inspector.selftest.load import Load

P99 = 0.99
SPREAD = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True)
class Way:
    """To run a recipe."""

    backend: str
    precision: str
    apart: bool = False  # TensorRT: in three engines
    portable: bool = False  # TensorRT: for other GPUs and later versions, too
    workspace_mb: int | None = None  # TensorRT: most that one operator may take

    @property
    def name(self) -> str:
        """In words."""
        kinds = {
            ", three engines": self.apart,
            ", portable": self.portable,
            f", workspace {self.workspace_mb} MB": self.workspace_mb is not None,
        }
        return f"{self.backend} {self.precision}" + "".join(one for one, it_is in kinds.items() if it_is)

    def command(self, recipe: str) -> str:
        """What builds it."""
        return rebuild_command(recipe, self.backend, self)


@dataclass(frozen=True, slots=True)
class Timed:
    """What was measured of a way, turn by turn."""

    way: Way
    version: str  # of the library
    device: str
    turns: tuple[Rounds, ...]

    @property
    def tiles_per_s(self) -> tuple[float, float, float]:
        """Of its turns: what a tenth stays below, the median, what a tenth exceeds."""
        low, middle, high = np.quantile([turn.tiles_per_s for turn in self.turns], SPREAD)
        return float(low), float(middle), float(high)

    @property
    def p99_ms(self) -> float:
        """Of a batch."""
        every = tuple(second for turn in self.turns for second in turn.seconds)
        return Rounds(self.turns[0].tiles, every).quantile_ms(P99)


@dataclass
class Bench:
    """All ways of a line's recipe; made to be sent to somebody who never sees the machine."""

    line: str
    recipe: str
    load: Load
    built: Way | None  # what the line runs now; None: nothing is built
    timed: list[Timed] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # ways that can't be had here, and why
    machine: dict[str, str | int] = field(default_factory=machine_facts)
    date_utc: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def fastest(self) -> Timed:
        """By the median of its turns."""
        return max(self.timed, key=lambda one: one.tiles_per_s[1])

    def text(self) -> str:
        """The table for eyes, fastest first, and what to type."""
        head = [
            f"inspector {__version__}, bench of line {self.line}, recipe {self.recipe}, at {self.date_utc}",
            *(f"{key}: {value}" for key, value in self.machine.items()),
            f"load: {self.load.tiles} tiles at once, {self.load.of_what}; {self.load.needed_tiles_per_s:.0f} tiles/s",
        ]
        ordered = sorted(self.timed, key=lambda one: -one.tiles_per_s[1])
        width = max(len(one.way.name) for one in ordered)
        rows = [f"{'':{width}}  tiles/s (10 % to 90 % of turns)   p99 of a frame   against now"]
        for one in ordered:
            low, middle, high = one.tiles_per_s
            rate = f"{middle:.0f} ({low:.0f} to {high:.0f})"
            rows.append(
                f"{one.way.name:{width}}  {rate:32}  {one.p99_ms:11.1f} ms   {self._against_now(one)}"
            )
        return "\n".join([*head, "", *rows, "", *self.left_out, self.advice()])

    def advice(self) -> str:
        """Which to take, in one sentence."""
        best = self.fastest
        now = self._now()
        if now is not None and (best is now or best.tiles_per_s[0] <= now.tiles_per_s[2]):
            return f"the line's own engine, {now.way.name}, is the fastest here, or as fast as the turns can tell"
        if self.built is not None and now is None:
            return f"{best.way.name} is the fastest of those tried; the line's own, {self.built.name}, is none of them"
        config = f' and set backend = "{best.way.backend}" for line {self.line}'
        changed = self.built is None or self.built.backend != best.way.backend
        return f"{best.way.name} is the fastest here: run {best.way.command(self.recipe)}{config if changed else ''}"

    def to_json(self) -> dict[str, Any]:
        """The same with every turn."""
        return {
            "inspector": __version__,
            "line": self.line,
            "recipe": self.recipe,
            "date_utc": self.date_utc,
            "machine": self.machine,
            "load": asdict(self.load),
            "built": None if self.built is None else asdict(self.built),
            "left_out": self.left_out,
            "ways": [
                asdict(one.way)
                | {
                    "version": one.version,
                    "device": one.device,
                    "tiles_per_s": one.tiles_per_s[1],
                    "p99_ms": one.p99_ms,
                    "turns_tiles_per_s": [turn.tiles_per_s for turn in one.turns],
                }
                for one in self.timed
            ],
            "advice": self.advice(),
        }

    def _now(self) -> Timed | None:
        return next((one for one in self.timed if one.way == self.built), None)

    def _against_now(self, one: Timed) -> str:
        now = self._now()
        if now is None:
            return ""
        ratios = [mine.tiles_per_s / its.tiles_per_s for mine, its in zip(one.turns, now.turns, strict=True)]
        return f"{np.median(ratios):.2f}" + (" (now)" if one is now else "")
