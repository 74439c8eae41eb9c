"""What an evaluation found: figures and counts, as JSON and in words."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One image's result."""

    image: str  # kind/file
    kind: str
    score: float  # its highest tile, sigma
    tiles: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came out. AUROC and AUPRO run from 0 to 1 and are None where they aren't defined."""

    recipe: str
    onnx_sha256: str
    backend: str
    precision: str
    data: str  # name of the folder
    resize: int | None
    overlap_px: int
    region: str
    image_auroc: float | None
    tile_auroc: float | None  # a tile is faulty if its mask has a pixel
    pixel_auroc: float | None
    aupro: float | None  # false positive rate 0 to 0.3
    image_auroc_by_kind: dict[str, float | None]  # one kind of fault against all good images
    images: int
    images_by_kind: dict[str, int]
    images_without_mask: int  # faulty ones; they count for image_auroc alone
    images_without_web: int  # region "auto" found none; they count for nothing
    tiles: int
    tiles_faulty: int
    faults: int  # 8-connected pieces of the masks, inside the region
    faults_outside_region: int
    tiles_per_second: float  # in the engine, reading and cutting left out
    limit_sigma: float | None  # of the pictures
    scores: tuple[ImageScore, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; undefined figures are None, that is null."""
        return dataclasses.asdict(self)

    def summary(self) -> str:
        """A few lines for a person."""
        figures = ("image_auroc", "tile_auroc", "pixel_auroc", "aupro")
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.images_by_kind.items())
        lines = [
            f"{self.data} with recipe {self.recipe} on {self.backend} {self.precision}",
            f"{self.images} images ({kinds}), {self.tiles} tiles, {self.tiles_per_second:.1f} tiles/s",
            *(f"{name:12} {_shown(getattr(self, name))}" for name in figures),
        ]
        if len(self.image_auroc_by_kind) > 1:
            lines += [f"  {kind:24} {_shown(value)}" for kind, value in self.image_auroc_by_kind.items()]
        for count, what in (
            (self.images_without_mask, "faulty images without a mask: they count for image_auroc alone"),
            (self.images_without_web, "images in which no web was found: they count for nothing"),
            (self.faults_outside_region, "faults outside the region: nobody looked there"),
        ):
            if count:
                lines.append(f"{count} {what}")
        return "\n".join(lines)


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4f}"
