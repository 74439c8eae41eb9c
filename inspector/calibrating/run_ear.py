"""Hears a running line for `calibrate --from-run`, and refuses what no limit can be learnt from.

The line must be what the disk says it is: recipe, training, limits; and it must stay that until the metres are full.
What is wrong is told as soon as it is certain, not after the last metre.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from inspector.bus.subscriber import Subscriber
from inspector.bus.wire import AlarmHeader, State, StateHeader, VerdictHeader
from inspector.calibrating.good_metres import GoodMetres
from inspector.calibrating.tail import LEAST_TILES
from inspector.config import Line, Site
from inspector.errors import ArtefactError, ConfigError, DataError, SilentLine
from inspector.limits import Limits, digest, limits_file

LEAST_SHARE = (
    0.1  # of the web on which one false alarm is asked for; the tail is not carried farther than that
)
LEAST_STRIPS = LEAST_TILES  # lanes of a strip resemble each other, so strips are counted here
MEASURED_STRIPS = 10  # tell how long strips are; one has a row of tiles more than the next
MOST_SHARE = 0.1  # of the judged web above the limit; more is refused
NOTHING_TO_DO = 1  # severity of an alarm that takes an earlier one back
SILENCE_S = 2.0  # as `inspector events` takes it


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for."""

    metres: float  # of good web
    per_100m: float  # false alarms: verdicts of good web that fail
    silence_s: float = SILENCE_S


@dataclass(frozen=True, slots=True)
class Heard:
    """Good web of one line, one start, one recipe and one set of limits."""

    web: GoodMetres  # wish.metres of it at least
    epoch: int  # the line's start, us UTC
    unlike_m: float  # of the web that counts, while the line called it as a whole unlike what was learnt
    is_simulated: bool  # a verdict of it came of no real camera

    @property
    def judged_m(self) -> float:
        """Web that counts, and web above the limit."""
        return self.web.good_m + self.web.left_out.above_m

    @property
    def share_above(self) -> float:
        """Of the judged web, by length."""
        return self.web.left_out.above_m / self.judged_m

    @property
    def above_per_100m(self) -> float:
        """Strips above the limit."""
        return self.web.left_out.above / self.judged_m * 100


def refuse_short(wish: Wish) -> None:
    """Refuse what is known to be too little before the line is heard. Raises ConfigError."""
    wanted = LEAST_SHARE * 100 / wish.per_100m
    if wish.metres < wanted:
        raise ConfigError(
            f"{wish.metres:g} m of good web are too few for {wish.per_100m:g} false alarms per 100 m; "
            f"give --metres {math.ceil(wanted)} or more"
        )


def listen(
    site: Site,
    line_id: str,
    limits: Limits,
    wish: Wish,
    *,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> Heard:
    """Hear a line until the metres are full.

    Args:
        site: the plant.
        line_id: the line.
        limits: on the disk.
        wish: what is asked for.
        progress: told how many whole metres are done, and of how many.
        say: told in a sentence what it waits for, once the line was heard.
        warn: told in a sentence what was missed.

    Raises:
        ConfigError: too few metres for the line's strips, too many false alarms, other lanes than the config has.
        ArtefactError: recipe or limits are not those that the line runs with, or change meanwhile.
        BusError: the line's sockets can't be connected to.
        SilentLine: the line doesn't run, ends or is started anew before the metres are full.
        DataError: too much of the web is above the limit or not inspected.
    """
    ear = _Ear(site, line_id, limits, wish)
    line, total = site.line(line_id), math.ceil(wish.metres)
    with Subscriber(line.bus, line_id, site.root, ("verdict", "state", "alarm"), warn=warn) as subscriber:
        for event in subscriber.events(wish.silence_s):
            if isinstance(event.header, StateHeader):
                ear.state(event.header)
            elif isinstance(event.header, AlarmHeader):
                ear.alarm(event.header)
            elif isinstance(event.header, VerdictHeader) and ear.verdict(event.header, say):
                break
            progress(int(ear.web.good_m), total)
    progress(total, total)
    return Heard(ear.web, ear.epoch, ear.unlike_m, ear.is_simulated)


class _Ear:
    """Hears a line: its verdicts must all be of the one recipe, engine, limits and start."""

    def __init__(self, site: Site, line_id: str, limits: Limits, wish: Wish) -> None:
        self.web = GoodMetres(line_id, _lane_count(site.line(line_id)))
        self.epoch = 0
        self.unlike_m = 0.0
        self.is_simulated = False
        self._line_id = line_id
        self._limits = limits
        self._file = limits_file(site, line_id, limits.recipe)
        self._digest = digest(limits)
        self._wish = wish
        self._first: VerdictHeader | None = None
        self._told = False
        self._is_unlike = False

    def state(self, header: StateHeader) -> None:
        """A line that ended won't get to the metres. Raises SilentLine."""
        if header.state in (State.HALTED, State.ERROR):
            raise SilentLine(f"line {self._line_id} ended ({header.state.value}) {self._so_far()}")

    def alarm(self, header: AlarmHeader) -> None:
        """Keep in mind whether the web is as a whole unlike what was learnt; one that came before is heard at once."""
        if header.code == "unlike":
            self._is_unlike = header.severity > NOTHING_TO_DO

    def verdict(self, header: VerdictHeader, say: Callable[[str], None]) -> bool:
        """Take a verdict; True when the metres are full. Raises as ``calibrate_from_run`` does."""
        if self._first is None:
            self._refuse_foreign(header)
            self._first, self.epoch = header, header.epoch
        self._refuse_changed(self._first, header)
        self.is_simulated |= header.is_simulated
        before_m = self.web.good_m
        self.web.hear(header)
        if self._is_unlike:
            self.unlike_m += self.web.good_m - before_m
        is_full = self.web.good_m >= self._wish.metres - 1e-6
        if not self._told and (is_full or len(self.web.strips) >= MEASURED_STRIPS):
            self._told = True
            self._refuse_few()
            say(
                f"line {self._line_id}: {self.web.verdicts_per_100m:.0f} verdicts in 100 m; "
                f"waiting for {self._wish.metres:g} m of good web"
            )
        self._refuse_bad_web()
        return is_full

    def _refuse_foreign(self, header: VerdictHeader) -> None:
        if header.recipe_id != self._limits.recipe:
            raise ArtefactError(
                f"line {self._line_id} runs recipe {header.recipe_id!r}, the config says {self._limits.recipe!r}; "
                "start the line anew"
            )
        if header.recipe_rev != self._limits.onnx_sha256[:12]:
            raise ArtefactError(
                f"{self._file}: belongs to another training of {self._limits.recipe!r} than the one line "
                f"{self._line_id} runs; start the line anew"
            )
        if header.calibration_sha256 != self._digest:
            raise ArtefactError(
                f"{self._file}: not the limits that line {self._line_id} runs with; start the line anew, so that it "
                "takes these up, and calibrate then"
            )

    def _refuse_changed(self, first: VerdictHeader, header: VerdictHeader) -> None:
        for key, what in (
            ("recipe_id", "recipe"),
            ("recipe_rev", "recipe's training"),
            ("engine_sha256", "engine"),
            ("calibration_sha256", "limits"),
        ):
            if getattr(header, key) != getattr(first, key):
                raise ArtefactError(f"line {self._line_id} changed its {what} {self._so_far()}")
        if header.epoch != first.epoch:
            raise SilentLine(f"line {self._line_id} was started anew {self._so_far()}")

    def _refuse_few(self) -> None:
        """What only the line's strips tell: how long they are."""
        strip_m = self.web.good_m / len(self.web.strips)
        if self._wish.metres < LEAST_STRIPS * strip_m:
            raise ConfigError(
                f"{self._wish.metres:g} m of good web are too few: line {self._line_id} judges {strip_m:.3g} m "
                f"at once, and {LEAST_STRIPS} times that are wanted; give --metres {math.ceil(LEAST_STRIPS * strip_m)}"
            )
        if self._wish.per_100m >= self.web.verdicts_per_100m:
            raise ConfigError(
                f"{self._wish.per_100m:g} false alarms per 100 m can't be had: line {self._line_id} has "
                f"{self.web.verdicts_per_100m:.0f} verdicts in 100 m; give a number below that"
            )

    def _refuse_bad_web(self) -> None:
        """As soon as it is certain, and above all instead of waiting for good web that never comes."""
        metres, left_out = self._wish.metres, self.web.left_out
        if left_out.above_m > MOST_SHARE / (1 - MOST_SHARE) * metres:
            raise DataError(
                f"line {self._line_id}: {left_out.above_m:.2f} m of web above the limit to {self.web.good_m:.2f} m of "
                f"good web, more than {MOST_SHARE:.0%} whatever comes; calibrate from frames of good web instead"
            )
        if left_out.unseen_m > metres:
            raise DataError(
                f"line {self._line_id}: {left_out.unseen_m:.2f} m of web not inspected to {self.web.good_m:.2f} m of "
                f"good web; see why with `inspector events --line {self._line_id} --outcome NOT_INSPECTED`"
            )

    def _so_far(self) -> str:
        return f"after {self.web.good_m:.2f} of {self._wish.metres:g} m of good web; nothing is written, run it again"


def _lane_count(line: Line) -> int:
    return len(line.lanes.edges_mm) - 1 if line.lanes.edges_mm else line.lanes.count
