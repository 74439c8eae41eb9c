"""What a self-test found: rows and figures for somebody who never sees the machine."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from inspector import __version__
from inspector.backends.machine import machine_facts


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was tested."""

    check: str
    result: str  # "ok" | "FAIL" | "warn"
    sentence: str
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass
class SelfTest:
    """All that was found; made to be sent to somebody who never sees the machine."""

    line: str
    lowest_limit_sigma: float | None  # of its zones; None without limits
    engine: dict[str, Any]
    machine: dict[str, str | int] = field(default_factory=machine_facts)
    date_utc: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    golden: list[dict[str, float]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed."""
        return [row.check for row in self.rows if row.result == "FAIL"]

    def text(self) -> str:
        """The report for eyes."""
        about = [f"{part:12}{key}: {value}" for part, facts in self._facts() for key, value in facts.items()]
        tiles = [
            f"{'golden tile':12}{place}: {one['now_sigma']:.4f} sigma, at the build {one['build_sigma']:.4f}, "
            f"reference {one['reference_sigma']:.4f}"
            for place, one in enumerate(self.golden, start=1)
        ]
        rows = [f"{row.result:4}  {row.check:11} {row.sentence}" for row in self.rows]
        verdict = f"NOT well: {', '.join(self.failed)}" if self.failed else "the engine is well"
        head = f"inspector {__version__}, self-test of line {self.line} at {self.date_utc}"
        return "\n".join([head, *about, *tiles, *rows, verdict])

    def to_json(self) -> dict[str, Any]:
        """The same with every figure; what is no number, or beyond all, is a string."""
        figures: dict[str, Any] = _plain(
            {"inspector": __version__, "passed": not self.failed, **asdict(self), "failed": self.failed}
        )
        return figures

    def _facts(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        return ("machine", self.machine), ("engine", self.engine)


def _plain(value: Any) -> Any:
    """JSON knows neither NaN nor infinity."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
