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
from inspector.backends.opening import failures_told, vouched, vouched_bytes
from inspector.backends.proving import loaded, prove, yardstick_of
from inspector.backends.rate import Rounds, measure_rate
from inspector.backends.runtime import BACKENDS, Means, Toolchain, toolchain
from inspector.config import Line, Site
from inspector.errors import ArtefactError
from inspector.limits import usable_limits
from inspector.selftest.load import load_of
from inspector.selftest.ways import Bench, Timed, Way
from inspector.tiling import grid_for

TURN_S = 0.5
LEAST_TURNS = 3  # of every way, however slow
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
        built = _built(folder, recipe, line)
        for way, tools in _ways(recipe, backends, built, left_out):
            say(f"building {way.name}")
            try:
                timings = folder / f"plans/{way.backend}.timing"
                means = Means(way.workspace_mb, way.portable, way.apart, timings)
                plan = tools.build_plan(recipe, graph, way.precision, means)
                with ExitStack() as this:  # one that is refused gives its memory back to the next
                    engine = this.enter_context(
                        loaded(
                            way.backend,
                            recipe,
                            graph,
                            plan,
                            way.precision,
                            way.portable,
                            line.engine.threads,
                        )
                    )
                    prove(engine, recipe, yardstick, say)
                    engines.push(this.pop_all())
            except ArtefactError as error:
                left_out.append(f"{way.name} is left out: {without_folders(str(error), site.root)}")
            else:
                opened.append((way, engine))
        timed: list[Timed] = []
        if opened:
            load = load_of(line, grid_for(line, opened[0][1].info), usable_limits(site, line_id, line.recipe))
            timed = _in_turns(opened, load.tiles, seconds, left_out, progress)
        if not timed:
            raise ArtefactError(f"recipe {recipe.name} runs in no way here: {'; '.join(left_out)}")
    return Bench(line_id, recipe.name, load, built, timed, left_out)


def _ways(
    recipe: Recipe, backends: Sequence[str], built: Way | None, left_out: list[str]
) -> list[tuple[Way, Toolchain]]:
    """All there are here; a portable engine, or one of little workspace, is one of them where the line's own is."""
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
        if built is not None and built.backend == backend and (built.portable or built.workspace_mb):
            found.append((built, tools))
    return found


def _in_turns(
    opened: Sequence[tuple[Way, Engine]],
    tiles: int,
    seconds: float,
    left_out: list[str],
    progress: Progress,
) -> list[Timed]:
    """Rounds in which every way has a turn, until they come to ``seconds`` each; slow ways take more, fast ones less.

    A way that fails at its work is left out, told why.
    """
    going, turns = list(opened), {way: list[Rounds]() for way, _ in opened}
    spent_s, rounds = 0.0, 0
    while going and (rounds < LEAST_TURNS or spent_s < seconds * len(going)):
        for way, engine in tuple(going):
            total = math.ceil(10 * seconds * len(going))
            progress(min(total, math.floor(10 * spent_s)), total, way.name)
            try:
                with failures_told(engine):
                    turn = measure_rate(engine, min(TURN_S, seconds), tiles, is_warm=rounds > 0)
            except ArtefactError as error:
                left_out.append(f"{way.name} is left out: {error}")
                going.remove((way, engine))
            else:
                turns[way].append(turn)
                spent_s += sum(turn.seconds)
        rounds += 1
    return [Timed(way, engine.info.version, engine.info.device, tuple(turns[way])) for way, engine in going]


def _built(folder: Path, recipe: Recipe, line: Line) -> Way | None:
    """What the line would run now, if it would start."""
    try:
        entry, _, _ = vouched(folder, recipe, line.engine.backend)
        if entry.plan:
            vouched_bytes(folder / entry.plan, entry.plan_sha256, "")
        vouched_bytes(folder / golden.FILE, entry.golden_sha256, "")
    except ArtefactError:
        return None
    return Way(line.engine.backend, entry.precision, entry.apart, entry.portable, entry.workspace_mb)
