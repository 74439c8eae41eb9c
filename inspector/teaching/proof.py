"""What a recipe that was just taught shows of itself: on golden tiles, on good web kept back, on drawn faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inspector.backends import golden
from inspector.backends.artifact import load_manifest, load_recipe
from inspector.backends.building import rebuild_command
from inspector.backends.engine import score_loose
from inspector.backends.rate import RATE_S, measure_rate, speed_words
from inspector.config import Line
from inspector.errors import ArtefactError
from inspector.images.reading import GOOD, Image, ImageFile, Mask
from inspector.images.scoring import Scored, read_for, score_image
from inspector.interfaces import Backend
from inspector.judging import levelled_alone
from inspector.records import F32, U8, Grid, Levels, Region
from inspector.teaching.drawn import SIZES_MM, THREAD_MM, TRIES, GoodWeb, Row, try_faults
from inspector.teaching.left_out import Box, LeftOut
from inspector.teaching.record import Recorded
from inspector.tiling import plan_between

MOST_DRAWN_ON = 12  # frames that stay in memory for it
SEEN_NONE = 3.0  # of what was seen none of, fewer than 3 / n happen, 95 % surely: the rule of three


@dataclass(frozen=True, slots=True)
class Proof:
    """How it went."""

    metres: float  # of good web kept back
    tiles: int
    alarms: int  # of those tiles
    rows: tuple[Row, ...]
    alarmed: tuple[LeftOut, ...]  # frames of those alarms

    def good_words(self) -> str:
        """What the kept-back web says about false alarms."""
        seen = f"{self.alarms} of {self.tiles} tiles above the limit in {self.metres:.2f} m"
        if self.alarms:
            return (
                f"{seen}: {self.alarms / self.metres * 100:.0f} per 100 m, if it was good: see the pictures"
            )
        most = SEEN_NONE / self.metres * 100
        return f"{seen}: fewer than {most:.0f} per 100 m is all that so little can show (95 %)"

    def table(self) -> str:
        """Found of tried, a row a kind."""
        head = "".join(f"{f'{size:g} mm':>8}" for size in SIZES_MM)
        lines = [f"  {'':22}{head}   every time from"]
        for row in self.rows:
            cells = "".join(f"{f'{found}/{TRIES}':>8}" for found in row.found)
            always = "none of these" if row.always_from_mm is None else f"{row.always_from_mm:g} mm"
            lines.append(f"  {row.kind:22}{cells}   {always}")
        return "\n".join(lines)

    @property
    def finds_little(self) -> bool:
        """Whether fewer than half of the kinds are found every time even at the largest size."""
        return 2 * sum(row.found[-1] == TRIES for row in self.rows) < len(self.rows)

    @property
    def caption(self) -> str:
        """What stands over the table."""
        return (
            f"drawn faults found, of {TRIES} tried each; plain shapes of moderate contrast that this command drew, "
            f"not your plant's faults.\nThe size is a diameter, or the width of a missing thread {THREAD_MM:g} mm long:"
        )


def check_golden(engine_dir: Path, backend: Backend) -> int:
    """Score the golden tiles, hold them against the scores of the build, and return how many agree: all.

    Raises ArtefactError where they don't.
    """
    recipe, name = load_recipe(engine_dir), backend.info.backend
    remedy = f"run {rebuild_command(recipe.name, name)}"
    manifest = load_manifest(engine_dir, remedy)
    assert manifest is not None  # the backend is open
    built = manifest.engines[name]
    tiles = golden.golden_tiles(engine_dir, recipe, remedy)
    if not golden.drift(score_loose(backend, tiles).tile_scores, built).max() <= 1:
        raise ArtefactError(f"{engine_dir}: golden tiles no longer score as at the build; {remedy}")
    return len(tiles)


def speed_of(
    backend: Backend, grid: Grid, line: Line, region_mm: tuple[float, float], frame_rows: int
) -> str:
    """Time the engine against what the web's speed needs, in words.

    Args:
        backend: the engine, open.
        grid: how tiles lie.
        line: with the web's speed.
        region_mm: edges of the judged web.
        frame_rows: rows of a frame.
    """
    plan = plan_between(grid, line, *region_mm, frame_rows)
    rate = measure_rate(backend, RATE_S, plan.tiles_across).tiles_per_s
    return speed_words(rate, plan.tiles_per_s, line.web.speed_m_min)


def prove(
    backend: Backend,
    grid: Grid,
    frames: Sequence[Recorded],
    frame_m: float,
    mm_per_px: float,
    levels: Levels,
    progress: Callable[[int, int], None],
) -> Proof:
    """Score good web that neither students nor limit have seen, and faults drawn onto it.

    Args:
        backend: the engine, open.
        grid: how tiles lie.
        frames: kept back, at least one.
        frame_m: web under a frame.
        mm_per_px: of the web.
        levels: the new limits.
        progress: told how far it is.

    Raises DataError or ArtefactError where a frame can't be read or scored.
    """
    tiles = alarms = 0
    webs: list[GoodWeb] = []
    alarmed = []
    for done, frame in enumerate(frames):
        progress(done, len(frames))
        image, scored = score_frame(backend, grid, frame)
        judged = scored.levelled(levels, grid, mm_per_px)
        above = int((judged.map_peaks > levels.limit_sigma).sum())
        tiles += len(scored.map_peaks)
        alarms += above
        if above:
            why = f"kept back, {judged.judged.max():.1f} sigma, above the new limit"
            alarmed.append(LeftOut(frame, why, _place_px(judged.judged, frame.region, grid)))
        if len(webs) < MOST_DRAWN_ON:
            webs.append(GoodWeb(_web(image.pixels, frame.region), scored.cells, frame.region.left_px))

    def exceeds(cells: F32, left_px: int) -> Mask:
        return levelled_alone(levels, cells, grid.px_per_cell, left_px, mm_per_px) > levels.limit_sigma

    rows = try_faults(backend, grid, webs, mm_per_px, exceeds, progress)
    return Proof(len(frames) * frame_m, tiles, alarms, tuple(rows), tuple(alarmed))


def score_frame(backend: Backend, grid: Grid, frame: Recorded) -> tuple[Image, Scored]:
    """Read a recorded frame back and score its web."""
    image = read_for(ImageFile(frame.file, GOOD), backend.info.channels)
    return image, score_image(backend, grid, frame.file, image.pixels, frame.region)


def highest_px(scored: Scored, grid: Grid) -> Box:
    """The frame's highest cell: left, top, right, bottom."""
    return _place_px(scored.cells, scored.region, grid)


def _place_px(cells: F32, region: Region, grid: Grid) -> Box:
    row, column = np.unravel_index(int(cells.argmax()), cells.shape)
    left = region.left_px + int(column) * grid.px_per_cell
    top = region.top_px + int(row) * grid.px_per_cell
    return left, top, left + grid.px_per_cell, top + grid.px_per_cell


def _web(pixels: U8, region: Region) -> U8:
    return pixels[region.top_px : region.bottom_px, region.left_px : region.right_px]
