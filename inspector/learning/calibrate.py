"""Calibrate: a line's limit, from good web alone.

Only images that the students never learnt from count; a student knows its own lessons too well, and a
limit set on them would be too low. Scores are each tile's highest cell, because that is what judging
holds against the limit. How a limit follows from them: ``tail``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from inspector import __version__
from inspector.backends import open_backend
from inspector.backends.artifact import load_recipe, write_atomically
from inspector.config import Line, Site
from inspector.errors import ConfigError, DataError
from inspector.interfaces import Backend, EngineInfo
from inspector.learning.images import Image, ImageFile, open_data
from inspector.learning.scoring import read_for, score_image
from inspector.learning.tail import CONFIDENCE, F64, LEAST_TILES, FoundLimit, find_limit
from inspector.limits import Limits, Provenance, limits_file, to_toml
from inspector.records import Grid, Region
from inspector.tiling import grid_for, plan_for, region_finder

FARTHEST = 1000.0  # times the tail may be carried beyond the tiles seen
SOUND = 10  # times the fewest tiles


@dataclass(frozen=True, slots=True)
class _GoodImage:
    """What is kept of a good image once it is scored; its pixels are not."""

    name: str
    sha256: str
    region: Region
    peaks: F64  # highest cell of each tile, sigma, [N]
    highest_px: tuple[float, float]  # middle of the highest cell: (x, y) in the image


@dataclass(frozen=True, slots=True)
class _GoodWeb:
    """Good images that count, scored."""

    images: tuple[_GoodImage, ...]
    left_out: int  # because the students learnt from them
    engine: EngineInfo
    grid: Grid

    @property
    def peaks(self) -> list[F64]:
        """Highest cell of each tile, sigma, one array per image."""
        return [image.peaks for image in self.images]


def calibrate(
    data: Path,
    recipe: str,
    line_id: str,
    site: Site,
    *,
    false_alarms_per_100m: float = 1.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Limits:
    """Set the limit of a line and write it to ``calibration/line-<id>.<recipe>.toml``.

    Args:
        data: folder of good images, or an MVTec-style tree, of which only train/good counts.
        recipe: name of a folder in engines/, with an engine built for the line's backend.
        line_id: line of the config; its grid, region and mm per pixel hold.
        site: the plant.
        false_alarms_per_100m: how many tiles of good web may be called faulty.
        progress: told how many images are done, and of how many.

    Raises:
        DataError: the images can't be used, are too few, or all score alike.
        ArtefactError: recipe or engine are missing, don't fit, or score NaN.
        ConfigError: there is no such line, its grid doesn't fit, or the rate of false alarms makes no sense.
    """
    if not (math.isfinite(false_alarms_per_100m) and false_alarms_per_100m > 0):
        raise ConfigError(
            f"{false_alarms_per_100m:g} false alarms per 100 m can't be had; give a number above 0"
        )
    line = site.line(line_id)
    learnt = load_recipe(site.engines / recipe)
    files = open_data(data).good
    if not files:
        raise DataError(f"{data}: no good images in train/good; limits are set on good web alone")
    backend = open_backend(site.engines / recipe, line.engine.backend, line.engine.threads)
    try:
        web = _score(files, learnt.learnt_sha256, line, backend, progress)
    finally:
        backend.close()
    left_mm, right_mm = _region_mm(web.images, line)
    per_100m = _tiles_per_100m(web.grid, line, right_mm - left_mm)
    rate = false_alarms_per_100m / per_100m
    if rate >= 1:
        raise ConfigError(
            f"{false_alarms_per_100m:g} false alarms per 100 m can't be had: line {line_id} has {per_100m} tiles "
            "there; give a number below that"
        )
    _refuse_few(data, web, line_id, rate, per_100m)
    found = _find(data, web, rate)
    limits = Limits(
        line=line_id,
        recipe=recipe,
        onnx_sha256=learnt.onnx_sha256,
        mm_per_px=line.web.mm_per_px,
        region_mm=(left_mm, right_mm),
        limit_sigma=math.ceil(found.limit * 1e4) / 1e4,  # rounded down, the highest good tile would exceed it
        provenance=_provenance(web, found, false_alarms_per_100m, per_100m, _shown_path(data, site), line),
    )
    write_atomically(limits_file(site, line_id, recipe), to_toml(limits).encode())
    return limits


def summary(limits: Limits) -> str:
    """A few lines for a person."""
    p = limits.provenance
    lines = [
        f"limit {limits.limit_sigma:.2f} sigma for line {limits.line} and recipe {limits.recipe}",
        f"from {p.tiles} tiles of {p.images} good images, the highest at {p.highest_sigma:.2f} sigma",
        f"left out because the students learnt from them: {p.images_left_out} images",
        f"false alarms per 100 m: {p.false_alarms_per_100m:g}, that is one tile in {1 / p.tile_rate:.0f}",
        f"good web reaches that at {p.quantile_sigma:.2f} sigma, {p.confidence:.0%} surely below {p.bound_sigma:.2f}",
    ]
    sound = math.ceil(SOUND / (FARTHEST * p.tile_rate))
    if p.tiles < sound:
        lines.append(f"carried far beyond so few tiles, so set with caution; {sound} tiles give a lower one")
    if p.suspects:
        lines.append("suspects, not counted; look whether these good images bear a fault:")
        lines += [f"  {suspect}" for suspect in p.suspects]
    return "\n".join(lines)


def _score(
    files: Sequence[ImageFile],
    learnt_sha256: frozenset[str],
    line: Line,
    backend: Backend,
    progress: Callable[[int, int], None],
) -> _GoodWeb:
    """Score every image that counts. Raises DataError for images that can't."""
    grid = grid_for(line, backend.info)
    locate = region_finder(line)
    seen: dict[str, Path] = {}
    images = []
    for done, file in enumerate(files):
        progress(done, len(files))
        image = read_for(file, backend.info.channels)
        if image.sha256 in seen:
            raise DataError(
                f"{file.path} and {seen[image.sha256]} are the same image; remove one, it can't count twice"
            )
        seen[image.sha256] = file.path
        if image.sha256 not in learnt_sha256:
            images.append(_good_image(image, locate(image.pixels), backend, grid))
    progress(len(files), len(files))
    return _GoodWeb(tuple(images), len(files) - len(images), backend.info, grid)


def _good_image(image: Image, region: Region | None, backend: Backend, grid: Grid) -> _GoodImage:
    path = image.file.path
    if region is None:
        raise DataError(f"{path}: no web to be seen; take the image out, or set the line's region by hand")
    if region.right_px > (width := image.pixels.shape[1]):
        raise DataError(
            f"{path}: {width} px wide, but the line's region reaches to column {region.right_px}; "
            "take the image out, or set region.right_mm to fit"
        )
    scored = score_image(backend, grid, path, image.pixels, region)
    row, column = np.unravel_index(int(scored.cells.argmax()), scored.cells.shape)
    cell = grid.px_per_cell
    highest_px = (region.left_px + (column + 0.5) * cell, region.top_px + (row + 0.5) * cell)
    return _GoodImage(path.name, image.sha256, region, scored.map_peaks.astype(np.float64), highest_px)


def _region_mm(images: Sequence[_GoodImage], line: Line) -> tuple[float, float]:
    """The judged web's edges; where each image has its own, their medians."""
    if not images:
        return 0.0, line.web.width_mm
    edges = np.median([(image.region.left_px, image.region.right_px) for image in images], axis=0)
    left, right = (round(float(edge) * line.web.mm_per_px, 3) for edge in edges)
    return left, right


def _tiles_per_100m(grid: Grid, line: Line, width_mm: float) -> int:
    return math.ceil(100 * plan_for(grid, line, round(width_mm / line.web.mm_per_px)).tiles_per_m)


def _refuse_few(data: Path, web: _GoodWeb, line_id: str, rate: float, per_100m: int) -> None:
    """Raise DataError where the tail would have to be carried farther than anyone can answer for."""
    tiles = sum(len(peaks) for peaks in web.peaks)
    wanted = max(LEAST_TILES, math.ceil(1 / (FARTHEST * rate)))
    if tiles >= wanted:
        return
    has = f"{tiles} tiles of good web that the students never learnt from"
    if web.left_out:
        has += f" ({web.left_out} images were left out because they did)"
    more = f"{(wanted - tiles) / per_100m * 100:.2f} m"
    if tiles:
        more = f"{math.ceil((wanted - tiles) * len(web.images) / tiles)} images like these or {more}"
    raise DataError(
        f"{data}: {has}, but a limit for line {line_id} wants at least {wanted}; give {more} of good web more"
    )


def _find(data: Path, web: _GoodWeb, rate: float) -> FoundLimit:
    peak = max(float(peaks.max()) for peaks in web.peaks)
    if peak <= 0:
        raise DataError(
            f"{data}: good web scores {peak:.4g} sigma at most; the recipe is dead, train it again"
        )
    try:
        return find_limit(web.peaks, rate)
    except ValueError:
        raise DataError(
            f"{data}: tile after tile scores the same {peak:.4g} sigma; the images are alike or show "
            "nothing, or the recipe is dead: look at the images, then train again"
        ) from None


def _provenance(
    web: _GoodWeb, found: FoundLimit, false_alarms_per_100m: float, per_100m: int, data: str, line: Line
) -> Provenance:
    return Provenance(
        date_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        inspector=__version__,
        engine=f"{web.engine.backend} {web.engine.version} {web.engine.precision}",
        data=data,
        images=len(web.images),
        images_sha256=_digest(web.images),
        images_left_out=web.left_out,
        tiles=found.tiles,
        tiles_per_100m=per_100m,
        false_alarms_per_100m=false_alarms_per_100m,
        tile_rate=false_alarms_per_100m / per_100m,
        highest_sigma=round(found.highest, 4),
        quantile_sigma=round(found.quantile, 4),
        bound_sigma=round(found.bound, 4),
        confidence=CONFIDENCE,
        tail_threshold_sigma=round(found.tail.threshold, 4),
        tail_exceedances=found.tail.exceedances,
        tail_scale_sigma=round(found.tail.scale, 4),
        tail_shape=round(found.tail.shape, 4),
        suspects=tuple(_suspect(web.images[place], line.web.mm_per_px) for place in found.suspects),
    )


def _suspect(image: _GoodImage, mm_per_px: float) -> str:
    """Name a suspect image and the middle of its highest cell."""
    x_mm, y_mm = (at * mm_per_px for at in image.highest_px)
    peak = f"{image.name}: {image.peaks.max():.1f} sigma"
    return f"{peak} at {x_mm:.0f} mm from the left, {y_mm:.0f} mm from the top"


def _digest(images: Sequence[_GoodImage]) -> str:
    lines = "".join(f"{sha256}\n" for sha256 in sorted(image.sha256 for image in images))
    return hashlib.sha256(lines.encode()).hexdigest()


def _shown_path(data: Path, site: Site) -> str:
    """Relative to the plant's folder; of a folder elsewhere only its name."""
    full = data.resolve()
    return full.relative_to(site.root).as_posix() if full.is_relative_to(site.root) else full.name
