"""Which names of TensorRT the backend uses, and whether they are there in the versions it is to work with.

    python tools/trt_names.py > tests/trt_names.tsv

Lets pip fetch the Python bindings of each version, without the gigabytes of NVIDIA's libraries, gives them empty
libraries to link to (cc is needed), imports them and asks for every name that `inspector/backends` uses: arguments of
a method, overload by overload. What the libraries do is not seen by this.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BINDINGS = (
    "tensorrt-cu12-bindings==10.3.0",
    "tensorrt-cu12-bindings==10.16.1.11",
    "tensorrt-cu13-bindings==11.4.0.106",
)
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
MODULES = [
    Path(__file__).resolve().parents[1] / "inspector" / "backends" / name
    for name in ("tensorrt.py", "tensorrt_runtime.py", "tensorrt_engine.py")
]
# What the backend calls an object, and what TensorRT calls its class.
OBJECTS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "objection": "ParserError",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "timings": "ITimingCache",
    "_runtime": "Runtime",
    "runtime": "Runtime",
    "_engine": "ICudaEngine",
    "context": "IExecutionContext",
}
ABSENT = "-"


@dataclass(frozen=True, slots=True)
class Use:
    """A name of the library where it is used; with arguments where it is called."""

    name: str  # "IBuilderConfig.set_flag"
    positional: int | None = None  # None: not called
    keywords: tuple[str, ...] = ()


def main() -> int:
    """Print the table, tab-separated."""
    names = sorted({use.name for use in uses()})
    columns = {}
    with tempfile.TemporaryDirectory(prefix="inspector-trt-names-") as folder:
        for requirement in BINDINGS:
            columns[requirement.partition("==")[2]] = names_of(requirement, Path(folder) / requirement, names)
    print("\t".join(["name", *columns]))
    for name in names:
        print("\t".join([name, *(column[name] for column in columns.values())]))
    return 0


def uses() -> list[Use]:
    """Every name of TensorRT that the backend's modules use."""
    found = []
    for module in MODULES:
        tree = ast.parse(module.read_text())
        called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            name = _name(node) if isinstance(node, ast.Attribute) else None
            if name is None:
                continue
            call = called.get(id(node))
            if call is None or any(isinstance(argument, ast.Starred) for argument in call.args):
                found.append(Use(name))
            else:
                found.append(Use(name, len(call.args), tuple(str(one.arg) for one in call.keywords)))
    return found


def _name(node: ast.Attribute) -> str | None:
    """ "BuilderFlag.TF32" for trt.BuilderFlag.TF32, "IBuilderConfig.set_flag" for config.set_flag."""
    if node.attr.startswith("__"):
        return None
    owner = node.value
    word = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    if word in ("trt", "_trt"):
        return node.attr
    if word in OBJECTS:
        return f"{OBJECTS[word]}.{node.attr}"
    if isinstance(owner, ast.Attribute):
        outer = _name(owner)
        return f"{outer}.{node.attr}" if outer is not None and outer[0].isupper() else None
    return None


def names_of(requirement: str, folder: Path, names: list[str]) -> dict[str, str]:
    """What a version of the bindings has under those names."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*pip, "--dest", str(folder), requirement], check=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    source = "".join(f"int {symbol}(void) {{ return 0; }}\n" for symbol in SYMBOLS)
    major = requirement.partition("==")[2].partition(".")[0]
    for library in LIBRARIES:
        file = f"lib{library}.so.{major}"
        cc = ["cc", "-shared", "-fPIC", "-x", "c", "-", f"-Wl,-soname,{file}", "-o", str(folder / file)]
        subprocess.run(cc, input=source, text=True, check=True)
    code = (
        f"import sys; sys.path[:0] = [{str(folder)!r}, {str(Path(__file__).parent)!r}]\n"
        "import json, tensorrt_bindings, trt_names\n"
        f"print(json.dumps(trt_names.described(tensorrt_bindings, {names!r})))"
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return dict(json.loads(ran.stdout))


def described(library: Any, names: list[str]) -> dict[str, str]:
    """Each name with its overloads' arguments, "there" where it takes none of its own, ABSENT where it isn't."""
    return {name: _described(library, name) for name in names}


def _described(library: Any, name: str) -> str:
    there = library
    for part in name.split("."):
        if not hasattr(there, part):
            return ABSENT
        there = getattr(there, part)
    method = "__init__" if isinstance(there, type) else name.rpartition(".")[2]
    described_by = getattr(there, method, there)  # a class by what makes one
    return " | ".join(overloads(described_by.__doc__ or "", method)) or "there"


def overloads(text: str, method: str) -> Iterator[str]:
    """ "(cache, ignore_mismatch)" from a docstring of pybind11; an argument with a default bears a "="."""
    for line in text.splitlines():
        match = re.match(rf"(?:\d+\. )?{method}\((.*)\) -> ", line)
        if match is None or match[1].startswith("*args"):
            continue
        arguments = re.findall(r"(?:^|, )(\w+): (?:[^,=\[\]]|\[[^\]]*\])+(=)?", match[1])
        kept = [name + ("=" if default else "") for name, default in arguments if name != "self"]
        yield f"({', '.join(kept)})"


if __name__ == "__main__":
    sys.exit(main())
