"""What calibration found, as a file, as words and as pictures."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from inspector import __version__
from inspector.calibrating.blocks import BLOCK_PX, block_peaks
from inspector.calibrating.good_pictures import Asked, ask, empty_folder
from inspector.calibrating.good_web import FoundLevels, highest_px
from inspector.calibrating.tail import FARTHEST, SOUND, SOUND_IMAGES, FoundLimit, tail_fields
from inspector.calibrating.wide import FoundWide
from inspector.config import Line
from inspector.images.reading import ImageFile
from inspector.images.scoring import read_for
from inspector.interfaces import EngineInfo
from inspector.limits import Limits, Provenance, WideProvenance, sealed
from inspector.records import F32, Grid, Region

HIGHEST_SHOWN = 3  # good images besides the suspects
TOLD_SPREAD = 0.15  # of images against each other


@dataclass(frozen=True, slots=True)
class GoodImage:
    """What is kept of a good image once it is scored; its pixels are not."""

    file: ImageFile
    sha256: str
    held_back: bool  # as a validation image: every constant of the graph comes from such
    region: Region
    tiles: int
    cells: F32  # [rows, columns] over the region, sigma

    @property
    def name(self) -> str:
        """Of its file."""
        return self.file.path.name


@dataclass(frozen=True, slots=True)
class GoodWeb:
    """Good images that count, scored."""

    images: tuple[GoodImage, ...]
    left_out: int  # because the students learnt from them
    validation_left_out: int  # because training held them back
    engine: EngineInfo
    grid: Grid

    @property
    def tiles(self) -> int:
        """Of all images."""
        return sum(image.tiles for image in self.images)

    def without(self, places: Sequence[int]) -> GoodWeb:
        """The same without the images at some places."""
        kept = tuple(image for place, image in enumerate(self.images) if place not in places)
        return replace(self, images=kept)

    def typical(self, levelled: Sequence[F32]) -> list[float]:
        """Median of each image's block peaks, of its map divided by the zones' factors, sigma."""
        return [float(np.median(block_peaks(one, self.grid.px_per_cell))) for one in levelled]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A good image that the others don't explain: it doesn't count, a limit set on it would let its like pass."""

    file: Path
    sigma: float  # its highest cell, divided by its zone's factor
    place_px: tuple[float, float]  # (x, y) of that cell's middle in the image
    faint: str  # shape of window that it stands out by; empty: by that cell

    def text(self, mm_per_px: float) -> str:
        """What the limits file and a person are told."""
        if self.faint:
            return f"{self.file.name}: large and faint, {self.faint}"
        x_mm, y_mm = (one * mm_per_px for one in self.place_px)
        return f"{self.file.name}: {self.sigma:.1f} sigma at {x_mm:.0f} mm from the left, {y_mm:.0f} mm from the top"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration ends with."""

    limits: Limits  # as they are on the disk
    suspects: tuple[Suspect, ...]
    web: GoodWeb  # the images that were looked at
    found: FoundLevels  # of them
    before: Limits | None = None  # that were on the disk, if they could still be used


@dataclass(frozen=True, slots=True)
class Target:
    """False alarms asked for."""

    per_100m: float
    per_hour: float  # at speed_m_min
    speed_m_min: float
    words: str  # as it was asked


def limits_of(
    web: GoodWeb,
    found: FoundLevels,
    target: Target,
    *,
    line_id: str,
    recipe: str,
    onnx_sha256: str,
    line: Line,
    region_mm: tuple[float, float],
    tiles_per_100m: int,
    data: str,
    two_groups: str,
    unlike: str,
) -> Limits:
    """Put together what is written.

    Args:
        web: the images.
        found: their limits.
        target: false alarms asked for.
        line_id: whose limits they are.
        recipe: its name.
        onnx_sha256: of its graph.
        line: its config.
        region_mm: edges of the judged web.
        tiles_per_100m: of the line.
        data: where the images came from, as shown.
        two_groups: what to do where the images are of two kinds; empty: they are not.
        unlike: what to do where they are as a whole unlike what the recipe learnt; empty: they are not.
    """
    limits = Limits(
        line=line_id,
        recipe=recipe,
        onnx_sha256=onnx_sha256,
        mm_per_px=line.web.mm_per_px,
        region_mm=region_mm,
        limit_sigma=math.ceil(found.cells.limit * 1e4)
        / 1e4,  # rounded down, the highest good tile would exceed it
        zones=found.zones,
        wide=tuple(one.limit for one in found.wide if one.limit is not None),
        provenance=_provenance(web, found, target, tiles_per_100m, data, line, two_groups, unlike),
        images={image.name: image.sha256 for image in web.images},
    )
    return sealed(limits)


def suspects_of(web: GoodWeb, found: FoundLevels) -> tuple[Suspect, ...]:
    """Return the images that don't count, those of the cells' limit first; one may stand out by several windows."""
    reasons = [(place, "") for place in found.cells.suspects] + list(found.wide_suspects)
    suspects = []
    for place, faint in reasons:
        image, cells = web.images[place], found.levelled[place]
        at = highest_px(cells, image.region.left_px, image.region.top_px, web.grid.px_per_cell)
        suspects.append(Suspect(image.file.path, float(cells.max()), at, faint))
    return tuple(suspects)


def summary(limits: Limits, before: Limits | None = None) -> str:
    """A few lines for a person; ``before``: limits whose place they took."""
    p = limits.provenance
    lines = [
        f"limit {limits.limit_sigma:.2f} sigma for line {limits.line} and recipe {limits.recipe}",
        *([] if before is None else [_before_words(before)]),
        f"from {p.tiles} tiles of {p.images} good images, the highest at {p.highest_sigma:.2f} sigma",
        f"left out because the students learnt from them: {p.images_left_out} images",
        *_validation_words(limits),
        (
            f"false alarms per 100 m: {p.false_alarms_per_100m:g}, that is one tile in {1 / p.tile_rate:.0f}, "
            f"or {p.false_alarms_per_hour:.3g} per hour at {p.speed_m_min:g} m/min"
        ),
        f"good web reaches that at {p.quantile_sigma:.2f} sigma, {p.confidence:.0%} surely below {p.bound_sigma:.2f}",
        _zone_words(limits),
        *_wide_words(limits),
    ]
    sound = math.ceil(SOUND / (FARTHEST * p.tile_rate))
    if p.tiles < sound:
        lines.append(f"carried far beyond so few tiles, so set with caution; {sound} tiles give a lower one")
    if p.images < SOUND_IMAGES:
        lines.append(
            f"LOOK: {p.images} images hardly tell how good web differs from place to place and from roll to roll, "
            f"so that there may be more false alarms; calibrate again with {SOUND_IMAGES} or more, of several rolls"
        )
    if p.images_spread >= TOLD_SPREAD:
        lines.append(
            f"LOOK: the good images differ by {p.images_spread:.0%} from each other (light, focus, cloth?), and the "
            "limit is higher for that; more images, of other rolls and places, or steadier light bring it down"
        )
    if p.unlike:
        lines.append(f"LOOK: {p.unlike}")
    if p.two_groups:
        lines.append(f"LOOK: {p.two_groups}")
    if p.suspects:
        lines.append("suspects, not counted; look whether these good images bear a fault:")
        lines += [f"  {suspect}" for suspect in p.suspects]
    return "\n".join(lines)


def _before_words(before: Limits) -> str:
    words = f"before: {before.limit_sigma:.2f} sigma"
    if before.provenance.runs:
        words += f", runs that had lowered it: {len(before.provenance.runs)}"
    return words + (f", set by hand: {before.set_by_hand}" if before.set_by_hand else "")


def _validation_words(limits: Limits) -> list[str]:
    p = limits.provenance
    if p.images_validation_left_out:
        return [f"left out because training held them back: {p.images_validation_left_out} images"]
    if not p.images_validation:
        return []
    words = (
        f"LOOK: {p.images_validation} of the images were held back in training, and every constant of the recipe comes "
        f"from such: other web may score higher; calibrate again with {SOUND_IMAGES} or more that training never had"
    )
    return [words]


def _zone_words(limits: Limits) -> str:
    if not limits.zones:
        return "across the web: one limit for all of it"
    by_zone = [zone.factor * limits.limit_sigma for zone in limits.zones]
    return f"across the web: {len(by_zone)} zones, from left to right " + " ".join(
        f"{one:.1f}" for one in by_zone
    )


def _wide_words(limits: Limits) -> list[str]:
    """Each window's limit as the mean that it stands for."""
    words = []
    for one in limits.wide:
        size = f"{one.across_px * limits.mm_per_px:.3g} x {one.along_px * limits.mm_per_px:.3g} mm"
        mean = one.mean_sigma + one.limit_deviations * one.deviation_sigma
        words.append(f"large and faint, {one.name}: a mean of {mean:.2f} sigma over {size}")
    words += [f"large and faint, no limit: {why}" for why in limits.provenance.wide_unused]
    return words


def draw_pictures(calibration: Calibration, folder: Path) -> list[Path]:
    """Draw the suspects and the highest good images, for a person to say whether they are good.

    Args:
        calibration: whose limits are on the disk already; a disk too full for pictures takes nobody's limit.
        folder: for the pictures; what is in it is replaced.

    Raises:
        DataError: an image can no longer be read.
        ArtefactError: the disk won't take it.
    """
    web, found, limits = calibration.web, calibration.found, calibration.limits
    empty_folder(folder)
    by_peak = sorted(range(len(web.images)), key=lambda place: -float(found.levelled[place].max()))
    others = [place for place in by_peak if place not in found.suspects][:HIGHEST_SHOWN]
    windows: dict[int, str] = dict(found.wide_suspects)
    files = []
    for number, place in enumerate((*found.suspects, *others), start=1):
        image, cells = web.images[place], found.levelled[place]
        kind = "suspect" if place in found.suspects else "highest"
        told = f"{image.name}: {kind}, {cells.max():.1f} sigma"
        if place in windows and place not in found.cells.suspects:
            told += f", faint {windows[place]}"
        at = highest_px(cells, image.region.left_px, image.region.top_px, web.grid.px_per_cell)
        asked = Asked(f"{number:02}-{kind}-{image.file.path.stem}", told, at)
        pixels = read_for(image.file, web.engine.channels).pixels
        files.append(
            ask(folder, asked, pixels, image.region, cells, web.grid.px_per_cell, limits.limit_sigma)
        )
    return files


def _provenance(
    web: GoodWeb,
    found: FoundLevels,
    target: Target,
    per_100m: int,
    data: str,
    line: Line,
    two_groups: str,
    unlike: str,
) -> Provenance:
    cells = found.cells
    counted = web.without(cells.suspects)
    return Provenance(
        date_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        inspector=__version__,
        engine=f"{web.engine.backend} {web.engine.version} {web.engine.precision}",
        engine_sha256=web.engine.engine_sha256,
        data=data,
        images=len(counted.images),
        images_sha256=digest_of(image.sha256 for image in web.images),
        images_left_out=web.left_out,
        images_validation=sum(image.held_back for image in counted.images),
        images_validation_left_out=web.validation_left_out,
        tiles=counted.tiles,
        tiles_per_100m=per_100m,
        false_alarms_per_100m=target.per_100m,
        tile_rate=target.per_100m / per_100m,
        **tail_fields(cells),
        suspects=tuple(one.text(line.web.mm_per_px) for one in suspects_of(web, found)),
        false_alarms_per_hour=target.per_hour,
        speed_m_min=target.speed_m_min,
        blocks=cells.blocks,
        block_px=BLOCK_PX,
        block_rate=found.block_rate,
        wide=tuple(_wide_provenance(one, one.found) for one in found.wide if one.limit and one.found),
        wide_unused=tuple(f"{one.window.name}: {one.why}" for one in found.wide if one.limit is None),
        images_spread=round(cells.spread, 4),
        two_groups=two_groups,
        unlike=unlike,
    )


def _wide_provenance(one: FoundWide, found: FoundLimit) -> WideProvenance:
    return WideProvenance(
        name=one.window.name,
        blocks=one.blocks,
        block_px=one.window.block_px,
        block_rate=one.rate,
        highest=round(found.highest, 4),
        quantile=round(found.quantile, 4),
        bound=round(found.bound, 4),
        tail_threshold=round(found.tail.threshold, 4),
        tail_exceedances=found.tail.exceedances,
        tail_scale=round(found.tail.scale, 4),
        tail_shape=round(found.tail.shape, 4),
    )


def digest_of(images_sha256: Iterable[str]) -> str:
    """One hash for a set of images, whatever their names: ``Provenance.images_sha256``."""
    lines = "".join(f"{sha256}\n" for sha256 in sorted(images_sha256))
    return hashlib.sha256(lines.encode()).hexdigest()
