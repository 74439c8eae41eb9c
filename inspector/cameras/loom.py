"""A virtual web: good cloth (weave.py) with faults in it (faults.py), and a camera that looks at it."""

from __future__ import annotations

import threading

from inspector import config
from inspector.cameras.faults import FaultPlan
from inspector.cameras.pace import Pace
from inspector.cameras.stamper import Stamper
from inspector.cameras.truth import Fault
from inspector.cameras.weave import Cloth, Weave
from inspector.interfaces import CameraInfo
from inspector.records import U8, Acquired, EndOfWeb, Frame

BUFFERS = 4  # frames that a camera holds while nobody takes them; older ones are lost


class Loom:
    """A woven web without end; the same seed weaves the same web, whatever the pieces it is taken in.

    Args:
        width_px: columns of the picture.
        mm_per_px: both ways.
        weave: "plain", "twill" or "satin".
        seed: of the cloth and of its faults.
        faults: how many and which.
        web_mm: width of the web, in the middle of the picture; dark backdrop beside it. None: a web
            that fills the picture, with its selvedges at both sides.

    Raises:
        ConfigError: unknown kind of fault.
    """

    def __init__(
        self,
        width_px: int,
        mm_per_px: float,
        weave: Weave = "plain",
        seed: int = 1,
        faults: config.FaultMix | None = None,
        web_mm: float | None = None,
    ) -> None:
        self.mm_per_px = mm_per_px
        web_mm = width_px * mm_per_px if web_mm is None else web_mm
        self._cloth = Cloth(width_px, mm_per_px, weave, seed, web_mm)
        self._plan = FaultPlan(self._cloth, config.FaultMix(per_m=0) if faults is None else faults)
        self._row = 0
        self._weaving = threading.Lock()  # the truth may be asked for from another thread

    def rows(self, n: int) -> U8:
        """Weave on: the next ``n`` rows, uint8 [n, width_px]."""
        with self._weaving:
            y0, y1 = self._row, self._row + n
            pixels = self._cloth.rows(y0, y1)
            for patch in self._plan.patches(y0, y1):
                top, bottom = max(y0, patch.y0), min(y1, patch.y1)
                right = patch.x0 + patch.pixels.shape[1]
                part = patch.pixels[top - patch.y0 : bottom - patch.y0]
                pixels[top - y0 : bottom - y0, patch.x0 : right] = part
            self._row = y1
            return pixels

    def skip(self, n: int) -> None:
        """Weave ``n`` rows that nobody sees."""
        self._row += n

    def truth(self, y_start_m: float, y_end_m: float) -> list[Fault]:
        """Return the faults with a part in [y_start_m, y_end_m), in the order of their beginnings."""
        with self._weaving:
            self._plan.plan_to(int(y_end_m * 1000 / self.mm_per_px) + 1)
            faults = list(self._plan.faults)
        inside = [f for f in faults if f.y_m < y_end_m and f.y_m + f.h_mm / 1000 > y_start_m]
        return sorted(inside, key=lambda fault: fault.y_m)


def open_loom(line_id: str, camera: config.LoomCamera, line: config.Line) -> LoomCamera:
    """Make the virtual web of a line. Raises ConfigError."""
    return LoomCamera(line_id, camera, line.web, line.overload.deadline_ms)


class LoomCamera:
    """Looks at a Loom, frame by frame, at the web's speed or as fast as it is asked.

    At the web's speed frames come on an absolute schedule. Like a camera with a few buffers it loses
    frames when nobody takes them: they come as LostFrame, and their web is gone.
    """

    def __init__(self, line_id: str, camera: config.LoomCamera, web: config.Web, deadline_ms: float) -> None:
        self._loom = Loom(
            camera.width_px, web.mm_per_px, camera.weave, camera.seed, camera.faults, web.width_mm
        )
        self._height = camera.height_px
        self._counts_per_row = web.mm_per_px / 1000 * web.encoder_counts_per_m
        serial = f"LOOM-{camera.weave}-{camera.seed}"
        self._info = CameraInfo(
            kind="loom",
            vendor="inspector",
            model=f"virtual {camera.weave} weave",
            serial=serial,
            pixel_format="Mono8",
            width_px=camera.width_px,
            height_px=camera.height_px,
            is_simulated=True,
        )
        self._stamper = Stamper(line_id, serial, camera.height_px, web, deadline_ms)
        frame_s = camera.height_px * web.mm_per_px / 1000 / (web.speed_m_min / 60)
        self._pace = Pace(0.0 if camera.as_fast_as_possible else frame_s)
        self._next = 0  # place of the next frame on the web
        self._pixels: U8 | None = None  # the next frame, woven already
        self._ready: list[Acquired] = []

    @property
    def info(self) -> CameraInfo:
        """Known at once."""
        return self._info

    def start(self) -> None:
        """Set the web in motion."""
        self._pace.start()

    def read(self, timeout_s: float) -> Acquired | EndOfWeb | None:
        """Return the next frame, or None when it is not due within ``timeout_s``; after close, EndOfWeb."""
        if self._pace.closed:
            return EndOfWeb()
        if not self._ready:
            self._lose_what_nobody_took()
            if self._pixels is None:
                self._pixels = self._loom.rows(self._height)
            captured_s = self._pace.due_s(self._next)
            if not self._pace.wait(self._next, timeout_s):
                return EndOfWeb() if self._pace.closed else None
            encoder = self._counts(self._next), self._counts(self._next + 1)
            lost, stamp = self._stamper.stamp(self._next, round(captured_s * 1e6), encoder=encoder)
            self._ready = [*lost, Frame(stamp, self._pixels)]
            self._pixels = None
            self._next += 1
        return self._ready.pop(0)

    def close(self) -> None:
        """Stop the web; a waiting ``read`` returns at once."""
        self._pace.close()

    def truth(self, y_start_m: float, y_end_m: float) -> list[Fault]:
        """Return the faults with a part in [y_start_m, y_end_m); metre 0 is the first row of all."""
        return self._loom.truth(y_start_m, y_end_m)

    def _counts(self, frame: int) -> int:
        return round(frame * self._height * self._counts_per_row)

    def _lose_what_nobody_took(self) -> None:
        gone = self._pace.behind(self._next) - BUFFERS + 1
        if gone > 0:
            self._loom.skip((gone - (self._pixels is not None)) * self._height)
            self._pixels = None
            self._next += gone
