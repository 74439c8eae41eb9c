"""Distances between what a teacher says and what a student says, cell by cell."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inspector.learning.distance import Direction, DirectionAndSize, unit


def features(seed: int) -> Tensor:
    return torch.randn(2, 24, 6, 5, generator=torch.Generator().manual_seed(seed)) * 3


def test_features_of_length_1_are_those_of_a_norm() -> None:
    torch.testing.assert_close(unit(features(0)), F.normalize(features(0), dim=1))


def test_features_of_no_length_stay_so_and_can_be_learnt_from() -> None:
    learnt = torch.zeros(1, 24, 2, 2, requires_grad=True)
    Direction()(features(0)[:1, :, :2, :2], learnt).sum().backward()
    assert (unit(learnt) == 0).all()
    assert learnt.grad is not None
    assert torch.isfinite(learnt.grad).all()


def test_direction_forgets_the_length_and_size_does_not() -> None:
    taught = features(0)
    both = DirectionAndSize(24)
    both.fit(taught)
    direction, size = both(taught, 2 * taught).unbind(1)
    assert float(direction.detach().abs().max()) < 1e-6
    torch.testing.assert_close(size, 0.5 * (taught / both.deviation).square().mean(1))
    opposite, _ = both(taught, -taught).unbind(1)
    torch.testing.assert_close(opposite, torch.full_like(opposite, 4.0))
    torch.testing.assert_close(Direction()(taught, -taught), torch.full((2, 1, 6, 5), 2.0))
