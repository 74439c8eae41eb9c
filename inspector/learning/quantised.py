"""Networks in int8: around their convolutions stand what ONNX calls QuantizeLinear and DequantizeLinear.

What a convolution takes is rounded to one of 256 numbers, what it weighs with to one of 129, with a step a tensor
and a step an output channel; BatchNorm is folded in before. torch computes with the rounded numbers in float32, a
runtime that knows such pairs of nodes multiplies in int8 and gets the same sums.

    symmetric    Zero is zero and all is int8: the one form that OpenVINO, ONNX Runtime and TensorRT take. Behind a
                 ReLU it wastes a bit, since nothing is below zero there.
    129 weights  CPUs without VNNI add pairs of products of uint8 and int8 in 16 bits. Weights from -64 to 64 keep
                 within (2 * 255 * 64 = 32,640), so that such a CPU scores as any other.
    in float32   stay convolutions of pixels, the students' heads, which are little work and are compared at once,
                 and all that judges.

Steps come from good tiles alone. This module knows nothing of ONNX, recipes or training.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # torch.ops.quantized_decomposed, which torch's exporter knows
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.errors import ArtefactError
from inspector.learning.distill import LOOK, as_pixels
from inspector.learning.folding import conv_of, fold
from inspector.learning.networks import SameConv2d
from inspector.records import U8

LEAST, MOST = -128, 127  # of an int8
WEIGHT_MOST = 64
BIAS_MOST = 2**30  # of an int32, with room
CLIPPED_SHARE = 1e-4  # of what a convolution takes in a tile: so few must not cost all others their steps
LEAST_STEP = 1e-8  # where everything is zero
PIXEL_CHANNELS = 3  # a convolution that takes no more looks at pixels
HEADS = "heads."
TILES = 32  # that steps come from


class QuantisedConv2d(nn.Module):
    """A convolution that rounds what it takes, with rounded weights.

    Args:
        conv: with BatchNorm folded in.
        largest: what it takes is cut off there, above and below zero.
    """

    weight: Tensor  # int8 [out, in / groups, rows, columns]
    weight_step: Tensor  # float32 [out]

    def __init__(self, conv: nn.Conv2d, largest: float) -> None:
        super().__init__()
        self.input_step = max(largest / MOST, LEAST_STEP)
        before, after = _pads(conv)
        # torch pads both sides alike, and a padding of its own between two convolutions costs a runtime more than both:
        # a row and a column of zeros before the weights move them where one of zeros after the pixels would.
        weight = F.pad(conv.weight.detach(), (after - before, 0, after - before, 0))
        step = (weight.abs().amax((1, 2, 3)) / WEIGHT_MOST).clamp(min=LEAST_STEP)
        if conv.bias is not None:  # runtimes round it to an int32 of both steps, which must hold it
            step = torch.maximum(step, conv.bias.detach().abs() / (BIAS_MOST * self.input_step))
        self.register_buffer("weight", (weight / step.view(-1, 1, 1, 1)).round().to(torch.int8).contiguous())
        self.register_buffer("weight_step", step)
        self.bias = conv.bias
        self.stride, self.groups = conv.stride, conv.groups
        self.pad = after

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        ops = torch.ops.quantized_decomposed
        x = ops.quantize_per_tensor(x, self.input_step, 0, LEAST, MOST, torch.int8)
        x = ops.dequantize_per_tensor(x, self.input_step, 0, LEAST, MOST, torch.int8)
        weight = ops.dequantize_per_channel(self.weight, self.weight_step, None, 0, LEAST, MOST, torch.int8)
        return F.conv2d(x, weight, self.bias, self.stride, self.pad, groups=self.groups)


def quantise(network: nn.Module, good: U8) -> None:
    """Turn a network's inner convolutions into quantised ones, in place; it can learn no more.

    Args:
        network: a teacher or students, in eval mode.
        good: good tiles, uint8 [N, S, S(, 3)], N at least 1; steps come from TILES of them, spread evenly.

    Raises ArtefactError where a convolution takes what is no finite number.
    """
    chosen = good[np.linspace(0, len(good) - 1, min(TILES, len(good))).round().astype(int)]
    with torch.no_grad():
        fold(network, as_pixels(chosen[:1]))
        for name, largest in _largest(network, chosen).items():
            network.set_submodule(name, QuantisedConv2d(conv_of(network, name), largest))


def _largest(network: nn.Module, tiles: U8) -> dict[str, float]:
    """What each inner convolution takes at most, by name: of every tile all but CLIPPED_SHARE, of these the highest."""
    largest: dict[str, float] = {}

    def note(name: str, module: nn.Module, given: tuple[Tensor]) -> None:
        sizes = given[0].abs().flatten(1)
        kept = sizes.kthvalue(math.ceil((1 - CLIPPED_SHARE) * sizes.shape[1]), dim=1).values
        if not torch.isfinite(sizes).all():
            raise ArtefactError(f"int8: {name} takes what is no finite number; train again with other images")
        largest[name] = max(largest.get(name, 0.0), float(kept.max()))

    hooks = [
        conv_of(network, name).register_forward_pre_hook(partial(note, name)) for name in _inner(network)
    ]
    for start in range(0, len(tiles), LOOK):
        network(as_pixels(tiles[start : start + LOOK]))
    for hook in hooks:
        hook.remove()
    return largest


def _inner(network: nn.Module) -> list[str]:
    """Names of the convolutions that neither look at pixels nor are heads."""
    convs = [(name, one) for name, one in network.named_modules() if isinstance(one, nn.Conv2d)]
    return [name for name, one in convs if one.in_channels > PIXEL_CHANNELS and not name.startswith(HEADS)]


def _pads(conv: nn.Conv2d) -> tuple[int, int]:
    """Zeros before and after, of rows as of columns."""
    if isinstance(conv, SameConv2d):
        return conv.pads()
    assert not isinstance(conv.padding, str)
    return conv.padding[0], conv.padding[0]
