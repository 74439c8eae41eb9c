"""What a running line has done so far: counted by its threads, read by view, heartbeat and summary."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inspector.records import Defect, Outcome, Reason, Stamp, Verdict

RATE_WINDOW_S = 5.0
LATENCIES_KEPT = 4096
DEFECTS_KEPT = 512  # between two looks of whoever watches: a torn web has hundreds in a second


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The line at one moment."""

    state: str
    seconds: float  # since the first trigger
    triggers: int
    frames: int  # with pixels, inspected
    tiles: int
    metres: float  # of web that has its verdict
    frames_per_s: float
    tiles_per_s: float
    speed_m_min: float
    outcomes: dict[str, int]  # verdicts by outcome
    reasons: dict[str, int]  # verdicts by reason, PASS left out
    metres_by_outcome: dict[str, float]
    lost: dict[str, int]  # triggers by reason of loss
    late: int
    queue: int  # frames that wait with their pixels
    queue_peak: int  # most that ever did
    p50_ms: float
    p99_ms: float
    acq_p50_ms: float
    infer_p50_ms: float
    defects: int
    unlike_share: (
        float  # of the last metre, while the web as a whole is told to be unlike what was learnt; else 0
    )
    unlike_m: float  # of web that was
    recent_defects: tuple[Defect, ...]
    cpu_s: dict[str, float]  # by thread, "tiling" apart from "inspect"; "engine": the libraries' own threads

    def as_dict(self) -> dict[str, Any]:
        """For ``--summary``: plain JSON types, non-finite numbers as null."""
        plain: dict[str, Any] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if name == "recent_defects":
                continue
            if isinstance(value, float) and not np.isfinite(value):
                value = None
            plain[name] = value
        return plain


@dataclass
class Tally:
    """Counts under one lock. Every method may be called from any thread."""

    counts_per_m: float
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _outcomes: Counter[str] = field(default_factory=Counter)
    _reasons: Counter[str] = field(default_factory=Counter)
    _lost: Counter[str] = field(default_factory=Counter)
    _metres_by: dict[Outcome, float] = field(default_factory=lambda: dict.fromkeys(Outcome, 0.0))
    _total_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    _acq_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    _infer_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    _marks: deque[tuple[float, int, int, float]] = field(default_factory=lambda: deque(maxlen=512))
    _recent: dict[str, Defect] = field(default_factory=dict)  # by id, oldest first
    _started_s: float | None = None
    _ended_s: float = 0.0
    _triggers: int = 0
    _frames: int = 0
    _tiles: int = 0
    _metres: float = 0.0
    _late: int = 0
    _defects: int = 0
    _unlike: tuple[float, float] = (0.0, 0.0)
    y_decided_m: float = 0.0
    encoder_now: int = 0
    state: str = "Preoperational"
    cpu_s: dict[str, float] = field(default_factory=dict)

    def trigger(self, now_s: float, stamp: Stamp) -> None:
        """A frame, lost or not, came from the camera."""
        with self._lock:
            self._triggers += 1
            self.encoder_now = stamp.encoder_end
            if self._started_s is None:
                self._started_s = now_s
                self.y_decided_m = (
                    stamp.encoder_start / self.counts_per_m
                )  # nothing of this web is decided yet

    def inspected(self, tiles: int) -> None:
        """The engine has looked at a frame's tiles."""
        with self._lock:
            self._frames += 1
            self._tiles += tiles

    def lost(self, reason: Reason) -> None:
        """A trigger came without usable pixels."""
        with self._lock:
            self._lost[reason.value] += 1

    def verdicts(self, verdicts: list[Verdict], now_s: float) -> None:
        """The verdicts of one trigger, one per lane, went out."""
        if not verdicts:
            return
        with self._lock:
            first = verdicts[0]
            length_m = (first.encoder_end - first.encoder_start) / self.counts_per_m
            self._metres += length_m
            self.y_decided_m = first.encoder_end / self.counts_per_m
            for verdict in verdicts:
                self._outcomes[verdict.outcome.value] += 1
                self._metres_by[verdict.outcome] += length_m / len(verdicts)
                if verdict.outcome is not Outcome.PASS:
                    self._reasons[verdict.reason.value] += 1
                self._late += verdict.reason is Reason.LATE
                for defect in verdict.defects:
                    self._note(defect)
            if first.n_tiles_inspected:
                self._total_ms.append(first.timings.total_ms)
                self._acq_ms.append(first.timings.acq_ms)
                self._infer_ms.append(first.timings.infer_ms)
            self._ended_s = now_s
            self._marks.append((now_s, self._frames, self._tiles, self._metres))

    def unlike(self, share: float, metres: float) -> None:
        """How much of the last metre is unlike what was learnt, and metres so far (``judging.unlike``)."""
        with self._lock:
            self._unlike = share, metres

    def _note(self, defect: Defect) -> None:
        """A defect may come again: longer, or in a second lane."""
        if defect.defect_id in self._recent:
            self._recent[defect.defect_id] = defect
        elif defect.phase == "new":
            self._defects += 1
            self._recent[defect.defect_id] = defect
            if len(self._recent) > DEFECTS_KEPT:
                del self._recent[next(iter(self._recent))]

    def snapshot(self, queue: int, queue_peak: int, now_s: float) -> Snapshot:
        """Return the line as it stands at ``now_s``, on the clock of ``trigger`` and ``verdicts``."""
        with self._lock:
            frames_per_s, tiles_per_s, m_per_s = self._rates(now_s)
            return Snapshot(
                state=self.state,
                seconds=0.0 if self._started_s is None else max(0.0, self._ended_s - self._started_s),
                triggers=self._triggers,
                frames=self._frames,
                tiles=self._tiles,
                metres=self._metres,
                frames_per_s=frames_per_s,
                tiles_per_s=tiles_per_s,
                speed_m_min=m_per_s * 60,
                outcomes={o.value: self._outcomes[o.value] for o in Outcome},
                reasons=dict(self._reasons),
                metres_by_outcome={o.value: m for o, m in self._metres_by.items()},
                lost=dict(self._lost),
                late=self._late,
                queue=queue,
                queue_peak=queue_peak,
                p50_ms=_percentile(self._total_ms, 50),
                p99_ms=_percentile(self._total_ms, 99),
                acq_p50_ms=_percentile(self._acq_ms, 50),
                infer_p50_ms=_percentile(self._infer_ms, 50),
                defects=self._defects,
                unlike_share=self._unlike[0],
                unlike_m=self._unlike[1],
                recent_defects=tuple(self._recent.values()),
                cpu_s=dict(self.cpu_s),
            )

    def _rates(self, now_s: float) -> tuple[float, float, float]:
        """Frames, tiles and metres a second over the last RATE_WINDOW_S; all 0 when the web stands still."""
        if len(self._marks) < 2:
            return 0.0, 0.0, 0.0
        before, last = self._marks[-2], self._marks[-1]
        if now_s - last[0] > max(RATE_WINDOW_S, 2 * (last[0] - before[0])):  # a slow web's frames are rare
            return 0.0, 0.0, 0.0
        first = next(m for m in self._marks if last[0] - m[0] <= RATE_WINDOW_S)
        if first is last:
            first = before
        span = max(last[0] - first[0], 1e-6)
        return (last[1] - first[1]) / span, (last[2] - first[2]) / span, (last[3] - first[3]) / span


def _percentile(values: deque[float], q: float) -> float:
    return float(np.percentile(np.fromiter(values, float), q)) if values else float("nan")
