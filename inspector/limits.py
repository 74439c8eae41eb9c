"""Limits on disk: ``calibration/line-<id>.<recipe>.toml``, written by ``calibrate``, read by a running line.

A limit is the score, in sigma, above which web counts as faulty. It belongs to one line, one recipe,
one ONNX graph and one resolution: limits that belong to anything else are refused, never stretched.
Zones across the web raise or lower it by a factor, and windows have limits of their own for what is large and
faint (``judging.levelled``); a file without any holds one limit for all. A person may move ``limit_sigma`` (all
zones move with it), a zone or a window by hand and must say who and why in ``set_by_hand``: limits that aren't what
was measured, by their hash, are refused without. The provenance still tells what that was.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
import tomli_w
from msgspec import Meta

from inspector.config import Line, Site
from inspector.errors import ArtefactError
from inspector.records import Levels, WideLimit, Zone

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]

SAME_COLUMNS_PX = 8  # frames that lose a column or two to a crop are the same view
ROUNDED = 2e-4  # a limit is rounded up to 1e-4, what the provenance tells of it to the nearest

HEADER = """\
# Limits of line {line} for recipe {recipe}, written by `inspector calibrate`.
# A limit may be moved by hand: change limit_sigma, and say in set_by_hand who did it, when and why.
# The limit of a zone is limit_sigma times its factor; what is wide and faint has its own, limit_deviations.
"""


class WideProvenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the limit of one shape of window comes from; in deviations of its good windows."""

    name: str
    blocks: int  # of windows, in each of which the highest counts
    block_px: tuple[int, int]  # their sides, along and across
    block_rate: float  # asked for
    highest: float  # good window
    quantile: float  # where the fitted tail reaches block_rate
    bound: float  # upper confidence bound of that
    tail_threshold: float
    tail_exceedances: int
    tail_scale: float
    tail_shape: float


class RunProvenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the good metres of a running line moved all limits by one factor (``inspector.calibrating.from_run``)."""

    date_utc: str  # ISO 8601
    inspector: str  # version
    previous_limit_sigma: float
    previous_sha256: Sha256  # of the limits that the line ran with
    previous_set_by_hand: str
    limit_sigma: float
    epoch: int  # start of the line, us UTC
    from_m: float  # of the web that counts, by the line's encoder
    to_m: float
    first_seq: int  # of its verdicts
    last_seq: int
    good_m: float  # of it
    strips: int
    verdicts: int
    verdicts_per_100m: float
    stretches: int  # units of the bootstrap
    strips_above: int  # left out: above the limit
    strips_beside: int  # left out: next to one of those
    verdicts_not_inspected: int
    verdicts_unheard: int
    suspects: tuple[str, ...]  # stretches left out because they stand out from the others
    false_alarms_per_100m: float  # asked for
    verdict_rate: float  # the same, per verdict
    highest_sigma: float  # that counts
    quantile_sigma: float  # where the fitted tail reaches verdict_rate
    bound_sigma: float  # upper confidence bound of that
    confidence: float
    tail_threshold_sigma: float
    tail_exceedances: int
    tail_scale_sigma: float
    tail_shape: float
    # What older files don't tell:
    unlike_m: float = 0.0  # of good_m, while the line called its web unlike what was learnt
    is_simulated: bool = False  # a verdict of it came of no real camera


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a limit comes from. The tail's symbols are those of ``inspector.calibrating.tail``."""

    date_utc: str  # ISO 8601
    inspector: str  # version
    engine: str  # backend, its version and precision
    engine_sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""  # of its plan; empty: an older file
    data: str  # folder the good images came from
    images: int  # that counted; in older files with the suspects
    images_sha256: Sha256  # of the sha256 of those that counted and of the suspects, sorted, one a line
    images_left_out: int  # because the students learnt from them
    images_validation: int = 0  # that counted although training held them back; older files don't tell
    images_validation_left_out: int = 0  # because training held them back
    tiles: int
    tiles_per_100m: int  # of this line
    false_alarms_per_100m: float  # asked for
    tile_rate: float  # the same, per tile
    highest_sigma: float  # best-scoring good tile, divided by its zone's factor
    quantile_sigma: float  # where the fitted tail reaches block_rate (before there were blocks: tile_rate)
    bound_sigma: float  # upper confidence bound of that
    confidence: float
    tail_threshold_sigma: float
    tail_exceedances: int
    tail_scale_sigma: float
    tail_shape: float
    suspects: tuple[str, ...] = ()  # good images that stand out from the others: look at them
    false_alarms_per_hour: float = 0.0  # the same as per 100 m at speed_m_min; 0: an older file doesn't tell
    speed_m_min: float = 0.0  # of the line, from its config
    blocks: int = 0  # of block_px, whose highest cells the tail is made of; 0: tiles, in an older file
    block_px: int = 0
    block_rate: float = 0.0  # of false alarms, per block, for the cells alone: windows have their share
    wide: tuple[WideProvenance, ...] = ()
    wide_unused: tuple[str, ...] = ()  # shapes of window without a limit, and why
    images_spread: float = 0.0  # of images against each other, as a share; bound_sigma allows for it
    two_groups: str = ""  # what to do if the good images are of two kinds
    unlike: str = ""  # what to do if they are as a whole unlike what the recipe learnt
    runs: tuple[RunProvenance, ...] = ()  # what moved the limits since; all above is of the images


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a line needs to call a score a fault."""

    line: str
    recipe: str
    onnx_sha256: Sha256  # engines/<recipe>/model.onnx
    mm_per_px: float
    region_mm: tuple[float, float]  # left, right edge of the judged web, from the camera's first column
    limit_sigma: float
    provenance: Provenance
    set_by_hand: str = ""
    zones: tuple[Zone, ...] = ()  # from left to right
    wide: tuple[WideLimit, ...] = ()
    levels_sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = (
        ""  # of ``sealed``; empty: an older file
    )
    images: dict[str, Sha256] = {}  # file's name -> its hash, suspects too; empty: an older file doesn't tell

    @property
    def levels(self) -> Levels:
        """As judging takes them."""
        return Levels(self.limit_sigma, self.zones, self.wide)


def sealed(limits: Limits) -> Limits:
    """Limits as calibration or a run found them: what is moved by hand afterwards differs from the hash."""
    return msgspec.structs.replace(limits, levels_sha256=_levels_sha256(limits))


def has_measured_shape(limits: Limits) -> bool:
    """Whether zones and windows are what calibration or a run wrote, wherever ``limit_sigma`` was moved to.

    False where nobody can tell: an older file has no hash of them.
    """
    # Calibration rounds the limit up, and what the provenance tells of it to the nearest.
    written = _written(limits)
    back = [round(written, 4), round(written + 1e-4, 4)]
    return limits.levels_sha256 in [
        _levels_sha256(msgspec.structs.replace(limits, limit_sigma=limit_sigma)) for limit_sigma in back
    ]


def _levels_sha256(limits: Limits) -> str:
    """Of the limit, zones and windows, as numbers: how the file spells them is nobody's concern."""
    found = msgspec.to_builtins((limits.limit_sigma, limits.zones, limits.wide))
    return hashlib.sha256(msgspec.json.encode(found)).hexdigest()


def limits_file(site: Site, line_id: str, recipe: str) -> Path:
    """Where the limits of a line and recipe are kept."""
    return site.calibration / f"line-{line_id}.{recipe}.toml"


def pictures_folder(site: Site, line_id: str, recipe: str) -> Path:
    """Where calibration puts pictures of suspects and of the highest good images."""
    return site.calibration / f"line-{line_id}.{recipe}.suspects"


def to_toml(limits: Limits) -> str:
    """The file's text; ``load_limits`` reads it back to an equal value."""
    return HEADER.format(line=limits.line, recipe=limits.recipe) + tomli_w.dumps(msgspec.to_builtins(limits))


def digest(limits: Limits) -> str:
    """sha256 of the limits as a file, for the header of every message."""
    return hashlib.sha256(to_toml(limits).encode()).hexdigest()


def usable_limits(site: Site, line_id: str, recipe: str) -> Limits | None:
    """``load_limits``, or None where a line could not run with any. Raises ConfigError when there is no such line."""
    try:
        return load_limits(site, line_id, recipe)
    except ArtefactError:
        return None


def load_limits(site: Site, line_id: str, recipe: str) -> Limits:
    """Read the limits of a line and recipe, and prove that they belong to both.

    Raises ArtefactError when they are missing, damaged, moved by hand without a word, or belong to another line,
    recipe, ONNX graph or resolution; ConfigError when there is no such line.
    """
    file = limits_file(site, line_id, recipe)
    again = f"`inspector calibrate DATA --recipe {recipe} --line {line_id}`"
    raw = _read(file, f"{again} with good web of this line")
    try:
        limits = msgspec.convert(raw, Limits)
    except msgspec.ValidationError as error:
        raise ArtefactError(f"{file}: {_sentence(str(error))}; mend it or run {again}") from None
    _check_numbers(file, limits, again)
    _check_moved(file, limits, again)
    _check_belongs(file, limits, site, line_id, recipe, again)
    return limits


def refuse_other_columns(limits: Limits, line: Line, line_id: str, width_px: int) -> None:
    """Refuse limits that were set on other columns than the line judges: rate and zones would be of those.

    Args:
        limits: of the line.
        line: its config.
        line_id: its id.
        width_px: of its camera's frames.

    A region of ``auto`` follows the web: there is nothing to hold it against.

    Raises ArtefactError.
    """
    if line.region.kind == "auto":
        return
    whole_mm = (0.0, width_px * line.web.mm_per_px)
    judged_mm = whole_mm if line.region.kind == "whole" else (line.region.left_mm, line.region.right_mm)
    off_mm = max(abs(one - other) for one, other in zip(limits.region_mm, judged_mm, strict=True))
    if off_mm <= SAME_COLUMNS_PX * line.web.mm_per_px:
        return
    left, right = limits.region_mm
    raise ArtefactError(
        f"limits of line {line_id} for recipe {limits.recipe}: set on the columns from {left:g} to {right:g} mm, but "
        f"the line judges {judged_mm[0]:g} to {judged_mm[1]:g} mm (region {line.region.kind!r}); run `inspector "
        f"calibrate DATA --recipe {limits.recipe} --line {line_id}` with whole frames of this line"
    )


def _read(file: Path, remedy: str) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode())
    except FileNotFoundError:
        raise ArtefactError(
            f"{file}: no such file; bring it back if it was there before, else run {remedy}"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ArtefactError(
            f"{file}: can't be read ({why}); bring it back from the backup, mend it, or run {remedy}"
        ) from None


def _sentence(message: str) -> str:
    """msgspec's complaint in the file's own words."""
    what, _, where = message.partition(" - at ")
    what = what.replace("Object contains unknown field", "unknown key")
    what = what.replace("Object missing required field", "missing key")
    key = where.strip("`").removeprefix("$").removeprefix(".")
    return f"{key}: {what[0].lower()}{what[1:]}" if key else what


def _check_numbers(file: Path, limits: Limits, again: str) -> None:
    """NaN and inf are valid TOML, and nothing exceeds them: such a limit would pass every fault."""
    for key, value in (("limit_sigma", limits.limit_sigma), ("mm_per_px", limits.mm_per_px)):
        if not (math.isfinite(value) and value > 0):
            raise ArtefactError(
                f"{file}: {key} = {value:g} must be a finite number above 0; mend it or run {again}"
            )
    left, right = limits.region_mm
    if not (math.isfinite(right) and 0 <= left < right):
        raise ArtefactError(
            f"{file}: region_mm = [{left:g}, {right:g}] must be two rising positions; mend it or run {again}"
        )
    _check_zones(file, limits.zones, again)
    _check_wide(file, limits.wide, again)


def _check_zones(file: Path, zones: tuple[Zone, ...], again: str) -> None:
    """A hole between zones would have no limit, and a factor of 0 or infinity no sense."""
    for number, zone in enumerate(zones):
        words = f"{file}: zone {number + 1}, {zone.from_mm:g} to {zone.to_mm:g} mm,"
        if not (math.isfinite(zone.factor) and zone.factor > 0):
            raise ArtefactError(
                f"{words} has a factor of {zone.factor:g}, which must be a finite number above 0; "
                f"mend it or run {again}"
            )
        begins = zones[number - 1].to_mm if number else zone.from_mm
        if not (math.isfinite(zone.to_mm) and zone.from_mm == begins < zone.to_mm):
            raise ArtefactError(
                f"{words} must begin where the zone before it ends and be wider than nothing; mend it or run {again}"
            )


def _check_wide(file: Path, wide: tuple[WideLimit, ...], again: str) -> None:
    for one in wide:
        for key in ("across_px", "along_px", "clip_sigma", "deviation_sigma", "limit_deviations"):
            value = getattr(one, key)
            if not (math.isfinite(value) and value > 0):
                raise ArtefactError(
                    f"{file}: wide {one.name!r}: {key} = {value:g} must be a finite number above 0; "
                    f"mend it or run {again}"
                )
        highest = (one.clip_sigma - one.mean_sigma) / one.deviation_sigma
        if not highest > one.limit_deviations:  # nor is a mean_sigma that is no number
            raise ArtefactError(
                f"{file}: wide {one.name!r} can't reach its limit of {one.limit_deviations:g} deviations: clipped at "
                f"{one.clip_sigma:g} sigma, {highest:g} is the highest; mend it or run {again}"
            )


def _check_moved(file: Path, limits: Limits, again: str) -> None:
    """A limit that isn't what was measured says who wanted it, and why."""
    if limits.set_by_hand.strip():
        return
    found = limits.provenance
    moved: list[tuple[str, float | None, float]] = [("limit_sigma", limits.limit_sigma, _written(limits))]
    if not found.runs:  # they move windows, too, and the provenance has only what calibration found
        now = {one.name: one.limit_deviations for one in limits.wide}
        moved += [
            (f"wide {one.name!r}: limit_deviations", now.get(one.name), max(one.bound, one.highest))
            for one in found.wide
        ]
    for what, value, written in moved:
        if value is not None and abs(value - written) <= ROUNDED:
            continue
        is_now = "is gone" if value is None else f"= {value:g}"
        raise ArtefactError(
            f"{file}: {what} {is_now}, but {written:.4f} is what was measured and set_by_hand is empty; write into it "
            f"who moved the limit, when and why, put the limit back, or run {again}"
        )
    if limits.levels_sha256 not in ("", _levels_sha256(limits)):
        raise ArtefactError(
            f"{file}: a zone or window isn't what was measured (levels_sha256 is of others) and set_by_hand is empty; "
            f"write into it who moved it, when and why, put it back, or run {again}"
        )


def _written(limits: Limits) -> float:
    """The limit that the last run or calibration wrote, sigma."""
    found = limits.provenance
    return found.runs[-1].limit_sigma if found.runs else max(found.bound_sigma, found.highest_sigma)


def _check_belongs(file: Path, limits: Limits, site: Site, line_id: str, recipe: str, again: str) -> None:
    if limits.line != line_id or limits.recipe != recipe:
        raise ArtefactError(
            f"{file}: holds limits of line {limits.line!r} and recipe {limits.recipe!r}, "
            f"not of {line_id!r} and {recipe!r}; run {again}"
        )
    mm_per_px = site.line(line_id).web.mm_per_px
    if not math.isclose(limits.mm_per_px, mm_per_px, rel_tol=1e-6):
        raise ArtefactError(
            f"{file}: calibrated at {limits.mm_per_px:g} mm/px, line {line_id} has {mm_per_px:g}; run {again}"
        )
    recipe_file = site.engines / recipe / "recipe.toml"
    onnx_sha256 = _read(recipe_file, f"`inspector train DATA --recipe {recipe}`").get("onnx_sha256")
    if limits.onnx_sha256 != onnx_sha256:
        raise ArtefactError(
            f"{file}: calibrated for another training of recipe {recipe!r} than {recipe_file}; run {again}"
        )
