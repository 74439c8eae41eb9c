"""The long form of the self-test that ``run`` makes before Ready (``backends.opening``), the same on every backend.

All golden tiles with their maps, each tile in all kinds of company, extreme tiles, and how fast the engine is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np

from inspector.backends import golden
from inspector.backends.artifact import load_graph
from inspector.backends.building import rebuild_command
from inspector.backends.company import SHARE, SIZES, Alone, Difference, neighbours_for
from inspector.backends.extremes import extreme_tiles, not_finite
from inspector.backends.machine import without_folders
from inspector.backends.opening import Opened, open_untested
from inspector.backends.proving import EXTREME, GOLDEN, answer, score_with_reference, trial_tiles
from inspector.backends.rate import TOO_SLOW, keeps_up, measure_rate
from inspector.config import Line, Site
from inspector.errors import ArtefactError
from inspector.limits import Limits, load_limits
from inspector.records import F32, U8
from inspector.selftest.load import load_of
from inspector.selftest.report import Row, SelfTest
from inspector.tiling import grid_for

STAND_IN_SIGMA = 10.0  # where a line has no limits yet; the demo's are 25 sigma, so this is the stricter
CHECKS = 6  # before the rate
P50, P99 = 0.5, 0.99
Progress = Callable[[int, int, str], None]


def self_test(
    site: Site,
    line_id: str,
    seconds: float = 10.0,
    progress: Progress = lambda done, total, note: None,
) -> SelfTest:
    """Test the engine of a line.

    Args:
        site: the plant.
        line_id: line of the config; its recipe, backend, threads, grid and limits hold. Its camera is not opened.
        seconds: to measure the rate for.
        progress: told what is done, of how much, and what is being done.

    Returns the report; what fails is in it, an engine that can't be opened too.

    Raises ConfigError: there is no such line, or its tiles aren't those of the recipe.
    """
    line = site.line(line_id)
    asked = {"recipe": line.recipe, "backend": line.engine.backend, "threads": line.engine.threads}
    test = SelfTest(line_id, None, asked)
    limits = _limits(test, site, line_id, line)
    try:
        opened = open_untested(site.engines / line.recipe, line.engine.backend, line.engine.threads)
    except ArtefactError as error:
        test.rows.append(Row("engine", "FAIL", without_folders(str(error), site.root)))
        return test
    try:
        _Tester(test, site, line, opened, limits, progress).run(seconds)
    finally:
        opened.engine.close()
    return test


def _limits(test: SelfTest, site: Site, line_id: str, line: Line) -> Limits | None:
    try:
        limits = load_limits(site, line_id, line.recipe)
    except ArtefactError as error:
        sentence = f"{error}; until then differences are held against {STAND_IN_SIGMA:g} sigma"
        test.rows.append(Row("limits", "warn", without_folders(sentence, site.root)))
        return None
    test.lowest_limit_sigma = limits.limit_sigma * min((zone.factor for zone in limits.zones), default=1.0)
    return limits


class _Tester:
    """One engine, check by check."""

    def __init__(
        self,
        test: SelfTest,
        site: Site,
        line: Line,
        opened: Opened,
        limits: Limits | None,
        progress: Progress,
    ) -> None:
        self._test, self._site, self._line, self._opened, self._limits = test, site, line, opened, limits
        self._folder = site.engines / line.recipe
        self._progress = progress
        self._grid = grid_for(line, opened.engine.info)
        self._limit_sigma = test.lowest_limit_sigma or STAND_IN_SIGMA
        self._tiles = golden.golden_tiles(self._folder, opened.recipe, "build again")
        self._answers: dict[str, tuple[F32, F32]] = {}  # of the engine to its trials, by kind
        self._remedy = f"run {rebuild_command(line.recipe, line.engine.backend, opened.built)}"
        built = opened.built
        test.engine |= {
            "version": built.version,
            "device": built.device,
            "precision": built.precision,
            "tiles": built.tiles,
            "built_utc": built.built_utc,
            "engine_sha256": opened.engine.info.engine_sha256,
            "onnx_sha256": built.onnx_sha256,
        }

    def run(self, seconds: float) -> None:
        """All checks; one that fails doesn't keep the others from being made."""
        neighbours = neighbours_for(self._opened.recipe, self._tiles)
        checks: tuple[tuple[str, Callable[[], Row]], ...] = (
            ("golden", self._golden),
            ("faults", self._faults),
            ("batch", lambda: self._company("batch", self._alone.in_batches())),
            ("neighbours", lambda: self._company("neighbours", self._alone.among(neighbours))),
            ("again", lambda: self._company("again", self._alone.again())),
            ("extremes", self._extremes),
            ("rate", lambda: self._rate(seconds)),
        )
        for done, (name, check) in enumerate(checks):
            self._progress(done, CHECKS + math.ceil(seconds), name)
            try:
                with np.errstate(all="ignore"):  # what is no number is told in the row
                    row = check()
            except (RuntimeError, ArtefactError) as error:
                row = Row(name, "FAIL", without_folders(str(error), self._site.root))
            self._test.rows.append(row)

    @cached_property
    def _trials(self) -> dict[str, U8]:
        return trial_tiles(self._opened.recipe, self._tiles)

    @cached_property
    def _reference(self) -> dict[str, tuple[F32, F32]]:
        """What the reference says of the trials, here and now. Raises ArtefactError."""
        recipe = self._opened.recipe
        return score_with_reference(recipe, load_graph(self._folder, recipe), self._trials)

    def _said(self, kind: str) -> tuple[F32, F32]:
        """Maps and scores that the engine gives to trials of a kind. Raises RuntimeError from the runtime."""
        if kind not in self._answers:
            self._answers[kind] = answer(self._opened.engine, self._trials[kind])
        return self._answers[kind]

    def _golden(self) -> Row:
        """Scores against those of the build, scores and maps against the reference's, made anew here."""
        built, tiles = self._opened.built, self._tiles
        seen_maps, seen_scores = self._said(GOLDEN)
        maps, scores = self._reference[GOLDEN]
        tolerance = golden.TOLERANCES[built.precision]
        since_build = golden.drift(seen_scores, built)
        one_by_one = [slice(place, place + 1) for place in range(len(tiles))]
        off_reference = [
            golden.deviation((seen_maps[one], seen_scores[one]), (maps[one], scores[one]), tolerance)
            for one in one_by_one
        ]
        then = np.full(len(tiles), np.nan)
        then[: len(built.golden_scores)] = built.golden_scores[: len(tiles)]
        self._test.golden = [
            {
                "now_sigma": float(seen_scores[place]),
                "build_sigma": float(then[place]),
                "reference_sigma": float(scores[place]),
                "since_build": float(since_build[place]),
                "off_reference": float(off_reference[place]),
            }
            for place in range(len(tiles))
        ]
        moved, off = float(np.max(since_build)), float(np.max(off_reference))
        sentence = (
            f"{len(tiles)} tiles: scores are {moved:.2g} times as far from those at the build as is tolerated, scores "
            f"and maps {off:.2g} times from the reference made anew ({built.precision}: {tolerance.absolute_sigma:g} "
            f"sigma and {tolerance.relative:.1%})"
        )
        figures = {"worst_since_build": moved, "worst_off_reference": off}
        return self._row("golden", moved <= 1 and off <= 1, sentence, self._remedy, figures)

    def _faults(self) -> Row:
        """What is no good web, against the reference."""
        precision = self._opened.built.precision
        tolerance = golden.TOLERANCES[precision]
        off = {
            kind: golden.deviation(self._said(kind), self._reference[kind], tolerance)
            for kind in self._trials
            if kind != GOLDEN
        }
        worst = float(np.max(list(off.values())))
        sentence = (
            f"{', '.join(off)}: scores and maps are {worst:.2g} times as far from the reference as is tolerated "
            f"({precision})"
        )
        return self._row("faults", worst <= 1, sentence, self._remedy, off)

    @cached_property
    def _alone(self) -> Alone:
        return Alone(self._opened.engine, self._tiles, self._limit_sigma)

    def _company(self, check: str, found: Difference) -> Row:
        what = {
            "batch": f"a tile in batches of {SIZES[0]} to {SIZES[-1]}, at every place,",
            "neighbours": "a tile among black, white, noise and faulty ones",
            "again": "a batch scored twice",
        }[check]
        sentence = (
            f"{what} differs by at most {found.score_sigma:.2g} sigma in score, {found.cell_sigma:.2g} in a cell: "
            f"{found.units:.2g} times what is tolerated ({SHARE:g} of a limit of {self._limit_sigma:.2f} sigma)"
        )
        figures = asdict(found) | {"tolerated_sigma": SHARE * self._limit_sigma}
        remedy = f"worst: {found.where}; don't run a line with it, send this report back"
        return self._row(check, found.units <= 1, sentence, remedy, figures)

    def _extremes(self) -> Row:
        names, (maps, scores) = list(extreme_tiles(self._opened.recipe)), self._said(EXTREME)
        bad = not_finite(names, maps, scores)
        sentence = f"NaN or infinity: {', '.join(bad)}" if bad else f"{', '.join(names)}: all finite"
        figures = dict(zip(names, map(float, scores), strict=True))
        return self._row("extremes", not bad, sentence, self._remedy, figures)

    def _rate(self, seconds: float) -> Row:
        """Of a batch as large as one of the line's frames gives."""
        load = load_of(self._line, self._grid, self._limits)

        def tell(done_s: float) -> None:
            self._progress(CHECKS + int(min(done_s, seconds)), CHECKS + math.ceil(seconds), "rate")

        rate = measure_rate(self._opened.engine, seconds, load.tiles, tell)
        figures = {
            "tiles": rate.tiles,
            "rounds": len(rate.seconds),
            "tiles_per_s": rate.tiles_per_s,
            "p50_ms": rate.quantile_ms(P50),
            "p99_ms": rate.quantile_ms(P99),
            "needed_tiles_per_s": load.needed_tiles_per_s,
        }
        sentence = (
            f"{rate.tiles_per_s:.0f} tiles/s; {rate.tiles} tiles, {load.of_what}, take {figures['p50_ms']:.1f} ms "
            f"(p50), {figures['p99_ms']:.1f} ms (p99 of {len(rate.seconds)} rounds), each until its results are in "
            f"host memory; {self._line.web.speed_m_min:g} m/min needs {load.needed_tiles_per_s:.0f} tiles/s"
        )
        if keeps_up(rate.tiles_per_s, load.needed_tiles_per_s):
            return Row("rate", "ok", sentence, figures)
        return Row("rate", "warn", f"{sentence}; {TOO_SLOW}", figures)

    def _row(self, check: str, well: bool, sentence: str, remedy: str, figures: dict[str, Any]) -> Row:
        return Row(check, "ok" if well else "FAIL", sentence if well else f"{sentence}; {remedy}", figures)
