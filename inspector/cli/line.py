"""Commands of a line: run it, prove it, watch it, plan it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from inspector.cli.shared import (
    ABOVE_0,
    BACKENDS,
    CONFIG,
    EXIT_CODES,
    JSON_FILE,
    LINE,
    MEASURE,
    REPORT_FILE,
    hand_out,
    load_site,
    main,
    recipe_name,
    refuse_unwritable,
    tell,
    write_json,
)
from inspector.errors import ArtefactError
from inspector.output import say, unstalled


@main.command(epilog=EXIT_CODES)
@CONFIG
@LINE
@click.option("--frames", type=click.IntRange(min=1), help="End after this many triggers.")
@click.option("--seconds", type=ABOVE_0, help="End after this long.")
@click.option(
    "--summary", type=click.Path(path_type=Path, dir_okay=False), help="Write the counts there as JSON."
)
@click.option(
    "--truth", is_flag=True, help="Score the whole line against the loom's known faults (loom only)."
)
def run(
    config_file: Path,
    line_id: str,
    frames: int | None,
    seconds: float | None,
    summary: Path | None,
    truth: bool,
) -> None:
    """Run a line until Ctrl-C: a live view on a terminal, log lines otherwise.

    \b
    Examples:
      inspector run --line 3
      inspector run --line 3 --seconds 60 --summary shift.json
      inspector run --line 2 --frames 200 --truth
    """
    from inspector.line import Ending, run_line
    from inspector.view import view_for

    # To the very end, the sentence that a fault ends with: whoever stalls must not keep the process, and its camera.
    settle = click.get_current_context().find_root().with_resource(unstalled())
    if summary:
        refuse_unwritable(summary)
    site = load_site(config_file)
    with view_for(f"line {line_id} · {site.plant.plant} · {site.line(line_id).recipe}") as view:
        report = run_line(site, line_id, view, Ending(frames=frames, seconds=seconds), with_truth=truth)
    trouble = report.fault
    if summary:
        try:
            write_json(summary, report.as_dict())
        except ArtefactError as error:
            if trouble is None:
                trouble = error
            else:
                tell(str(error))
    try:
        say(report.text())
        settle()
    finally:
        if trouble is not None:
            raise trouble


@main.command(epilog=EXIT_CODES)
@CONFIG
@LINE
def check(config_file: Path, line_id: str) -> None:
    """Prove config, camera, engine, limits and ports before a start, and print the plan.

    What fails is printed on standard error.

    \b
    Example:
      inspector check --line 3
    """
    from inspector.check import check_line

    report = check_line(load_site(config_file), line_id)
    for row in report.proved():
        say(row)
    for row in report.failures():
        say(row, err=True)
    if report.first_error is not None:
        sys.exit(report.first_error.exit_code)


@main.command(epilog=EXIT_CODES)
@CONFIG
@click.option(
    "--line", "line_id", help="Id of a line in the config: what is not given below is taken from it."
)
@click.option("--width-mm", type=MEASURE, help="Of the web.")
@click.option("--speed-m-min", type=MEASURE, help="The fastest the web runs.")
@click.option("--mm-per-px", type=MEASURE, help="One pixel on the web, across and along.")
@click.option("--smallest-fault-mm", type=MEASURE, help="Across its shorter side.")
@click.option(
    "--recipe",
    callback=recipe_name,
    help="Name of a recipe: its engine's rate is measured here, its graph counted.",
)
@click.option(
    "--tiles-per-s",
    type=MEASURE,
    help="A rate measured elsewhere, as `inspector check` tells it: a CPU's, or a GPU's where --line runs on one.",
)
@click.option(
    "--cores", type=click.IntRange(1, 4096), help="On so many was --tiles-per-s measured. Default: as here."
)
@click.option("--tile-px", type=click.IntRange(32, 1024), help="Default: the recipe's or line's, else 256.")
@click.option(
    "--overlap-px",
    type=click.IntRange(min=0, max=1024),
    help="Of neighbouring tiles. Default: the line's, else an eighth of a tile.",
)
@click.option(
    "--frame-rows",
    type=click.IntRange(1, 65536),
    help="Of a frame: the camera's Height. Default: the line's, else 1024.",
)
@click.option("--ejector-m", type=MEASURE, help="From the camera to the ejector, along the web.")
@click.option("--gpu-tflops", type=MEASURE, help="Peak of a GPU in fp16, dense; instead of those known.")
@click.option("--gpu-gb-s", type=MEASURE, help="Bandwidth of its memory, from its data sheet.")
@JSON_FILE
def capacity(config_file: Path, json_file: Path | None, **options: Any) -> None:
    """Say what a web needs before anything is bought, and what will not fit.

    Line rate, pixels, links, tiles, cores, GPUs, storage and the way to the ejector. What does not fit says so,
    and what to change; it is an answer, so the exit code is 0.

    \b
    Examples:
      inspector capacity --width-mm 1600 --speed-m-min 30 --mm-per-px 0.2
      inspector capacity --line 3 --smallest-fault-mm 0.6 --recipe demo
      inspector capacity --line 3 --speed-m-min 60 --tiles-per-s 120 --cores 8
    """
    from inspector import capacity as room

    if json_file:
        refuse_unwritable(json_file)
    given = room.Options(**options)
    site = load_site(config_file) if given.line_id is not None or given.recipe is not None else None
    asked = room.ask(given, site)
    figures = room.figure(asked)
    hand_out("\n".join(room.table(asked, figures)), json_file, room.as_dict(asked, figures))


@main.command(epilog=EXIT_CODES)
@CONFIG
@LINE
@click.option(
    "--seconds", type=ABOVE_0, default=10.0, show_default=True, help="How long to measure the rate for."
)
@REPORT_FILE
def selftest(config_file: Path, line_id: str, seconds: float, report_file: Path | None) -> None:
    """Test a line's engine on this machine, and print a report to send back.

    Scores all golden tiles as at the build and as the reference does; each tile alone, in batches, among
    other neighbours and twice; extreme tiles; then tiles/s and the time of a frame's batch. Opens no camera.
    The report holds no names of people, hosts or folders.

    \b
    Examples:
      inspector selftest --line 3
      inspector selftest --line 3 --seconds 60 --report selftest.json
    """
    from inspector.selftest import self_test
    from inspector.view import progress_bar

    if report_file:
        refuse_unwritable(report_file)
    with progress_bar("self-test") as progress:
        test = self_test(load_site(config_file), line_id, seconds, progress)
    hand_out(test.text(), report_file, test.to_json())
    if test.failed:
        raise ArtefactError(f"line {line_id}: the engine fails its self-test: {', '.join(test.failed)}")


@main.command(epilog=EXIT_CODES)
@CONFIG
@LINE
@click.option(
    "--seconds", type=ABOVE_0, default=10.0, show_default=True, help="How long to measure each way for."
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=BACKENDS,
    help="Only this one; may repeat. Default: all that are installed.",
)
@REPORT_FILE
def bench(
    config_file: Path, line_id: str, seconds: float, backends: tuple[str, ...], report_file: Path | None
) -> None:
    """Time every way to run a line's recipe on this machine, and say which is the fastest.

    Backends, precisions and, with TensorRT, teachers and students in one engine or side by side. Each is built
    in memory, held against the reference, and takes its turn with the others; what the line runs stays
    as it is. Opens no camera. The line should not run meanwhile.

    \b
    Examples:
      inspector bench --line 3
      inspector bench --line 3 --backend tensorrt --seconds 60 --report bench.json
    """
    from inspector.backends.runtime import BACKENDS as ALL
    from inspector.selftest import bench as bench_line
    from inspector.view import progress_bar

    if report_file:
        refuse_unwritable(report_file)
    with progress_bar("turns") as progress:
        found = bench_line(load_site(config_file), line_id, seconds, backends or ALL, tell, progress)
    hand_out(found.text(), report_file, found.to_json())


@main.command()
@click.option(
    "--producer", "producers", multiple=True, type=click.Path(path_type=Path), help="A .cti; may repeat."
)
@CONFIG
def cameras(producers: tuple[Path, ...], config_file: Path) -> None:
    """List the GenICam cameras that the producers see.

    Without --producer: those of the config's lines and of GENICAM_GENTL64_PATH.

    \b
    Examples:
      inspector cameras
      inspector cameras --producer /opt/vendor/lib/ProducerGEV.cti
    """
    from inspector.cameras.genicam import list_cameras, producer_path
    from inspector.config import GenicamCamera

    named = click.get_current_context().get_parameter_source("config_file") is not ParameterSource.DEFAULT
    if not producers and (named or config_file.exists()):
        site = load_site(config_file)
        cameras = [line.camera for line in site.plant.line.values()]
        producers = tuple(producer_path(one, site.root) for one in cameras if isinstance(one, GenicamCamera))
    for row in list_cameras(list(producers)):
        say(row)


@main.command()
@CONFIG
@LINE
@click.option(
    "--picture", type=click.Path(path_type=Path, dir_okay=False), required=True, help="PNG to write."
)
def tiles(config_file: Path, line_id: str, picture: Path) -> None:
    """Draw a line's tile grid, lanes and region onto one frame from its camera.

    \b
    Example:
      inspector tiles --line 3 --picture grid.png
    """
    from inspector.check import draw_tiles

    say(draw_tiles(load_site(config_file), line_id, picture))


@main.command()
@CONFIG
@LINE
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as on the wire.")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(["verdict", "tile", "defect", "state", "hb", "alarm"])
)
@click.option("--lane", type=click.IntRange(min=0), help="Verdicts of this lane only.")
@click.option("--outcome", type=click.Choice(["PASS", "FAIL", "NOT_INSPECTED"]), help="Such verdicts only.")
@click.option("--count", type=click.IntRange(min=1), help="End after this many events.")
@click.option(
    "--silence",
    "silence_s",
    type=ABOVE_0,
    default=2.0,
    show_default=True,
    help="Seconds without a word: exit code 8.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the pictures of defects in this folder.",
)
def events(
    config_file: Path,
    line_id: str,
    as_json: bool,
    kinds: tuple[str, ...],
    lane: int | None,
    outcome: str | None,
    count: int | None,
    silence_s: float,
    pictures: Path | None,
) -> None:
    """Print a line's events; exit with code 8 when the line goes silent.

    Heartbeats are heard but only printed with --kind hb. Of a frame's defects the first few come with a picture, which
    is the tile that the defect lies in.

    \b
    Examples:
      inspector events --line 3
      inspector events --line 3 --outcome FAIL --json
      inspector events --line 3 --kind defect --count 10
      inspector events --line 3 --kind defect --pictures out/defects
    """
    if pictures and (outcome or (kinds and "defect" not in kinds)):
        raise click.UsageError(
            "--pictures are of defects: with it goes --kind defect, or no --kind, and no --outcome"
        )
    from inspector.bus.subscriber import print_events

    site = load_site(config_file)
    print_events(
        site.line(line_id).bus,
        line_id,
        root=site.root,
        as_json=as_json,
        kinds=kinds,
        lane=lane,
        outcome=outcome,
        count=count,
        silence_s=silence_s,
        pictures=pictures,
        write=click.echo,
        warn=tell,
    )


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--client", "clients", multiple=True, help="Also make a key pair for this client; may repeat.")
def keys(folder: Path, clients: tuple[str, ...]) -> None:
    """Make the CURVE keys a line needs to speak off this machine.

    \b
    Example:
      inspector keys keys/line-3 --client gateway-3
    """
    from inspector.bus.security import generate_keys

    for path in generate_keys(folder, clients):
        say(str(path))
