"""Gives every trigger its identity: gapless sequence numbers, encoder intervals without holes.

A camera tells what arrived; the stamper tells what did not. Whatever can't be explained by the frame
before becomes a LostFrame in its place, so that no two pieces of web are ever joined that are not
neighbours on the cloth.
"""

from __future__ import annotations

from inspector.config import Web
from inspector.errors import CameraError
from inspector.records import LostFrame, Reason, Stamp

GEV_LAST_BLOCK_ID = 0xFFFF  # GigE Vision 1.x counts 1 ... 65535, 1 ...; others of 16 bits 0 ... 65535, 0 ...
MAX_GAP = 4000  # triggers; beyond it the camera was gone, not busy
JOINT_ROWS = 2.0  # an encoder that latches a row early or late makes neither a hole nor an overlap
COARSE_COUNTS = 2.0  # nor does one that counts less than once a row: both ends of a frame are rounded
WRAP_COUNTS = 2**32  # a camera's count of 32 bits, signed or not, starts again that much lower


class Stamper:
    """Numbers the triggers of one camera from its start to its close.

    The encoder interval of a frame begins where the one before ended; only where the web ran back, by the
    camera's encoder, does it begin before that, so that the tiler joins nothing there. Its length comes from
    the camera's encoder when the camera tells it, else from the rows: counts = rows * mm_per_px / 1000 *
    counts_per_m, always computed from totals, so rounding does not add up. Where the camera's count of 32 bits
    starts again, ours goes on.

    Args:
        line_id: the line's id.
        serial: the camera's serial number.
        rows: rows of a full frame; what a lost frame counts for.
        web: geometry of the web.
        deadline_ms: from a frame's capture to its verdict.
        by_rows: whether rows alone tell the place, so that web of an unknown length can't be told.
    """

    def __init__(
        self, line_id: str, serial: str, rows: int, web: Web, deadline_ms: float, *, by_rows: bool = False
    ) -> None:
        self._line = line_id
        self._serial = serial
        self._rows = rows
        self._counts_per_row = web.mm_per_px / 1000 * web.encoder_counts_per_m
        self._joint = max(JOINT_ROWS * self._counts_per_row, COARSE_COUNTS)
        self._by_rows = by_rows
        self._deadline_us = round(deadline_ms * 1000)
        self._sequence = 0
        self._block_id: int | None = None
        self._wide_ids = False  # has counted past 16 bits
        self._first_id = 1  # what follows the last of 16 bits
        self._anchor = 0  # counts at the last place the camera's encoder told
        self._wrapped = 0  # counts that the camera's own have wrapped by
        self._rows_since = 0  # rows from the anchor to the end of the last stamp

    @property
    def encoder_end(self) -> int:
        """Where the next stamp begins, counts."""
        return self._anchor + round(self._rows_since * self._counts_per_row)

    def stamp(
        self,
        block_id: int,
        captured_us: int,
        rows: int | None = None,
        encoder: tuple[int, int] | None = None,
    ) -> tuple[list[LostFrame], Stamp]:
        """Return the triggers lost since the frame before, in order, and the stamp of this one.

        A jump of the block id from n to n + k gives k - 1 lost frames. A block id that stands still,
        goes back or starts again (the camera was reset) gives one, since nobody knows how many went: the
        encoder tells the place again. So does web that passed, by the encoder, without an image.

        Args:
            block_id: the camera's own count of this frame.
            captured_us: monotonic microseconds.
            rows: rows of this frame when it is not a full one.
            encoder: the camera's own counts, half-open, over this frame.

        Raises:
            CameraError: the encoder ran back by more than a frame, or jumped beyond all measure, thousands of frames
                are missing, or the camera was reset and rows alone tell the place.
        """
        if self._block_id is None and encoder is not None:
            self._anchor = encoder[0]
        if block_id == 0:
            self._first_id = 0
        missing, why = self._missing(block_id)
        if encoder is not None:
            encoder = self._unwrapped(encoder, len(missing))
        hole = self._hole(encoder)
        if not missing and hole > self._joint:
            missing, why = [block_id], f"{hole} encoder counts of web passed without an image"
        lost = self._lost(missing, why, captured_us, None if encoder is None else max(hole, 0))
        self._block_id = block_id
        self._wide_ids = self._wide_ids or block_id > GEV_LAST_BLOCK_ID
        start = self.encoder_end
        if encoder is None:
            self._rows_since += self._rows if rows is None else rows
        else:
            if encoder[0] - start < -self._joint:
                start = encoder[0]
            self._move_to(max(start, encoder[1]))
        return lost, self._make(block_id, start, self.encoder_end, captured_us)

    def _lost(self, missing: list[int], why: str, captured_us: int, hole: int | None) -> list[LostFrame]:
        """The triggers of these block ids: they share the hole between them, or are full frames where it is None."""
        lost = []
        begin, total = self.encoder_end, len(missing)
        for place, missing_id in enumerate(missing, start=1):
            start = self.encoder_end
            if hole is None:
                self._rows_since += self._rows
            else:
                self._move_to(begin + hole * place // total)
            stamp = self._make(missing_id, start, self.encoder_end, captured_us)
            lost.append(LostFrame(stamp, Reason.FRAME_LOST, why))
        return lost

    def _missing(self, now: int) -> tuple[list[int], str]:
        """Block ids of the frames between the last that arrived and this one, and why they count as lost."""
        if self._block_id is None:
            return [], ""
        before = self._block_id
        if now > before:
            ids = range(before + 1, now)
            gap = len(ids)
        else:
            gap = GEV_LAST_BLOCK_ID - before + now - self._first_id
            if self._wide_ids or not 0 <= gap <= MAX_GAP:
                why = f"block id went from {before} to {now}: its count was reset"
                if self._by_rows:
                    raise CameraError(
                        f"camera {self._serial}: its {why}, and how much web went by meanwhile nobody knows; check the "
                        f"camera's link and power and restart line {self._line}"
                    )
                return [now], f"the camera's {why}"
            ids = range(before + 1, before + 1 + gap)
        if gap > MAX_GAP:
            raise CameraError(
                f"camera {self._serial}: its block id jumped from {before} to {now}, so {gap} frames are "
                f"missing; check the camera's link and restart line {self._line}"
            )
        if now > before:
            return list(ids), f"block ids jumped from {before} to {now}"
        wrapped = [i if i <= GEV_LAST_BLOCK_ID else i - GEV_LAST_BLOCK_ID - 1 + self._first_id for i in ids]
        return wrapped, f"block ids jumped from {before} over {GEV_LAST_BLOCK_ID} to {now}"

    def _unwrapped(self, encoder: tuple[int, int], missing: int) -> tuple[int, int]:
        """The interval in counts that go on where the camera's own start again.

        Only where it then lies within a frame of where so many lost frames put it: any other step is for ``_hole``.
        """
        frame = self._rows * self._counts_per_row
        behind = self.encoder_end + missing * frame - encoder[0] - self._wrapped
        if abs(behind - WRAP_COUNTS) <= frame:
            self._wrapped += WRAP_COUNTS
        return encoder[0] + self._wrapped, encoder[1] + self._wrapped

    def _hole(self, encoder: tuple[int, int] | None) -> int:
        """Counts between the last stamp's end and this frame's start; negative when they overlap."""
        if encoder is None:
            return 0
        hole = encoder[0] - self.encoder_end
        # So far ahead it ran back over a wrap.
        if hole < -self._rows * self._counts_per_row or hole > WRAP_COUNTS / 2:
            went = "ran back" if hole < 0 else "jumped"
            raise CameraError(
                f"camera {self._serial}: its encoder {went} from {self.encoder_end} to {encoder[0]}; "
                f"places on the web are no longer known, restart line {self._line}"
            )
        return hole

    def _move_to(self, counts: int) -> None:
        self._anchor, self._rows_since = counts, 0

    def _make(self, block_id: int, start: int, end: int, captured_us: int) -> Stamp:
        stamp = Stamp(
            line=self._line,
            camera=self._serial,
            sequence=self._sequence,
            block_id=block_id,
            encoder_start=start,
            encoder_end=end,
            captured_us=captured_us,
            deadline_us=captured_us + self._deadline_us,
        )
        self._sequence += 1
        return stamp
