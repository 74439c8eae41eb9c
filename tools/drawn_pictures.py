"""Pictures that a program draws: what a teacher is made lighter on, where no photograph may take part.

Noise of many spectra, gratings, unit cells that repeat over a lattice (nets, weaves, knits), shapes, and sums of
them, in many contrasts; and faults, places of one picture in another. Greys, uint8; the same seed draws the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from inspector.records import F32, U8

CELL = 64  # px of a unit cell, before it is laid out
PERIODS_PX = (2.5, 24.0)  # of lattices; gratings go up to GRATING_PX
GRATING_PX = 40.0
CONTRASTS = (8.0, 85.0)  # deviation, grey values
GREYS = (50.0, 200.0)  # mean


class Drawing:
    """Draws squares of ``side`` px, one after the other."""

    def __init__(self, side: int, seed: int) -> None:
        self._side = side
        self._rng = np.random.default_rng(seed)
        self._y, self._x = np.mgrid[0:side, 0:side].astype(np.float32)

    def pictures(self, count: int) -> U8:
        """So many of them, uint8 [count, side, side]."""
        return np.stack([self._picture() for _ in range(count)])

    def _picture(self) -> U8:
        rng = self._rng
        kinds: list[Callable[[], F32]] = [
            self._noise,
            self._grating,
            self._grating_across,
            self._shapes,
            *[self._lattice] * 3,
        ]
        drawn = np.zeros((self._side, self._side), np.float32)
        for kind in rng.choice(len(kinds), int(rng.choice([1, 1, 1, 2, 3]))):
            drawn += rng.uniform(0.2, 1) * kinds[kind]()
        if rng.random() < 0.3:
            drawn += rng.uniform(0.2, 1.5) * self._shapes()
        drawn += rng.uniform(0, 0.25) * rng.normal(0, 1, drawn.shape).astype(np.float32)
        if rng.random() < 0.5:
            drawn = np.asarray(cv2.GaussianBlur(drawn, (0, 0), rng.uniform(0.3, 1.5)), np.float32)
        contrast = math.exp(rng.uniform(*np.log(CONTRASTS)))
        grey = rng.uniform(*GREYS) + contrast * _even(drawn)
        return np.asarray(np.clip(grey, 0, 255).round(), np.uint8)

    def _noise(self) -> F32:
        """Of a power spectrum that falls off, more along one direction than across it."""
        rng, side = self._rng, self._side
        spectrum = np.fft.rfft2(rng.normal(0, 1, (side, side)))
        down, across = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
        angle, stretch = rng.uniform(0, np.pi), math.exp(rng.normal(0, 0.5))
        along = across * math.cos(angle) + down * math.sin(angle)
        aside = (down * math.cos(angle) - across * math.sin(angle)) * stretch
        far = np.hypot(along, aside) + 1 / side
        return _even(np.fft.irfft2(spectrum / far ** rng.uniform(0, 2.5), (side, side)))

    def _grating(self) -> F32:
        rng = self._rng
        period = math.exp(rng.uniform(math.log(PERIODS_PX[0]), math.log(GRATING_PX)))
        along, _ = self._turned(rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)]))
        wave = np.sin(
            2 * np.pi * along / period + rng.uniform(0, 2 * np.pi) + rng.uniform(0, 0.5) * self._noise()
        )
        return np.asarray(np.sign(wave) * np.abs(wave) ** rng.uniform(0.3, 1.5), np.float32)

    def _grating_across(self) -> F32:
        return self._grating() * self._grating()

    def _shapes(self) -> F32:
        """Discs, ellipses, lines and polygons over each other."""
        rng, side = self._rng, self._side
        drawn = np.full((side, side), rng.normal(), np.float32)
        for _ in range(int(rng.integers(3, 40))):
            at = (int(rng.integers(0, side)), int(rng.integers(0, side)))
            level, reach = float(rng.normal(0, 1.5)), int(math.exp(rng.uniform(0.5, math.log(side / 3))))
            match rng.integers(0, 4):
                case 0:
                    cv2.circle(drawn, at, reach, level, -1, cv2.LINE_AA)
                case 1:
                    axes = (reach, max(1, reach // 3))
                    cv2.ellipse(drawn, at, axes, float(rng.uniform(0, 360)), 0, 360, level, -1, cv2.LINE_AA)
                case 2:
                    end = (int(rng.integers(0, side)), int(rng.integers(0, side)))
                    cv2.line(drawn, at, end, level, int(rng.integers(1, 8)), cv2.LINE_AA)
                case _:
                    corners = np.array(at) + rng.integers(-reach - 1, reach + 2, (int(rng.integers(3, 7)), 2))
                    cv2.fillPoly(drawn, [corners.astype(np.int32)], level, cv2.LINE_AA)
        return drawn

    def _lattice(self) -> F32:
        """A unit cell over a lattice that is turned, sheared, and wavers a little."""
        rng, side = self._rng, self._side
        period = math.exp(rng.uniform(*np.log(PERIODS_PX)))
        angle = rng.choice([0, np.pi / 2, np.pi / 4, rng.uniform(0, np.pi)])
        shear, wavers = rng.choice([0, 0, rng.normal(0, 0.4)]), rng.uniform(0, 1.5)
        wave = [
            cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), 12) for _ in range(2)
        ]
        along, aside = self._turned(angle)
        first = along / period + wavers * wave[0]
        second = aside / (period * math.exp(rng.normal(0, 0.3))) + shear * first + wavers * wave[1]
        cell = np.pad(self._cell(), ((0, 1), (0, 1)), mode="wrap")
        places = [np.asarray((one % 1) * CELL, np.float32) for one in (first, second)]
        return np.asarray(cv2.remap(cell, places[0], places[1], cv2.INTER_LINEAR), np.float32)

    def _cell(self) -> F32:
        """Wires that cross, yarns over and under each other, or anything smooth that repeats."""
        rng = self._rng
        turn = np.arange(CELL) / CELL * 2 * np.pi
        match rng.integers(0, 3):
            case 0:
                thin = rng.uniform(2, 24)
                wire = np.abs(np.cos(turn / 2)) ** thin
                drawn = np.maximum(wire[None], wire[:, None] * rng.uniform(0.3, 1))
            case 1:
                over = np.sin(turn)[None] * np.sin(turn)[:, None] > 0
                yarn = np.abs(np.cos(turn))
                drawn = np.where(over, yarn[None], yarn[:, None] * rng.uniform(0.4, 1))
            case _:
                waves = np.fft.fftfreq(CELL) * CELL
                low = np.exp(-(waves[:, None] ** 2 + waves[None] ** 2) / (2 * rng.uniform(0.6, 3) ** 2))
                drawn = np.fft.ifft2(np.fft.fft2(rng.normal(0, 1, (CELL, CELL))) * low).real
        return _even(drawn)

    def _turned(self, angle: float) -> tuple[F32, F32]:
        """Every pixel's place along a direction and aside of it, px."""
        cos, sin = math.cos(angle), math.sin(angle)
        return self._x * cos + self._y * sin, self._y * cos - self._x * sin


class Faulty:
    """Squares cut out of pictures, turned, in other light and contrast, some with a place of another in them."""

    def __init__(self, pictures: U8, side: int, seed: int) -> None:
        self._pictures, self._side = pictures, side
        self._rng = np.random.default_rng(seed)

    def batch(self, count: int) -> F32:
        """RGB on 0..255, two in five tinted: float32 [count, 3, side, side]."""
        return np.stack([self._tinted(self._square()) for _ in range(count)])

    def _square(self) -> F32:
        rng, square = self._rng, self._cut()
        grey = float(square.mean())
        square = (square - grey) * math.exp(rng.normal(0, 0.35)) + np.clip(grey + rng.normal(0, 25), 10, 245)
        if rng.random() < 0.4:
            other, place = self._cut(), self._place()
            level = np.clip(square.mean() + rng.normal(0, 40), 0, 255)
            square = square * (1 - place) + place * ((other - other.mean()) * rng.uniform(0.2, 1) + level)
        return np.asarray(square, np.float32)

    def _cut(self) -> F32:
        rng = self._rng
        picture = self._pictures[rng.integers(len(self._pictures))]
        row, column = rng.integers(0, picture.shape[0] - self._side + 1, 2)
        square = picture[row : row + self._side, column : column + self._side].astype(np.float32)
        square = np.rot90(square, int(rng.integers(4)))
        return np.asarray(square[:, ::-1] if rng.random() < 0.5 else square, np.float32)

    def _place(self) -> F32:
        """An ellipse or a line with soft edges, of 0 to 1."""
        rng, side = self._rng, self._side
        place = np.zeros((side, side), np.float32)
        at = (int(rng.integers(side)), int(rng.integers(side)))
        if rng.random() < 0.5:
            reach = int(math.exp(rng.uniform(0.7, 3.8)))
            axes = (reach, max(1, int(reach * rng.uniform(0.1, 1))))
            cv2.ellipse(place, at, axes, float(rng.uniform(0, 360)), 0, 360, 1.0, -1)
        else:
            end = (int(rng.integers(side)), int(rng.integers(side)))
            cv2.line(place, at, end, 1.0, int(rng.integers(1, 6)))
        return np.asarray(cv2.GaussianBlur(place, (0, 0), rng.uniform(0.3, 2)), np.float32)

    def _tinted(self, square: F32) -> F32:
        rng = self._rng
        colours = np.repeat(square[None].astype(np.float64), 3, 0)
        if rng.random() < 0.4:
            colours = (
                (colours - 128) * (1 + rng.normal(0, 0.15, (3, 1, 1))) + 128 + rng.normal(0, 12, (3, 1, 1))
            )
        return np.asarray(np.clip(colours, 0, 255).round(), np.float32)


def _even(drawn: np.ndarray[Any, np.dtype[np.floating[Any]]]) -> F32:
    """Of mean 0 and deviation 1; 0 throughout where all is alike."""
    return np.asarray((drawn - drawn.mean()) / (drawn.std() + 1e-6), np.float32)
