"""One verdict per strip and lane.

The rule that matters: PASS is said only for cells that are finite and came from an inspected tile.
The canvas begins as minus infinity, and a tile with any non-finite value is NaN as a whole, so
whatever was not seen stays non-finite in the maximum and can't be compared into a PASS
(``NaN > limit`` is False). Levelling (``levelled``) leaves what is not finite as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from inspector.config import Lanes, Web
from inspector.errors import ArtefactError
from inspector.judging.defects import DefectTracker, Mask, Sighting
from inspector.judging.levelled import Scratch, levelled, rows_kept, zone_factors
from inspector.records import F32, I32, Grid, Levels, Outcome, Reason, ScoreMap, Strip, Verdict


def lane_edges_mm(lanes: Lanes, left_mm: float, right_mm: float) -> tuple[float, ...]:
    """Return the n + 1 edges of n lanes, mm from camera column 0: as given, else equal parts of the web.

    Args:
        lanes: the line's config.
        left_mm: where the judged web begins.
        right_mm: where it ends.
    """
    if lanes.edges_mm:
        return lanes.edges_mm
    return tuple(left_mm + (right_mm - left_mm) * i / lanes.count for i in range(lanes.count + 1))


def beside_lanes(lanes: Lanes, left_mm: float, right_mm: float, mm_per_px: float) -> str:
    """A sentence where judged web is in no lane; empty where all of it is in one.

    Args:
        lanes: the line's config.
        left_mm: where the judged web begins, from camera column 0.
        right_mm: where it ends.
        mm_per_px: of the line; the judged web is whole pixels, so that less than one is nothing.
    """
    if not lanes.edges_mm:
        return ""
    first_mm, last_mm = lanes.edges_mm[0], lanes.edges_mm[-1]
    if max(first_mm - left_mm, right_mm - last_mm) < mm_per_px:
        return ""
    return (
        f"the web judged is {left_mm:.1f} to {right_mm:.1f} mm, lanes.edges_mm are {first_mm:g} to {last_mm:g} mm: a "
        f"fault beside them is in no verdict; set the outer edges to those of the web, or beyond, or region.kind = "
        f"'fixed' to what is to be judged"
    )


def stitch(scores: F32, origins_px: I32, px_per_cell: int, cells: tuple[int, int]) -> F32:
    """Put tile scores together, the maximum where tiles overlap; minus infinity where no tile lies.

    Args:
        scores: [N, c, c] cells of the tiles' interiors.
        origins_px: [N, 2] (row, col) of the interiors on the canvas, multiples of ``px_per_cell``.
        px_per_cell: side of a cell.
        cells: (rows, columns) of the canvas.

    Returns:
        float32 [rows, columns]; NaN where any tile is NaN.
    """
    canvas = np.full(cells, -np.inf, np.float32)
    side = scores.shape[-1]
    for tile, (row, column) in zip(scores, origins_px // px_per_cell, strict=True):
        under = canvas[row : row + side, column : column + side]
        np.maximum(under, tile, out=under)
    return canvas


class Judge:
    """Judges the strips of one line, in order.

    Args:
        levels: the calibrated limits.
        min_defect_mm: a defect whose longer side is below this is left out (counted in the verdict's detail).
        lanes: the line's lanes.
        web: geometry of the web.
        grid: how tiles lie.

    Raises:
        ArtefactError: the limit is not a finite, positive number, or a window is not made of whole cells.
    """

    def __init__(self, levels: Levels, min_defect_mm: float, lanes: Lanes, web: Web, grid: Grid) -> None:
        if not (math.isfinite(levels.limit_sigma) and levels.limit_sigma > 0):
            raise ArtefactError(
                f"a limit of {levels.limit_sigma} sigma can't judge anything; calibrate the line again"
            )
        for one in levels.wide:
            if one.across_px % grid.px_per_cell or one.along_px % grid.px_per_cell:
                raise ArtefactError(
                    f"wide {one.name!r}: a window of {one.across_px}x{one.along_px} px can't be filled with cells of "
                    f"{grid.px_per_cell} px; calibrate the line again"
                )
        self.limit_sigma = float(levels.limit_sigma)
        self._levels = levels
        self._min_defect_mm = min_defect_mm
        self._lanes = lanes
        self._web = web
        self._grid = grid
        self._defects = DefectTracker(self.limit_sigma, min_defect_mm, web, grid.px_per_cell)
        self._carried: tuple[int, int, F32] | None = (
            None  # piece, its row, cells decided only by the next strip
        )
        self._scratch = Scratch()
        self._above: tuple[int, int, F32] | None = None  # piece, its row, cells decided before that

    def judge(self, strip: Strip, scores: ScoreMap | None) -> list[Verdict]:
        """Return one verdict per lane, leftmost first.

        PASS means that every cell of the lane's decided area was covered by an inspected tile with finite
        scores, that all of the lane's tiles came back, and that no cell of it is above the limit but in
        defects smaller than ``min_defect_mm``. It may carry the "update" or "end" of a defect that was above
        the limit before. No lane has it where the web reaches beyond them: a fault there would be in no verdict.
        A defect on a lane's edge fails both lanes. One that touches the strip's last row, goes
        on from cells near the limit above its first, or touches its first where no strip joins, counts whatever its
        size: the strip doesn't show it whole.

        Raises:
            ValueError: ``scores`` belong to another trigger or have another size of cells.
        """
        if strip.batch is None or scores is None:
            return self.not_inspected(strip, strip.reason or Reason.ENGINE_ERROR, strip.detail or "no scores")
        if scores.stamp != strip.stamp or scores.px_per_cell != self._grid.px_per_cell:
            raise ValueError(f"scores of trigger {scores.stamp.sequence} for trigger {strip.stamp.sequence}")
        side = self._grid.tile_px // self._grid.px_per_cell
        if scores.scores.shape[1:] != (side, side):
            raise ValueError(
                f"scores of {scores.scores.shape[1:]} cells a tile where {(side, side)} were due"
            )
        beside = self._beside_lanes(strip)
        if beside:
            return self.not_inspected(strip, Reason.STATE, beside)
        came = self._came(strip, scores)
        canvas = self._canvas(strip, scores)
        cells = canvas[: strip.decided_px // self._grid.px_per_cell]
        decided = self._level(strip, cells)
        sightings = self._defects.track(strip, decided)
        return [
            replace(
                self._judge_lane(strip, lane, came, decided, sightings),
                # Of the cells as the engine saw them: a window of faint ones lifts all of its cells.
                median=_median(cells[:, lane.columns]),
            )
            for lane in self._lanes_of(strip)
        ]

    def column_limits(self, strip: Strip) -> F32:
        """Its zone's limit for each column of the strip's canvas: float32 [columns], sigma as the engine has it."""
        left_px = 0 if strip.region is None else strip.region.left_px
        columns = strip.canvas_cells[1]
        factors = zone_factors(
            self._levels.zones, columns, self._grid.px_per_cell, left_px, self._web.mm_per_px
        )
        return factors * np.float32(self.limit_sigma)

    def not_inspected(self, strip: Strip, reason: Reason, detail: str) -> list[Verdict]:
        """Return NOT_INSPECTED for every lane of a strip nobody looked at; open defects end with it."""
        self._carried = self._above = None
        ended = self._defects.close()
        nothing = np.full((0, 0), np.nan, np.float32)
        return [
            self._verdict(strip, lane, Outcome.NOT_INSPECTED, reason, detail, nothing, ended, 0)
            for lane in self._lanes_of(strip)
        ]

    def _beside_lanes(self, strip: Strip) -> str:
        """``beside_lanes`` of a strip. Of images of their own nobody knows before them where their web lies."""
        assert strip.region is not None
        mm = self._web.mm_per_px
        return beside_lanes(self._lanes, strip.region.left_px * mm, strip.region.right_px * mm, mm)

    def _judge_lane(
        self, strip: Strip, lane: _Lane, came: Mask, decided: F32, sightings: list[Sighting]
    ) -> Verdict:
        cells = decided[:, lane.columns]
        mine = [s for s in sightings if s.columns[lane.columns].any()]
        n_came = int(came[lane.tiles].sum())
        outcome, reason, detail = Outcome.PASS, Reason.NONE, _small(mine, self._min_defect_mm)
        if not cells.size:
            outcome, reason, detail = Outcome.NOT_INSPECTED, Reason.STATE, "no web in this lane"
        elif n_came < lane.tiles.sum() or not np.isfinite(cells).all():
            n_bad = int((~np.isfinite(cells)).sum())
            outcome, reason = Outcome.NOT_INSPECTED, Reason.NAN
            detail = f"{n_came} of {lane.tiles.sum()} tiles have finite scores; {n_bad} cells have none"
        elif any(s.fails for s in mine):
            outcome, reason, detail = Outcome.FAIL, Reason.SCORE, _unlisted(mine)
        return self._verdict(strip, lane, outcome, reason, detail, cells, mine, n_came)

    def _verdict(
        self,
        strip: Strip,
        lane: _Lane,
        outcome: Outcome,
        reason: Reason,
        detail: str,
        cells: F32,
        sightings: list[Sighting],
        n_came: int,
    ) -> Verdict:
        finite = cells[np.isfinite(cells)]
        return Verdict(
            stamp=strip.stamp,
            lane=lane.number,
            outcome=outcome,
            reason=reason,
            encoder_start=strip.encoder_start,
            encoder_end=strip.encoder_end,
            x_start_mm=lane.left_mm,
            x_end_mm=lane.right_mm,
            score=float(finite.max()) if finite.size else math.nan,
            limit=self.limit_sigma,
            n_tiles=int(lane.tiles.sum()),
            n_tiles_inspected=n_came,
            defects=tuple(
                s.defect for s in sightings if s.defect is not None and s.columns[lane.columns].any()
            ),
            detail=detail,
        )

    def _came(self, strip: Strip, scores: ScoreMap) -> Mask:
        """Which tiles of the strip's batch came back with nothing but finite values."""
        assert strip.batch is not None
        finite = _is_finite(scores)
        came = {tuple(o) for o in scores.origins_px[finite].tolist()}
        came -= {tuple(o) for o in scores.origins_px[~finite].tolist()}
        return np.array([tuple(o) in came for o in strip.batch.origins_px.tolist()], np.bool_)

    def _canvas(self, strip: Strip, scores: ScoreMap) -> F32:
        """Stitch a strip's tiles, with what the strip before it saw of the same rows."""
        cells = np.where(_is_finite(scores)[:, None, None], scores.scores, np.float32(np.nan))
        canvas = stitch(cells, scores.origins_px, scores.px_per_cell, strip.canvas_cells)
        if self._carried is not None and self._carried[:2] == (strip.piece, strip.first_row):
            above = self._carried[2]
            np.maximum(canvas[: len(above)], above, out=canvas[: len(above)])
        below = canvas[strip.decided_px // scores.px_per_cell :].copy()
        self._carried = (strip.piece, strip.first_row + strip.decided_px, below)
        return canvas

    def _level(self, strip: Strip, decided: F32) -> F32:
        """Level the decided cells, with as many of the rows above them as a window may reach up."""
        assert strip.region is not None
        above = np.zeros((0, decided.shape[1]), np.float32)
        if self._above is not None and self._above[:2] == (strip.piece, strip.first_row):
            above = self._above[2]
        keep = rows_kept(self._levels, self._grid.px_per_cell)
        rows = np.concatenate([above, decided]) if keep else above
        below = rows[len(rows) - min(keep, len(rows)) :].copy()
        self._above = (strip.piece, strip.first_row + strip.decided_px, below)
        return levelled(
            self._levels,
            decided,
            above,
            self._grid.px_per_cell,
            strip.region.left_px,
            self._web.mm_per_px,
            self._scratch,
        )

    def _lanes_of(self, strip: Strip) -> list[_Lane]:
        """The lanes as they lie on this strip, cut to its region."""
        mm, cell, region = self._web.mm_per_px, self._grid.px_per_cell, strip.region
        left, right = (
            (0.0, self._web.width_mm) if region is None else (region.left_px * mm, region.right_px * mm)
        )
        origins = np.zeros((0, 2), np.int32) if strip.batch is None else strip.batch.origins_px
        lanes = []
        for number, edges in enumerate(pairwise(lane_edges_mm(self._lanes, left, right))):
            start, end = (min(max(edge, left), right) for edge in edges)
            # A cell on an edge belongs to both lanes; 1e-6 keeps rounding from adding a cell.
            first = math.floor((start - left) / mm / cell + 1e-6)
            last = math.ceil((end - left) / mm / cell - 1e-6) if end > start else first
            reach = origins[:, 1] // cell
            tiles = (reach < last) & (reach + self._grid.tile_px // cell > first)
            lanes.append(_Lane(number, start, end, slice(first, last), tiles))
        return lanes


@dataclass(frozen=True, slots=True)
class _Lane:
    """A lane on one strip."""

    number: int
    left_mm: float
    right_mm: float
    columns: slice  # of the canvas, cells
    tiles: Mask  # [N] of the batch, those that reach into the lane


def _median(cells: F32) -> float:
    finite = cells[np.isfinite(cells)]
    return float(np.median(finite)) if finite.size else math.nan


def _is_finite(scores: ScoreMap) -> Mask:
    """[N], true for tiles with nothing but finite values."""
    return np.asarray(np.isfinite(scores.scores).all((1, 2)) & np.isfinite(scores.tile_scores))


def _small(sightings: list[Sighting], min_defect_mm: float) -> str:
    count = sum(s.defect is None for s in sightings)
    return f"{count} above the limit but smaller than {min_defect_mm:g} mm" if count else ""


def _unlisted(sightings: list[Sighting]) -> str:
    count = sum(s.fails and s.defect is None for s in sightings)
    return f"and {count} more defects, each below those listed" if count else ""
