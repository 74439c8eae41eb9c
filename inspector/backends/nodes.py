"""Which nodes of an ONNX graph lie before others, and which behind them. Nodes are in the order they run in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnx import NodeProto


def behind(nodes: Sequence[NodeProto], start: set[int]) -> set[int]:
    """Places of the nodes that what comes out of those at ``start`` goes into, however far."""
    return _reached(start, [(node.input, node.output) for node in nodes])


def before(nodes: Sequence[NodeProto], start: set[int]) -> set[int]:
    """Places of the nodes that those at ``start`` need, however far."""
    last = len(nodes) - 1
    backwards = [(node.output, node.input) for node in reversed(nodes)]
    return {last - place for place in _reached({last - place for place in start}, backwards)}


def _reached(start: set[int], nodes: list[tuple[Iterable[str], Iterable[str]]]) -> set[int]:
    """Of nodes as what goes in and what comes out."""
    reached: set[int] = set()
    tensors: set[str] = set()
    for place, (inputs, outputs) in enumerate(nodes):
        if not tensors.isdisjoint(inputs):
            reached.add(place)
        if place in reached or place in start:
            tensors.update(outputs)
    return reached
