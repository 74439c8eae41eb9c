"""Presets' graphs of random weights: for what depends on their shapes alone, as time and types do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from inspector.learning.cells import Shape
from inspector.learning.distill import as_pixels
from inspector.learning.export import InspectionGraph, build_graph
from inspector.learning.quantised import quantise
from inspector.learning.students import build_students
from inspector.learning.teachers import random_teachers
from inspector.records import U8

TILES = 8  # of noise, that the constants come from


def noise(shape: Shape, count: int, seed: int = 0) -> U8:
    """Tiles, uint8 [count, *tile_shape]."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape.tile_shape), dtype=np.uint8)


def random_graph(preset: str, shape: Shape, *, int8: bool = False) -> InspectionGraph:
    """A preset's graph as ``train`` puts it together, but of networks that know nothing; seeded."""
    teachers = random_teachers(preset, shape.channels, 0)
    students = build_students(preset, shape.channels, 1).eval()
    tiles = noise(shape, TILES)
    _give_biases([*teachers, students])
    if int8:
        for network in (*teachers, students):
            _awaken(network, tiles)
            quantise(network, tiles)
    with torch.no_grad():  # as training begins: deviations that are all 1 would be one constant with others
        students.fit([tap for teacher in teachers for tap in teacher(as_pixels(tiles))])
    return build_graph(teachers, students, tiles, shape, pair=preset)


def _give_biases(networks: Sequence[nn.Module]) -> None:
    """To every BatchNorm, as training does: a bias of 0 is left out of the graph, and nobody would count its work.

    No two are alike: what is, the exporter keeps once, and a student would lean on its teacher.
    """
    generator = torch.Generator().manual_seed(2)
    for module in (one for network in networks for one in network.modules()):
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, 0, 0.1, generator=generator)


def _awaken(network: nn.Module, tiles: U8) -> None:
    """Let every BatchNorm see tiles: without, deep layers of random weights hardly move, and int8 rounds that away."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        network(as_pixels(tiles))
    for norm in norms:
        norm.eval()
