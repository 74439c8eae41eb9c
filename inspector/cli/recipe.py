"""Commands that make a recipe and its limits, and say what they are worth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from inspector.cli.shared import (
    ABOVE_0,
    BACKENDS,
    CONFIG,
    EXIT_CODES,
    INT8,
    INTERRUPTED,
    JSON_FILE,
    LINE,
    MEASURE,
    PRESET,
    RATE,
    RECIPE,
    RESIZE,
    SEED,
    WEIGHTS,
    fail,
    hand_out,
    load_site,
    main,
    recipe_name,
    refuse_unwritable,
    tell,
)
from inspector.errors import ArtefactError, ConfigError, InspectorError
from inspector.output import say

if TYPE_CHECKING:
    from inspector.backends.at_limit import AtLimit
    from inspector.backends.runtime import Means


@main.command(epilog=EXIT_CODES)
@click.argument("data", type=click.Path(path_type=Path, file_okay=False))
@CONFIG
@RECIPE
@PRESET
@INT8
@WEIGHTS
@RESIZE
@click.option(
    "--region",
    type=click.Choice(["whole", "auto"]),
    default="auto",
    show_default=True,
    help="auto leaves out background and selvedge.",
)
@click.option(
    "--tile-px",
    type=click.IntRange(32, 1024),
    default=256,
    show_default=True,
    help="Side of a tile. 512 is faster by a quarter, and verdicts come later.",
)
@click.option("--margin-px", type=click.IntRange(0, 256), default=32, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), help="At most. Default: by the number of tiles.")
@SEED
@click.option("--overwrite", is_flag=True, help="Replace a recipe of that name.")
@click.option(
    "--learning-curve", is_flag=True, help="Train on parts of the images too: what would more of them bring?"
)
def train(
    data: Path,
    config_file: Path,
    recipe: str,
    preset: str,
    int8: bool,
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

    Needs the extra: pip install -e ".[train]". Ctrl-C keeps what was learnt; the same command
    goes on from there. Ends with an engine for this machine's CPU, as build-engine makes it.

    \b
    Examples:
      inspector train good-frames/ --recipe denim
      inspector train data/grid --recipe grid --resize 256
      inspector train good-frames/ --recipe denim --preset fast
      inspector train good-frames/ --recipe denim --preset fast --int8
      inspector train good-frames/ --recipe denim --learning-curve
    """
    try:
        from inspector.learning.train import train as teach
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'training needs the package {error.name!r}; run: pip install -e ".[train]"'
        ) from None
    from inspector.view import progress_bar

    with progress_bar("training") as progress:
        learnt = teach(
            data,
            recipe,
            load_site(config_file).engines,
            pair=preset,
            int8=int8,
            weights=weights,
            tile_px=tile_px,
            margin_px=margin_px,
            resize=resize,
            region=region,
            epochs=epochs,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
            warn=tell,
            learning_curve=learning_curve,
            say=say,
        )
    training = learnt.training
    say(
        f"recipe {recipe}: learnt from {len(training.learnt)} images, {len(training.validation)} held back, "
        f"best after epoch {training.epochs}"
    )
    if training.stopped_early:
        say(f"stopped early {training.stopped_early}")
    try:
        # So that this machine can calibrate and evaluate at once.
        _build(config_file, recipe, "openvino", "auto")
    except (InspectorError, KeyboardInterrupt):
        tell(f"recipe {recipe} is in place, its engine isn't; run `inspector build-engine --recipe {recipe}`")
        raise


@main.command(epilog=EXIT_CODES)
@CONFIG
@LINE
@RECIPE
@click.option("--metres", type=ABOVE_0, default=20.0, show_default=True, help="Of good web to record.")
@click.option(
    "--false-alarms-per-100m",
    type=RATE,
    default=1.0,
    show_default=True,
    help="How many tiles of good web may be called faulty.",
)
@PRESET
@INT8
@WEIGHTS
@click.option("--epochs", type=click.IntRange(min=1), help="Default: by the number of tiles.")
@SEED
@click.option("--overwrite", is_flag=True, help="Replace a recipe of that name, and the line's limit for it.")
@click.option("--keep-frames", is_flag=True, help="Keep the recorded frames in out/teach/.")
def teach(
    config_file: Path,
    line_id: str,
    recipe: str,
    metres: float,
    false_alarms_per_100m: float,
    preset: str,
    int8: bool,
    weights: tuple[Path, ...],
    epochs: int | None,
    seed: int,
    overwrite: bool,
    keep_frames: bool,
) -> None:
    """Make a recipe and a limit from good web that the line's camera sees now; nobody has to watch.

    Records, leaves out frames that stand out, trains, builds the engine, calibrates and tests itself. The
    line must not run meanwhile. Needs the extra: pip install -e ".[train]". Until the very end
    nothing of the plant changes; Ctrl-C leaves all as it was.

    \b
    Examples:
      inspector teach --line 3 --recipe denim
      inspector teach --line 3 --recipe denim --metres 50 --overwrite
      inspector teach --line 3 --recipe denim --preset fast --int8
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
        int8=int8,
        weights=weights,
        epochs=epochs,
        seed=seed,
    )
    say(teach_line(load_site(config_file), asked, Steps()).text())


@main.command(epilog=EXIT_CODES)
@click.argument("data", type=click.Path(path_type=Path, file_okay=False), required=False)
@CONFIG
@click.option(
    "--recipe",
    callback=recipe_name,
    help="Name of the recipe: a folder in engines/. With --from-run it is the line's.",
)
@LINE
@click.option(
    "--from-run", is_flag=True, help="Instead of DATA: lower the limits to what the running line sees."
)
@click.option("--metres", type=ABOVE_0, help="With --from-run: of good web to wait for.")
@click.option(
    "--false-alarms-per-100m",
    type=RATE,
    help="How many pieces of good web may be called faulty. Default: 1.",
)
@click.option(
    "--false-alarms-per-hour",
    type=RATE,
    help="The same in another way, at the line's speed; give one of the two.",
)
@click.option("--overwrite", is_flag=True, help="Replace limits, too, that a person set by hand.")
def calibrate(
    data: Path | None,
    config_file: Path,
    recipe: str | None,
    line_id: str,
    from_run: bool,
    metres: float | None,
    false_alarms_per_100m: float | None,
    false_alarms_per_hour: float | None,
    overwrite: bool,
) -> None:
    """Set a line's limits from good web alone; DATA is a folder of good images or an MVTec-style tree.

    Images that the students learnt from don't count. Needs an engine: build it first. Pictures of the good
    images that score highest are written beside the limits: is that good? The limit of before is told
    and replaced; one that a person set by hand only with --overwrite.

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
        if overwrite:
            raise ConfigError(
                "--overwrite goes with DATA, and --from-run only lowers what is there; leave it out"
            )
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
    site = load_site(config_file)
    with progress_bar("good images") as progress:
        calibrated = calibration.calibrate(
            data,
            recipe,
            line_id,
            site,
            false_alarms_per_100m=false_alarms_per_100m,
            false_alarms_per_hour=false_alarms_per_hour,
            overwrite=overwrite,
            progress=progress,
            warn=tell,
        )
    say(calibration.summary(calibrated.limits, calibrated.before))
    if (running := site.line(line_id).recipe) != recipe:
        say(f'line {line_id} runs recipe {running!r} still; set recipe = "{recipe}" in [line.{line_id}]')
    # Last: whatever takes the pictures, the limit has changed, and that is told.
    pictures = pictures_folder(site, line_id, recipe)
    in_place = f"the new limit, {calibrated.limits.limit_sigma:.2f} sigma, is in place; the pictures are not"
    try:
        calibration.draw_pictures(calibrated, pictures)
    except InspectorError as error:
        fail(f"{in_place}: {error}", error.exit_code)
    except KeyboardInterrupt:
        fail(f"interrupted; {in_place}", INTERRUPTED)
    say(f"is this good? look at the pictures in {pictures.relative_to(site.root)}/")


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

    site = load_site(config_file)
    line = site.line(line_id)
    wish = from_run.Wish(metres, target_of(per_100m, per_hour, line).per_100m)
    with progress_bar("metres of good web") as progress:
        learnt = from_run.calibrate_from_run(
            site, line_id, recipe or line.recipe, wish, progress=progress, say=tell, warn=tell
        )
    say(from_run.summary(learnt))


@main.command("build-engine", epilog=EXIT_CODES)
@CONFIG
@RECIPE
@click.option("--backend", type=BACKENDS, default="openvino", show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "tf32", "bf16", "fp16", "int8"]),
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
    type=click.IntRange(min=1, max=2**20),
    help="TensorRT: most GPU memory that one operator may take, where others need the GPU too. Default: all there is.",
)
@click.option(
    "--portable",
    is_flag=True,
    help="TensorRT: a plan that other GPUs from Ampere on, and later TensorRTs of the same major version, load too; "
    "it may be slower. Not for Jetsons. Not run on hardware.",
)
@click.option(
    "--apart",
    is_flag=True,
    help="TensorRT: teachers and students are engines of their own, side by side, and a third judges; `inspector "
    "bench` tells whether that pays. Not run on hardware.",
)
def build_engine(
    config_file: Path,
    recipe: str,
    backend: str,
    precision: str,
    line_id: str | None,
    good: Path | None,
    workspace_mb: int | None,
    portable: bool,
    apart: bool,
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
      inspector build-engine --recipe denim --backend tensorrt --apart
      inspector build-engine --recipe denim --line 3 --good more-good-frames/
    """
    if (line_id is None) != (good is None):
        raise ConfigError("--line and --good go together: a line's limit, and the images it came from")
    from inspector.backends.runtime import Means

    means = Means(workspace_mb, portable, apart)
    if line_id is None or good is None:
        _build(config_file, recipe, backend, precision, means=means)
        say("decisions at a line's limit were not compared; --line and --good do that")
        return
    from inspector.calibrating.good_at_limit import GoodAtLimit
    from inspector.view import progress_bar

    with progress_bar("good images") as progress:
        at_limit = GoodAtLimit(load_site(config_file), line_id, recipe, good, progress)
        _build(config_file, recipe, backend, precision, at_limit, means)


def _build(
    config_file: Path,
    recipe: str,
    backend: str,
    precision: str,
    at_limit: AtLimit | None = None,
    means: Means | None = None,
) -> None:
    from inspector import backends
    from inspector.backends.runtime import NO_MEANS

    engine_dir = load_site(config_file).engines / recipe
    manifest = backends.build_engine(engine_dir, backend, precision, say, at_limit, means or NO_MEANS)
    built = manifest.engines[backend]
    say(f"{recipe}: {backend} {built.version} {built.precision} on {built.device}; golden tiles agree")


@main.command(epilog=EXIT_CODES)
@click.argument("data", type=click.Path(path_type=Path, file_okay=False))
@CONFIG
@RECIPE
@JSON_FILE
@RESIZE
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
@click.option("--limit", type=MEASURE, help="A limit by hand, sigma; instead of the line's.")
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
        refuse_unwritable(json_file)
    site = load_site(config_file)
    line = line_under_test(site, line_id, recipe) if line_id is not None else None
    unwritten: list[ArtefactError] = []

    def go_on(error: ArtefactError) -> None:
        unwritten.append(error)
        tell(f"{error}; the figures go on without pictures and page")

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
            warn=tell,
            unwritten=go_on,
            progress=progress,
        )
    told = evaluation.summary()
    if pictures and not unwritten:
        told += f"\npictures: {pictures / 'index.html'}"
    hand_out(told, json_file, evaluation.to_json())
    if unwritten:
        sys.exit(unwritten[0].exit_code)
