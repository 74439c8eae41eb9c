"""Calibrate from a run: lower a line's limits to what its own good metres call for, while it runs.

It listens as any client does; the line is neither stopped nor asked for anything. A verdict's score is the highest
of a lane's strip on the scale of the limits the line runs with (``judging.levelled``): zones and windows are in it.
So one factor moves all limits, and the rate is held for verdicts: how many of good web may fail in 100 m.

**Web that passed is below the present limit by definition**, and of what is above it nobody here can tell faults
from false alarms. So the limit can come out lower, never higher: a limit that rose by itself would take
the faults it let pass for good web, and rise again. Where good web comes as near to the limit as the rate allows,
the limit stays, and nothing is written.

In trials (Gumbel, gamma and Student scores with 6 degrees, 100 to 2000 strips, 8 runs each) a limit with a tenth to
a hundredth of the alarms asked for came down to 0.2 to 0.5 of them on average, on Student to 0.6 to 1.0. One with as
many or more stayed, or nearly: 1.2 times as many at most. Carried ten times beyond the strips seen, Student brought
1.4 to 1.8 times the alarms asked for: hence LEAST_SHARE in ``run_ear``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from inspector import __version__
from inspector.backends.artifact import write_atomically
from inspector.calibrating.differing import raised
from inspector.calibrating.good_metres import Stretch
from inspector.calibrating.run_ear import Heard, Wish, listen, refuse_short
from inspector.calibrating.tail import CONFIDENCE, FoundLimit, find_limit, tail_fields
from inspector.config import Site
from inspector.errors import ArtefactError, ConfigError, DataError, a_few
from inspector.judging.levelled import SHOWN
from inspector.limits import (
    Limits,
    RunProvenance,
    digest,
    has_measured_shape,
    limits_file,
    load_limits,
    sealed,
    to_toml,
)
from inspector.records import WideLimit

__all__ = ["Learnt", "Wish", "as_run_leaves", "calibrate_from_run", "find", "lowered", "summary"]

STRETCHES = 40  # that the metres are cut into; 5 m each of 200
TOLD_SHARE = 0.01  # of the judged web above the limit: if it was good, nothing can be learnt here
MOST_NAMED = 5  # places to look at


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a run says about the limits."""

    limits: Limits  # as they are now on the disk
    run: RunProvenance
    heard: Heard
    moved: bool  # False: the limits stay, nothing was written


def calibrate_from_run(
    site: Site,
    line_id: str,
    recipe: str,
    wish: Wish,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] = lambda text: None,
) -> Learnt:
    """Listen to a running line until so much good web has passed, and lower its limits to what that calls for.

    Args:
        site: the plant.
        line_id: the line, running with the limits that are on the disk.
        recipe: that it runs.
        wish: what is asked for.
        progress: told how many whole metres are done, and of how many.
        say: told in a sentence what it waits for, once the line was heard.
        warn: told in a sentence what was missed.

    Raises:
        ConfigError: no such line, another recipe, too few metres for the rate, or a rate that makes no sense.
        ArtefactError: the limits or the recipe on the disk are not those that the line runs with, or change
            meanwhile; a file can't be written.
        BusError: the line's sockets can't be connected to.
        SilentLine: the line doesn't run, or ends before the metres are full.
        DataError: too much of the web is above the limit or not inspected, or all of it scores the same.
    """
    line = site.line(line_id)
    if recipe != line.recipe:
        raise ConfigError(f"{site.file}: line {line_id} runs recipe {line.recipe!r}, not {recipe!r}")
    refuse_short(wish)
    limits = load_limits(site, line_id, recipe)
    heard = listen(site, line_id, limits, wish, progress=progress, say=say, warn=warn)
    stretches = heard.web.stretches(wish.metres / STRETCHES)
    confidence = confidence_after(len(limits.provenance.runs))
    found = find(stretches, wish.per_100m / heard.web.verdicts_per_100m, confidence)
    moved = lowered(limits, found.limit)
    run = _provenance(limits, moved, heard, wish, stretches, found)
    if moved is not limits:
        moved = msgspec.structs.replace(
            as_run_leaves(limits, moved, run.date_utc),
            provenance=msgspec.structs.replace(moved.provenance, runs=(*limits.provenance.runs, run)),
        )
        if digest(load_limits(site, line_id, recipe)) != run.previous_sha256:
            raise ArtefactError(
                f"{limits_file(site, line_id, recipe)}: changed meanwhile; nothing is written"
            )
        write_atomically(limits_file(site, line_id, recipe), to_toml(moved).encode())
    return Learnt(moved, run, heard, moved is not limits)


def confidence_after(runs: int) -> float:
    """Of a run's bound, after so many that lowered the limit already.

    A limit only ever comes down, so the lowest bound of all runs stays: of many at 80 % each, one is too low. So the
    nth that lowers it has a chance of a fifth of 1/n to be too low. What that adds up to grows, if slowly: three tenths
    for two of them, six tenths for ten; runs that left the limit as it was aren't counted.
    """
    return 1 - (1 - CONFIDENCE) / (runs + 1)


def find(stretches: list[Stretch], rate: float, confidence: float = CONFIDENCE) -> FoundLimit:
    """Find the limit that a share of good verdicts exceeds; in sigma, on the scale of the present limits.

    Args:
        stretches: of good web.
        rate: share of their verdicts.
        confidence: of the bound.

    Raises:
        DataError: the highest scores are all equal, or none is above 0.
    """
    try:
        scores = [one.scores for one in stretches]
        found = raised(find_limit(scores, rate, confidence=confidence), scores, rate, confidence)
    except ValueError:
        raise DataError(
            "strip after strip scores the same: the camera sees nothing, or the recipe is dead"
        ) from None
    if found.limit <= 0:
        raise DataError(
            f"good web scores {found.highest:.4g} sigma at most; the recipe is dead, train it again"
        )
    return found


def lowered(limits: Limits, wanted_sigma: float) -> Limits:
    """Move all limits by one factor, so that what scored above ``wanted_sigma`` on the present scale fails.

    They never rise. With windows they never come down to less than SHOWN of what they were either: lower scores
    of windows are not in a verdict. Returns ``limits`` itself where nothing is to be moved.
    """
    least = SHOWN * limits.limit_sigma if limits.wide else 0.0
    # Rounded down, the highest good verdict would exceed it.
    limit_sigma = math.ceil(max(wanted_sigma, least) * 1e4) / 1e4
    if limit_sigma >= limits.limit_sigma:
        return limits
    factor = limit_sigma / limits.limit_sigma
    wide = tuple(_scaled(one, factor) for one in limits.wide)
    return msgspec.structs.replace(limits, limit_sigma=limit_sigma, wide=wide)


def as_run_leaves(before: Limits, moved: Limits, date_utc: str) -> Limits:
    """Limits that a run lowered, as measured or as still set by hand.

    A run measures one factor. Zones and windows that a person moved are that person's afterwards, too: the word stays,
    and so does the hash, which they go on differing from. Where only ``limit_sigma`` was moved by hand, or nothing,
    nothing of that is left, and the provenance keeps the word.

    Args:
        before: the limits that the line ran with.
        moved: the same, lowered.
        date_utc: of the run, ISO 8601.
    """
    if has_measured_shape(before) or not before.set_by_hand.strip():
        return sealed(msgspec.structs.replace(moved, set_by_hand=""))
    word = f"{before.set_by_hand.rstrip()}; moved by a run on {date_utc[:10]}"
    return msgspec.structs.replace(moved, set_by_hand=word)


def summary(learnt: Learnt) -> str:
    """A few lines for a person."""
    run, limits = learnt.run, learnt.limits
    lines = [
        _outcome(learnt),
        *_by_hand_words(learnt),
        (
            f"from {run.verdicts} verdicts on {run.good_m:.2f} m of good web, {run.from_m:.3f} to {run.to_m:.3f} m of "
            f"the encoder, the highest at {run.highest_sigma:.2f} sigma"
        ),
        (
            f"left out: {run.strips_above} strips above the limit, {run.strips_beside} beside them, "
            f"{run.verdicts_not_inspected} verdicts not inspected, {run.verdicts_unheard} not heard"
        ),
        (
            f"false alarms per 100 m: {run.false_alarms_per_100m:g}, that is one verdict in "
            f"{1 / run.verdict_rate:.0f}; "
            f"good web reaches that at {run.quantile_sigma:.2f} sigma, {run.confidence:.0%} surely below "
            f"{run.bound_sigma:.2f}"
        ),
    ]
    if learnt.heard.above_per_100m > run.false_alarms_per_100m:
        lines.append(_above_words(learnt))
    if run.unlike_m:
        lines.append(_unlike_words(learnt))
    if run.is_simulated:
        lines.append(
            f"LOOK: line {limits.line} has no real camera (is_simulated): its limits are for trials; calibrate again "
            "where its own camera looks"
        )
    if run.suspects:
        lines.append("stretches that stand out, not counted; look at the web there if it is still at hand:")
        lines += [f"  {suspect}" for suspect in run.suspects]
    if learnt.moved:
        lines.append(f"line {limits.line} takes it up at its next start")
    return "\n".join(lines)


def _above_words(learnt: Learnt) -> str:
    """A run can't tell faults from false alarms; a person can, and knows where to look."""
    heard, at_m = learnt.heard, learnt.heard.web.left_out.above_at_m
    where = a_few([f"{one:.2f}" for one in at_m], MOST_NAMED)
    if heard.share_above > TOLD_SHARE:
        rest = "the limit is too low to learn from, calibrate from frames instead"
    else:
        rest = "there are more false alarms than asked for already, and a lower limit brings no fewer"
    return (
        f"LOOK: {heard.share_above:.1%} of the web was above the limit, {heard.above_per_100m:.3g} strips in 100 m, at "
        f"{where} m: if that was good web, {rest}"
    )


def _unlike_words(learnt: Learnt) -> str:
    """Web that the line itself disowns passes as well as any other; the limit is then of such web."""
    run, limits = learnt.run, learnt.limits
    words = (
        f"LOOK: {run.unlike_m:.2f} m of that web were as a whole unlike what recipe {limits.recipe} learnt, says line "
        f"{limits.line}: another fabric, other light, a lens out of focus? This limit is of such web; "
    )
    if learnt.moved:
        words += "take the committed file back, "
    return words + "mend that or train a recipe on such web, and calibrate then"


def _outcome(learnt: Learnt) -> str:
    run, limits = learnt.run, learnt.limits
    of = f"for line {limits.line} and recipe {limits.recipe}"
    if not learnt.moved:
        return (
            f"limit stays at {limits.limit_sigma:.2f} sigma {of}; nothing is written: good web comes as near to it as "
            "the rate allows, and a run can't tell whether what is above it is good. Calibrate from frames to raise it"
        )
    words = f"limit {limits.limit_sigma:.2f} sigma {of}, before {run.previous_limit_sigma:.2f}"
    if limits.wide:
        words += "; windows' limits by the same factor"
    return words


def _by_hand_words(learnt: Learnt) -> list[str]:
    """What a person said of these limits, whether it still holds or not."""
    if learnt.limits.set_by_hand:
        return [f"set by hand: {learnt.limits.set_by_hand}"]
    if learnt.run.previous_set_by_hand:
        return [f"before set by hand: {learnt.run.previous_set_by_hand}"]
    return []


def _scaled(wide: WideLimit, factor: float) -> WideLimit:
    scaled = math.ceil(wide.limit_deviations * factor * 1e4) / 1e4
    return msgspec.structs.replace(wide, limit_deviations=min(scaled, wide.limit_deviations))


def _provenance(
    before: Limits,
    after: Limits,
    heard: Heard,
    wish: Wish,
    stretches: list[Stretch],
    found: FoundLimit,
) -> RunProvenance:
    web = heard.web
    return RunProvenance(
        date_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        inspector=__version__,
        previous_limit_sigma=before.limit_sigma,
        previous_sha256=digest(before),
        previous_set_by_hand=before.set_by_hand,
        limit_sigma=after.limit_sigma,
        epoch=heard.epoch,
        from_m=web.strips[0].start_m,
        to_m=web.strips[-1].end_m,
        first_seq=web.strips[0].seqs[0],
        last_seq=web.strips[-1].seqs[1],
        good_m=round(web.good_m, 4),
        strips=len(web.strips),
        verdicts=web.verdicts,
        verdicts_per_100m=round(web.verdicts_per_100m, 4),
        stretches=len(stretches),
        strips_above=web.left_out.above,
        strips_beside=web.left_out.beside,
        verdicts_not_inspected=web.left_out.not_inspected,
        verdicts_unheard=web.left_out.unheard,
        suspects=tuple(
            f"{stretches[place].start_m:.3f} to {stretches[place].end_m:.3f} m: "
            f"{stretches[place].scores.max():.1f} sigma"
            for place in found.suspects
        ),
        false_alarms_per_100m=wish.per_100m,
        verdict_rate=wish.per_100m / web.verdicts_per_100m,
        **tail_fields(found),
        unlike_m=round(heard.unlike_m, 4),
        is_simulated=heard.is_simulated,
    )
