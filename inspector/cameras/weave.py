"""A woven cloth without end, good all over: any rectangle of it at any place, always the same.

Every pixel is a pure function of its place and the seed, so the web does not depend on the pieces in
which it is asked for. A warp yarn is an *end* (runs along the web), a weft yarn a *pick* (runs
across). A table holds one repeat of the weave as seen by the camera, with every end of the web in it;
rows of the web are drawn from the table along the picks' own wavy courses (cv2.remap), then each yarn
gets its own brightness and fibres.

Per-pixel arithmetic is elementwise in float32 throughout: sums over a matrix product would depend on
the size of the piece.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from inspector.errors import ConfigError
from inspector.records import F32, U8

F64: TypeAlias = npt.NDArray[np.float64]
I64: TypeAlias = npt.NDArray[np.int64]
Weave: TypeAlias = Literal["plain", "twill", "satin"]

# Draft: True where the end lies above the pick, [picks of a repeat, ends of a repeat].
_I, _J = np.meshgrid(np.arange(8), np.arange(8))
DRAFTS = {
    "plain": (_I + _J)[:2, :2] % 2 == 0,
    "twill": (_I + _J)[:4, :4] % 4 != 0,  # 3/1, warp-faced
    "satin": (2 * _I + _J)[:5, :5] % 5 != 0,  # 5-end, warp-faced
}
PITCH_MM = {"plain": (0.90, 1.00), "twill": (0.75, 0.85), "satin": (0.70, 0.80)}  # ends, picks
PICK_TONE = {"plain": 0.84, "twill": 0.72, "satin": 0.80}  # picks are often of a duller yarn than the ends
LEAST_PITCH_PX = 3.0  # finer yarns would beat with the pixels: the cloth is woven coarser instead

STEPS = 16  # rows of the table per pick
PICKS_PER_BLOCK = 2048  # picks drawn from one random stream
COURSES = 509  # rows of the textures that picks choose from; prime, like the periods below
FIBRES = (509, 683)  # rows; two textures whose sum repeats after 70 m at 0.2 mm per pixel
HOLD = 4  # rows of the web per row of a warp texture
BAND = 64  # rows drawn at once, so that the work stays in the cache

MOST_SEEDS = 2**31
MOST_PICK_PX = 60.0  # thicker yarns have courses that the table doesn't hold
LEAST_ENDS = 8  # of a web, or there is nothing to weave

SELVEDGE_MM = 9.0
SELVEDGE_SHARE = 0.06  # of a narrow web
SELVEDGE_PITCH = 0.62  # of the ground's
BACKDROP = 26.0  # grey value of what lies behind the cloth
MEAN_GREY = 205.0  # of a yarn seen from the front in full light
NOISE_GREY = 1.3  # sigma of the camera's noise


class Cloth:
    """Good cloth, seen by a line-scan camera of ``width_px`` columns.

    The web lies in the middle of the picture; what it leaves free at both sides is backdrop.

    Args:
        width_px: columns of the picture.
        mm_per_px: both ways.
        weave: how ends and picks cross.
        seed: all there is to the randomness.
        web_mm: width of the web; the picture's own width when larger.

    Raises:
        ConfigError: the web has too few yarns, or they are too thick to be drawn.
    """

    def __init__(self, width_px: int, mm_per_px: float, weave: Weave, seed: int, web_mm: float) -> None:
        self.width_px = width_px
        self.mm_per_px = mm_per_px
        self.seed = seed
        end_mm, pick_mm = PITCH_MM[weave]
        self.end_px = max(end_mm / mm_per_px, LEAST_PITCH_PX)
        self.pick_px = max(pick_mm / mm_per_px, LEAST_PITCH_PX)
        self.left_px = max(0.0, (width_px - web_mm / mm_per_px) / 2)
        self.right_px = width_px - self.left_px
        if self.pick_px > MOST_PICK_PX:
            raise ConfigError(
                f"the loom can't weave at mm_per_px = {mm_per_px:g}, where a yarn is {self.pick_px:.0f} px thick; "
                f"{pick_mm / MOST_PICK_PX:.3f} is the least"
            )
        if self.right_px - self.left_px < LEAST_ENDS * self.end_px:
            raise ConfigError(
                f"the loom can't weave a web of {(self.right_px - self.left_px) * mm_per_px:g} mm: that is less than "
                f"{LEAST_ENDS} yarns; {LEAST_ENDS * self.end_px * mm_per_px:.1f} mm are the least"
            )
        self._draft = DRAFTS[weave]
        self._repeat = len(self._draft)

        rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
        selvedge_px = min(SELVEDGE_MM, SELVEDGE_SHARE * web_mm) / mm_per_px
        if web_mm > width_px * mm_per_px * 1.001:
            selvedge_px = 0.0  # out of the picture
        self.end_edges = _end_edges(rng, self.left_px, self.right_px, self.end_px, selvedge_px)
        self._weave_table(rng, selvedge_px, PICK_TONE[weave])
        self._light = _light(rng, width_px)
        self._make_textures(rng)
        self._drawn: dict[int, tuple[F64, F64, I64]] = {}  # blocks of picks in use

    # -- places of yarns ---------------------------------------------------------------------------

    @property
    def ends(self) -> int:
        """Number of warp yarns."""
        return len(self.end_edges) - 1

    def pick_centres(self, first: int, stop: int) -> F64:
        """Rows (fractional) of the centres of the picks ``first`` to ``stop - 1``."""
        j = np.arange(first, stop)
        return (j + 0.5 + self._pick_values(j)[0]) * self.pick_px

    def phase(self, y0: int, y1: int) -> F64:
        """Place of rows in picks, float64 [y1 - y0]: 7.5 is the centre of pick 7."""
        first = int(y0 / self.pick_px) - 2
        stop = int(y1 / self.pick_px) + 3
        centres = self.pick_centres(first, stop)
        place: F64 = np.interp(np.arange(y0, y1) + 0.5, centres, np.arange(first, stop) + 0.5)
        return place

    # -- pixels ------------------------------------------------------------------------------------

    def rows(self, y0: int, y1: int) -> U8:
        """Pixels of whole rows, uint8 [y1 - y0, width_px]."""
        out = np.empty((y1 - y0, self.width_px), np.uint8)
        for top in range(y0, y1, BAND):
            bottom = min(top + BAND, y1)
            shown = self.reflectance(top, bottom, 0, self.width_px)
            out[top - y0 : bottom - y0] = self.picture(shown, top, 0)
        return out

    def reflectance(self, y0: int, y1: int, x0: int, x1: int, bend: F32 | None = None) -> F32:
        """What the cloth sends back under even light, float32 [y1 - y0, x1 - x0] in grey values.

        ``bend`` (same shape, in picks) is added to the phase: how a fault pulls a pick from its course.
        """
        phase = self.phase(y0, y1)
        pick = np.floor(phase).astype(np.int64)
        _, gain, course = self._pick_values(pick)
        row = ((phase % self._repeat + 1) * STEPS - 0.5).astype(np.float32)
        map_y = self._pick_wave[course, x0:x1]
        map_y += row[:, None]
        if bend is not None:
            map_y += bend * np.float32(STEPS)
        held = np.arange(y0, y1) // HOLD % COURSES
        map_x = self._end_wave[held, x0:x1]
        map_x += np.arange(x0, x1, dtype=np.float32)
        fixed, fraction = cv2.convertMaps(map_x, map_y, cv2.CV_16SC2)
        warp = cv2.remap(self._warp, fixed, fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        weft = cv2.remap(self._weft, fixed, fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

        shown = self._end_gain[held, x0:x1]
        shown *= warp
        across = self._pick_gain[course, x0:x1]
        across += gain.astype(np.float32)[:, None]
        across *= weft
        shown += across
        fibres = self._fibres[0][np.arange(y0, y1) % FIBRES[0], x0:x1]
        fibres += self._fibres[1][np.arange(y0, y1) % FIBRES[1], x0:x1]
        shown *= fibres
        return self._trim(shown, y0, x0)

    def picture(self, shown: F32, y0: int, x0: int) -> U8:
        """What the camera makes of a reflectance: uneven light, noise, 8 bits."""
        y = np.arange(y0, y0 + len(shown))
        seen = shown * self._light[x0 : x0 + shown.shape[1]]
        seen += self._noise[_scatter(y, self.seed) % COURSES, x0 : x0 + shown.shape[1]]
        grey: U8 = np.clip(seen, 0, 255).astype(np.uint8)
        return grey

    def bare_ends(self, x0: int, x1: int) -> F32:
        """Reflectance of the ends where no pick crosses them, float32 [1, x1 - x0]."""
        return self._bare_ends[None, x0:x1]

    def bare_picks(self, y0: int, y1: int) -> F32:
        """Reflectance of the picks where no end crosses them, float32 [y1 - y0, 1]."""
        phase = self.phase(y0, y1)
        gain = self._pick_values(np.floor(phase).astype(np.int64))[1]
        shape = _round_yarn(2 * (phase % 1) - 1, 0.95)
        return ((0.30 + 0.62 * shape) * gain * MEAN_GREY).astype(np.float32)[:, None]

    # -- making ------------------------------------------------------------------------------------

    def _weave_table(self, rng: np.random.Generator, selvedge_px: float, pick_tone: float) -> None:
        """One repeat of the weave plus a pick above and below, for every column: uint8 [rows, width]."""
        x = np.arange(self.width_px) + 0.5
        end = np.clip(np.searchsorted(self.end_edges, x) - 1, 0, self.ends - 1)
        left, right = self.end_edges[end], self.end_edges[end + 1]
        u = (x - left) / (right - left)  # place in the end, 0 ... 1
        thickness = rng.normal(1.06, 0.05, self.ends)
        tone = rng.normal(1.0, 0.025, self.ends) * (1 + 0.02 * np.sin(np.arange(self.ends) / 37.0))
        edge_px = np.minimum(x - self.left_px, self.right_px - x)
        ground = edge_px > selvedge_px
        v = (np.arange((self._repeat + 2) * STEPS) + 0.5) / STEPS - 1  # phase in picks
        # At the selvedge pairs of ends weave as one: a dense, ribbed band.
        ends = np.arange(self.ends)
        middle = (self.end_edges[1:] + self.end_edges[:-1]) / 2
        at_selvedge = np.minimum(middle - self.left_px, self.right_px - middle) <= selvedge_px
        draft_column = np.where(at_selvedge, ends // 2, ends) % self._repeat
        height = np.where(self._draft, 1.0, -1.0)[:, draft_column]  # of every end at every crossing
        pick = np.floor(v).astype(int)
        end_height = _between(height, v, axis=0)[:, end]
        pick_height = -_between(height, end + u, axis=1)[pick % self._repeat]

        end_shape = _round_yarn(2 * u - 1, thickness[end])
        pick_shape = _round_yarn(2 * (v - pick) - 1, 1.03)[:, None]
        end_top = 0.55 * end_height + 0.75 * end_shape
        pick_top = 0.55 * pick_height + 0.75 * pick_shape
        seen = 1 / (1 + np.exp(-7.0 * (end_top - pick_top)))  # how much of the end is on top
        shine = np.where(ground, 1.0, 0.86)
        end_light = np.clip(0.34 + 0.30 * end_height + 0.36 * end_shape, 0.08, 1) * tone[end] * shine
        pick_light = np.clip(0.34 + 0.30 * pick_height + 0.36 * pick_shape, 0.08, 1) * shine * pick_tone
        blur = (0.45 * STEPS / self.pick_px, 0.5)  # the camera's aperture, about a pixel
        self._warp = _to_table(seen * end_light, blur)
        self._weft = _to_table((1 - seen) * pick_light, blur)
        self._bare_ends = ((0.30 + 0.60 * end_shape) * tone[end] * MEAN_GREY).astype(np.float32)
        self._end_of_column = end

    def _make_textures(self, rng: np.random.Generator) -> None:
        width, scale = self.width_px, MEAN_GREY / 255
        along = 6.0 / self.mm_per_px  # thick and thin places are some mm long
        self._pick_gain = _noise(rng, (COURSES, width), (0, along), 0.055 * scale)
        self._pick_gain += _noise(rng, (COURSES, width), (0, along / 8), 0.035 * scale)
        self._pick_wave = _noise(rng, (COURSES, width), (0, along), 0.07 * STEPS)
        per_end = _noise(rng, (COURSES, self.ends), (along / HOLD, 0), 0.035 * scale)
        self._end_gain = scale + per_end[:, self._end_of_column]
        wave = _noise(rng, (COURSES, self.ends), (along / HOLD, 0), 0.05 * self.end_px)
        self._end_wave = wave[:, self._end_of_column]
        half = [_noise(rng, (n, width), (0.6, 0.6), 0.03) + np.float32(0.5) for n in FIBRES]
        self._fibres = half
        self._noise = rng.normal(0.5, NOISE_GREY, (COURSES, width)).astype(np.float32)

    def _draw_picks(self, block: int) -> tuple[F64, F64, I64]:
        rng = np.random.Generator(np.random.Philox(key=[self.seed, 1], counter=[0, 0, 0, block + 2**31]))
        scale = MEAN_GREY / 255
        j = np.arange(block * PICKS_PER_BLOCK, (block + 1) * PICKS_PER_BLOCK)
        offset = np.clip(rng.normal(0, 0.05, len(j)), -0.2, 0.2)
        slow = 0.012 * np.sin(j / 41.0) + 0.010 * np.sin(j / 173.0 + 1)  # the weft package runs out
        gain = (rng.normal(1.0, 0.03, len(j)) + slow) * scale
        return offset, gain, rng.integers(0, COURSES, len(j))

    def _pick_values(self, picks: I64) -> tuple[F64, F64, I64]:
        """Offset (in picks), gain and texture row of each pick."""
        block = picks // PICKS_PER_BLOCK
        blocks = range(int(block.min()), int(block.max()) + 1)
        if len(self._drawn) > 8:
            self._drawn.clear()
        for number in blocks:
            if number not in self._drawn:
                self._drawn[number] = self._draw_picks(number)
        place = picks - blocks[0] * PICKS_PER_BLOCK
        offset, gain, course = (
            np.concatenate(values)[place] for values in zip(*(self._drawn[b] for b in blocks), strict=True)
        )
        return offset, gain, course

    def _trim(self, shown: F32, y0: int, x0: int) -> F32:
        """Lay the backdrop over what lies beyond the web's edges, which wander a little."""
        if self.left_px <= 0:
            return shown
        y = np.arange(y0, y0 + len(shown))
        wander = 0.5 / self.mm_per_px
        for edge, sign, turn in ((self.left_px, 1, 0.0), (self.right_px, -1, 2.0)):
            course = edge + sign * wander * (
                1.2 + np.sin(y / 977.0 + turn) * 0.8 + np.sin(y / 61.0 + turn) * 0.2
            )
            reach = int(3 * wander) + 2
            a, b = (0, int(edge) + reach) if sign > 0 else (int(edge) - reach, self.width_px)
            a, b = max(a, x0), min(b, x0 + shown.shape[1])
            if a < b:
                x = np.arange(a, b) + 0.5
                inside = np.clip(sign * (x - course[:, None]) + 0.5, 0, 1).astype(np.float32)
                part = shown[:, a - x0 : b - x0]
                part *= inside
                part += np.float32(BACKDROP) * (1 - inside)
        return shown


def _end_edges(rng: np.random.Generator, left: float, right: float, pitch: float, selvedge: float) -> F64:
    """Borders between ends, columns (fractional), jittered; a few yarns more than the web."""
    dense = pitch * SELVEDGE_PITCH
    spare = 3 * pitch  # the web's edges wander
    widths = [np.full(int((selvedge + spare) / dense) + 1, dense)] if selvedge else []
    taken = 2 * widths[0].sum() if widths else 0.0
    ground = np.full(int((right - left + 2 * spare - taken) / pitch) + 1, pitch)
    edges = left - spare + np.concatenate([[0.0], np.cumsum(np.concatenate([*widths, ground, *widths]))])
    edges[1:-1] += rng.normal(0, 0.05, len(edges) - 2).clip(-0.15, 0.15) * pitch
    return np.asarray(edges, np.float64)


def _between(height: F64, place: F64, axis: int) -> F64:
    """Height of yarns along their course: as drafted at crossings (n + 0.5), a cosine in between."""
    crossing = np.floor(place).astype(int)
    off = place - crossing - 0.5
    weight = 0.5 - 0.5 * np.cos(np.pi * np.abs(off))
    if axis == 0:
        weight = weight[:, None]
    here = height.take(crossing, axis, mode="wrap")
    beside = height.take(crossing + np.sign(off).astype(int), axis, mode="wrap")
    return np.asarray(here * (1 - weight) + beside * weight, np.float64)


def _round_yarn(place: F64, thickness: F64 | float) -> F64:
    """Height of a round yarn's surface over its width; ``place`` is -1 ... 1 over the pitch."""
    return np.sqrt(np.clip(1 - (place / thickness) ** 2, 0, 1))


def _to_table(light: F64, blur: tuple[float, float]) -> U8:
    """8-bit table of a yarn system's light, blurred by (rows, columns)."""
    table = cv2.GaussianBlur(light, (0, 0), sigmaX=blur[1], sigmaY=blur[0], borderType=cv2.BORDER_REPLICATE)
    return np.clip(np.rint(table * 255), 0, 255).astype(np.uint8)


def _light(rng: np.random.Generator, width: int) -> F32:
    """Uneven light over the columns: lamps fall off at the ends and differ along the bar."""
    x = np.linspace(-1, 1, width)
    ripple = sum(rng.normal(0, 0.012) * np.cos(np.pi * k * x + rng.uniform(0, 6.28)) for k in range(2, 7))
    return (1.0 - 0.13 * (x - rng.uniform(-0.15, 0.15)) ** 2 + ripple).astype(np.float32)


def _noise(
    rng: np.random.Generator, shape: tuple[int, int], smooth: tuple[float, float], sigma: float
) -> F32:
    """Normal noise of deviation ``sigma``, smoothed by (rows, columns); rows wrap around."""
    noise = rng.standard_normal(shape, np.float32)
    reach = int(4 * smooth[0]) + 1
    wrapped = np.concatenate([noise[-reach:], noise, noise[:reach]])
    for axis, width in enumerate(smooth):
        if width:
            kernel = cv2.getGaussianKernel(2 * int(3 * width) + 3, width)
            one = np.ones((1, 1))
            x, y = (one, kernel) if axis == 0 else (kernel, one)
            wrapped = cv2.sepFilter2D(wrapped, cv2.CV_32F, x, y, borderType=cv2.BORDER_REFLECT)
    noise = wrapped[reach:-reach]
    return np.ascontiguousarray(noise * np.float32(sigma / noise.std()))


def _scatter(y: I64, seed: int) -> I64:
    """A well-mixed number for every row (Steele, Lea, Flood 2014: the finaliser of SplitMix64)."""
    z = (y + seed % MOST_SEEDS * 0x9E3779B9).astype(np.uint64)  # a larger product would leave int64
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)
