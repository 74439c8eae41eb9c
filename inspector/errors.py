"""The errors a person can be told about, one small tree.

    InspectorError            exit code 1   anything below, never raised itself
    ├── ConfigError           2   config.toml or a command's arguments
    ├── CameraError           3   camera, producer, images played as a camera
    ├── ArtefactError         4   recipe, ONNX, engine, manifest, limits; a file that can't be written
    ├── BusError              5   sockets, keys, ports
    ├── DataError             6   images given to train, calibrate or evaluate, or recorded by teach; web of a run
    ├── LineFault             7   a thread of a running line failed
    └── SilentLine            8   a subscriber heard nothing for too long

Each message is one sentence or two: what, where, and what to do next. The command line prints it
without a traceback and exits with the class's code.
"""

from __future__ import annotations

from collections.abc import Sequence


class InspectorError(Exception):
    """Something a person can put right; the message says how."""

    exit_code = 1


class ConfigError(InspectorError):
    """config.toml or a command's arguments can't be used."""

    exit_code = 2


class CameraError(InspectorError):
    """A camera, its producer, or a folder of images can't deliver."""

    exit_code = 3


class ArtefactError(InspectorError):
    """A recipe, engine, manifest or limits file is missing, foreign or damaged."""

    exit_code = 4


class BusError(InspectorError):
    """A socket can't be bound, connected or secured."""

    exit_code = 5


class DataError(InspectorError):
    """Images handed to train, calibrate or evaluate, or the web of a run, can't be used."""

    exit_code = 6


class LineFault(InspectorError):
    """A running line had to stop: state Error on the bus, heartbeats ended."""

    exit_code = 7


class SilentLine(InspectorError):
    """A line that should be talking is not."""

    exit_code = 8


def a_few(names: Sequence[str], most: int) -> str:
    """Name the first ``most`` of what a sentence is about, and show that there are more."""
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")
