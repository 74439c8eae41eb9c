"""What good web's maps look like, cell by cell, and maps in deviations from that.

A map's mean and deviation are those of the tile's middle; towards a side the mean moves, and the deviation grows,
as they do on good tiles: a little where the margin is real, because a deep layer sees past it into the networks'
zero padding, and much where it is a mirror image (the web's own edge), because a mirrored weave is a fault to every
network, and a selvedge another cloth. This module knows nothing of networks and images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.learning.cells import ZONE_CELLS, Shape

SIDES = 4  # top, bottom, left, right
ENOUGH_TILES = 8


@dataclass(frozen=True, slots=True)
class Constants:
    """What good validation tiles look like, a map: each layer's distances. L maps, Z cells of zone."""

    mean: Tensor  # [L] in the middle
    deviation: Tensor  # [L]
    zone_mean: Tensor  # [2, L, 4, Z] by margin (real, mirrored), side and distance from it
    zone_deviation: Tensor  # [2, L, 4, Z]


class Normal(nn.Module):
    """Maps to sigma, each in its own deviations above good tiles."""

    mean: Tensor
    deviation: Tensor
    more_mean: Tensor
    more_deviation: Tensor

    def __init__(self, constants: Constants, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("mean", constants.mean.view(1, -1, 1, 1))
        self.register_buffer("deviation", constants.deviation.view(1, -1, 1, 1))
        more_mean = constants.zone_mean - constants.mean.view(-1, 1, 1)
        more_deviation = (constants.zone_deviation - constants.deviation.view(-1, 1, 1)).clamp(min=0)
        self.register_buffer("more_mean", _laid_out(more_mean, shape.cells))
        self.register_buffer("more_deviation", _laid_out(more_deviation, shape.cells))

    def forward(self, maps: Tensor, sides: Tensor) -> Tensor:
        """[N, L, cells, cells] and sides [N, 4] to sigma, [N, L, cells, cells]."""
        down, across = _by_axis(self._more(self.more_mean, sides))
        mean = self.mean + down.sum(2) + across.sum(2)
        down, across = _by_axis(self._more(self.more_deviation, sides))
        deviation = self.deviation + torch.maximum(down.amax(2), across.amax(2))
        return (maps - mean) / deviation

    def _more(self, more: Tensor, sides: Tensor) -> Tensor:
        """[N, L, 4, cells]: what each side adds along its own axis, be it real or mirrored."""
        real, mirrored = more[:1], more[1:]
        return real + sides[:, None, :, None] * (mirrored - real)


def _laid_out(zone: Tensor, cells: int) -> Tensor:
    """Lay [2, L, 4, Z], by distance from a side, out along the cells of that side's axis: [2, L, 4, cells]."""
    near, far = F.pad(zone, (0, cells - zone.shape[-1])), F.pad(zone.flip(-1), (cells - zone.shape[-1], 0))
    return torch.stack([near[:, :, 0], far[:, :, 1], near[:, :, 2], far[:, :, 3]], 2)


def _by_axis(lines: Tensor) -> tuple[Tensor, Tensor]:
    """Top and bottom [N, L, 2, cells, 1], left and right [N, L, 2, 1, cells], of [N, L, 4, cells]."""
    return lines[:, :, :2, :, None], lines[:, :, 2:, None, :]


def measure(maps: Tensor, sides: Tensor, zone: int) -> Constants:
    """Take the constants from good tiles' maps [N, L, cells, cells] and their mirrored sides [N, 4]."""
    cells = maps.shape[-1]
    inner = slice(zone, cells - zone)
    middle = maps[:, :, inner, inner].transpose(0, 1).flatten(1)  # [L, values]
    mean, deviation = middle.mean(1), middle.std(1)
    # What lies along a side, without the corners: there two sides would be mixed.
    strips = [maps, maps.flip(2), maps.transpose(2, 3), maps.transpose(2, 3).flip(2)]
    along = [strip[:, :, :zone, inner] for strip in strips]
    mirrored, real = sides > 0.5, sides < 0.5
    # In small tiles a mirrored side reaches the one across, so tiles without any are better where there are enough: of
    # one or two, whatever they happen to show would be good web's own. In others the strips have no corners.
    free = real.all(1, keepdim=True)
    takes_free = zone < ZONE_CELLS and int(free.sum()) >= ENOUGH_TILES
    zones = [
        _zones([strip[chosen] for strip, chosen in zip(along, on.T, strict=True)], mean, deviation)
        for on in (real & free if takes_free else real, mirrored)
    ]
    means, deviations = (torch.stack(kind) for kind in zip(*zones, strict=True))
    return Constants(mean, deviation, means, deviations)


def _zones(strips: Sequence[Tensor], mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [L, 4, Z] along the sides, from one [n, L, Z, values] each.

    A side that no tile shows gets what the others show, taken together; where no side shows any, the middle's.
    """
    together = torch.cat(list(strips))
    means, deviations = [], []
    for strip in strips:
        of = strip if len(strip) else together
        if len(of):
            line = of.permute(1, 2, 0, 3).flatten(2)  # [L, Z, values]
            means.append(line.mean(2))
            deviations.append(line.std(2))
        else:
            means.append(mean[:, None].expand(-1, strip.shape[2]))
            deviations.append(deviation[:, None].expand(-1, strip.shape[2]))
    return torch.stack(means, 1), torch.stack(deviations, 1)
