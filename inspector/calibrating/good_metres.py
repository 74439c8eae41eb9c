"""Good metres of a running line, out of the verdicts it sends. Nothing here opens a socket or a file.

A *strip* is what one trigger lets be decided, with a verdict for each lane. It counts, with the scores of the lanes
that passed, if nothing in it was above the limit. A strip beside one that was does not count either: the edge of a
fault may reach into it, too faint to fail. What this can't know: whether web that passed was good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby

import numpy as np

from inspector.bus.wire import VerdictHeader
from inspector.errors import ConfigError
from inspector.records import F64, Outcome


class _Kind(Enum):
    GOOD = "at least one lane passed, nothing above the limit"
    ABOVE = "above the limit in a lane: failed, or too small to be a defect"
    UNSEEN = "no lane was inspected, or not all of its verdicts came"


@dataclass(frozen=True, slots=True)
class GoodStrip:
    """A strip that counts."""

    start_m: float  # along the web, by the line's encoder
    end_m: float
    scores: tuple[float, ...]  # sigma, of the lanes that passed, one or more
    seqs: tuple[int, int]  # of its first and last verdict


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run of web whose strips resemble each other: the unit that the bootstrap draws."""

    start_m: float
    end_m: float
    scores: F64  # [N] sigma, N >= 1


@dataclass(slots=True)
class LeftOut:
    """What was heard and doesn't count."""

    above_at_m: list[float] = field(default_factory=list)  # starts of the strips above the limit
    above_m: float = 0.0  # of them
    beside: int = 0  # strips next to one of them
    not_inspected: int = 0  # verdicts
    unseen_m: float = 0.0  # of web without one inspected lane, or whose verdicts didn't come
    unheard: int = 0  # verdicts that replay no longer had

    @property
    def above(self) -> int:
        """Strips above the limit."""
        return len(self.above_at_m)


class GoodMetres:
    """Puts strips together from a line's verdicts, heard in order of their seq.

    The strip in which it begins to listen never counts if it comes in part, nor does the last one heard: what
    follows it isn't known yet.

    Args:
        line_id: whose verdicts they are.
        lanes: of the line's config.
    """

    def __init__(self, line_id: str, lanes: int) -> None:
        self.strips: list[GoodStrip] = []
        self.good_m = 0.0  # of the strips
        self.left_out = LeftOut()
        self._line_id = line_id
        self._lanes = lanes
        self._open: list[VerdictHeader] = []  # verdicts of the strip that is being heard
        self._begins_whole = False  # nothing was missed just before it
        self._last_seq = 0  # 0: nothing heard
        self._waiting: GoodStrip | None = None  # counts if the next strip has nothing above the limit
        self._after_above = False

    @property
    def verdicts(self) -> int:
        """That count."""
        return sum(len(strip.scores) for strip in self.strips)

    @property
    def verdicts_per_100m(self) -> float:
        """Of the web that counts; 0 as long as there is none."""
        return self.verdicts / self.good_m * 100 if self.good_m else 0.0

    def hear(self, verdict: VerdictHeader) -> None:
        """Take the next verdict. Raises ConfigError when the line has other lanes than the config."""
        if verdict.lane >= self._lanes:
            raise self._other_lanes(f"lane {verdict.lane}")
        missed = verdict.seq - self._last_seq - 1 if self._last_seq else 0
        if not self._open or _place(verdict) != _place(self._open[-1]) or verdict.lane <= self._open[-1].lane:
            self._close(ends_whole=not missed)
            self._begins_whole = self._last_seq > 0 and not missed
        self.left_out.unheard += missed
        self._last_seq = verdict.seq
        self._open.append(verdict)

    def stretches(self, length_m: float) -> list[Stretch]:
        """Cut the web that counts into stretches of a length, each with one strip or more, in order."""
        if not self.strips:
            return []
        begin_m = self.strips[0].start_m
        cut = groupby(self.strips, key=lambda strip: int((strip.start_m - begin_m) / length_m))
        return [_stretch(list(strips)) for _, strips in cut]

    def _close(self, ends_whole: bool) -> None:
        """The strip has all the verdicts it will get."""
        heard, self._open = self._open, []
        if not heard:
            return
        whole = len(heard) == self._lanes
        if not whole and self._begins_whole and ends_whole:
            raise self._other_lanes(f"{len(heard)} a strip")
        self.left_out.not_inspected += sum(one.verdict is Outcome.NOT_INSPECTED for one in heard)
        kind = _Kind.UNSEEN
        if any(_is_above(one) for one in heard):
            kind = _Kind.ABOVE
        elif whole and _passed(heard):
            kind = _Kind.GOOD
        self._settle(kind, heard)

    def _settle(self, kind: _Kind, heard: Sequence[VerdictHeader]) -> None:
        """Decide on the strip before, now that its neighbour is known, and keep this one for the next."""
        if self._waiting is not None:
            if kind is _Kind.ABOVE:
                self.left_out.beside += 1
            else:
                self.strips.append(self._waiting)
                self.good_m += self._waiting.end_m - self._waiting.start_m
        self._waiting = None
        start_m, end_m = heard[0].y_start_m, heard[0].y_end_m
        if kind is _Kind.ABOVE:
            self.left_out.above_at_m.append(start_m)
            self.left_out.above_m += end_m - start_m
        elif kind is _Kind.UNSEEN:
            self.left_out.unseen_m += end_m - start_m
        elif self._after_above:
            self.left_out.beside += 1
        else:
            self._waiting = GoodStrip(start_m, end_m, _passed(heard), (heard[0].seq, heard[-1].seq))
        self._after_above = kind is _Kind.ABOVE

    def _other_lanes(self, has: str) -> ConfigError:
        return ConfigError(
            f"line {self._line_id} runs with other lanes than the config has ({has}, where {self._lanes} are due); "
            "start the line anew, or name the config it was started with"
        )


def _place(verdict: VerdictHeader) -> tuple[int, int, int]:
    return verdict.sequence, verdict.enc_start, verdict.enc_end


def _is_above(verdict: VerdictHeader) -> bool:
    """A PASS with a score above the limit has something in it that is smaller than a defect must be."""
    if verdict.verdict is Outcome.PASS:
        return verdict.score is not None and verdict.score > verdict.limit
    return verdict.verdict is Outcome.FAIL


def _passed(heard: Sequence[VerdictHeader]) -> tuple[float, ...]:
    return tuple(one.score for one in heard if one.verdict is Outcome.PASS and one.score is not None)


def _stretch(strips: Sequence[GoodStrip]) -> Stretch:
    scores = np.array([score for strip in strips for score in strip.scores], np.float64)
    return Stretch(strips[0].start_m, strips[-1].end_m, scores)
