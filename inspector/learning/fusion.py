"""How the maps of all layers become one, in deviations of good web.

    map of a layer and a distance ─▶ evened ─▶ sigma ─▶ joined with all others ─▶ sigma

A layer of stride 4, 8 or 16 is judged by direction and by size (``distance``), each a map. Light and focus change
what students get wrong over a whole tile, faults seldom do, so what such a map shows throughout the tile is taken off.
The layer of stride 32 is there for faults as wide as a tile: only half is taken off it. Its size is a matter of
brightness and not judged; ``tone`` tells that better. Strides share the weight alike, and a stride's layers among
them, so that stride 32, with one teacher, weighs what two layers of another stride do: which scale sees a fault differs
by fabric, and no good web tells beforehand which it will be. But networks prefer upright lines, most of all at stride
32; so that lines along and across the web score alike, layers of a teacher that looks turned weigh more besides
(docs/decisions/0024-counterweight.md). Networks that look at
tiles at half of their size get to stride 32 by fewer stages, and what they say there is finer: nothing is taken off
it, and it weighs as any other map (docs/decisions/0023-two-thirds.md).
This module knows nothing of networks and images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from inspector.learning.cells import Shape, block_means
from inspector.learning.normal import Normal, measure
from inspector.learning.teachers import AS_PUBLISHED, looks_at_half, pair_layers

POWER = 1.5  # of the mean over maps; 1 is a product of them, much larger the highest alone
EVENED_CELLS = 8  # side of the blocks whose median tells what a tile shows throughout
WIDE_STRIDE = 32
TURNED = 2.5  # weight of a layer whose teacher looks turned, against one of its stride that looks upright


@dataclass(frozen=True, slots=True)
class Counted:
    """How a layer counts."""

    kinds: int  # of its distances that are judged: direction, then size
    evened_share: float  # of what a tile shows throughout that is taken off
    weight: float = 1.0  # against the other layers


FINE = Counted(kinds=2, evened_share=1.0)
WIDE = Counted(kinds=1, evened_share=0.5)
WIDE_AT_HALF = Counted(kinds=1, evened_share=0.0)  # of tiles at half of their size
PUBLISHED = Counted(kinds=1, evened_share=0.0)


def counted_layers(pair: str) -> list[Counted]:
    """How each judged layer of a pair counts, in the order of ``pair_layers``."""
    layers = pair_layers(pair)
    strides = [layer.stride for layer in layers]
    if pair in AS_PUBLISHED:
        return [PUBLISHED for _ in layers]
    if looks_at_half(pair):
        return maps_alike([WIDE_AT_HALF if stride == WIDE_STRIDE else FINE for stride in strides])
    counted = weighed_alike([WIDE if stride == WIDE_STRIDE else FINE for stride in strides], strides)
    return turned_more(counted, [layer.turned for layer in layers])


def weighed_alike(layers: Sequence[Counted], strides: Sequence[int]) -> list[Counted]:
    """Give every stride the same weight, whatever the number of its layers; ``strides`` has one a layer."""
    return [
        replace(layer, weight=1 / strides.count(stride))
        for layer, stride in zip(layers, strides, strict=True)
    ]


def turned_more(layers: Sequence[Counted], turned: Sequence[bool], times: float = TURNED) -> list[Counted]:
    """Give layers of a teacher that looks turned more weight; ``turned`` has one a layer."""
    return [
        replace(layer, weight=layer.weight * times) if looks_turned else layer
        for layer, looks_turned in zip(layers, turned, strict=True)
    ]


def maps_alike(layers: Sequence[Counted]) -> list[Counted]:
    """Give every map the same weight, whatever its stride."""
    return [replace(layer, weight=float(layer.kinds)) for layer in layers]


def power_of(pair: str) -> float:
    """Exponent that a pair's maps are ``joined`` with: the paper's is a product."""
    return 1.0 if pair in AS_PUBLISHED else POWER


def weights_of(layers: Sequence[Counted]) -> list[float]:
    """What each map weighs, layer by layer; 1 in all."""
    total = sum(layer.weight for layer in layers)
    return [layer.weight / layer.kinds / total for layer in layers for _ in range(layer.kinds)]


def shares_of(layers: Sequence[Counted]) -> list[float]:
    """What is taken off each map, layer by layer, as a share of what a tile shows throughout."""
    return [layer.evened_share for layer in layers for _ in range(layer.kinds)]


def evened(maps: Tensor, shares: Sequence[float]) -> Tensor:
    """Take off a share of what each tile shows throughout, the median over blocks of its maps.

    Args:
        maps: [N, L, c, c].
        shares: L of them, of 0 to 1.
    """
    if not any(shares):
        return maps
    side = min(EVENED_CELLS, maps.shape[-1])
    whole = maps.shape[-1] // side * side
    blocks = block_means(maps[:, :, :whole, :whole], side).flatten(2)
    upper_half = torch.topk(blocks, blocks.shape[2] // 2 + 1, dim=2).values
    return maps - torch.tensor(shares).view(-1, 1, 1) * upper_half[:, :, -1, None, None]


class Scoring(nn.Module):
    """Maps to sigma: each map's own, then that of all together."""

    weights: Tensor

    def __init__(self, each: Normal, together: Normal, weights: Tensor, power: float) -> None:
        super().__init__()
        self.each = each
        self.together = together
        self.power = power
        self.register_buffer("weights", weights)

    @classmethod
    def of(
        cls, maps: Tensor, sides: Tensor, shape: Shape, weights: Sequence[float], power: float = POWER
    ) -> Scoring:
        """Take all constants from good tiles' maps [N, L, cells, cells] and their sides [N, 4].

        ``weights`` are the maps', 1 in all; ``power`` is that of ``joined``.
        """
        weighed = torch.tensor(weights)
        each = Normal(measure(maps, sides, shape.zone), shape)
        # Near a side all maps are uncertain at once, which no map's own constants tell.
        all_in_one = joined(each(maps, sides), weighed, power)[:, None]
        return cls(each, Normal(measure(all_in_one, sides, shape.zone), shape), weighed, power)

    def forward(self, maps: Tensor, sides: Tensor) -> Tensor:
        """Sigma above good tiles, [N, cells, cells]."""
        sigma: Tensor = self.together(
            joined(self.each(maps, sides), self.weights, self.power)[:, None], sides
        )
        return sigma[:, 0]


def log_by_roots(x: Tensor) -> Tensor:
    """Natural logarithm of what is 1 at least, to 1e-4 of itself up to 1e6.

    With r the 16th root of x, log x = 32 artanh((r - 1) / (r + 1)): the first terms of its series. A runtime computes
    logarithms number by number, but roots and products of eight or sixteen at once.
    """
    root = x.sqrt().sqrt().sqrt().sqrt()
    u = (root - 1) / (root + 1)
    square = u * u
    series: Tensor = 1 + square * (1 / 3 + square * (1 / 5 + square * (1 / 7)))
    return 32 * u * series


def joined(sigmas: Tensor, weights: Tensor, power: float = POWER) -> Tensor:
    """Weighed power mean over maps of log(1 + sigma), as a sigma again; below good web's mean counts as at it.

    With ``power`` 1 it is a product, as the paper's, but one that no map can bring to nothing: what several maps see
    a little of counts more than what one alone sees much of. A power above 1 gives the latter more of a say.

    Args:
        sigmas: [N, L, c, c].
        weights: [L], 1 in all.
        power: at least 1.

    Returns:
        [N, c, c].
    """
    logs = log_by_roots(1 + sigmas.clamp(min=0))
    # A root takes a runtime a fraction of the time that a power does.
    powers = logs * logs.sqrt() if power == 1.5 else logs.pow(power)
    mean = (powers * weights.view(-1, 1, 1)).sum(1).pow(1 / power)
    # A runtime's clamp may turn a NaN into 0; a sum never does. It weighs nothing otherwise.
    return mean.exp() - 1 + 0.0 * sigmas.sum(1)
