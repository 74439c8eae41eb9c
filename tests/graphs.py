"""Tiny ONNX graphs that keep the contract of a recipe's graph, and recipes around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from inspector.backends.artifact import SCHEMA, Recipe, Training, sha256_of, write_recipe

TILE_PX, MARGIN_PX, PX_PER_CELL = 32, 8, 4
SIDE_PX = TILE_PX + 2 * MARGIN_PX
POISON = 7  # a cell that is all of this grey scores 0 / 0


def tiny_graph(channels: int = 1, seed: int = 0, poison: int = POISON, sees_its_batch: bool = False) -> bytes:
    """Grey, two 3x3 convolutions, energy per cell of the interior; NaN for a cell that is all of grey ``poison``.

    Where it ``sees_its_batch``, its zero is the mean of whatever tiles come together.
    """
    rng = np.random.default_rng(seed)
    constants = {
        "poison": np.float32(poison),
        "mean": np.float32(127),
        "scale": np.float32(1 / 8),
        "first": rng.normal(0, 0.3, (8, 1, 3, 3)).astype(np.float32),
        "second": rng.normal(0, 0.2, (8, 8, 3, 3)).astype(np.float32),
        "colours": np.array([-1], np.int64) if channels == 3 else np.array([1], np.int64),
        "one": np.array([1], np.int64),
        "low": np.array([MARGIN_PX, MARGIN_PX], np.int64),
        "high": np.array([-MARGIN_PX, -MARGIN_PX], np.int64),
        "axes": np.array([2, 3], np.int64),
        "cells": np.array([1, 2], np.int64),
        "batch": np.array([0], np.int64),
    }
    node = helper.make_node
    cell = {"kernel_shape": [PX_PER_CELL] * 2, "strides": [PX_PER_CELL] * 2}
    nodes = [node("Cast", ["tiles"], ["float"], to=TensorProto.FLOAT)]
    if channels == 3:
        nodes += [node("ReduceMean", ["float", "colours"], ["mono"], keepdims=0)]
    else:
        nodes += [node("Identity", ["float"], ["mono"])]
    nodes += [
        node("Unsqueeze", ["mono", "one"], ["grey"]),
        node("ReduceMean", ["grey", "batch"], ["mean of the batch"], keepdims=1),
        node("Sub", ["grey", "mean of the batch" if sees_its_batch else "mean"], ["centred"]),
        node("Mul", ["centred", "scale"], ["x"]),
        node("Conv", ["x", "first"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "second"], ["c"], pads=[1, 1, 1, 1]),
        node("Mul", ["c", "c"], ["d"]),
        node("ReduceMean", ["d", "one"], ["energy"], keepdims=1),
        node("Slice", ["energy", "low", "high", "axes"], ["interior"]),
        node("AveragePool", ["interior"], ["pooled"], **cell),
        node("Sub", ["grey", "poison"], ["off"]),
        node("Abs", ["off"], ["distance"]),
        node("Slice", ["distance", "low", "high", "axes"], ["inner"]),
        node("AveragePool", ["inner"], ["clean"], **cell),
        node("Div", ["clean", "clean"], ["unity"]),
        node("Mul", ["pooled", "unity"], ["scaled"]),
        node("Squeeze", ["scaled", "one"], ["map"]),
        node("ReduceMax", ["map", "cells"], ["score"], keepdims=0),
    ]
    used = {name for one in nodes for name in one.input}
    shape = ["N", SIDE_PX, SIDE_PX] + ([3] if channels == 3 else [])
    cells = TILE_PX // PX_PER_CELL
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, shape)],
        [
            helper.make_tensor_value_info("map", TensorProto.FLOAT, ["N", cells, cells]),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
        ],
        [
            numpy_helper.from_array(np.asarray(value), name)
            for name, value in constants.items()
            if name in used
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def write_tiny_recipe(
    engine_dir: Path, channels: int = 1, seed: int = 0, graph: bytes | None = None
) -> Recipe:
    """Write recipe.toml and model.onnx of a tiny graph into ``engine_dir``."""
    model = tiny_graph(channels, seed) if graph is None else graph
    recipe = Recipe(
        schema=SCHEMA,
        name=engine_dir.name,
        tile_px=TILE_PX,
        margin_px=MARGIN_PX,
        px_per_cell=PX_PER_CELL,
        channels=channels,
        teachers=("none",),
        onnx_sha256=sha256_of(model),
        training=Training(
            date_utc="2000-01-01T00:00:00+00:00",
            inspector="0",
            data="made up",
            learnt={"train/good/0.png": "1" * 64},
            validation={"train/good/1.png": "2" * 64},
            seed=seed,
            epochs=0,
        ),
    )
    write_recipe(engine_dir, recipe)
    (engine_dir / "model.onnx").write_bytes(model)
    return recipe
