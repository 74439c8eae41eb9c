"""What the line asks of a camera and of a backend. Implementations live in their rooms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from inspector.records import Acquired, EndOfWeb, ScoreMap, TileBatch, tile_shape


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """Who is looking, and at what size."""

    kind: str  # "genicam" | "folder" | "loom"
    vendor: str
    model: str
    serial: str
    pixel_format: str  # SFNC name, e.g. "Mono8"
    width_px: int
    height_px: int
    is_simulated: bool

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB, Bayer mosaics too)."""
        return 1 if self.pixel_format.startswith("Mono") else 3


class Camera(Protocol):
    """A source of stamped frames. Used by one thread at a time; ``close`` may be called from any, twice."""

    @property
    def info(self) -> CameraInfo:
        """Known once the camera is open."""

    def start(self) -> None:
        """Begin acquisition. Raises CameraError."""

    def read(self, timeout_s: float) -> Acquired | EndOfWeb | None:
        """Return the next trigger in order, or None when nothing came within ``timeout_s``.

        Lost and incomplete frames come as LostFrame in their place: sequence numbers never skip.
        Raises CameraError when the camera is gone or broken.
        """

    def close(self) -> None:
        """Stop acquisition and let go of the device; never raises."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an opened engine is and takes."""

    recipe: str
    backend: str
    version: str  # of the runtime library
    device: str
    precision: str  # "bf16", "fp32", ...
    tile_px: int  # side of the judged interior
    margin_px: int
    px_per_cell: int
    channels: int  # 1 or 3
    engine_sha256: str

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """Of one tile as the engine takes it, without the batch."""
        return tile_shape(self.tile_px + 2 * self.margin_px, self.channels)


class Backend(Protocol):
    """Runs one engine. Used by one thread."""

    @property
    def info(self) -> EngineInfo:
        """Known once the engine is open."""

    def infer(self, batch: TileBatch) -> ScoreMap:
        """Score a batch of any size; a tile's score depends on that tile alone.

        Non-finite values are passed on as they are. Raises ArtefactError when the shapes don't fit the
        engine, RuntimeError from the runtime itself otherwise.
        """

    def close(self) -> None:
        """Free the engine; never raises."""
