"""``inspector bench``: every way that this machine has to run a line's recipe, in turn, and which is the fastest.

A way is a backend, a precision and, with TensorRT, one engine or three. Each is built in memory and held against the
reference as ``build-engine`` does it; what a line reads stays as it is. Ways take turns, so that whatever else the
machine does falls on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from inspector.backends import golden
from inspector.backends.artifact import Recipe, load_graph, load_recipe
from inspector.backends.building import wanted_precisions
from inspector.backends.engine import Engine
from inspector.backends.machine import without_folders
from inspector.backends.opening import failures_told, vouched
from inspector.backends.proving import loaded, prove, yardstick_of
from inspector.backends.rate import Rounds, measure_rate
from inspector.backends.runtime import BACKENDS, Means, Toolchain, toolchain
from inspector.config import Line, Site
from inspector.errors import ArtefactError
from inspector.limits import Limits, load_limits
from inspector.selftest.load import load_of
from inspector.selftest.ways import Bench, Timed, Way
from inspector.tiling import grid_for

TURN_S = 0.5
Progress = Callable[[int, int, str], None]


def bench(
    site: Site,
    line_id: str,
    seconds: float = 10.0,
    backends: Sequence[str] = BACKENDS,
    say: Callable[[str], None] = lambda sentence: None,
    progress: Progress = lambda done, total, note: None,
) -> Bench:
    """Time every way to run a line's recipe here.

    Args:
        site: the plant.
        line_id: line of the config; its recipe, threads, grid and limits hold. Its camera is not opened.
        seconds: to measure each way for.
        backends: those to try.
        say: told what is being built, a sentence at a time.
        progress: told how many turns are over, of how many, and whose it is.

    Raises:
        ConfigError: there is no such line, or its tiles aren't those of the recipe.
        ArtefactError: recipe or graph are missing or damaged, or there is no way at all.
    """
    line = site.line(line_id)
    folder = site.engines / line.recipe
    recipe = load_recipe(folder)
    graph = load_graph(folder, recipe)
    tiles, _ = golden.golden_or_made_up(folder, recipe)
    yardstick = yardstick_of(recipe, graph, tiles, None, say)
    with ExitStack() as engines:
        opened: list[tuple[Way, Engine]] = []
        left_out: list[str] = []
        for way, tools in _ways(recipe, backends, left_out):
            say(f"building {way.name}")
            try:
                means = Means(apart=way.apart, timing_cache=folder / f"plans/{way.backend}.timing")
                plan = tools.build_plan(recipe, graph, way.precision, means)
                engine = engines.enter_context(
                    loaded(way.backend, recipe, graph, plan, way.precision, threads=line.engine.threads)
                )
                prove(engine, recipe, yardstick, say)
            except ArtefactError as error:
                left_out.append(f"{way.name} is left out: {without_folders(str(error), site.root)}")
            else:
                opened.append((way, engine))
        if not opened:
            raise ArtefactError(f"recipe {recipe.name} runs in no way here: {'; '.join(left_out)}")
        load = load_of(line, grid_for(line, opened[0][1].info), _limits(site, line_id, line))
        timed = _in_turns(opened, load.tiles, seconds, progress)
    return Bench(line_id, recipe.name, load, _built(folder, recipe, line), timed, left_out)


def _ways(recipe: Recipe, backends: Sequence[str], left_out: list[str]) -> list[tuple[Way, Toolchain]]:
    found = []
    for backend in backends:
        tools = toolchain(backend)
        try:
            tools.library_version()
            device = tools.device_name()
            precisions = wanted_precisions(tools, recipe, backend, device, "auto")
        except ArtefactError as error:
            left_out.append(f"{backend} is left out: {error}")
            continue
        for apart in (False, True) if backend == "tensorrt" else (False,):
            found += [(Way(backend, precision, apart), tools) for precision in precisions]
    return found


def _in_turns(
    opened: Sequence[tuple[Way, Engine]], tiles: int, seconds: float, progress: Progress
) -> list[Timed]:
    rounds = max(1, math.ceil(seconds / TURN_S))
    turns: list[list[Rounds]] = [[] for _ in opened]
    for done in range(rounds):
        for place, (way, engine) in enumerate(opened):
            progress(done * len(opened) + place, rounds * len(opened), way.name)
            with failures_told(engine):
                turns[place].append(measure_rate(engine, min(TURN_S, seconds), tiles))
    return [
        Timed(way, engine.info.version, engine.info.device, tuple(rates))
        for (way, engine), rates in zip(opened, turns, strict=True)
    ]


def _limits(site: Site, line_id: str, line: Line) -> Limits | None:
    try:
        return load_limits(site, line_id, line.recipe)
    except ArtefactError:
        return None


def _built(folder: Path, recipe: Recipe, line: Line) -> Way | None:
    """What the line would run now, if it would start."""
    try:
        entry, _, _ = vouched(folder, recipe, line.engine.backend)
    except ArtefactError:
        return None
    return Way(line.engine.backend, entry.precision, entry.apart)
