"""An opened engine, as the line sees it: a runtime behind the checks and nouns of the corridor."""

from __future__ import annotations

import numpy as np

from inspector.backends.artifact import Recipe
from inspector.backends.runtime import Runtime
from inspector.errors import ArtefactError
from inspector.interfaces import Backend, EngineInfo
from inspector.records import U8, ScoreMap, Stamp, TileBatch

# Of tiles that were never triggered: an engine hands the stamp on unread.
NO_STAMP = Stamp(
    line="", camera="", sequence=0, block_id=0, encoder_start=0, encoder_end=0, captured_us=0, deadline_us=0
)


class Engine:
    """interfaces.Backend over any runtime. Used by one thread."""

    def __init__(self, recipe: Recipe, info: EngineInfo, runtime: Runtime) -> None:
        self._recipe = recipe
        self._info = info
        self._runtime = runtime

    @property
    def info(self) -> EngineInfo:
        """What this engine is and takes."""
        return self._info

    def infer(self, batch: TileBatch) -> ScoreMap:
        """Score a batch of any size, none included; NaN and infinity are passed on, and a map's NaN to its score.

        Raises ArtefactError when the tiles aren't of the recipe's kind, RuntimeError from the runtime.
        """
        self._check(batch)
        count, cells = len(batch.pixels), self._recipe.cells
        maps = np.empty((count, cells, cells), np.float32)
        scores = np.empty(count, np.float32)
        if count:
            self._runtime.run(np.ascontiguousarray(batch.pixels), maps, scores)
            # Maxima lose NaN on CPUs: OpenVINO's of an all-NaN map is -3.4e38, which no limit would catch.
            scores[np.isnan(maps).any(axis=(1, 2))] = np.nan
        return ScoreMap(batch.stamp, maps, scores, self._recipe.px_per_cell, batch.origins_px)

    def close(self) -> None:
        """Free the engine; never raises, and may be called twice."""
        self._runtime.close()

    def _check(self, batch: TileBatch) -> None:
        recipe, pixels = self._recipe, batch.pixels
        fits = (
            pixels.dtype == np.uint8
            and pixels.shape[1:] == recipe.tile_shape
            and batch.margin_px == recipe.margin_px
            and batch.origins_px.shape == (len(pixels), 2)
        )
        if not fits:
            raise ArtefactError(
                f"recipe {recipe.name} takes uint8 tiles {list(recipe.tile_shape)} with a margin of "
                f"{recipe.margin_px} px and an origin each, but got {pixels.dtype} {list(pixels.shape[1:])} with a "
                f"margin of {batch.margin_px} px and {len(batch.origins_px)} origins for {len(pixels)} tiles; "
                f"use a recipe trained for this camera, or train one"
            )


def info_of(
    recipe: Recipe, backend: str, version: str, device: str, precision: str, engine_sha256: str
) -> EngineInfo:
    """What an engine of a recipe is and takes."""
    return EngineInfo(
        recipe=recipe.name,
        backend=backend,
        version=version,
        device=device,
        precision=precision,
        tile_px=recipe.tile_px,
        margin_px=recipe.margin_px,
        px_per_cell=recipe.px_per_cell,
        channels=recipe.channels,
        engine_sha256=engine_sha256,
    )


def score_loose(backend: Backend, tiles: U8) -> ScoreMap:
    """Score tiles that belong to no frame, uint8 [N, side, side(, 3)] with their margins. Raises as ``infer``."""
    origins_px = np.zeros((len(tiles), 2), np.int32)
    return backend.infer(TileBatch(NO_STAMP, tiles, origins_px, backend.info.margin_px))
