"""What goes wrong on a loom: eight kinds of fault, drawn into good cloth, each with its exact truth.

A fault is planned as a rectangle and a way to repaint the cloth's reflectance in it. It is painted
once; what differs from the good cloth, after the camera's light, noise and 8 bits, is its truth. Sizes
and contrasts are drawn from ranges that reach down to faults which a person overlooks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from inspector import config
from inspector.cameras.truth import Fault
from inspector.cameras.weave import BACKDROP, F64, Cloth
from inspector.errors import ConfigError
from inspector.records import F32, U8

SEGMENT_M = 1.0  # of web planned at a time
APART_MM = 15.0  # least distance between two faults
TRIES = 20  # to find a free place; a web too full of faults gets fewer than asked for


@dataclass(frozen=True, slots=True)
class Sketch:
    """A fault before it is painted: rows [y0, y1), columns [x0, x1), and what to do to the cloth in them."""

    y0: int
    y1: int
    x0: int
    x1: int
    paint: Callable[[F32], F32 | F64]


@dataclass(frozen=True, slots=True)
class Patch:
    """A painted fault, as the camera sees it."""

    fault: Fault
    y0: int
    x0: int
    pixels: U8  # [h, w]

    @property
    def y1(self) -> int:
        """One past the last row."""
        return self.y0 + len(self.pixels)


class FaultPlan:
    """Where which faults lie on a web: seeded, endless, none touching another.

    Raises ConfigError for a kind that does not exist.
    """

    def __init__(self, cloth: Cloth, mix: config.FaultMix) -> None:
        unknown = sorted(set(mix.kinds) - set(KINDS))
        if unknown:
            raise ConfigError(
                f"camera.faults.kinds: there is no fault {unknown[0]!r}; there are: {', '.join(KINDS)}"
            )
        self._cloth = cloth
        self._per_m = mix.per_m
        self._kinds = mix.kinds or tuple(KINDS)
        self._segment_px = round(SEGMENT_M * 1000 / cloth.mm_per_px)
        self._planned = 0  # segments
        self._taken: list[Sketch] = []
        self._patches: list[Patch] = []
        self.faults: list[Fault] = []  # all that were ever planned, about in the order of the web

    def patches(self, y0: int, y1: int) -> list[Patch]:
        """Return the faults with a row in [y0, y1). Rows before ``y0`` must not be asked for again."""
        self.plan_to(y1)
        self._patches = [p for p in self._patches if p.y1 > y0]
        return [p for p in self._patches if p.y0 < y1]

    def plan_to(self, y: int) -> None:
        """Know every fault that begins before row ``y``."""
        while self._per_m and self._planned * self._segment_px < y:
            self._plan_segment(self._planned)
            self._planned += 1

    def _plan_segment(self, segment: int) -> None:
        rng = np.random.Generator(np.random.Philox(key=[self._cloth.seed, 2], counter=[0, 0, 0, segment]))
        first = segment * self._segment_px
        apart = round(APART_MM / self._cloth.mm_per_px)
        self._taken = [s for s in self._taken if s.y1 + apart > first]
        for _ in range(rng.poisson(self._per_m * SEGMENT_M)):
            kind = self._kinds[rng.integers(len(self._kinds))]
            for _ in range(TRIES):
                sketch = KINDS[kind](self._cloth, rng, int(first + rng.integers(self._segment_px)))
                if sketch.y0 >= first and not any(_touch(sketch, s, apart) for s in self._taken):
                    self._paint(kind, sketch)
                    break

    def _paint(self, kind: str, s: Sketch) -> None:
        good = self._cloth.reflectance(s.y0, s.y1, s.x0, s.x1)
        before = self._cloth.picture(good, s.y0, s.x0)
        after = self._cloth.picture(s.paint(good.copy()).astype(np.float32), s.y0, s.x0)
        change = np.abs(after.astype(np.int16) - before)
        rows, columns = np.flatnonzero(change.any(axis=1)), np.flatnonzero(change.any(axis=0))
        if not len(rows):
            return  # nothing that the camera could see
        mm = self._cloth.mm_per_px
        fault = Fault(
            kind=kind,
            x_mm=float(s.x0 + columns[0]) * mm,
            y_m=float(s.y0 + rows[0]) * mm / 1000,
            w_mm=float(columns[-1] - columns[0] + 1) * mm,
            h_mm=float(rows[-1] - rows[0] + 1) * mm,
            area_mm2=float(np.count_nonzero(change)) * mm * mm,
            contrast_grey=float(change[change > 0].mean()),
        )
        self._taken.append(s)
        self._patches.append(Patch(fault, s.y0, s.x0, after))
        self.faults.append(fault)


def _touch(a: Sketch, b: Sketch, apart: int) -> bool:
    along = a.y0 < b.y1 + apart and b.y0 < a.y1 + apart
    return along and a.x0 < b.x1 + apart and b.x0 < a.x1 + apart


# -- across the web ----------------------------------------------------------------------------------


def _missing_pick(cloth: Cloth, rng: np.random.Generator, row: int) -> Sketch:
    """The shed opened, no weft went in: ends float over a thin place across the web."""
    x0, x1 = _stretch_across(cloth, rng)
    pick, y0, y1 = _pick_rows(cloth, row, 0.65)
    weight = rng.uniform(0.45, 1.0) * _bump((cloth.phase(y0, y1) - pick - 0.5) / 0.65)[:, None]
    weight = weight * _window(x1 - x0, 12)[None, :]
    bare = cloth.bare_ends(x0, x1) * rng.uniform(0.62, 0.85)
    return Sketch(y0, y1, x0, x1, lambda good: good + weight * (bare - good))


def _double_pick(cloth: Cloth, rng: np.random.Generator, row: int) -> Sketch:
    """Two picks in one shed: a thick yarn across the web."""
    x0, x1 = _stretch_across(cloth, rng)
    return _thick_pick(cloth, row, x0, 1 + rng.uniform(0.4, 1.1) * _window(x1 - x0, 12))


def _slub(cloth: Cloth, rng: np.random.Generator, row: int) -> Sketch:
    """A thick place in one pick, some mm long."""
    length = round(rng.uniform(5, 30) / cloth.mm_per_px)
    x0, x1 = _columns(cloth, rng, length)
    return _thick_pick(cloth, row, x0, 1 + rng.uniform(0.7, 1.7) * _window(x1 - x0, (x1 - x0) / 2))


def _thick_pick(cloth: Cloth, row: int, x0: int, thickness: F64) -> Sketch:
    """One pick drawn over its neighbours; ``thickness`` [w] in picks."""
    reach = float(thickness.max()) / 2
    pick, y0, y1 = _pick_rows(cloth, row, reach)
    off = (cloth.phase(y0, y1) - pick - 0.5)[:, None]  # picks from the centre
    inside = (np.abs(off) < thickness / 2) & (thickness > 1.02)
    bend = np.where(inside, off / thickness - off, 0.0).astype(np.float32)
    gloss = np.where(inside, 1 + 0.12 * (thickness - 1), 1.0)
    x1 = x0 + len(thickness)
    return Sketch(y0, y1, x0, x1, lambda _: cloth.reflectance(y0, y1, x0, x1, bend) * gloss)


# -- along the web -----------------------------------------------------------------------------------


def _broken_end(cloth: Cloth, rng: np.random.Generator, row: int) -> Sketch:
    """A warp yarn is missing until someone ties it in again: picks float over the gap."""
    y0, y1 = row, row + round(rng.uniform(40, 1200) / cloth.mm_per_px)
    x0, x1, across = _end_columns(cloth, rng, 1)
    weight = across * _window(y1 - y0, 20)[:, None] * rng.uniform(0.45, 1.0)
    bare = cloth.bare_picks(y0, y1) * rng.uniform(0.55, 0.85)
    return Sketch(y0, y1, x0, x1, lambda good: good + weight * (bare - good))


def _float(cloth: Cloth, rng: np.random.Generator, row: int) -> Sketch:
    """One to three ends lie on top of picks that they should have gone under."""
    y0, y1 = row, row + round(rng.uniform(5, 14) * cloth.pick_px)
    x0, x1, across = _end_columns(cloth, rng, int(rng.integers(1, 4)))
    weight = across * _window(y1 - y0, cloth.pick_px)[:, None]
    bare = cloth.bare_ends(x0, x1) * rng.uniform(1.02, 1.25)
    return Sketch(y0, y1, x0, x1, lambda good: good + weight * (bare - good))


# -- anywhere ----------------------------------------------------------------------------------------


def _hole(cloth: Cloth, rng: np.random.Generator, row: int) -> Sketch:
    """Yarns torn: the backdrop shows, a frayed rim stands up, a yarn or two may still cross."""
    y0, y1, x0, x1, radius = _blob(cloth, rng, row, rng.uniform(1.5, 9), 1.35)
    frayed = radius + rng.normal(0, 0.06, radius.shape)
    gone = _ramp((1.0 - frayed) / 0.22)
    rim = 1 + rng.uniform(-0.22, 0.12) * _ramp((1.35 - frayed) / 0.3)
    for end in range(int(rng.integers(0, 3))):
        at = (x1 - x0) * (0.4 + 0.2 * end + rng.uniform(-0.05, 0.05))
        off: F64 = (np.arange(x1 - x0, dtype=np.float64) + 0.5 - at) / (0.4 * cloth.end_px)
        gone = gone * (1 - rng.uniform(0.2, 0.7) * _bump(off))[None, :]
    return Sketch(y0, y1, x0, x1, lambda good: good * rim * (1 - gone) + BACKDROP * gone)


def _oil_stain(cloth: Cloth, rng: np.random.Generator, row: int) -> Sketch:
    """A dark, soft-edged spot; the weave still shows through."""
    y0, y1, x0, x1, radius = _blob(cloth, rng, row, rng.uniform(3, 28), 1.0)
    depth = rng.uniform(0.07, 0.45)
    darker = _ramp((1.0 - radius) / rng.uniform(0.15, 0.5)) * (1 - 0.3 * _ramp(1 - radius))
    return Sketch(y0, y1, x0, x1, lambda good: good * (1 - depth * darker))


def _crease(cloth: Cloth, rng: np.random.Generator, row: int) -> Sketch:
    """A fold pressed in: light on one flank, dark on the other, at any angle."""
    mm = cloth.mm_per_px
    half, flank = rng.uniform(10, 60) / mm, rng.uniform(0.6, 2.0) / mm
    angle, bow = rng.uniform(0, np.pi), rng.uniform(-0.06, 0.06)
    reach_x = half * abs(np.cos(angle)) + 4 * flank
    reach_y = half * abs(np.sin(angle)) + 4 * flank
    x0, x1 = _columns(cloth, rng, round(2 * reach_x))
    y0, y1 = row, row + round(2 * reach_y)
    y = np.arange(y1 - y0)[:, None] - (y1 - y0) / 2
    x = np.arange(x1 - x0)[None, :] - (x1 - x0) / 2
    along = (x * np.cos(angle) + y * np.sin(angle)) / half
    across = (y * np.cos(angle) - x * np.sin(angle) + bow * half * (along**2 - 0.3)) / flank
    fold = across * np.exp(0.5 - across**2 / 2) - 0.4 * np.exp(-(across**2))
    fold = np.where(np.abs(across) < 3, fold, 0.0) * _bump(along)
    strength = rng.uniform(0.06, 0.24) * rng.choice([-1.0, 1.0])
    return Sketch(y0, y1, x0, x1, lambda good: good * (1 + strength * fold))


KINDS: dict[str, Callable[[Cloth, np.random.Generator, int], Sketch]] = {
    "missing_pick": _missing_pick,
    "double_pick": _double_pick,
    "broken_end": _broken_end,
    "slub": _slub,
    "hole": _hole,
    "oil_stain": _oil_stain,
    "float": _float,
    "crease": _crease,
}

# -- places and shapes -------------------------------------------------------------------------------

Span: TypeAlias = tuple[int, int]


def _columns(cloth: Cloth, rng: np.random.Generator, width: int) -> Span:
    """A random stretch of at most ``width`` columns on the web, clear of its wandering edges."""
    margin = round(2.0 / cloth.mm_per_px) if cloth.left_px > 0 else 0
    left, right = int(cloth.left_px) + margin, int(cloth.right_px) - margin
    width = min(max(width, 2), right - left)
    x0 = int(rng.integers(left, right - width + 1))
    return x0, x0 + width


def _stretch_across(cloth: Cloth, rng: np.random.Generator) -> Span:
    """The full width in half of all cases, else a part of it."""
    full = cloth.right_px - cloth.left_px
    return _columns(cloth, rng, round(full if rng.random() < 0.5 else full * rng.uniform(0.15, 0.8)))


def _pick_rows(cloth: Cloth, row: int, reach: float) -> tuple[int, int, int]:
    """The first pick wholly below ``row``, and the rows within ``reach`` picks of its centre."""
    pick = int(row / cloth.pick_px) + 2
    centre = float(cloth.pick_centres(pick, pick + 1)[0])
    spread = (reach + 0.3) * cloth.pick_px
    return pick, max(0, int(centre - spread)), int(centre + spread) + 1


def _end_columns(cloth: Cloth, rng: np.random.Generator, ends: int) -> tuple[int, int, F64]:
    """Columns of some neighbouring ends, and how much of each column is theirs, float64 [w]."""
    at = sum(_columns(cloth, rng, 2)) / 2
    first = int(np.clip(np.searchsorted(cloth.end_edges, at) - 1, 0, cloth.ends - ends))
    left, right = cloth.end_edges[first], cloth.end_edges[first + ends]
    x0, x1 = max(0, int(left) - 1), min(cloth.width_px, int(right) + 2)
    x = np.arange(x0, x1) + 0.5
    return x0, x1, np.clip(np.minimum(x - left, right - x) + 0.5, 0, 1)


def _blob(
    cloth: Cloth, rng: np.random.Generator, row: int, diameter_mm: float, reach: float
) -> tuple[int, int, int, int, F64]:
    """Rows, columns, and the distance from the middle, 1 at the edge of an irregular round shape."""
    stretch = rng.uniform(0.7, 1.4)
    half_x = diameter_mm / 2 / cloth.mm_per_px * stretch
    half_y = diameter_mm / 2 / cloth.mm_per_px / stretch
    x0, x1 = _columns(cloth, rng, round(2 * half_x * reach * 1.3) + 2)
    y0, y1 = row, row + round(2 * half_y * reach * 1.3) + 2
    x = (np.arange(x1 - x0)[None, :] + 0.5 - (x1 - x0) / 2) / half_x
    y = (np.arange(y1 - y0)[:, None] + 0.5 - (y1 - y0) / 2) / half_y
    turn = np.arctan2(y, x)
    edge = np.ones_like(turn)
    for waves in range(2, 7):
        edge += rng.normal(0, 0.18 / waves) * np.cos(waves * turn + rng.uniform(0, 2 * np.pi))
    return y0, y1, x0, x1, np.hypot(x, y) / np.clip(edge, 0.6, 1.3)


def _ramp(t: F64) -> F64:
    """0 below 0, 1 above 1, smooth in between."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _bump(t: F64) -> F64:
    """1 around 0, smoothly 0 from -1 and 1 on."""
    return _ramp(2.0 * (1 - np.abs(t)))


def _window(n: int, ends: float) -> F64:
    """1 in the middle of ``n`` places, falling to 0 over ``ends`` places at both sides."""
    place = np.arange(n) + 0.5
    return _ramp(np.minimum(place, n - place) / max(min(ends, n / 2), 1.0))
