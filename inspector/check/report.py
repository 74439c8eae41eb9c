"""What ``inspector check`` proved, row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from inspector.errors import InspectorError

T = TypeVar("T")


@dataclass
class CheckReport:
    """What was proved, row by row."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)  # room, "ok" | "FAIL" | "warn", sentence
    first_error: InspectorError | None = None

    def attempt(
        self,
        room: str,
        prove: Callable[[], T],
        say: Callable[[T], str],
        mark: Callable[[T], str] = lambda _: "ok",
    ) -> T | None:
        """Run ``prove``; note what it found, by ``mark`` "ok" or "warn", or why it failed."""
        try:
            found = prove()
        except InspectorError as error:
            self.first_error = self.first_error or error
            self.rows.append((room, "FAIL", str(error)))
            return None
        self.rows.append((room, mark(found), say(found)))
        return found

    def proved(self) -> list[str]:
        """What is well, one row a room; at the end whether all is."""
        rows = [_row(row) for row in self.rows if row[1] != "FAIL"]
        return rows if self.first_error else [*rows, "ready to run"]

    def failures(self) -> list[str]:
        """What fails, one row a room, and what to do; nothing where all is well."""
        rows = [_row(row) for row in self.rows if row[1] == "FAIL"]
        return [*rows, "NOT ready: mend what says FAIL"] if rows else []


def _row(row: tuple[str, str, str]) -> str:
    room, mark, sentence = row
    return f"{mark:4}  {room:8} {sentence}"
