"""What the commands share: their group, options, how a failure is told."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inspector import __version__
from inspector.errors import ArtefactError, ConfigError, InspectorError
from inspector.output import replace_unknown_letters, say

if TYPE_CHECKING:
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


def recipe_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """What the config takes for one; above all no path out of engines/."""
    from inspector.config import NAME, PATTERN_WORDS

    if value is not None and not re.fullmatch(NAME, value):
        raise click.BadParameter(f"{value!r} {PATTERN_WORDS[NAME]}.", ctx, param)
    return value


LINE = click.option("--line", "line_id", required=True, help="Id of the line in the config, e.g. 3.")
RECIPE = click.option(
    "--recipe", required=True, callback=recipe_name, help="Name of the recipe: a folder in engines/."
)
PRESET = click.option(
    "--preset",
    type=click.Choice(["balanced", "fast", "faster", "fastest", "paper", "reduced"]),
    default="balanced",
    show_default=True,
    help="balanced: sees most; fast: a third of the work, misses what is faint and as wide as a tile; faster: an "
    "eighth, misses faint faults of few pixels; fastest: a twelfth, misses a little more of them; paper, reduced: "
    "for comparison.",
)
INT8 = click.option(
    "--int8",
    is_flag=True,
    help="Networks in int8: faster where a CPU has VNNI or a GPU runs them. Not the paper's.",
)
WEIGHTS = click.option(
    "--weights",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A teacher's weight file; may repeat. What is not given is fetched.",
)
SEED = click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
RESIZE = click.option(
    "--resize", type=click.IntRange(32, 8192), help="Squeeze whole images to this many pixels square."
)
JSON_FILE = click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures there."
)
REPORT_FILE = click.option(
    "--report",
    "report_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all figures there as JSON, to be sent back.",
)
ABOVE_0 = Number(min=0.0, min_open=True)
RATE = Number(min=1e-6)  # of false alarms; the web that one near 0 wants is no number any more
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
        replace_unknown_letters()
        try:
            return super().invoke(ctx)
        except InspectorError as error:
            fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            fail("interrupted", INTERRUPTED)
        except BrokenPipeError:
            # `inspector events | head` is no mistake; commands that end by themselves go on (output.say)
            sys.stderr.close()
            sys.exit(0)
        except OSError as error:
            where = error.filename or "output"
            sentence = (
                f"{where}: {error.strerror or error}; free the disk or mend the path, then run it again"
            )
            fail(sentence, ArtefactError.exit_code)


def fail(sentence: str, code: int) -> None:
    """One sentence, and the end."""
    tell(sentence)
    sys.exit(code)


def tell(sentence: str) -> None:
    """One sentence to standard error; where that is gone, with its terminal's window, the exit code has to do."""
    with suppress(OSError):
        click.echo(f"inspector: {sentence}", err=True)


def refuse_unwritable(file: Path) -> None:
    """Where nothing can be written is better found out before the work than after it. Raises ConfigError."""
    from inspector.backends.artifact import is_no_file

    if file.name == "-":
        raise ConfigError("- is no file's name here; give one, or /dev/stdout")
    if is_no_file(file):
        return
    try:
        tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        raise ConfigError(
            f"{file}: can't be written there ({error.strerror}); make the folder, or name another file"
        ) from None


def write_json(file: Path, figures: dict[str, Any]) -> None:
    """Write all or nothing. Raises ArtefactError."""
    from inspector.backends.artifact import write_atomically

    write_atomically(file, (json.dumps(figures, indent=2) + "\n").encode())


def hand_out(text: str, file: Path | None, figures: dict[str, Any]) -> None:
    """Write the figures to a file that was asked for, and print the text. Raises ArtefactError."""
    try:
        if file:
            write_json(file, figures)
    finally:  # a full disk takes the file, not the text
        say(text)


@click.group(cls=Group, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="inspector")
def main() -> None:
    """Inspect a textured web beside the conveyor: camera, tiles, engine, verdicts on the bus.

    \b
    A line, from nothing:
      inspector train good-frames/ --recipe denim
      inspector calibrate more-good-frames/ --recipe denim --line 3
      (set recipe = "denim" in [line.3] of config.toml)
      inspector check --line 3
      inspector run --line 3

    \b
    The first two in one, from the camera itself:
      inspector teach --line 3 --recipe denim
    """


def load_site(config_file: Path) -> Site:
    """Load the plant's file. Raises ConfigError."""
    from inspector import config

    return config.load(config_file)
