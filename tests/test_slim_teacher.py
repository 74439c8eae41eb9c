"""The slim teacher of preset `fastest`: what is shipped, and the tool that makes it (`tools/slim_teacher.py`)."""

from __future__ import annotations

import copy
import importlib
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inspector.errors import ArtefactError
from inspector.learning import teachers
from inspector.learning.networks import EfficientNet, InvertedResidual
from inspector.learning.teachers import (
    NETWORKS,
    SLIM,
    SLIM_EXPAND,
    Shipped,
    TeacherSpec,
    load_teachers,
    read_weights,
    shipped,
)
from tests.conftest import ROOT


@pytest.fixture
def slim(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("slim_teacher")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("drawn_pictures")


# What is shipped


def test_fastest_asks_no_network_for_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*about: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(teachers.subprocess, "run", refuse)
    (teacher,), hashes = load_teachers("fastest", 1)
    source = NETWORKS[SLIM].source
    assert isinstance(source, Shipped)
    assert hashes == {SLIM: source.sha256}
    blocks = [one for one in teacher.modules() if isinstance(one, InvertedResidual)]
    assert {one.conv_dw.out_channels / one.conv_pw.in_channels for one in blocks} == {SLIM_EXPAND}
    answers = teacher(torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 255)
    assert all(float(one.std()) > 0.1 for one in answers)


def test_a_damaged_file_of_the_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = shutil.copy(shipped(SLIM), tmp_path)
    monkeypatch.setattr(teachers, "shipped", lambda network: Path(copied))
    load_teachers("fastest", 1)
    data = bytearray(Path(copied).read_bytes())
    data[-1] ^= 1
    Path(copied).write_bytes(data)
    for spoil in (lambda: None, Path(copied).unlink):
        spoil()
        with pytest.raises(
            ArtefactError, match=r"slim\.safetensors: missing or damaged; install inspector again"
        ):
            load_teachers("fastest", 1)


def test_it_says_most_of_what_the_whole_lite0_says(slim: Any, drawn: Any, shared: Path) -> None:
    """On pictures that nothing was learnt from; how much of that suffices to detect is in docs/ablation.md."""
    file = shared / "weights" / "efficientnet_lite0_trunk.safetensors"
    whole, _, _ = teachers.load_trunk(
        TeacherSpec("efficientnet_lite0", slim.STRIDES), {file: read_weights(file)}
    )
    light, _, _ = teachers.load_trunk(TeacherSpec(SLIM, slim.STRIDES), {})
    pictures = drawn.Faulty(drawn.Drawing(slim.POOL_SIDE, 5).pictures(24), slim.SIDE, 6)
    shares = slim.unexplained(light.eval(), whole.eval(), slim.pixels(pictures, 16))
    assert max(shares) < 0.3, shares


# The tool


def test_variables_are_chosen_that_explain_the_targets(slim: Any) -> None:
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(500, 12, generator=rng, dtype=torch.float64)
    values[:, 5] = values[:, 3] + 0.01 * values[:, 5]  # says again what another says
    targets = values[:, [3, 7, 11]] @ torch.randn(3, 6, generator=rng, dtype=torch.float64)
    values, targets = values - values.mean(0), targets - targets.mean(0)
    chosen = slim.most_telling(values.T @ values, values.T @ targets, 3)
    assert chosen in ([3, 7, 11], [5, 7, 11])
    everything = slim.most_telling(values.T @ values, values.T @ targets, 12)
    assert everything == list(range(12))


@pytest.mark.parametrize(("outputs", "stride"), [(8, 1), (12, 2)], ids=["with a shortcut", "without"])
def test_a_block_that_keeps_all_channels_says_the_same(slim: Any, outputs: int, stride: int) -> None:
    torch.manual_seed(1)
    block, kept, half = (
        InvertedResidual(8, outputs, 3, stride, lite=True, expand=expand).eval() for expand in (6, 6, 3)
    )
    x = torch.randn(4, 8, 24, 24)
    with torch.no_grad():
        answer = block(x)
        slim.fit(block, kept, x, answer)
        slim.fit(block, half, x, answer)
        torch.testing.assert_close(kept(x), answer, rtol=1e-2, atol=1e-2 * float(answer.std()))
        apart = (half(x) - answer).square().mean() / answer.var()
    assert 1e-4 < float(apart) < 0.5


def test_a_slim_network_says_more_than_nothing_before_it_is_taught(slim: Any, drawn: Any) -> None:
    torch.manual_seed(2)
    whole = EfficientNet((4, 8, 16), lite=True).eval().requires_grad_(False)
    pictures = drawn.Faulty(drawn.Drawing(96, 1).pictures(16), 64, 2)
    unseen = slim.pixels(drawn.Faulty(drawn.Drawing(96, 3).pictures(8), 64, 4), 8)
    light = slim.slimmed(whole, slim.pixels(pictures, 12))
    shares = slim.unexplained(light, whole, unseen)
    assert shares[0] < 0.5, shares
    torch.testing.assert_close(light.conv_stem.weight, whole.conv_stem.weight)


def test_teaching_brings_a_slim_network_nearer(slim: Any, drawn: Any) -> None:
    whole, _, _ = teachers.load_trunk(TeacherSpec(SLIM, slim.STRIDES), {})
    whole.eval().requires_grad_(False)
    spoilt, rng = copy.deepcopy(whole), torch.Generator().manual_seed(0)
    for weight in spoilt.parameters():
        weight.mul_(1 + 0.3 * torch.randn(weight.shape, generator=rng))
    pictures = drawn.Faulty(drawn.Drawing(96, 1).pictures(16), 64, 2)
    unseen = slim.pixels(drawn.Faulty(drawn.Drawing(96, 3).pictures(8), 64, 4), 8)
    before, told = slim.unexplained(spoilt, whole, unseen), []
    slim.teach(spoilt, whole, lambda: slim.pixels(pictures, 4), 20, lambda *step: told.append(step))
    after = slim.unexplained(spoilt, whole, unseen)
    assert sum(after) < 0.9 * sum(before), (before, after)
    assert [step[0] for step in told] == list(range(1, 21))
    assert not any(one.requires_grad for one in spoilt.parameters())


def test_the_same_seed_draws_the_same_pictures(drawn: Any) -> None:
    first, again, other = (drawn.Drawing(96, seed).pictures(20) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first.shape, first.dtype) == ((20, 96, 96), np.uint8)
    assert not (first == other).all((1, 2)).any()
    contrasts = first.std((1, 2))
    assert contrasts.min() > 2, "none is blank"
    assert contrasts.max() / contrasts.min() > 4


def test_squares_are_grey_or_tinted_and_within_range(drawn: Any) -> None:
    pictures = drawn.Drawing(96, 1).pictures(8)
    batch, again = (drawn.Faulty(pictures, 64, 5).batch(40) for _ in range(2))
    np.testing.assert_array_equal(batch, again)
    assert (batch.shape, batch.dtype) == ((40, 3, 64, 64), np.float32)
    assert batch.min() >= 0
    assert batch.max() <= 255
    tinted = (batch[:, 0] != batch[:, 1]).any((1, 2)).sum()
    assert 8 <= tinted <= 24
