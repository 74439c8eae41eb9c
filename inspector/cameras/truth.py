"""The loom's known faults, and how well a whole line found them.

A fault is *found* when a defect touches its box, *escaped* when all of it was inspected and none did,
and *not inspected* when some of it was never looked at (lost, late, or not yet decided), or all of it lies
beside the judged columns, and none did.
A defect that touches no fault is a *false alarm*. All boxes may miss each other by the tolerance,
about the blur of a score map.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from inspector.records import Defect

TOLERANCE_MM = 3.0
SIZE_STEPS_MM = (0.0, 2.0, 5.0, 10.0, 25.0, 100.0)  # of a fault's longer side


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault woven in: the box around the pixels it really changed. Axes as in records.py."""

    kind: str
    x_mm: float
    y_m: float  # start, along the web
    w_mm: float
    h_mm: float
    area_mm2: float  # of the changed pixels
    contrast_grey: float  # mean change of the changed pixels, grey values

    @property
    def size_mm(self) -> float:
        """Longer side of the box."""
        return max(self.w_mm, self.h_mm)


@dataclass(frozen=True, slots=True)
class Unseen:
    """A piece of web that nobody judged: rows, and columns when it is not the whole width."""

    y_start_m: float
    y_end_m: float
    x_start_mm: float = -math.inf
    x_end_mm: float = math.inf


@dataclass(frozen=True, slots=True)
class Scorecard:
    """Faults against defects."""

    inspected_m: float
    found: tuple[Fault, ...]
    escaped: tuple[Fault, ...]
    not_inspected: tuple[Fault, ...]
    false_alarms: tuple[Defect, ...]
    position_errors_mm: tuple[float, ...]  # of each fault found

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types; a rate is None where there was nothing to count."""
        return {
            "inspected_m": round(self.inspected_m, 3),
            **_recall(len(self.found), len(self.escaped)),
            "recall_by_kind": self._recalls(lambda fault: fault.kind),
            "recall_by_size_mm": self._recalls(_size_class),
            "not_inspected": len(self.not_inspected),
            "false_alarms": len(self.false_alarms),
            "false_alarms_per_100_m": self._per_100_m(),
            "position_error_mm": {
                "median": _quantile(self.position_errors_mm, 0.5),
                "p95": _quantile(self.position_errors_mm, 0.95),
            },
            "escapes": [asdict(fault) for fault in self.escaped],
            "text": self.text(),
        }

    def text(self) -> str:
        """A few lines for a person."""
        total = len(self.found) + len(self.escaped)
        share = f" ({len(self.found) / total:.0%})" if total else ""
        middle, tail = (_quantile(self.position_errors_mm, q) for q in (0.5, 0.95))
        lines = [
            f"found {len(self.found)} of {total} faults{share}, {len(self.not_inspected)} not inspected; "
            f"{len(self.false_alarms)} false alarms{self._rate_words()}"
            + (f"; position error median {middle:.1f} mm, p95 {tail:.1f} mm" if middle is not None else "")
        ]
        lines += [
            f"  escaped: {f.kind} at {f.y_m:.3f} m, {f.x_mm:.0f} mm across, {f.w_mm:.1f} x {f.h_mm:.1f} mm"
            for f in self.escaped
        ]
        return "\n".join(lines)

    def _recalls(self, group: Callable[[Fault], str]) -> dict[str, Any]:
        found, escaped = Counter(map(group, self.found)), Counter(map(group, self.escaped))
        return {name: _recall(found[name], escaped[name]) for name in sorted({*found, *escaped})}

    def _rate_words(self) -> str:
        """The rate, and what so little web can't rule out."""
        rate = self._per_100_m()
        if rate is None:
            return ""
        _, most = poisson_bounds(len(self.false_alarms), 0.9)  # beyond either end lies a twentieth
        most *= 100 / self.inspected_m
        return f" in {self.inspected_m:.1f} m ({rate:.1f} per 100 m, 95 % sure: below {most:.3g})"

    def _per_100_m(self) -> float | None:
        return len(self.false_alarms) / self.inspected_m * 100 if self.inspected_m else None


def poisson_bounds(count: int, confidence: float) -> tuple[float, float]:
    """Garwood's bounds, two-sided, of a Poisson mean of which ``count`` were seen (Biometrika 28, 1936)."""
    beyond = (1 - confidence) / 2
    low = _mean_where(lambda mean: 1 - _at_most(count - 1, mean) < beyond) if count else 0.0
    return low, _mean_where(lambda mean: _at_most(count, mean) > beyond)


def _at_most(count: int, mean: float) -> float:
    """Probability of ``count`` or fewer."""
    return sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))


def _mean_where(below: Callable[[float], bool]) -> float:
    """The mean up to which ``below`` holds, by bisection."""
    low, high = 1e-9, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return low


def score(
    faults: Iterable[Fault],
    defects: Iterable[Defect],
    inspected_m: float,
    decided_m: float = math.inf,
    unseen: Sequence[Unseen] = (),
    columns_mm: tuple[float, float] = (-math.inf, math.inf),
    tolerance_mm: float = TOLERANCE_MM,
) -> Scorecard:
    """Match defects with faults.

    Args:
        faults: all of the web, and some beyond ``decided_m``, so that a defect at the very end is not taken
            for a false alarm.
        defects: in any order; the boxes of one defect_id (new, update, end) are joined.
        inspected_m: length of web behind the false-alarm rate.
        decided_m: where the verdicts end; faults that begin later are left out.
        unseen: web without a judgement: NOT_INSPECTED verdicts.
        columns_mm: edges of the judged web. A fault beside them was not inspected; one that reaches in counts.
        tolerance_mm: how far a defect's box may lie from a fault's and still touch it.
    """
    boxes = _join(defects)
    touched: set[str] = set()
    found, escaped, blind, errors = [], [], [], []
    for fault in faults:
        box = _box(fault)
        mine = [name for name, other in boxes.items() if _apart_mm(box, _box(other)) <= tolerance_mm]
        touched.update(mine)
        if fault.y_m >= decided_m:
            continue
        if mine:
            found.append(fault)
            errors.append(_position_error_mm(box, [_box(boxes[name]) for name in mine], tolerance_mm))
        elif (
            fault.y_m + fault.h_mm / 1000 > decided_m
            or fault.x_mm >= columns_mm[1]
            or fault.x_mm + fault.w_mm <= columns_mm[0]
            or any(_hides(piece, fault) for piece in unseen)
        ):
            blind.append(fault)
        else:
            escaped.append(fault)
    alarms = tuple(defect for name, defect in boxes.items() if name not in touched)
    return Scorecard(inspected_m, tuple(found), tuple(escaped), tuple(blind), alarms, tuple(errors))


Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom; mm


def _box(thing: Fault | Defect) -> Box:
    top = thing.y_m * 1000
    return thing.x_mm, top, thing.x_mm + thing.w_mm, top + thing.h_mm


def _union(boxes: Sequence[Box]) -> Box:
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _join(defects: Iterable[Defect]) -> dict[str, Defect]:
    joined: dict[str, Defect] = {}
    for defect in defects:
        before = joined.get(defect.defect_id, defect)
        left, top, right, bottom = _union([_box(before), _box(defect)])
        joined[defect.defect_id] = replace(
            defect, x_mm=left, y_m=top / 1000, w_mm=right - left, h_mm=bottom - top
        )
    return joined


def _apart_mm(a: Box, b: Box) -> float:
    """Distance between two boxes; 0 when they overlap."""
    across = max(a[0] - b[2], b[0] - a[2], 0.0)
    along = max(a[1] - b[3], b[1] - a[3], 0.0)
    return math.hypot(across, along)


def _hides(piece: Unseen, fault: Fault) -> bool:
    left, top, right, bottom = _box(fault)
    along = top < piece.y_end_m * 1000 and bottom > piece.y_start_m * 1000
    return along and left < piece.x_end_mm and right > piece.x_start_mm


def _position_error_mm(fault: Box, defects: Sequence[Box], tolerance_mm: float) -> float:
    """From the middle of the defects to the middle of that part of the fault which they cover.

    A long fault found in part is a matter of its length, not of its place.
    """
    seen = _union(defects)
    error = []
    for low, high in ((0, 2), (1, 3)):
        start = max(fault[low], min(seen[low] - tolerance_mm, fault[high]))
        stop = min(fault[high], max(seen[high] + tolerance_mm, fault[low]))
        error.append((seen[low] + seen[high]) / 2 - (start + stop) / 2)
    return math.hypot(*error)


def _recall(found: int, escaped: int) -> dict[str, Any]:
    total = found + escaped
    return {"faults": total, "found": found, "recall": found / total if total else None}


def _size_class(fault: Fault) -> str:
    step = max(low for low in SIZE_STEPS_MM if low <= fault.size_mm)
    return f"from {step:g}"


def _quantile(values: Sequence[float], q: float) -> float | None:
    return float(np.quantile(values, q)) if values else None
