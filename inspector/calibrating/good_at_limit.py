"""The good images of a calibration, to hold a new engine against the reference at the line's limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from inspector.backends.artifact import Recipe, load_recipe
from inspector.calibrating.blocks import block_peaks, blocks_per_100m
from inspector.calibrating.calibrate import score_good
from inspector.calibrating.calibrated import digest_of
from inspector.config import Site
from inspector.errors import DataError
from inspector.images.reading import ImageFile, open_data, read_image
from inspector.interfaces import Backend
from inspector.judging import levelled_alone
from inspector.limits import load_limits
from inspector.records import F32


class GoodAtLimit:
    """``backends.at_limit.AtLimit``: cut and scored as ``calibrate`` does, in its blocks, against all of the limits."""

    def __init__(
        self,
        site: Site,
        line_id: str,
        recipe: str,
        data: Path,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Take a line's limits and the folder that calibrate took.

        Raises:
            ConfigError: there is no such line.
            ArtefactError: recipe or limits are missing, damaged, or don't belong together.
            DataError: these aren't the images that the limits came from.
        """
        self._line = site.line(line_id)
        self._limits = load_limits(site, line_id, recipe)
        self._recipe = load_recipe(site.engines / recipe)
        self._progress = progress
        provenance = self._limits.provenance
        files = _calibrated(open_data(data).good, self._recipe, provenance.images_sha256)
        if files is None:
            count = len(self._limits.images) or provenance.images
            raise DataError(
                f"{data}: not the {count} images that line {line_id} was calibrated with (folder "
                f"{provenance.data}); give those, or calibrate again with these"
            )
        self._files = files

    @property
    def limit_sigma(self) -> float:
        """Of the line; its zones and windows are on the same scale."""
        return self._limits.limit_sigma

    @property
    def false_alarm_rate(self) -> float:
        """Per block."""
        mm_per_px = self._limits.mm_per_px
        left_mm, right_mm = self._limits.region_mm
        blocks = blocks_per_100m(round((right_mm - left_mm) / mm_per_px), mm_per_px)
        return self._limits.provenance.false_alarms_per_100m / blocks

    def peaks(self, backend: Backend) -> F32:
        """The highest cell of every block, [N], sigma. Raises DataError, ArtefactError, ConfigError."""
        web = score_good(self._files, self._recipe, self._line, backend, self._progress)
        cell = web.grid.px_per_cell
        judged = [
            levelled_alone(self._limits.levels, one.cells, cell, one.region.left_px, self._limits.mm_per_px)
            for one in web.images
        ]
        return np.concatenate([block_peaks(one, cell).ravel() for one in judged]).astype(np.float32)


def _calibrated(files: Sequence[ImageFile], recipe: Recipe, images_sha256: str) -> list[ImageFile] | None:
    """Those of the files that a limit came from, with or without validation images; None: from other images."""
    unlearnt: dict[str, ImageFile] = {}
    held_back: set[str] = set()
    for file in files:
        image = read_image(file, recipe.channels)
        if not image.is_among(recipe.learnt_sha256):
            unlearnt[image.sha256] = file
            if image.is_among(recipe.validation_sha256):
                held_back.add(image.sha256)
    for hashes in (unlearnt.keys(), unlearnt.keys() - held_back):
        if digest_of(hashes) == images_sha256:
            return [file for sha256, file in unlearnt.items() if sha256 in hashes]
    return None
