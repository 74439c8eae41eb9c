"""Every name of TensorRT that the backend uses, against the real bindings of the versions it is to work with.

`tools/trt_names.py` made the table from the bindings' wheels. That a name is there and takes these arguments is shown;
what the library behind it does is not.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from inspector.backends import tensorrt
from inspector.errors import ArtefactError

ROOT = Path(__file__).resolve().parents[1]
HEAD, *ROWS = [line.split("\t") for line in (ROOT / "tests" / "trt_names.tsv").read_text().splitlines()]
TABLE = {version: {row[0]: row[column] for row in ROWS} for column, version in enumerate(HEAD) if column}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("trt_names")


def takes(overloads: str, positional: int, keywords: tuple[str, ...]) -> bool:
    """Whether one of "(a, b=) | (c)" can be called so."""
    for overload in re.findall(r"\((.*?)\)", overloads):
        arguments = [argument for argument in overload.split(", ") if argument]
        rest = arguments[positional:]
        given = {*keywords}
        needed = {argument for argument in rest if not argument.endswith("=")}
        if positional <= len(arguments) and needed <= given <= {argument.rstrip("=") for argument in rest}:
            return True
    return False


def faults(names: ModuleType, table: dict[str, str]) -> list[str]:
    """Names that aren't there and aren't asked for first, and calls that no overload takes."""
    found = []
    source = "".join(module.read_text() for module in names.MODULES)
    for use in names.uses():
        there = table.get(use.name, names.ABSENT)
        owner, _, member = use.name.rpartition(".")
        if there == names.ABSENT:
            if f'hasattr(trt.{owner}, "{member}")' not in source:
                found.append(f"{use.name} isn't there")
        elif use.positional is not None and not takes(there, use.positional, use.keywords):
            found.append(f"{use.name} takes {there}, not {use.positional} and {use.keywords}")
    return found


def test_the_table_spans_the_versions_that_are_promised() -> None:
    versions = [tuple(int(part) for part in version.split(".")[:2]) for version in TABLE]
    assert versions == [(10, 3), (10, 16), (11, 4)]


@pytest.mark.parametrize("version", TABLE)
def test_all_names_are_there_and_take_these_arguments(names: ModuleType, version: str) -> None:
    assert len({use.name for use in names.uses()}) > 35
    assert faults(names, TABLE[version]) == []


def test_the_table_holds_what_is_used_and_no_more(names: ModuleType) -> None:
    """Otherwise run `python tools/trt_names.py > tests/trt_names.tsv`."""
    assert {row[0] for row in ROWS} == {use.name for use in names.uses()}


def test_a_name_that_is_gone_and_a_wrong_call_are_found(names: ModuleType) -> None:
    table = dict(TABLE["10.3.0"])
    table["IExecutionContext.set_tensor_address"] = "(name)"
    table["IBuilderConfig.set_timing_cache"] = "(cache, strictly)"
    table["BuilderFlag.TF32"] = "-"
    assert sorted(fault.partition(" ")[0] for fault in faults(names, table)) == [
        "BuilderFlag.TF32",
        "IBuilderConfig.set_timing_cache",
        "IExecutionContext.set_tensor_address",
    ]


def test_the_library_that_is_installed_has_them_too(names: ModuleType) -> None:
    """TensorRT for RTX, as a rule."""
    try:
        library = importlib.import_module(tensorrt.library_version().split()[0])
    except ArtefactError as error:
        pytest.skip(str(error))
    assert faults(names, names.described(library, sorted({use.name for use in names.uses()}))) == []
