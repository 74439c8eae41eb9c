from __future__ import annotations

from pathlib import Path

import pytest

from inspector import config
from inspector.errors import ConfigError

from .conftest import ROOT

GOOD = (ROOT / "config.toml").read_text()


def load(tmp_path: Path, text: str) -> config.Site:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return config.load(file)


def complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'config.toml'}: ")
    assert "\n" not in message
    return message


def changed(old: str, new: str, after: str = "") -> str:
    """The good file with the first ``old`` after ``after`` replaced."""
    at = GOOD.index(old, GOOD.index(after))
    return GOOD[:at] + new + GOOD[at + len(old) :]


def test_the_demo_plant_has_the_three_lines_and_their_cameras():
    site = config.load(ROOT / "config.toml")
    kinds = {line_id: type(line.camera) for line_id, line in site.plant.line.items()}
    assert kinds == {"1": config.FolderCamera, "2": config.LoomCamera, "3": config.GenicamCamera}
    assert site.engines == ROOT / "engines"


def test_models_are_frozen():
    line = config.load(ROOT / "config.toml").line("3")
    with pytest.raises(AttributeError):
        line.web.mm_per_px = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (changed("weave =", "weav ="), ["'weav'", "[line.2.camera]", "'weave'"]),
        (changed("plant =", "plants ="), ["'plants'", "'plant'"]),
        (
            changed("mm_per_px = 0.2", "mm_per_px = -0.2", "[line.3]"),
            ["line.3.web.mm_per_px", "> 0", "it is -0.2"],
        ),
        (
            changed('kind = "loom"', 'kind = "lom"'),
            ["line.2.camera.kind", "'lom'", "loom", "folder", "genicam"],
        ),
        (
            changed('weave = "plain"', 'weave = "knit"'),
            ["line.2.camera.weave", "plain, twill, satin", "'knit'"],
        ),
        (changed('recipe = "demo"', 'recipe = "../x"'), ["line.1.recipe", "letters, digits", "'../x'"]),
        (changed("count = 2", 'count = "two"'), ["line.3.lanes.count", "int", "'two'"]),
        (changed("ExposureTime = 40.0", "ExposureTime = [1]"), ["line.3.camera.features.ExposureTime"]),
        (changed("[line.3]", "[line.2]"), ["line '2' stands there twice"]),
        (changed('recipe = "demo"\n', "", "[line.1]"), ["'recipe' is missing", "[line.1]"]),
        (
            changed("tcp://127.0.0.1:5531", "udp://nowhere"),
            ["line.3.bus.verdicts", "tcp://", "udp://nowhere"],
        ),
        (
            changed("tcp://127.0.0.1:5531", "tcp://127.0.0.1:5521"),
            ["line.2.bus.verdicts", "line.3.bus.verdicts"],
        ),
        (changed("overlap_mm = 6.4", "overlap_mm = 30", "[line.3]"), ["overlap_mm = 30", "at most 25.6"]),
        (changed('kind = "auto"', 'kind = "fixed"'), ["left_mm < right_mm"]),
        (changed("count = 2", "edges_mm = [0, 200, 100]"), ["edges_mm", "rising"]),
        (
            changed("min_defect_mm = 0.4", "min_defect_mm = 1e9", "[line.3]"),
            ["line.3.judging", "min_defect_mm = 1e+09", "at most 51.2"],
        ),
        (
            changed(
                "[line.2]",
                '[line.2]\nregion = { kind = "fixed", left_mm = 10, right_mm = 400 }\n'
                "lanes = { edges_mm = [10, 200, 390] }",
            ),
            ["line.2.lanes", "edges_mm are 10 to 390", "the region is 10 to 400", "in no verdict"],
        ),
        (changed("[line.3]", "[line.3]\nspeed = 3"), ["'speed'", "[line.3]"]),
        (
            changed("[line.3]", "[lines.3]"),
            ["unknown key 'lines' in the top of the file; did you mean 'line'?"],
        ),
        (changed("seed = 2", "seed = 18446744073709551616"), ["line.2.camera.seed"]),
        (
            changed("encoder_counts_per_m = 10000", "encoder_counts_per_m = 10", "[line.3]"),
            [
                "line.3.web",
                "0.51 counts of web for a tile of 51.2 mm",
                "an encoder of 196 counts per m or more",
            ],
        ),
        (changed("out/frames", "a\\u0000b"), ["line.1.camera.path", "no path holds the character NUL"]),
        (changed("simcam.cti", "\\u0000"), ["line.3.camera.producer", "no path holds the character NUL"]),
        (
            changed("[line.3.bus]", '[line.3.bus]\nkeys = "a\\n\\u0000"'),
            ["line.3.bus.keys", "no path holds the character NUL"],
        ),
        (changed("tcp://127.0.0.1:5531", "ipc:///a\\u0000b"), ["line.3.bus.verdicts", "must be an endpoint"]),
        ("plant = ", ["not valid TOML"]),
        ("\x00", ["not valid TOML"]),
    ],
)
def test_a_bad_file_is_one_sentence_with_file_key_and_remedy(tmp_path: Path, text: str, words: list[str]):
    message = complaint(tmp_path, text)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("tcp://127.0.0.1:0", "must end with a port from 1 to 65535"),  # any port, which nobody is told
        ("tcp://127.0.0.1:553x", "must end with a port from 1 to 65535"),  # ZeroMQ would take 553
        ("tcp://127.0.0.1:-1", "must end with a port from 1 to 65535"),
        ("tcp://127.0.0.1:65536", "must end with a port from 1 to 65535"),
        ("tcp://127.0.0.1:\u0665", "must end with a port from 1 to 65535"),
        ("tcp://127.0.0.1:", "must end with a port from 1 to 65535"),
        ("tcp://127.0.0.1", "must end with a port from 1 to 65535"),
        ("ipc://sock/line3", "must begin with ipc:/// (a path from the root) or ipc://@ (a name)"),
        ("ipc://~/line3", "must begin with ipc:/// (a path from the root) or ipc://@ (a name)"),
        ("ipc://*", "must begin with ipc:/// (a path from the root) or ipc://@ (a name)"),
        ("ipc://@", "must begin with ipc:/// (a path from the root) or ipc://@ (a name)"),
    ],
)
def test_an_endpoint_that_nobody_could_hear_is_refused(tmp_path: Path, endpoint: str, words: str):
    message = complaint(tmp_path, changed("tcp://127.0.0.1:5532", endpoint))
    assert message.endswith(f"line.3.bus.maps: {words} (it is {endpoint!r})")


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:1", "tcp://*:65535", "tcp://[::1]:5532", "ipc:///run/line3", "ipc://@line3"]
)
def test_an_endpoint_that_somebody_could_hear_is_taken(tmp_path: Path, endpoint: str):
    assert load(tmp_path, changed("tcp://127.0.0.1:5532", endpoint)).line("3").bus.maps == endpoint


def test_a_missing_or_binary_file_is_one_sentence(tmp_path: Path):
    with pytest.raises(ConfigError, match="no such file"):
        config.load(tmp_path / "none.toml")
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        config.load(tmp_path / "config.toml")


def test_an_unknown_line_names_those_there_are():
    with pytest.raises(ConfigError, match=r"no line '9'.*1, 2, 3"):
        config.load(ROOT / "config.toml").line("9")


def test_every_key_is_in_the_reference():
    text = (ROOT / "docs/config.md").read_text()
    models = [config.Plant, config.Line, config.FaultMix, *config.CAMERAS.values(), *config.TABLES.values()]
    keys = {name for model in models for name in model.__struct_fields__}
    assert {key for key in keys if f"`{key}`" not in text and f".{key}`" not in text} == {"line"}
