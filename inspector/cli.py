"""The command ``inspector``: parse, load the config, open devices, call. No other logic; imports lazily."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from inspector import __version__
from inspector.errors import ArtefactError, ConfigError, InspectorError

if TYPE_CHECKING:
    from inspector.backends.at_limit import AtLimit
    from inspector.config import Site

INTERRUPTED = 130

# Read when OpenCV is first imported: its decoders complain on standard error by themselves, without the file's
# name; a person gets one sentence with it.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

CONFIG = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("config.toml"),
    show_default=True,
    envvar="INSPECTOR_CONFIG",
    help="The plant's file; every path in it starts at its folder.",
)


class Number(click.FloatRange):
    """A range without NaN, which lies outside of none, and without infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse and check."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def _recipe_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """What the config takes for one; above all no path out of engines/."""
    from inspector.config import NAME, PATTERN_WORDS

    if value is not None and not re.fullmatch(NAME, value):
        raise click.BadParameter(f"{value!r} {PATTERN_WORDS[NAME]}.", ctx, param)
    return value


LINE = click.option("--line", "line_id", required=True, help="Id of the line in the config, e.g. 3.")
RECIPE = click.option(
    "--recipe", required=True, callback=_recipe_name, help="Name of the recipe: a folder in engines/."
)
PRESET = click.option(
    "--preset",
    type=click.Choice(["balanced", "fast", "paper", "reduced"]),
    default="balanced",
    show_default=True,
    help="Which networks: two teachers, one for half of the work, the paper's two, or the paper's ResNet alone.",
)
ABOVE_0 = Number(min=0.0, min_open=True)
MEASURE = Number(min=1e-6, max=1e9)  # quotients of two stay numbers
BACKENDS = click.Choice(["openvino", "onnxruntime", "tensorrt"])

EXIT_CODES = """\b
Exit codes: 0 done; 2 config or arguments; 3 camera; 4 engine, limits, or a file
that can't be written; 5 bus; 6 images; 7 fault of the running line; 8 the line
went silent; 130 interrupted."""


class Group(click.Group):
    """Turns errors a person can put right into one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; no traceback for a user's mistake."""
        try:
            return super().invoke(ctx)
        except InspectorError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail("interrupted", INTERRUPTED)
        except BrokenPipeError:  # `inspector events | head` is no mistake
            sys.stderr.close()
            sys.exit(0)
        except OSError as error:
            where = error.filename or "output"
            sentence = (
                f"{where}: {error.strerror or error}; free the disk or mend the path, then run it again"
            )
            _fail(sentence, ArtefactError.exit_code)


def _fail(sentence: str, code: int) -> None:
    _tell(sentence)
    sys.exit(code)


def _tell(sentence: str) -> None:
    click.echo(f"inspector: {sentence}", err=True)


def _refuse_unwritable(file: Path) -> None:
    """Where nothing can be written is better found out before the work than after it. Raises ConfigError."""
    try:
        tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        raise ConfigError(
            f"{file}: can't be written there ({error.strerror}); make the folder, or name another file"
        ) from None


def _write_json(file: Path, figures: dict[str, Any]) -> None:
    from inspector.backends.artifact import write_atomically

    write_atomically(file, (json.dumps(figures, indent=2) + "\n").encode())


@click.group(cls=Group, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="inspector")
def main() -> None:
    """Inspect a textured web beside the conveyor: camera, tiles, engine, verdicts on the bus.

    \b
    A line, from nothing:
      inspector train good-frames/ --recipe denim
      inspector calibrate more-good-frames/ --recipe denim --line 3
      inspector check --line 3
      inspector run --line 3

    \b
    The first two in one, from the camera itself:
      inspector teach --line 3 --recipe denim
    """


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

    if summary:
        _refuse_unwritable(summary)
    site = _site(config_file)
    with view_for(f"line {line_id} · {site.plant.plant} · {site.line(line_id).recipe}") as view:
        report = run_line(site, line_id, view, Ending(frames=frames, seconds=seconds), with_truth=truth)
    trouble = report.fault
    if summary:
        try:
            _write_json(summary, report.as_dict())
        except ArtefactError as error:
            if trouble is None:
                trouble = error
            else:
                _tell(str(error))
    try:
        click.echo(report.text())
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

    report = check_line(_site(config_file), line_id)
    for row in report.proved():
        click.echo(row)
    for row in report.failures():
        click.echo(row, err=True)
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
    callback=_recipe_name,
    help="Name of a recipe: its engine's rate is measured here, its graph counted.",
)
@click.option("--tiles-per-s", type=MEASURE, help="A rate measured elsewhere, as `inspector check` tells it.")
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
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures there."
)
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
        _refuse_unwritable(json_file)
    given = room.Options(**options)
    site = _site(config_file) if given.line_id is not None or given.recipe is not None else None
    asked = room.ask(given, site)
    figures = room.figure(asked)
    for row in room.table(asked, figures):
        click.echo(row)
    if json_file:
        _write_json(json_file, room.as_dict(asked, figures))


@main.command(epilog=EXIT_CODES)
@CONFIG
@LINE
@click.option(
    "--seconds", type=ABOVE_0, default=10.0, show_default=True, help="How long to measure the rate for."
)
@click.option(
    "--report",
    "report_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all figures there as JSON, to be sent back.",
)
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
        _refuse_unwritable(report_file)
    with progress_bar("self-test") as progress:
        test = self_test(_site(config_file), line_id, seconds, progress)
    click.echo(test.text())
    if report_file:
        _write_json(report_file, test.to_json())
    if test.failed:
        raise ArtefactError(f"line {line_id}: the engine fails its self-test: {', '.join(test.failed)}")


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
        site = _site(config_file)
        cameras = [line.camera for line in site.plant.line.values()]
        producers = tuple(producer_path(one, site.root) for one in cameras if isinstance(one, GenicamCamera))
    for row in list_cameras(list(producers)):
        click.echo(row)


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

    click.echo(draw_tiles(_site(config_file), line_id, picture))


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
def events(
    config_file: Path,
    line_id: str,
    as_json: bool,
    kinds: tuple[str, ...],
    lane: int | None,
    outcome: str | None,
    count: int | None,
    silence_s: float,
) -> None:
    """Print a line's events; exit with code 8 when the line goes silent.

    Heartbeats are heard but only printed with --kind hb.

    \b
    Examples:
      inspector events --line 3
      inspector events --line 3 --outcome FAIL --json
      inspector events --line 3 --kind defect --count 10
    """
    from inspector.bus.subscriber import print_events

    site = _site(config_file)
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
        write=click.echo,
        warn=_tell,
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
        click.echo(path)


@main.command(epilog=EXIT_CODES)
@click.argument("data", type=click.Path(path_type=Path, file_okay=False))
@CONFIG
@RECIPE
@PRESET
@click.option(
    "--weights",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A teacher's weight file; may repeat. What is not given is fetched.",
)
@click.option(
    "--resize", type=click.IntRange(min=32), help="Squeeze whole images to this many pixels square."
)
@click.option(
    "--region",
    type=click.Choice(["whole", "auto"]),
    default="auto",
    show_default=True,
    help="auto leaves out background and selvedge.",
)
@click.option("--tile-px", type=click.IntRange(32, 1024), default=256, show_default=True)
@click.option("--margin-px", type=click.IntRange(0, 256), default=32, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), help="At most. Default: by the number of tiles.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace a recipe of that name.")
@click.option(
    "--learning-curve", is_flag=True, help="Train on parts of the images too: what would more of them bring?"
)
def train(
    data: Path,
    config_file: Path,
    recipe: str,
    preset: str,
    weights: tuple[Path, ...],
    resize: int | None,
    region: Literal["whole", "auto"],
    tile_px: int,
    margin_px: int,
    epochs: int | None,
    seed: int,
    overwrite: bool,
    learning_curve: bool,
) -> None:
    """Teach a recipe from good images alone: a folder of them, or an MVTec-style tree's train/good.

    Needs the extra: pip install "inspector-line[train]". Ctrl-C keeps what was learnt; the same command
    goes on from there. Ends with an engine for this machine's CPU, as build-engine makes it.

    \b
    Examples:
      inspector train good-frames/ --recipe denim
      inspector train data/grid --recipe grid --resize 256
      inspector train good-frames/ --recipe denim --preset fast
      inspector train good-frames/ --recipe denim --learning-curve
    """
    try:
        from inspector.learning.train import train as teach
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'training needs the package {error.name!r}; run: pip install "inspector-line[train]"'
        ) from None
    from inspector.view import progress_bar

    with progress_bar("training") as progress:
        learnt = teach(
            data,
            recipe,
            _site(config_file).engines,
            pair=preset,
            weights=weights,
            tile_px=tile_px,
            margin_px=margin_px,
            resize=resize,
            region=region,
            epochs=epochs,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
            warn=_tell,
            learning_curve=learning_curve,
            say=click.echo,
        )
    training = learnt.training
    click.echo(
        f"recipe {recipe}: learnt from {len(training.learnt)} images, {len(training.validation)} held back, "
        f"best after epoch {training.epochs}"
    )
    if training.stopped_early:
        click.echo(f"stopped early {training.stopped_early}")
    _build(config_file, recipe, "openvino", "auto")  # so that this machine can calibrate and evaluate at once


@main.command(epilog=EXIT_CODES)
@CONFIG
@LINE
@RECIPE
@click.option("--metres", type=ABOVE_0, default=20.0, show_default=True, help="Of good web to record.")
@click.option(
    "--false-alarms-per-100m",
    type=ABOVE_0,
    default=1.0,
    show_default=True,
    help="How many tiles of good web may be called faulty.",
)
@PRESET
@click.option(
    "--weights",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A teacher's weight file; may repeat. What is not given is fetched.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Default: by the number of tiles.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace a recipe of that name, and the line's limit for it.")
@click.option("--keep-frames", is_flag=True, help="Keep the recorded frames in out/teach/.")
def teach(
    config_file: Path,
    line_id: str,
    recipe: str,
    metres: float,
    false_alarms_per_100m: float,
    preset: str,
    weights: tuple[Path, ...],
    epochs: int | None,
    seed: int,
    overwrite: bool,
    keep_frames: bool,
) -> None:
    """Make a recipe and a limit from good web that the line's camera sees now; nobody has to watch.

    Records, leaves out frames that stand out, trains, builds the engine, calibrates and tests itself. The
    line must not run meanwhile. Needs the extra: pip install "inspector-line[train]". Until the very end
    nothing of the plant changes; Ctrl-C leaves all as it was.

    \b
    Examples:
      inspector teach --line 3 --recipe denim
      inspector teach --line 3 --recipe denim --metres 50 --overwrite
    """
    from inspector.teaching.teach import Asked
    from inspector.teaching.teach import teach as teach_line
    from inspector.view import Steps

    asked = Asked(
        line_id,
        recipe,
        metres,
        false_alarms_per_100m=false_alarms_per_100m,
        overwrite=overwrite,
        keep_frames=keep_frames,
        preset=preset,
        weights=weights,
        epochs=epochs,
        seed=seed,
    )
    click.echo(teach_line(_site(config_file), asked, Steps()).text())


@main.command(epilog=EXIT_CODES)
@click.argument("data", type=click.Path(path_type=Path, file_okay=False), required=False)
@CONFIG
@click.option(
    "--recipe",
    callback=_recipe_name,
    help="Name of the recipe: a folder in engines/. With --from-run it is the line's.",
)
@LINE
@click.option(
    "--from-run", is_flag=True, help="Instead of DATA: lower the limits to what the running line sees."
)
@click.option("--metres", type=ABOVE_0, help="With --from-run: of good web to wait for.")
@click.option(
    "--false-alarms-per-100m",
    type=ABOVE_0,
    help="How many pieces of good web may be called faulty. Default: 1.",
)
@click.option(
    "--false-alarms-per-hour",
    type=ABOVE_0,
    help="The same in another way, at the line's speed; give one of the two.",
)
def calibrate(
    data: Path | None,
    config_file: Path,
    recipe: str | None,
    line_id: str,
    from_run: bool,
    metres: float | None,
    false_alarms_per_100m: float | None,
    false_alarms_per_hour: float | None,
) -> None:
    """Set a line's limits from good web alone; DATA is a folder of good images or an MVTec-style tree.

    Images that the students learnt from don't count. Needs an engine: build it first. Pictures of the good
    images that score highest are written beside the limits: is that good?

    --from-run hears the running line instead, and disturbs nothing: what passes is good web, what fails is
    left out and told. It lowers the limits or leaves them, and never raises them.

    \b
    Examples:
      inspector calibrate more-good-frames/ --recipe denim --line 3
      inspector calibrate more-good-frames/ --recipe denim --line 3 --false-alarms-per-hour 2
      inspector calibrate --from-run --line 3 --metres 200
    """
    from inspector.calibrating import calibrate as calibration
    from inspector.limits import pictures_folder
    from inspector.view import progress_bar

    if from_run:
        if data is not None:
            raise ConfigError(
                f"--from-run learns from the running line, not from {data}; give one of the two"
            )
        if metres is None:
            raise ConfigError("--from-run wants to know how much good web to wait for; give --metres")
        _calibrate_from_run(
            config_file, recipe, line_id, metres, false_alarms_per_100m, false_alarms_per_hour
        )
        return
    if data is None:
        raise ConfigError("calibrate wants a folder of good images, or --from-run; give one of the two")
    if metres is not None:
        raise ConfigError("--metres goes with --from-run; leave it out")
    if recipe is None:
        raise ConfigError("calibrate wants to know whose limits to set; give --recipe")
    site = _site(config_file)
    pictures = pictures_folder(site, line_id, recipe)
    with progress_bar("good images") as progress:
        calibrated = calibration.calibrate(
            data,
            recipe,
            line_id,
            site,
            false_alarms_per_100m=false_alarms_per_100m,
            false_alarms_per_hour=false_alarms_per_hour,
            pictures=pictures,
            progress=progress,
        )
    click.echo(calibration.summary(calibrated.limits))
    click.echo(f"is this good? look at the pictures in {pictures.relative_to(site.root)}/")


def _calibrate_from_run(
    config_file: Path,
    recipe: str | None,
    line_id: str,
    metres: float,
    per_100m: float | None,
    per_hour: float | None,
) -> None:
    from inspector.calibrating import from_run
    from inspector.calibrating.calibrate import target_of
    from inspector.view import progress_bar

    site = _site(config_file)
    line = site.line(line_id)
    wish = from_run.Wish(metres, target_of(per_100m, per_hour, line).per_100m)
    with progress_bar("metres of good web") as progress:
        learnt = from_run.calibrate_from_run(
            site, line_id, recipe or line.recipe, wish, progress=progress, say=_tell, warn=_tell
        )
    click.echo(from_run.summary(learnt))


@main.command("build-engine", epilog=EXIT_CODES)
@CONFIG
@RECIPE
@click.option("--backend", type=BACKENDS, default="openvino", show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "tf32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
)
@click.option("--line", "line_id", help="With --good: id of the line at whose limit decisions are compared.")
@click.option(
    "--good",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --line: the folder of good images that the line was calibrated with.",
)
@click.option(
    "--workspace-mb",
    type=click.IntRange(min=1),
    help="TensorRT: most GPU memory that one operator may take, where others need the GPU too. Default: all there is.",
)
def build_engine(
    config_file: Path,
    recipe: str,
    backend: str,
    precision: str,
    line_id: str | None,
    good: Path | None,
    workspace_mb: int | None,
) -> None:
    """Compile a recipe's ONNX graph for this machine and prove that it scores like the graph.

    With --line and --good also that it decides like the graph, at the line's limit on the good web that the
    limit came from.

    \b
    Examples:
      inspector build-engine --recipe denim
      inspector build-engine --recipe denim --backend onnxruntime
      inspector build-engine --recipe denim --precision fp32
      inspector build-engine --recipe denim --backend tensorrt --workspace-mb 1024
      inspector build-engine --recipe denim --line 3 --good more-good-frames/
    """
    if (line_id is None) != (good is None):
        raise ConfigError("--line and --good go together: a line's limit, and the images it came from")
    if line_id is None or good is None:
        _build(config_file, recipe, backend, precision, workspace_mb=workspace_mb)
        click.echo("decisions at a line's limit were not compared; --line and --good do that")
        return
    from inspector.calibrating.good_at_limit import GoodAtLimit
    from inspector.view import progress_bar

    with progress_bar("good images") as progress:
        at_limit = GoodAtLimit(_site(config_file), line_id, recipe, good, progress)
        _build(config_file, recipe, backend, precision, at_limit, workspace_mb)


def _build(
    config_file: Path,
    recipe: str,
    backend: str,
    precision: str,
    at_limit: AtLimit | None = None,
    workspace_mb: int | None = None,
) -> None:
    from inspector import backends

    engine_dir = _site(config_file).engines / recipe
    manifest = backends.build_engine(engine_dir, backend, precision, click.echo, at_limit, workspace_mb)
    built = manifest.engines[backend]
    click.echo(f"{recipe}: {backend} {built.version} {built.precision} on {built.device}; golden tiles agree")


@main.command(epilog=EXIT_CODES)
@click.argument("data", type=click.Path(path_type=Path, file_okay=False))
@CONFIG
@RECIPE
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures there."
)
@click.option(
    "--resize", type=click.IntRange(min=32), help="Squeeze whole images to this many pixels square."
)
@click.option(
    "--line", "line_id", help="Id of the line whose limit and geometry hold; calibrated for this recipe."
)
@click.option(
    "--overlap-px", type=click.IntRange(min=0), help="Of neighbouring tiles. Default: the line's, else 32."
)
@click.option(
    "--region",
    type=click.Choice(["whole", "auto"]),
    help="auto leaves out background and selvedge. Default: the line's, else whole.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a report there, index.html, with a picture of every image.",
)
@click.option("--limit", type=ABOVE_0, help="A limit by hand, sigma; instead of the line's.")
@click.option("--backend", type=BACKENDS, help="Default: the line's, else openvino.")
def evaluate(
    data: Path,
    config_file: Path,
    recipe: str,
    json_file: Path | None,
    resize: int | None,
    line_id: str | None,
    overlap_px: int | None,
    region: Literal["whole", "auto"] | None,
    pictures: Path | None,
    limit: float | None,
    backend: str | None,
) -> None:
    """Measure a recipe on images with known faults: an MVTec-style tree (test/, ground_truth/).

    False alarms and escapes are told at a limit: that of a calibrated --line, or one given by --limit.
    Test images never set one.

    \b
    Examples:
      inspector evaluate data/denim --recipe denim --line 3 --json denim.json --pictures out/denim
      inspector evaluate data/grid --recipe grid --resize 256
    """
    from inspector.evaluating.evaluate import evaluate as measure
    from inspector.evaluating.operating import line_under_test
    from inspector.view import progress_bar

    if json_file:
        _refuse_unwritable(json_file)
    site = _site(config_file)
    line = line_under_test(site, line_id, recipe) if line_id is not None else None
    with progress_bar("images") as progress:
        evaluation = measure(
            data,
            site.engines / recipe,
            backend=backend,
            resize=resize,
            overlap_px=overlap_px,
            region=region,
            pictures=pictures,
            limit_sigma=limit,
            line=line,
            warn=_tell,
            progress=progress,
        )
    click.echo(evaluation.summary())
    if pictures:
        click.echo(f"pictures: {pictures / 'index.html'}")
    if json_file:
        _write_json(json_file, evaluation.to_json())


def _site(config_file: Path) -> Site:
    from inspector import config

    return config.load(config_file)
