"""config.toml: one plant, its lines; parsed into frozen typed models.

An unknown key, a wrong type or an impossible value is one sentence that names file, key and what
would be right. Paths are relative to the file. The reference is docs/config.md.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_type_hints

import msgspec
from msgspec import Meta

from inspector.errors import ConfigError

MOST = 1e9  # of any number; TOML has inf, and nothing that is measured or counted comes near
Positive: TypeAlias = Annotated[float, Meta(gt=0, le=MOST)]
NotNegative: TypeAlias = Annotated[float, Meta(ge=0, le=MOST)]
Position: TypeAlias = Annotated[float, Meta(ge=-MOST, le=MOST)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
LEAST_COUNTS = 10  # of the encoder, for a tile of web
LAST_SEED = 2**63 - 1
LAST_PORT = 65535  # ZeroMQ binds what is left of a larger number, and of 553x what precedes the letter
NO_NUL = r"^[^\0]*\Z"  # TOML takes it in a text; no file's name can hold it
ENDPOINT = r"^(tcp|ipc)://[^\0]+\Z"
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
Place: TypeAlias = Annotated[str, Meta(pattern=NO_NUL)]  # of a file or folder
Endpoint: TypeAlias = Annotated[str, Meta(pattern=ENDPOINT)]
Name: TypeAlias = Annotated[str, Meta(pattern=NAME)]
Feature: TypeAlias = bool | int | float | str

PATTERN_WORDS = {
    ENDPOINT: "must be an endpoint such as tcp://127.0.0.1:5531 or ipc:///run/line-3",
    NO_NUL: "must be a path, and no path holds the character NUL",
    NAME: "must be 1 to 64 letters, digits, '_', '-' or '.', and begin with a letter or digit",
}


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every table: frozen, and strict about keys."""


class FolderCamera(Model, frozen=True, tag_field="kind", tag="folder"):
    """Images replayed in name order."""

    path: Place
    frames_per_s: NotNegative = 0.0  # 0: as fast as the line takes them
    loop: bool = False
    pixel_format: Literal["Mono8", "RGB8"] = "Mono8"


class FaultMix(Model, frozen=True):
    """Which faults the loom weaves in, and how often."""

    per_m: Annotated[float, Meta(ge=0, le=1000)] = 0.2
    kinds: tuple[str, ...] = ()  # empty: all of them


class LoomCamera(Model, frozen=True, tag_field="kind", tag="loom"):
    """A procedural woven web without end, in process."""

    width_px: Annotated[int, Meta(ge=64, le=16384)] = 2048
    height_px: Annotated[int, Meta(ge=16, le=16384)] = 1024
    weave: Literal["plain", "twill", "satin"] = "plain"
    seed: Annotated[int, Meta(ge=0, le=LAST_SEED)] = 1
    faults: FaultMix = FaultMix()
    as_fast_as_possible: bool = False  # else at the web's speed


class GenicamCamera(Model, frozen=True, tag_field="kind", tag="genicam"):
    """A GenICam camera through a GenTL producer (.cti)."""

    producer: Place  # path of the .cti; environment variables are expanded
    serial: str = ""  # empty: the only device there is, else an error that lists them
    buffers: Annotated[int, Meta(ge=2, le=512)] = 16
    features: dict[str, Feature] = {}  # SFNC names, set in this order
    aliases: dict[str, str] = {}  # SFNC name -> this vendor's name
    encoder: Literal["chunk", "rows"] = "rows"  # where a frame's encoder count comes from


CameraConfig: TypeAlias = FolderCamera | LoomCamera | GenicamCamera
CAMERAS: dict[str, type[Model]] = {"folder": FolderCamera, "loom": LoomCamera, "genicam": GenicamCamera}


class Web(Model, frozen=True):
    """Geometry of the web under the camera."""

    width_mm: Positive
    mm_per_px: Positive  # across and along: pixels are square on the web
    encoder_counts_per_m: Positive
    speed_m_min: Positive  # the fastest the line runs; the plan is made for it
    seamless: bool = True  # frames join without a gap; false: each image is a piece of its own


class Region(Model, frozen=True):
    """Which part of the web is judged, mm from the camera's first column."""

    kind: Literal["whole", "fixed", "auto"] = "whole"
    left_mm: NotNegative = 0.0
    right_mm: NotNegative = 0.0


class Tiles(Model, frozen=True):
    """The grid, in mm on the web."""

    size_mm: Positive
    overlap_mm: NotNegative


class Lanes(Model, frozen=True):
    """Lanes across the web, each with verdicts of its own."""

    count: Annotated[int, Meta(ge=1, le=64)] = 1
    edges_mm: tuple[Position, ...] = ()  # instead of count: n + 1 rising positions


class Judging(Model, frozen=True):
    """What becomes a defect."""

    min_defect_mm: NotNegative = 0.0  # components with a longer side below this are left out


class Engine(Model, frozen=True):
    """Which backend runs the recipe's engine."""

    backend: Literal["openvino", "onnxruntime", "tensorrt"] = "openvino"
    threads: Annotated[int, Meta(ge=0, le=256)] = 0  # 0: the backend's own choice


class Bus(Model, frozen=True):
    """Endpoints of the three sockets, and the keys when they leave this machine."""

    verdicts: Endpoint
    maps: Endpoint
    replay: Endpoint
    keys: Place = ""  # folder with server.key_secret and clients/*.key; a must off loopback


class Overload(Model, frozen=True):
    """How much may wait where, and what is too late."""

    frames: Annotated[int, Meta(ge=1, le=64)] = 3
    verdicts: Annotated[int, Meta(ge=16, le=65536)] = 256
    maps: Annotated[int, Meta(ge=1, le=4096)] = 64
    deadline_ms: Positive = 1000.0  # from a frame's capture to its verdict


class Line(Model, frozen=True):
    """One line of the plant."""

    recipe: Name
    camera: CameraConfig
    web: Web
    tiles: Tiles
    bus: Bus
    region: Region = Region()
    lanes: Lanes = Lanes()
    judging: Judging = Judging()
    engine: Engine = Engine()
    overload: Overload = Overload()
    reject_distance_m: NotNegative = 0.0  # camera to ejector

    @property
    def frame_rows(self) -> int | None:
        """Rows of its camera's frames, where the config states them."""
        match self.camera:
            case LoomCamera(height_px=rows):
                return rows
            case GenicamCamera(features={"Height": int(rows)}) if rows > 0:
                return rows
        return None


class Plant(Model, frozen=True):
    """The whole of config.toml."""

    plant: str
    line: dict[str, Line]


TABLES: dict[str, type[Model]] = {
    "web": Web,
    "region": Region,
    "tiles": Tiles,
    "lanes": Lanes,
    "judging": Judging,
    "engine": Engine,
    "bus": Bus,
    "overload": Overload,
}


class Site(msgspec.Struct, frozen=True):
    """A parsed plant and where it was read: every path in it starts there."""

    file: Path
    plant: Plant

    @property
    def root(self) -> Path:
        """The folder that paths are relative to."""
        return self.file.parent

    @property
    def engines(self) -> Path:
        """Where build-engine writes and run reads."""
        return self.root / "engines"

    @property
    def calibration(self) -> Path:
        """Where calibrate writes and run reads."""
        return self.root / "calibration"

    def line(self, line_id: str) -> Line:
        """Return a line; raises ConfigError that lists the lines there are."""
        if line_id in self.plant.line:
            return self.plant.line[line_id]
        known = ", ".join(sorted(self.plant.line)) or "none"
        raise ConfigError(f"{self.file}: there is no line {line_id!r}; the plant has: {known}")


def load(file: Path) -> Site:
    """Read and check a config file. Raises ConfigError."""
    try:
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; name the plant's file with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{file}: can't be read ({why}); it must be a UTF-8 text file") from None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {_toml_reason(str(error))}") from None
    plant = convert(raw, Plant, file)
    for line_id, line in plant.line.items():
        _check_line(file, line_id, line)
    _check_endpoints(file, plant)
    return Site(file=file.resolve(), plant=plant)


def convert(raw: Any, model: type[Plant], file: Path) -> Plant:
    """Turn a parsed TOML table into ``model``. Raises ConfigError with the path of the bad key."""
    try:
        return msgspec.convert(raw, model)
    except msgspec.ValidationError as error:
        raise ConfigError(_sentence(file, raw, str(error))) from None


def _toml_reason(message: str) -> str:
    declared = re.match(r"Cannot declare \('line', '([^']+)'\) twice(.*)", message)
    if declared:
        return f"line {declared[1]!r} stands there twice{declared[2]}; give each line an id of its own"
    return message


def _sentence(file: Path, raw: Any, message: str) -> str:
    """``Expected `int`, got `str` - at `$.line[...].camera.width` `` becomes a sentence with the full key."""
    what, _, where = message.partition(" - at ")
    path = _real_path(raw, where.strip("`"), what)
    unknown = re.match(r"Object contains unknown field `([^`]+)`", what)
    if unknown:
        return _unknown(file, raw, path, unknown[1])
    missing = re.match(r"Object missing required field `([^`]+)`", what)
    if missing:
        astray = [
            key for key in raw if key not in _known_keys([], raw)
        ]  # as the key would be under [lines.3]
        if astray:
            return _unknown(file, raw, [], astray[0])
        return f"{file}: key {missing[1]!r} is missing in {_table(path)}"
    got = _value_at(raw, path)
    shown = f" (it is {got!r})" if not isinstance(got, dict | list) else ""
    return f"{file}: {'.'.join(path) or 'the file'}: {_what_is_right(raw, path, what)}{shown}"


def _unknown(file: Path, raw: Any, path: list[str], key: str) -> str:
    known = _known_keys(path, raw)
    close = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
    return f"{file}: unknown key {key!r} in {_table(path)}; {hint}"


def _what_is_right(raw: Any, path: list[str], what: str) -> str:
    """msgspec's complaint, or what the key wants where it only says that the value is wrong."""
    for pattern, words in PATTERN_WORDS.items():
        if repr(pattern) in what:
            return words
    if what.startswith("Invalid"):
        if path[-1] == "kind" and path[-2] == "camera":
            return "must be one of: " + ", ".join(CAMERAS)
        hints = get_type_hints(_model_at(path[:-1], raw))
        return "must be one of: " + ", ".join(map(str, get_args(hints[path[-1]])))
    return what[0].lower() + what[1:].replace("`object`", "a table")


def _table(path: list[str]) -> str:
    return f"[{'.'.join(path)}]" if path else "the top of the file"


def _real_path(raw: Any, where: str, what: str) -> list[str]:
    """msgspec writes ``[...]`` for a dict's key; find the first line for which the complaint holds."""
    parts = [p for p in re.split(r"\.|(\[\.\.\.\]|\[\d+\])", where.removeprefix("$")) if p]
    if "[...]" not in parts:
        return parts
    at = parts.index("[...]")
    table = _value_at(raw, parts[:at])
    models: dict[str, Any] = {"line": Line, "features": Feature, "aliases": str}
    model = models[parts[at - 1]]
    for key, value in table.items():
        try:
            msgspec.convert(value, model)
        except msgspec.ValidationError as error:
            if str(error).partition(" - at ")[0] == what:
                inner = str(error).partition(" - at ")[2].strip("`")
                return [*parts[:at], key, *_real_path(value, inner or "$", what)]
    return parts[:at]


def _value_at(raw: Any, path: list[str]) -> Any:
    for key in path:
        if isinstance(raw, dict) and key in raw:
            raw = raw[key]
        elif isinstance(raw, list) and re.fullmatch(r"\[\d+\]", key):
            raw = raw[int(key[1:-1])]
        else:
            return {}
    return raw


def _known_keys(path: list[str], raw: Any) -> list[str]:
    return [f.encode_name for f in msgspec.structs.fields(_model_at(path, raw))]


def _model_at(path: list[str], raw: Any) -> type[Model]:
    """The model of the table at ``path``."""
    match path:
        case []:
            return Plant
        case ["line", _]:
            return Line
        case ["line", _, "camera"]:
            return CAMERAS[_value_at(raw, [*path, "kind"])]
        case ["line", _, "camera", _]:
            return FaultMix
        case _:
            return TABLES[path[2]]


def _check_line(file: Path, line_id: str, line: Line) -> None:
    """What no single key can tell: values that don't fit each other."""
    at = f"{file}: line.{line_id}"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", line_id):
        raise ConfigError(f"{at}: an id is 1 to 32 letters, digits, '-' or '_'")
    if line.tiles.overlap_mm > line.tiles.size_mm / 2:
        raise ConfigError(
            f"{at}.tiles: overlap_mm = {line.tiles.overlap_mm:g} is more than half of "
            f"size_mm = {line.tiles.size_mm:g}; make it at most {line.tiles.size_mm / 2:g}"
        )
    counts = line.tiles.size_mm / 1000 * line.web.encoder_counts_per_m
    if counts < LEAST_COUNTS:
        raise ConfigError(
            f"{at}.web: encoder_counts_per_m = {line.web.encoder_counts_per_m:g} is {counts:.2g} counts of web for a "
            f"tile of {line.tiles.size_mm:g} mm, and verdicts tell their place in counts; use an encoder of "
            f"{math.ceil(LEAST_COUNTS * 1000 / line.tiles.size_mm)} counts per m or more"
        )
    if line.judging.min_defect_mm > line.tiles.size_mm:
        raise ConfigError(
            f"{at}.judging: min_defect_mm = {line.judging.min_defect_mm:g} is more than a tile, size_mm = "
            f"{line.tiles.size_mm:g}: nearly every fault would pass; make it at most {line.tiles.size_mm:g}"
        )
    region = line.region
    if region.kind == "fixed" and not region.left_mm < region.right_mm <= line.web.width_mm * 1.5:
        raise ConfigError(
            f"{at}.region: kind = 'fixed' wants left_mm < right_mm, both on the camera's picture "
            f"(they are {region.left_mm:g} and {region.right_mm:g})"
        )
    if region.kind != "fixed" and (region.left_mm or region.right_mm):
        raise ConfigError(f"{at}.region: left_mm and right_mm go with kind = 'fixed', not {region.kind!r}")
    edges = line.lanes.edges_mm
    if edges and (len(edges) < 2 or list(edges) != sorted(set(edges))):
        raise ConfigError(f"{at}.lanes: edges_mm must be at least two rising positions (it is {list(edges)})")
    if edges and line.lanes.count != 1:
        raise ConfigError(f"{at}.lanes: give either count or edges_mm, not both")
    if edges and region.kind == "fixed" and (edges[0] > region.left_mm or edges[-1] < region.right_mm):
        raise ConfigError(
            f"{at}.lanes: edges_mm are {edges[0]:g} to {edges[-1]:g} but the region is {region.left_mm:g} to "
            f"{region.right_mm:g}, and a fault beside the lanes is in no verdict; set both to the same"
        )


def _check_endpoints(file: Path, plant: Plant) -> None:
    taken: dict[str, str] = {}
    for line_id, line in plant.line.items():
        for key in ("verdicts", "maps", "replay"):
            endpoint: str = getattr(line.bus, key)
            here = f"line.{line_id}.bus.{key}"
            fault = _endpoint_fault(endpoint)
            if fault:
                raise ConfigError(f"{file}: {here}: {fault} (it is {endpoint!r})")
            if endpoint in taken and not endpoint.endswith(":*"):
                raise ConfigError(
                    f"{file}: {here} and {taken[endpoint]} are both {endpoint}; each needs its own"
                )
            taken[endpoint] = here


def _endpoint_fault(endpoint: str) -> str:
    """Why nobody could hear a line there, though ZeroMQ binds it: a sentence without its object; empty: they can."""
    scheme, _, place = endpoint.partition("://")
    if scheme == "ipc":  # else it would start at whatever folder a command is called from
        is_found = place.startswith("/") or (place.startswith("@") and place != "@")
        return "" if is_found else "must begin with ipc:/// (a path from the root) or ipc://@ (a name)"
    port = place.rpartition(":")[2]
    is_port = port == "*" or (port.isascii() and port.isdecimal() and 0 < int(port) <= LAST_PORT)
    return "" if is_port else f"must end with a port from 1 to {LAST_PORT}"
