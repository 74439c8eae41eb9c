"""Connected cells above the limit become defects, followed from strip to strip under one id.

A fault is rarely above the limit all along: a broken end shows as a row of islands. So a defect is what
holds together above GROW times the limit and has a cell above the limit itself. GROW only shapes defects;
whether a strip fails is for the cells above the limit alone.

A defect is first seen as phase "new". If it touches the last row decided so far, and the web goes on,
it is open: what touches it in the next strip is the same defect and comes as "update" while it stays
open, as "end" when it is whole. Two open defects that grow together go on under the id of the one that
began first; the other gets its "end".

Size is that of one strip's cells, or of an open defect's so far. So what touches the strip's last row, goes on
from warm cells above its first, or touches its first where nobody saw what lies above (an image of its own, or
the first strip after a lost frame), is never too small to count: the rest of it may lie beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from inspector.config import Web
from inspector.records import F32, I32, Defect, Strip

Mask: TypeAlias = npt.NDArray[np.bool_]

GROW = 0.7  # of the limit; good web hardly reaches it (the limit is beyond the highest tile in thousands)
# New ones listed per strip, strongest first; the rest fail their lanes unmeasured: a web in shreds must
# not stop the line.
MOST_DEFECTS = 64


@dataclass(frozen=True, slots=True)
class Sighting:
    """A defect, or part of one, in one strip."""

    columns: Mask  # of the canvas; where it lies (for an "end" without cells here: where it lay)
    fails: bool  # whether the lanes it lies in fail
    defect: Defect | None = None  # None: too small to count, or beyond the longest list


@dataclass(frozen=True, slots=True)
class _Part:
    """The cells of one defect in one strip."""

    rows: npt.NDArray[np.intp]  # [K]
    columns: npt.NDArray[np.intp]  # [K]
    shape: tuple[int, ...]  # of the decided cells

    @property
    def lies_in(self) -> Mask:
        """Columns of the canvas."""
        return self._mask(self.columns)

    @property
    def last_row(self) -> Mask:
        """Columns of the canvas in the last decided row."""
        return self._mask(self.columns[self.rows == self.shape[0] - 1])

    @property
    def reaches_end(self) -> bool:
        """Whether it touches the last decided row."""
        return bool(self.rows.max() == self.shape[0] - 1)

    @property
    def at_start(self) -> bool:
        """Whether it touches the first decided row."""
        return bool(self.rows.min() == 0)

    def goes_on_from(self, above: Mask | None) -> bool:
        """Whether it touches one of these cells in the row above the strip's first."""
        if above is None:
            return False
        near = np.convolve(above, np.ones(3), "same") > 0
        return bool(near[self.columns[self.rows == 0]].any())

    @property
    def diagonal(self) -> float:
        """Of the upright box around it, cells: no side of any box around it is longer."""
        return float(np.hypot(np.ptp(self.rows) + 1, np.ptp(self.columns) + 1))

    def _mask(self, columns: npt.NDArray[np.intp]) -> Mask:
        mask = np.zeros(self.shape[1], np.bool_)
        mask[columns] = True
        return mask


@dataclass(frozen=True, slots=True)
class _Body:
    """A defect's shape so far. Rows in px of the piece, columns in px of the frame."""

    first_row: int
    y_m: float
    hull: F32  # [K, 2] (x, y - first_row), px: convex hull of its cells
    n_cells: int
    peak: float
    columns: Mask  # of the canvas


@dataclass(frozen=True, slots=True)
class _Open:
    """A defect that reaches the last decided row."""

    defect_id: str
    body: _Body
    last_row: Mask  # its cells there


class DefectTracker:
    """Finds defects in strips that come in order.

    Args:
        limit_sigma: cells above it are faulty; positive.
        min_defect_mm: defects whose longer side is below it don't count where they are known whole.
        web: geometry of the web.
        px_per_cell: side of a cell.
    """

    def __init__(self, limit_sigma: float, min_defect_mm: float, web: Web, px_per_cell: int) -> None:
        self._limit = limit_sigma
        self._min_mm = min_defect_mm
        self._mm_per_px = web.mm_per_px
        self._counts_per_m = web.encoder_counts_per_m
        self._cell_px = px_per_cell
        self._open: list[_Open] = []  # by first row
        self._joins: tuple[int, int] | None = None  # piece and row at which the open ones go on
        self._warm_above: Mask | None = None  # the last decided row, open defects or not; None: nothing joins

    def track(self, strip: Strip, decided: F32) -> list[Sighting]:
        """Return what lies in these cells, and the ends of defects that don't go on.

        Args:
            strip: where the cells are.
            decided: [rows, columns] of the strip's canvas, sigma; non-finite cells are never above the limit.
        """
        joins_before = self._joins == (strip.piece, strip.first_row)
        sightings = [] if joins_before else self.close()
        warm = decided > self._limit * GROW
        rows, columns = np.nonzero(warm)
        group, known = self._components(warm)
        labels = group[rows, columns]
        still_open: list[_Open] = []
        n_new = 0
        cell_mm = self._cell_px * self._mm_per_px
        for cells, label in _split(labels, decided[rows, columns]):
            part = _Part(rows[cells], columns[cells], decided.shape)
            before = known.pop(label, [])
            is_hot = bool((decided[part.rows, part.columns] > self._limit).any())
            if not before and not is_hot:
                continue
            is_open = strip.joins_next and part.reaches_end
            # Where nobody saw what lies beyond, the web may begin or end in the midst of a fault.
            is_cut = part.reaches_end or (part.at_start and not joins_before)
            is_whole = not (before or is_cut or part.goes_on_from(self._warm_above))
            if is_whole and part.diagonal * cell_mm < self._min_mm:
                sightings.append(Sighting(part.lies_in, fails=False))
                continue
            if not before and n_new == MOST_DEFECTS:
                sightings.append(Sighting(part.lies_in, fails=True))
                continue
            body = self._body(strip, part, decided)
            if is_whole and self._sides_mm(body)[0] < self._min_mm:
                sightings.append(Sighting(part.lies_in, fails=False))
                continue
            if before:
                defect_id, phase = before[0].defect_id, "update" if is_open else "end"
                for earlier in before:
                    body = _merged(body, earlier.body)
                sightings += [self._ended(absorbed) for absorbed in before[1:]]
            else:
                defect_id, phase = f"{strip.stamp.line}-{strip.stamp.sequence}-{n_new}", "new"
                n_new += 1
            defect = self._defect(defect_id, body, phase)
            sightings.append(Sighting(part.lies_in, fails=is_hot, defect=defect))
            if is_open:
                still_open.append(_Open(defect_id, body, part.last_row))
        sightings += [self._ended(gone) for earlier in known.values() for gone in earlier]
        self._open = sorted(still_open, key=lambda o: o.body.first_row)
        self._joins = (strip.piece, strip.first_row + strip.decided_px)
        self._warm_above = warm[-1] if strip.joins_next else None
        return sightings

    def close(self) -> list[Sighting]:
        """Return the ends of all open defects: what comes next is not their web."""
        ended = [self._ended(gone) for gone in self._open]
        self._open, self._joins, self._warm_above = [], None, None
        return ended

    def _components(self, warm: Mask) -> tuple[I32, dict[int, list[_Open]]]:
        """Label connected cells [rows, columns], 8-neighbours; open defects by the label they go on under."""
        above = np.zeros(warm.shape[1], np.bool_)
        for defect in self._open:
            above |= defect.last_row
        count, found = cv2.connectedComponents(np.vstack([above, warm]).astype(np.uint8), connectivity=8)
        name = np.arange(count)
        for defect in self._open:  # two arms of one open defect may not touch each other here
            arms = np.unique(name[found[0, defect.last_row]])
            name[np.isin(name, arms)] = arms[0]
        known: dict[int, list[_Open]] = {}
        for defect in self._open:
            known.setdefault(int(name[found[0, defect.last_row][0]]), []).append(defect)
        return np.asarray(name[found[1:]], np.int32), known

    def _body(self, strip: Strip, part: _Part, decided: F32) -> _Body:
        assert strip.region is not None
        cell, top = self._cell_px, int(part.rows.min())
        corners = [
            np.stack([part.columns + right, part.rows - top + below], axis=1)
            for right in (0, 1)
            for below in (0, 1)
        ]
        points = np.concatenate(corners).astype(np.float32) * cell
        points[:, 0] = np.minimum(points[:, 0] + strip.region.left_px, strip.region.right_px)
        return _Body(
            first_row=strip.first_row + top * cell,
            y_m=strip.encoder_at(top * cell) / self._counts_per_m,
            hull=_hull(points),
            n_cells=len(part.rows),
            peak=float(decided[part.rows, part.columns].max()),
            columns=part.lies_in,
        )

    def _sides_mm(self, body: _Body) -> tuple[float, float]:
        """Longer and shorter side of the smallest turned rectangle."""
        _, sides, _ = cv2.minAreaRect(body.hull)
        return max(sides) * self._mm_per_px, min(sides) * self._mm_per_px

    def _defect(self, defect_id: str, body: _Body, phase: str) -> Defect:
        left, top = body.hull.min(0)
        right, bottom = body.hull.max(0)
        length_mm, width_mm = self._sides_mm(body)
        return Defect(
            defect_id=defect_id,
            x_mm=float(left) * self._mm_per_px,
            y_m=body.y_m,
            w_mm=float(right - left) * self._mm_per_px,
            h_mm=float(bottom - top) * self._mm_per_px,
            area_mm2=body.n_cells * (self._cell_px * self._mm_per_px) ** 2,
            length_mm=length_mm,
            width_mm=width_mm,
            peak_sigma=body.peak,
            phase=phase,
        )

    def _ended(self, gone: _Open) -> Sighting:
        return Sighting(gone.body.columns, fails=False, defect=self._defect(gone.defect_id, gone.body, "end"))


def _split(labels: I32, scores: F32) -> list[tuple[npt.NDArray[np.intp], int]]:
    """Return the cells of every label, the label with the highest score first."""
    if not len(labels):
        return []
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    groups = np.split(order, cuts)
    peaks = np.maximum.reduceat(scores[order], [0, *cuts])
    return [(groups[i], int(labels[groups[i][0]])) for i in np.argsort(-peaks, kind="stable")]


def _merged(body: _Body, earlier: _Body) -> _Body:
    """One shape from two, in the rows of the one that began first."""
    first, other = (earlier, body) if earlier.first_row <= body.first_row else (body, earlier)
    shift = np.array([0, other.first_row - first.first_row], np.float32)
    return _Body(
        first_row=first.first_row,
        y_m=first.y_m,
        hull=_hull(np.concatenate([first.hull, other.hull + shift])),
        n_cells=first.n_cells + other.n_cells,
        peak=max(first.peak, other.peak),
        columns=first.columns | other.columns,
    )


def _hull(points: F32) -> F32:
    return np.asarray(cv2.convexHull(points).reshape(-1, 2), np.float32)
