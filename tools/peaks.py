"""What a machine can do at best, measured: products of large matrices by precision, and copying.

In fp32 and bf16 it is torch's product of matrices. In int8 OpenVINO's product is set beside its convolution, and the
faster counts: without VNNI its kernel for products falls far behind the one for convolutions, and is no roof.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import openvino
import torch
from engine_runners import precisions
from openvino import opset13
from roofline import Roof

SIDE = 2048  # of the matrices
COPIED = 1 << 28  # bytes
CHANNELS, MAP = 256, 64  # of the convolution, 3x3
TIMES = 7


def roof_of(threads: int) -> Roof:
    """The machine's peaks on so many threads."""
    torch.set_num_threads(threads)
    flops = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        if name in precisions():
            one = torch.ones(SIDE, SIDE, dtype=kind)
            flops[name] = 2 * SIDE**3 / _least_s(partial(torch.mm, one, one))
    flops |= int8_peak([product(SIDE), convolution(CHANNELS, MAP)], threads)
    source, target = np.ones(COPIED, np.uint8), np.empty(COPIED, np.uint8)
    return Roof(flops, 2 * COPIED / _least_s(partial(np.copyto, target, source)))


Work = tuple[Any, int]  # OpenVINO's model, and the operations that it is


def product(side: int) -> Work:
    """Two square matrices, quantised."""
    tiles = opset13.parameter([side, side], np.float32)
    return openvino.Model(
        [opset13.matmul(_quantised(tiles), _weights(side, side), False, False)], [tiles]
    ), 2 * side**3


def convolution(channels: int, side: int) -> Work:
    """3x3, quantised, over a map of so many channels."""
    tiles = opset13.parameter([1, channels, side, side], np.float32)
    weights = _weights(channels, channels, 3, 3)
    made = opset13.convolution(_quantised(tiles), weights, [1, 1], [1, 1], [1, 1], [1, 1])
    return openvino.Model([made], [tiles]), 2 * 9 * channels**2 * side**2


def int8_peak(works: list[Work], threads: int) -> dict[str, float]:
    """FLOP/s of the fastest under "int8"; nothing where OpenVINO runs none of them in int8."""
    core, found = openvino.Core(), []
    for model, flop in works:
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
        }
        compiled = core.compile_model(model, "CPU", settings)
        if runs_in_int8(compiled):
            values = np.ones(list(compiled.input(0).get_shape()), np.float32)
            request = compiled.create_infer_request()
            found.append(flop / _least_s(partial(request.infer, {0: values}, share_inputs=True)))
    return {"int8": max(found)} if found else {}


def runs_in_int8(compiled: Any) -> bool:
    """Whether the graph that OpenVINO made of a model has its product or convolution in int8."""
    told = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ordered_ops()]
    products = [
        str(one["runtimePrecision"].astype(str))
        for one in told
        if str(one["layerType"].astype(str)) in ("FullyConnected", "MatMul", "Convolution")
    ]
    return bool(products) and all(one in ("i8", "u8") for one in products)


def _quantised(values: Any) -> Any:
    """To 256 levels: what OpenVINO makes of a pair of Q and DQ."""
    return opset13.fake_quantize(values, *(_number(end) for end in (0.0, 2.55, 0.0, 2.55)), 256)


def _weights(*shape: int) -> Any:
    values = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    ends = (_number(end) for end in (-1.27, 1.27, -1.27, 1.27))
    return opset13.fake_quantize(opset13.constant(values), *ends, 255)


def _number(value: float) -> Any:
    return opset13.constant(np.float32(value))


def _least_s(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
