"""docs/wire.md is the reference: its fields are wire.py's, and its subscriber works as printed."""

from __future__ import annotations

import contextlib
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from inspector.bus import publisher, wire
from inspector.bus.wire import Header, MapShape, State
from inspector.config import Overload
from inspector.line import HEARTBEAT_S, SLOW_SEVERITY, STUCK_S, UNLIKE_SEVERITY
from inspector.records import Outcome, Reason
from tests.conftest import ROOT
from tests.talking_line import PATIENCE_S, defect, evidence, make_site, talking, verdict

WIRE = (ROOT / "docs" / "wire.md").read_text()
README = (ROOT / "README.md").read_text()


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no heading {title!r}"
    return found[1]


def first_column(text: str, head: str) -> Iterator[str]:
    """The `code` words in the first column of the table whose head begins with ``head``."""
    found = re.search(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found, f"no table {head!r}"
    for row in found[1].splitlines():
        yield from re.findall(r"`([^`]+)`", row.split("|")[1])


def types(text: str, head: str) -> dict[str, str]:
    """Field -> type of a table."""
    found = re.search(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found
    rows = [row.split("|") for row in found[1].splitlines()]
    return {name: row[2].strip() for row in rows for name in re.findall(r"`([^`]+)`", row[1])}


def test_a_lamp_is_told_the_severities_that_a_line_sends() -> None:
    told = section(WIRE, "alarm")
    for severity, code in ((UNLIKE_SEVERITY, "unlike"), (SLOW_SEVERITY, "slow")):
        assert f"| {severity} | `{code}` |" in told


def fields_of(model: type[msgspec.Struct]) -> set[str]:
    return set(model.__struct_fields__)


def test_the_common_table_has_every_field_and_no_other() -> None:
    assert set(first_column(section(WIRE, "Every header"), "field")) == fields_of(Header)


@pytest.mark.parametrize("kind", wire.KINDS)
def test_a_kinds_table_has_every_field_and_no_other(kind: str) -> None:
    named = list(first_column(section(WIRE, kind), "field"))
    assert len(named) == len(set(named))
    assert set(named) == fields_of(wire.KINDS[kind]) - fields_of(Header)


def test_the_maps_table_has_every_field_and_no_other() -> None:
    assert set(first_column(section(WIRE, "tile"), "field of `map`")) == fields_of(MapShape)


WORDS = {
    "text": "str",
    "integer": "int",
    "number": "float",
    "bool": "bool",
    "number or null": "float | None",
    "list of text": "tuple[str, ...]",
}


@pytest.mark.parametrize("kind", wire.KINDS)
def test_the_tables_types_are_the_headers(kind: str) -> None:
    said = types(section(WIRE, "Every header"), "field") | types(section(WIRE, kind), "field")
    simple = {"int", "float", "str", "bool", "float | None", "tuple[str, ...]"}
    for field in msgspec.structs.fields(wire.KINDS[kind]):
        written = type_name(field.type)
        assert written in simple or said[field.name] == "object", field.name
        if written in simple:
            assert WORDS[said[field.name]] == written, field.name


def type_name(kind: object) -> str:
    """A field's type as the table has words for it."""
    plain = getattr(kind, "__origin__", kind) if hasattr(kind, "__metadata__") else kind
    if (isinstance(plain, type) and issubclass(plain, str)) or "Literal" in str(plain):
        return "str"
    return plain.__name__ if isinstance(plain, type) and not hasattr(plain, "__args__") else str(plain)


def test_every_state_reason_and_outcome_is_explained() -> None:
    assert set(first_column(section(WIRE, "States"), "state")) == {state.value for state in State}
    reasons = {reason.value for reason in Reason if reason is not Reason.NONE}
    assert set(first_column(section(WIRE, "verdict"), "reason")) == reasons
    for outcome in Outcome:
        assert f"`{outcome.value}`" in section(WIRE, "verdict")


def test_the_figures_are_the_codes() -> None:
    sockets, replay = section(WIRE, "Sockets"), section(WIRE, "Replay")
    assert f"{publisher.VERDICTS_HWM} messages" in sockets
    assert f"{publisher.MAPS_HWM} messages" in sockets
    assert f"every {publisher.ZMTP_HEARTBEAT_MS} ms" in sockets
    assert f"{publisher.ZMTP_TIMEOUT_MS} ms" in sockets
    assert f"{publisher.LAST_WORDS_MS} ms" in sockets
    assert f"The last {publisher.KEPT:,} of each" in replay
    assert f"{publisher.MOST_PER_ANSWER} at most" in replay
    times = section(WIRE, "Times")
    assert f"| heartbeat | every {HEARTBEAT_S * 1000:.0f} ms" in times
    assert f"`overload.deadline_ms`, {Overload().deadline_ms:.0f} ms unless" in times
    assert f"| an engine that doesn't come back from a frame | {STUCK_S:.0f} s |" in times
    assert f"every {publisher.ZMTP_HEARTBEAT_MS} ms, answer within {publisher.ZMTP_TIMEOUT_MS} ms" in times


# -- the ten lines -----------------------------------------------------------------------------------


def ten_lines(text: str, title: str = "A subscriber in ten lines") -> str:
    found = re.search(r"```python\n(.*?)```", section(text, title), re.DOTALL)
    assert found
    return found[1]


def test_the_readmes_subscriber_is_the_references() -> None:
    assert ten_lines(README) == ten_lines(WIRE)


def test_it_has_ten_lines_and_imports_nothing_of_ours() -> None:
    lines = [line for line in ten_lines(WIRE).splitlines() if line.strip()]
    assert len(lines) == 10
    assert "import inspector" not in ten_lines(WIRE)


def test_the_ten_lines_work_as_printed(tmp_path: Path) -> None:
    """The block itself, in a process and a folder of its own, against a real publisher; then the line falls silent."""
    script = tmp_path / "listen.py"
    script.write_text(ten_lines(WIRE))
    with talking(make_site(tmp_path)) as line:
        command = [sys.executable, "-u", "-I", script, line.publisher.endpoints[0], "1"]
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            said = 0
            while not readable(process.stdout, 0.05):
                line.do(lambda p, n=said: p.publish_verdict(verdict(n)))
                said += 1
                assert process.poll() is None, process.communicate()[1]
            words = process.stdout.readline().split()
            line.mute()
            _, err = process.communicate(timeout=30)
    number = int(words[0]) - 1
    assert words[1] == "0"
    assert [float(word) for word in words[2:4]] == pytest.approx([number * 0.1024, (number + 1) * 0.1024])
    assert words[4] == "PASS"
    assert "zmq.error.Again" in err


def test_the_ten_lines_that_save_pictures_work_as_printed(tmp_path: Path) -> None:
    """Against a real publisher; the second picture says that the first is whole."""
    code = ten_lines(WIRE, "Pictures of defects in ten lines")
    assert len([line for line in code.splitlines() if line.strip()]) == 10
    script, pictures = tmp_path / "pictures.py", tmp_path / "pictures"
    script.write_text(code)
    pictures.mkdir()
    strip, scores = evidence()
    with talking(make_site(tmp_path)) as line:
        command = [sys.executable, "-I", script, line.publisher.endpoints[1], "1"]
        with subprocess.Popen(command, cwd=pictures, stderr=subprocess.PIPE, text=True) as process:
            until_s = time.monotonic() + PATIENCE_S
            while len(list(pictures.iterdir())) < 2:
                line.do(lambda p: p.publish_evidence(strip, scores, [verdict(outcome=Outcome.FAIL)], 7.0))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < until_s
            process.kill()
    first, _ = sorted(pictures.iterdir(), key=lambda file: int(file.name.split("-")[1]))[:2]
    assert first.name.split("-", 2)[2] == f"{defect().defect_id}.png"
    tile = cv2.imread(str(first), cv2.IMREAD_UNCHANGED)
    assert tile.shape == (64, 64)
    assert np.all(tile == 90)


def readable(stream: object, timeout_s: float) -> bool:
    return bool(select.select([stream], [], [], timeout_s)[0])
