"""Standard output and standard error, as commands use them: nobody has to read on for work to go on."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import click


def replace_unknown_letters() -> None:
    """A terminal that isn't in UTF-8 gets a question mark for a sigma, and the command no UnicodeEncodeError."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # standard error escapes them by itself
        sys.stdout.reconfigure(errors="replace")


def say(text: str, *, err: bool = False) -> None:
    """Print some lines at once. Where nobody reads them any more, work goes on without a word."""
    try:
        click.echo(text, err=err)
    except BrokenPipeError:
        # What Python still holds, and all that is said from now on, needs a place to go, or the exit fails.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), (sys.stderr if err else sys.stdout).fileno())
