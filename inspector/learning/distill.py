"""Distillation: students learn on good tiles what the frozen teachers see there.

Loss of a layer: its distances (``distance``), averaged over that share of a batch's cells where they are largest: good
web's highest score sets a limit, not its mean, and cells that are learnt teach no more (hard mining, as in Batzner et
al. 2024, arXiv 2303.14535). The teachers look once, their features stay in memory as float16. After every epoch the
students' loss on validation tiles, over all cells, is taken, the best epoch is kept, and a checkpoint written, so that
an interrupted training goes on where it was and ends with the same students. A training ends early when validation
gains no more; while the rate is high that says nothing, so only epochs count in which it is below half of its peak.
Where the CPU multiplies bf16 in hardware the students' forward pass may use it; weights, losses and validation stay
float32. This module knows nothing of images, recipes or ONNX.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from inspector.backends.artifact import write_atomically
from inspector.errors import ArtefactError
from inspector.learning.distance import Students
from inspector.learning.teachers import Teacher
from inspector.records import U8

BATCH = 8  # tiles a step
PEAK_RATE = 4e-3
DECAY = 1e-4
HARD_SHARE = (
    0.3  # of a batch's cells: a mean over all is brought down by what is learnt already (decision 20)
)
WARM_SHARE = 0.3  # of the epochs, until the rate is at its peak; from there it falls as a cosine does
LOW_RATE_SHARE = WARM_SHARE + (1 - WARM_SHARE) / 2  # of the epochs, until it has fallen to half of its peak
GAIN = 0.005  # of the lowest validation loss: less is none
LOOK = 8  # tiles at a time where nothing is learnt
CHECKPOINT = "checkpoint.safetensors"


class Progress(Protocol):
    """Told how far a piece of work is, and in a few words how well it goes."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total``."""


@dataclass(frozen=True, slots=True)
class Course:
    """How long and how to train; with the tiles' identity it decides every number that comes out."""

    epochs: int
    seed: int
    identity: str  # of tiles, teachers and students: a checkpoint of another is not taken up
    patience: int | None = None  # epochs at a low rate without a gain, after which it ends; None: never early
    bf16: bool = False  # what students learn by is computed in bf16 where that loses nothing
    batch: int = BATCH  # tiles a step
    decay: float = DECAY  # of weights, a share a step at a rate of 1; 0: plain Adam
    hard_share: float = HARD_SHARE  # of a batch's cells, those that are wrong most: what is learnt from


@dataclass
class Standing:
    """How far a training is."""

    epoch: int = 0  # epochs done
    best_epoch: int = 0
    best_loss: float = float("inf")
    losses: list[float] = field(default_factory=list)  # training, a value an epoch
    validation: list[float] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = ""  # why it ended early, in words; empty: it didn't


@dataclass(frozen=True, slots=True)
class Lesson:
    """Tiles and what the teachers see in them."""

    tiles: U8  # [N, S, S] or [N, S, S, 3]
    features: list[Tensor]  # a layer: float16 [N, C, h, w]


def as_pixels(tiles: U8) -> Tensor:
    """uint8 [N, S, S(, 3)] to float32 [N, channels, S, S] on 0..255, channels last in memory."""
    pixels = torch.from_numpy(tiles).float()
    pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    return pixels.contiguous(memory_format=torch.channels_last)


def look(teachers: Sequence[Teacher], tiles: U8, progress: Progress) -> Lesson:
    """Let the teachers look at every tile once."""
    seen: list[list[Tensor]] = []
    with torch.inference_mode():
        for start in range(0, len(tiles), LOOK):
            progress(start, len(tiles), "the teachers look")
            pixels = as_pixels(tiles[start : start + LOOK])
            taps = [tap for teacher in teachers for tap in teacher(pixels)]
            seen.append([tap.half() for tap in taps])
    progress(len(tiles), len(tiles), "the teachers look")
    return Lesson(tiles, [torch.cat(layer).clone() for layer in zip(*seen, strict=True)])


def bf16_is_fast() -> bool:
    """Whether this CPU multiplies bf16 in hardware; elsewhere it would be slower than float32."""
    capable = torch.cpu.get_capabilities()
    return bool(capable.get("avx512_bf16") or capable.get("amx_bf16"))


def residuals(students: Students, lesson: Lesson) -> list[Tensor]:
    """What the students get wrong in eval mode, a layer its distances together: float32 [N, h, w]."""
    students.eval()
    found: list[list[Tensor]] = []
    with torch.inference_mode():
        for start in range(0, len(lesson.tiles), LOOK):
            part = slice(start, start + LOOK)
            learnt = students(as_pixels(lesson.tiles[part]))
            layers = students.distances([f[part] for f in lesson.features], learnt)
            found.append([layer.sum(1) for layer in layers])
    return [torch.cat(layer).clone() for layer in zip(*found, strict=True)]


def hardest(distances: Tensor, share: float) -> Tensor:
    """Mean of the largest ``share`` of each kind's distances, [N, kinds, h, w] to [kinds]; 1: of all."""
    cells = distances.transpose(0, 1).flatten(1)
    return cells.topk(max(1, round(share * cells.shape[1])), sorted=False).values.mean(1)


def stalled(validation: Sequence[float], course: Course) -> str:
    """Say in a few words why a training should end early; empty where it should go on.

    Args:
        validation: loss on validation tiles, a value an epoch done.
        course: with its patience.
    """
    done = len(validation)
    if course.patience is None or not done < course.epochs:
        return ""
    since = done - course.patience
    if since < max(1, math.ceil(LOW_RATE_SHARE * course.epochs)):
        return ""
    if min(validation[since:]) < (1 - GAIN) * min(validation[:since]):
        return ""
    return (
        f"after {done} of {course.epochs} epochs: {course.patience} without a gain of {GAIN:.1%} on "
        "validation tiles"
    )


def distill(
    students: Students,
    training: Lesson,
    validation: Lesson,
    course: Course,
    folder: Path,
    progress: Progress,
    watch: Callable[[Standing, list[Tensor]], None] = lambda standing, residual: None,
    *,
    scale: Lesson | None = None,
) -> Standing:
    """Train students in place; they end as they were after the best epoch on validation.

    Args:
        students: untrained, seeded.
        training: at least 2 tiles.
        validation: tiles of other images.
        course: epochs, seed, identity, patience.
        folder: where the checkpoint is kept; one of the same course is taken up.
        progress: told each epoch with its losses.
        watch: shown after each epoch how far it is, and the residuals of the validation tiles.
        scale: in whose deviations distances are measured; None: in those of ``training``.

    Raises:
        ArtefactError: the checkpoint can't be written, or no epoch's loss is a number.
    """
    students.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    students.fit((scale or training).features)
    pupil = _Pupil(students, course, -(-len(training.tiles) // course.batch))
    standing = pupil.take_up(folder / CHECKPOINT)
    if standing.epoch:
        progress(standing.epoch, course.epochs, f"goes on after epoch {standing.epoch}")
    while standing.epoch < course.epochs and not standing.stopped:
        began = time.monotonic()
        standing.losses.append(pupil.epoch(training, standing.epoch))
        residual = residuals(students, validation)
        loss = sum(float(layer.mean()) for layer in residual)
        standing.validation.append(loss)
        standing.epoch += 1
        if loss < standing.best_loss:
            standing.best_loss, standing.best_epoch = loss, standing.epoch
            pupil.keep_best()
        standing.stopped = stalled(standing.validation, course)
        standing.seconds += time.monotonic() - began
        pupil.write(folder / CHECKPOINT, standing)
        left = standing.seconds / standing.epoch * (course.epochs - standing.epoch)
        ahead = f"stopped early {standing.stopped}" if standing.stopped else f"{left:.0f} s left"
        progress(standing.epoch, course.epochs, f"loss {standing.losses[-1]:.3f} {loss:.3f}, {ahead}")
        watch(standing, residual)
    if not standing.best_epoch:
        raise ArtefactError(
            f"{folder}: the loss of all {standing.epoch} epochs is no number, so nothing was learnt; teachers' weights "
            "or images are damaged: look at both, then train again"
        )
    students.load_state_dict(pupil.best)
    students.eval()
    return standing


class _Pupil:
    """Students, their optimiser and schedule: what a checkpoint has to hold."""

    def __init__(self, students: Students, course: Course, batches: int) -> None:
        self.students = students
        self.course = course
        self.batches = batches
        self.best = copy.deepcopy(students.state_dict())
        self.optimiser = torch.optim.AdamW(students.parameters(), PEAK_RATE, weight_decay=course.decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            PEAK_RATE,
            epochs=course.epochs,
            steps_per_epoch=batches,
            pct_start=WARM_SHARE,
        )

    def keep_best(self) -> None:
        self.best = copy.deepcopy(self.students.state_dict())

    def epoch(self, lesson: Lesson, number: int) -> float:
        """Go through all tiles once, in an order that seed and epoch decide; the mean loss."""
        # Validation leaves eval mode on: without this BatchNorm would be frozen from the second epoch.
        self.students.train()
        order = np.random.default_rng((self.course.seed, number)).permutation(len(lesson.tiles))
        total = 0.0
        for batch in np.array_split(order, self.batches):  # of equal size: none is a single tile
            with torch.autocast("cpu", torch.bfloat16, enabled=self.course.bf16):
                answers = self.students(as_pixels(lesson.tiles[batch]))
            learnt = [answer.float() for answer in answers]
            chosen = torch.from_numpy(batch)
            layers = self.students.distances([f[chosen] for f in lesson.features], learnt)
            loss = torch.stack([hardest(layer, self.course.hard_share).sum() for layer in layers]).sum()
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.schedule.step()
            total += float(loss.detach()) * len(batch)
        return total / len(order)

    def write(self, file: Path, standing: Standing) -> None:
        """Write a checkpoint whole: tensors as safetensors, everything else as JSON in its header."""
        tensors = {f"now/{k}": v for k, v in self.students.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()}
        optimiser = self.optimiser.state_dict()
        for number, state in optimiser["state"].items():
            tensors |= {f"optimiser/{number}/{k}": v for k, v in state.items()}
        header = {
            "course": asdict(self.course),
            "standing": asdict(standing),
            "groups": optimiser["param_groups"],
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if _is_plain(v)},
        }
        plain = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
        write_atomically(file, safetensors.torch.save(plain, {"inspector": json.dumps(header)}))

    def take_up(self, file: Path) -> Standing:
        """Go on from a checkpoint of the same course; a foreign or damaged one counts for nothing."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError):
            with safetensors.safe_open(file, "pt") as stored:
                header = json.loads(stored.metadata()["inspector"])
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
            if header["course"] == asdict(self.course):
                return self._restore(header, tensors)
        return Standing()

    def _restore(self, header: dict[str, Any], tensors: dict[str, Tensor]) -> Standing:
        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.students.load_state_dict(under("now/"))
        self.best = under("best/")
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in under("optimiser/").items():
            number, _, name = key.partition("/")
            state.setdefault(int(number), {})[name] = value
        self.optimiser.load_state_dict({"state": state, "param_groups": header["groups"]})
        self.schedule.load_state_dict(header["schedule"])
        return Standing(**header["standing"])


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool | list | dict | None)
