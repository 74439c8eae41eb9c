"""What a teaching ends with: how it went, in words that promise no more than was seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inspector.calibrating.calibrate import summary
from inspector.limits import Limits
from inspector.teaching.proof import Proof

FINDS_LITTLE = (
    "WARNING: this recipe finds little. Either the recorded web bore faults, and the limit stands above them (look at\n"
    "the pictures), or it was too little for a lower limit: teach again on more good web"
)


@dataclass(frozen=True, slots=True)
class Taught:
    """A recipe and a limit in their places, and what is known of them."""

    line_id: str
    recipe: str
    named: str  # the recipe that the line's config names
    config: str  # the file's name
    metres: float  # recorded
    frames: dict[str, int]  # what they were for -> how many
    limits: Limits
    proof: Proof
    golden_tiles: int
    speed: str  # what the web's needs and what the engine does
    seconds: dict[str, float]  # a step
    left_out: int  # pictures to look at
    pictures: Path  # of these, from the plant's folder on
    others: tuple[str, ...]  # lines whose limits belong to the training before

    def text(self) -> str:
        """Some thirty lines for a person."""
        return "\n".join(
            [
                f"recipe {self.recipe} is taught; it and its limit for line {self.line_id} are in place",
                "",
                self._took(),
                self._web(),
                summary(self.limits),
                f"self-test: {self.golden_tiles} golden tiles score as recorded",
                f"speed: {self.speed}",
                f"good web that neither students nor limit have seen: {self.proof.good_words()}",
                "",
                self.proof.caption,
                self.proof.table(),
                *([FINDS_LITTLE] if self.proof.finds_little else []),
                "",
                self._not_known(),
                "next:",
                *(f"  {number}. {step}" for number, step in enumerate(self._next(), start=1)),
            ]
        )

    def _took(self) -> str:
        steps = ", ".join(f"{step} {seconds:.0f}" for step, seconds in self.seconds.items())
        return f"took {sum(self.seconds.values()):.0f} s: {steps}"

    def _web(self) -> str:
        frames = ", ".join(f"{count} {what}" for what, count in self.frames.items())
        return f"web: {self.metres:.2f} m; frames: {frames}"

    def _not_known(self) -> str:
        return (
            "not known: whether the recorded web was good. All that was in it is good web to this recipe, faults too, "
            "but for what was left out;\n"
            "and it was one stretch of one roll: another roll, or other light, may give more alarms"
        )

    def _next(self) -> list[str]:
        steps = []
        if self.left_out:
            steps.append(
                f"look at the {self.left_out} pictures in {self.pictures}: a fault is rightly there; "
                "where good web is, teach again on more metres"
            )
        if self.named != self.recipe:
            steps.append(f'set recipe = "{self.recipe}" in [line.{self.line_id}] of {self.config}')
        steps.append(f"inspector check --line {self.line_id}")
        steps.append(f"inspector run --line {self.line_id}")
        steps += [
            f"line {other}: its limit belongs to the recipe of before; inspector calibrate DATA --recipe {self.recipe} "
            f"--line {other}"
            for other in self.others
        ]
        return steps
