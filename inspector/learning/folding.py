"""BatchNorm folded into the convolutions before it: the same network with half as many parts."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn


def fold(network: nn.Module, pixels: Tensor) -> None:
    """Fold every BatchNorm into the convolution whose answer it is given, in place; it can learn no more.

    Args:
        network: in eval mode.
        pixels: float32 [N, channels, S, S], to find out which answers which.
    """
    answers: list[tuple[Tensor, str]] = []
    pairs: list[tuple[str, str]] = []

    def note(name: str, module: nn.Module, given: tuple[Tensor], answer: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            answers.append((answer, name))
        else:
            pairs.append((next(conv for said, conv in answers if said is given[0]), name))

    parts = [one for one in network.named_modules() if isinstance(one[1], nn.Conv2d | nn.BatchNorm2d)]
    hooks = [module.register_forward_hook(partial(note, name)) for name, module in parts]
    with torch.no_grad():
        network(pixels)
    for hook in hooks:
        hook.remove()
    for conv, norm in pairs:
        before = network.get_submodule(norm)
        assert isinstance(before, nn.BatchNorm2d)
        network.set_submodule(conv, nn.utils.fusion.fuse_conv_bn_eval(conv_of(network, conv), before))
        network.set_submodule(norm, nn.Identity())


def conv_of(network: nn.Module, name: str) -> nn.Conv2d:
    """Return the convolution of that name."""
    conv = network.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)
    return conv
