"""Distillation: modes, seeds, interruption; weights that are not vouched for."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from inspector.cli.recipe import teach, train
from inspector.errors import ArtefactError, ConfigError
from inspector.learning import distill as distillation
from inspector.learning.course import decay_of, hard_share_of
from inspector.learning.distill import (
    DECAY,
    GAIN,
    HARD_SHARE,
    LOW_RATE_SHARE,
    Course,
    Lesson,
    Standing,
    distill,
    hardest,
    look,
    stalled,
)
from inspector.learning.networks import EfficientNet, ResNet18
from inspector.learning.students import build_students
from inspector.learning.teachers import (
    AS_PUBLISHED,
    NETWORKS,
    PAIRS,
    Teacher,
    TeacherSpec,
    at_half,
    build_trunk,
    load_teachers,
    official_keys,
    pair_layers,
    random_teachers,
    read_weights,
)

SIDE = 64
EPOCHS = 3


def silent(done: int, total: int, note: str = "") -> None:
    assert 0 <= done <= total


def tiles(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 200, (count, SIDE, SIDE), np.uint8)


@pytest.fixture(scope="module")
def lessons() -> tuple[Lesson, Lesson]:
    teachers = random_teachers("balanced", 1, 0)
    return look(teachers, tiles(17, 1), silent), look(teachers, tiles(3, 2), silent)


def trained(
    lessons: tuple[Lesson, Lesson], folder: Path, *, seed: int = 0, progress: object = silent
) -> tuple[nn.Module, Standing]:
    students = build_students("balanced", 1, seed)
    standing = distill(students, *lessons, Course(EPOCHS, seed, "test"), folder, progress)  # type: ignore[arg-type]
    return students, standing


def test_a_training_without_a_loss_that_is_a_number_is_none(
    lessons: tuple[Lesson, Lesson], tmp_path: Path
) -> None:
    taught, held_back = lessons
    spoilt = [layer.clone() for layer in taught.features]
    spoilt[0].view(-1)[0] = math.inf
    students = build_students("balanced", 1, 0)
    with pytest.raises(ArtefactError, match="the loss of all 2 epochs is no number, so nothing was learnt"):
        distill(
            students,
            dataclasses.replace(taught, features=spoilt),
            held_back,
            Course(2, 0, "t"),
            tmp_path,
            silent,
        )


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_without_decay_it_is_adam_and_ours_has_some(
    lessons: tuple[Lesson, Lesson], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What presets that are as published learn by."""
    decays: list[float] = []

    def adam(parameters: Any, rate: float, weight_decay: float) -> torch.optim.Adam:
        decays.append(weight_decay)
        return torch.optim.Adam(parameters, rate)

    students = [build_students("reduced", 1, 0) for _ in range(2)]
    taught = [look(random_teachers("reduced", 1, 0), tiles(count, count), silent) for count in (6, 2)]
    distill(students[0], *taught, Course(EPOCHS, 0, "test", decay=0.0), tmp_path / "own", silent)
    monkeypatch.setattr(torch.optim, "AdamW", adam)
    distill(students[1], *taught, Course(EPOCHS, 0, "test", decay=0.0), tmp_path / "adam", silent)
    assert same(*students)
    trained(lessons, tmp_path / "ours")
    assert decays == [0.0, DECAY]
    assert {pair: decay_of(pair) for pair in PAIRS} == {
        pair: 0.0 if pair in ("paper", "reduced") else DECAY for pair in PAIRS
    }


def test_what_is_wrong_most_counts_each_distance_on_its_own() -> None:
    direction = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[0.0, 0.0], [0.0, 10.0]]]])  # [2, 1, 2, 2]
    size = 100 - direction
    both = torch.cat([direction, size], 1)
    torch.testing.assert_close(hardest(both, 0.25), torch.tensor([(10 + 4) / 2, 100.0]))
    torch.testing.assert_close(hardest(both, 1.0), both.mean((0, 2, 3)))
    torch.testing.assert_close(hardest(both, 0.01), torch.tensor([10.0, 100.0]))  # never none


def test_students_learn_from_the_cells_that_are_wrong_most(
    lessons: tuple[Lesson, Lesson], tmp_path: Path
) -> None:
    """And ours do so by default; what is as published learns from all."""

    def loss(name: str, **course: float) -> float:
        students = build_students("balanced", 1, 0)
        standing = distill(students, *lessons, Course(1, 0, "test", **course), tmp_path / name, silent)  # type: ignore[arg-type]
        return standing.losses[0]

    hard, usual, everywhere = loss("hard", hard_share=0.05), loss("usual"), loss("all", hard_share=1.0)
    assert hard > usual > everywhere
    assert {pair: hard_share_of(pair) for pair in PAIRS} == {
        pair: 1.0 if pair in ("paper", "reduced") else HARD_SHARE for pair in PAIRS
    }


def test_one_seed_gives_one_result(lessons: tuple[Lesson, Lesson], tmp_path: Path) -> None:
    first, standing = trained(lessons, tmp_path / "a")
    second, again = trained(lessons, tmp_path / "b")
    other, _ = trained(lessons, tmp_path / "c", seed=1)
    assert same(first, second)
    assert (standing.losses, standing.validation) == (again.losses, again.validation)
    assert not same(first, other)
    assert standing.losses[-1] < standing.losses[0]


@pytest.mark.parametrize("interrupted_after", [1, 2])
def test_an_interrupted_training_ends_like_an_uninterrupted_one(
    lessons: tuple[Lesson, Lesson], tmp_path: Path, interrupted_after: int
) -> None:
    def interrupt(done: int, total: int, note: str = "") -> None:
        if done == interrupted_after:
            raise KeyboardInterrupt

    whole, standing = trained(lessons, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(lessons, tmp_path / "broken", progress=interrupt)
    notes: list[str] = []
    resumed, after = trained(
        lessons, tmp_path / "broken", progress=lambda done, total, note="": notes.append(note)
    )
    assert notes[0] == f"goes on after epoch {interrupted_after}"
    assert len(notes) == 1 + EPOCHS - interrupted_after
    assert same(whole, resumed)
    assert (after.losses, after.validation) == (standing.losses, standing.validation)


def test_the_seconds_left_are_those_of_an_epoch_times_the_epochs_to_come(
    lessons: tuple[Lesson, Lesson], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs of 4, 8 and 10 s by a clock of ours; those before an interruption count."""
    told: list[str] = []

    def run(interrupted_after: int, *clock: float) -> None:
        def hear(done: int, total: int, note: str = "") -> None:
            told.append(note.rpartition(", ")[2])
            if done == interrupted_after:
                raise KeyboardInterrupt

        monkeypatch.setattr(distillation, "time", SimpleNamespace(monotonic=iter(clock).__next__))
        distill(build_students("balanced", 1, 0), *lessons, Course(4, 0, "test"), tmp_path, hear)

    with pytest.raises(KeyboardInterrupt):
        run(2, 100, 104, 200, 208)
    run(0, 0, 10, 50, 52)
    assert told == ["12 s left", "12 s left", "goes on after epoch 2", "7 s left", "0 s left"]


def test_a_training_ends_when_validation_gains_no_more_but_never_while_the_rate_is_high() -> None:
    course = Course(40, 0, "test", patience=4)
    low = math.ceil(LOW_RATE_SHARE * course.epochs)
    flat = [1.0] * course.epochs
    ends = [done for done in range(course.epochs) if stalled(flat[:done], course)]
    assert ends[0] == low + course.patience
    said = stalled(flat[: ends[0]], course)
    assert said == "after 30 of 40 epochs: 4 without a gain of 0.5% on validation tiles"
    late = [*flat[:29], *[0.9] * 11]  # the 30th epoch gains: patience begins anew
    assert next(done for done in range(40) if stalled(late[:done], course)) == 30 + course.patience
    creeping = [(1 - GAIN / 10) ** epoch for epoch in range(40)]
    assert stalled(creeping[: ends[0]], course)
    falling = [(1 - GAIN) ** epoch for epoch in range(40)]
    assert not any(stalled(falling[:done], course) for done in range(40))
    assert not stalled(flat, course), "all its epochs are done"
    assert not any(stalled(flat[:done], Course(40, 0, "test")) for done in range(40))


@pytest.mark.parametrize("interrupted_after", [3, 9])
def test_a_training_that_ends_early_ends_the_same_after_an_interruption(
    lessons: tuple[Lesson, Lesson], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted_after: int
) -> None:
    """Interrupted before it ended, and after it had, with the last checkpoint written."""
    monkeypatch.setattr(distillation, "GAIN", 0.9)  # so that nothing is a gain
    course = Course(12, 0, "early", patience=1)

    def interrupt(done: int, total: int, note: str = "") -> None:
        if done == interrupted_after:
            raise KeyboardInterrupt

    whole, resumed = build_students("balanced", 1, 0), build_students("balanced", 1, 0)
    notes: list[str] = []
    standing = distill(
        whole, *lessons, course, tmp_path / "whole", lambda done, total, note="": notes.append(note)
    )
    assert standing.epoch == 9
    assert standing.stopped.startswith("after 9 of 12 epochs: 1 without a gain")
    assert notes[-1].endswith(f"stopped early {standing.stopped}")
    with pytest.raises(KeyboardInterrupt):
        distill(resumed, *lessons, course, tmp_path / "broken", interrupt)
    resumed = build_students("balanced", 1, 0)
    after = distill(resumed, *lessons, course, tmp_path / "broken", silent)
    assert (after.stopped, after.best_epoch) == (standing.stopped, standing.best_epoch)
    assert after.validation == standing.validation
    assert same(whole, resumed)


def test_bf16_is_for_speed_alone(lessons: tuple[Lesson, Lesson], tmp_path: Path) -> None:
    """Nearly the same losses, and not the same: it was used; weights and validation are float32."""
    exact, standing = trained(lessons, tmp_path / "exact")
    students = build_students("balanced", 1, 0)
    dtypes: set[tuple[bool, torch.dtype]] = set()
    convolution = next(m for m in students.modules() if isinstance(m, nn.Conv2d))
    convolution.register_forward_hook(lambda m, x, y: dtypes.add((m.training, y.dtype)))
    reduced = distill(students, *lessons, Course(EPOCHS, 0, "test", bf16=True), tmp_path / "bf16", silent)
    assert dtypes == {(True, torch.bfloat16), (False, torch.float32)}
    assert reduced.losses == pytest.approx(standing.losses, rel=0.02)
    assert reduced.losses != standing.losses
    assert all(value.dtype != torch.bfloat16 for value in students.state_dict().values())
    assert not same(exact, students)


def test_a_foreign_or_damaged_checkpoint_counts_for_nothing(
    lessons: tuple[Lesson, Lesson], tmp_path: Path
) -> None:
    whole, _ = trained(lessons, tmp_path / "a")
    trained(lessons, tmp_path / "b", seed=5)
    again, _ = trained(lessons, tmp_path / "b")
    assert same(whole, again)
    checkpoint = next((tmp_path / "b").iterdir())
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    again, _ = trained(lessons, tmp_path / "b")
    assert same(whole, again)


def test_batchnorm_learns_in_every_epoch_and_only_while_training(
    lessons: tuple[Lesson, Lesson], tmp_path: Path
) -> None:
    students = build_students("balanced", 1, 0)
    norm = next(m for m in students.modules() if isinstance(m, nn.BatchNorm2d))
    seen: list[tuple[bool, bool]] = []  # in train mode, gradients wanted
    norm.register_forward_hook(lambda m, x, y: seen.append((m.training, torch.is_grad_enabled())))
    statistics: list[torch.Tensor] = []

    def watch(done: int, total: int, note: str = "") -> None:
        assert norm.running_mean is not None
        statistics.append(norm.running_mean.clone())

    distill(students, *lessons, Course(EPOCHS, 0, "test"), tmp_path, watch)
    batches = 3  # 17 tiles in eights
    assert seen == EPOCHS * ([(True, True)] * batches + [(False, False)])
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(statistics))


def test_a_teacher_never_learns() -> None:
    teacher = random_teachers("balanced", 1, 0)[0]
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    nn.ModuleList([teacher]).train()
    assert not any(module.training for module in teacher.modules())
    teacher(torch.rand(2, 1, SIDE, SIDE) * 255)
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    assert not any(p.requires_grad for p in teacher.parameters())


@pytest.mark.parametrize("pair", list(PAIRS))
@pytest.mark.parametrize("channels", [1, 3])
def test_students_answer_layer_by_layer_and_are_no_copies(pair: str, channels: int) -> None:
    teachers = random_teachers(pair, channels, 0)
    students = build_students(pair, channels, 1)
    pixels = torch.rand(2, channels, 128, 128) * 255
    with torch.no_grad():
        taught = [tap.shape for teacher in teachers for tap in teacher(pixels)]
        learnt = [tap.shape for tap in students(pixels)]
    assert taught == learnt
    layers = [layer for spec in PAIRS[pair] for layer in spec.layers()]
    assert [(s[1], 128 // s[2]) for s in taught] == [(layer.channels, layer.stride) for layer in layers]
    known = [p for teacher in teachers for p in teacher.parameters() if p.ndim == 4]
    assert not any(torch.equal(p, q) for p in students.parameters() for q in known if p.shape == q.shape)


@pytest.mark.parametrize("network", list(NETWORKS))
def test_folding_to_mono_changes_nothing_away_from_the_border(network: str) -> None:
    teachers = []
    for channels in (1, 3):
        torch.manual_seed(3)
        teachers.append(
            Teacher(build_trunk(TeacherSpec(network, (4,))), TeacherSpec(network, (4,)), channels)
        )
    grey = torch.from_numpy(tiles(1, 4)).float()[:, None].repeat(1, 1, 4, 4)
    with torch.no_grad():
        mono, colour = teachers[0](grey)[0], teachers[1](grey.expand(-1, 3, -1, -1))[0]
    # Squeeze-excite averages over the whole tile, border included.
    near = 2e-2 if network == "efficientnet_b0" else 1e-4
    assert torch.allclose(
        mono[..., 12:-12, 12:-12], colour[..., 12:-12, 12:-12], atol=near * colour.abs().max()
    )


@pytest.mark.parametrize("network", list(NETWORKS))
@pytest.mark.parametrize("channels", [1, 3])
def test_a_turned_teacher_takes_rows_for_columns(network: str, channels: int) -> None:
    answers = []
    pixels = torch.rand(2, channels, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
    for turned in (False, True):
        torch.manual_seed(3)
        spec = TeacherSpec(network, (4, 8, 16), turned=turned)
        teacher = Teacher(build_trunk(spec), spec, channels)
        with torch.no_grad():
            answers.append(teacher(pixels.transpose(2, 3) if turned else pixels))
    for upright, turned_answer in zip(*answers, strict=True):
        assert not torch.allclose(upright, turned_answer, atol=1e-2 * float(upright.abs().max()))
        assert torch.allclose(upright, turned_answer.transpose(2, 3), atol=1e-4 * float(upright.abs().max()))


def test_half_of_a_tile_is_the_mean_of_every_four_pixels() -> None:
    pixels = torch.from_numpy(tiles(2, 5)).float()[:, None]
    rows = pixels[:, :, 0::2] + pixels[:, :, 1::2]
    assert torch.equal(at_half(pixels), (rows[..., 0::2] + rows[..., 1::2]) / 4)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_halved_teacher_sees_what_another_sees_in_a_tile_of_half_the_size(channels: int) -> None:
    answers = []
    pixels = torch.rand(2, channels, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
    for halved in (False, True):
        torch.manual_seed(3)
        spec = TeacherSpec("efficientnet_lite0", (4, 8, 16), halved=halved)
        assert [layer.stride for layer in spec.layers()] == ([8, 16, 32] if halved else [4, 8, 16])
        teacher = Teacher(build_trunk(spec), spec, channels)
        with torch.no_grad():
            answers.append(teacher(pixels if halved else F.avg_pool2d(pixels, 2)))
    for small, halved_answer in zip(*answers, strict=True):
        assert torch.allclose(small, halved_answer, atol=1e-5 * float(small.abs().max()))


def test_the_faster_students_look_at_half_of_a_tile_as_their_teacher_does() -> None:
    students = build_students("faster", 1, 0).eval()
    pixels = torch.from_numpy(tiles(2, 5)).float()[:, None]
    alike = at_half(pixels).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert not torch.equal(alike, pixels)
    with torch.no_grad():
        for seen, also in zip(students(pixels), students(alike), strict=True):
            assert torch.equal(seen, also)


def test_one_network_of_the_default_pair_looks_turned() -> None:
    assert sorted(spec.turned for spec in PAIRS["balanced"]) == [False, True]
    assert not any(spec.turned for pair in AS_PUBLISHED for spec in PAIRS[pair])


def test_every_pair_can_be_asked_for() -> None:
    for command in (train, teach):
        (preset,) = (option for option in command.params if option.name == "preset")
        assert isinstance(preset.type, click.Choice)
        assert set(preset.type.choices) == set(PAIRS)


@pytest.mark.parametrize("pair", PAIRS)
def test_students_answer_each_layer_in_its_teachers_shape(pair: str) -> None:
    pixels = torch.rand(1, 1, SIDE, SIDE) * 255
    students = build_students(pair, 1, 0).eval()
    with torch.no_grad():
        taught = [tap for teacher in random_teachers(pair, 1, 0) for tap in teacher(pixels)]
        layers = students.distances(taught, students(pixels))
    assert [layer.shape[-1] for layer in layers] == [SIDE // layer.stride for layer in pair_layers(pair)]


def test_the_fast_student_has_no_stage_that_nothing_asks_for() -> None:
    assert set(dict(build_students("fast", 1, 0).named_children())["stages"]._modules) == {"4", "8", "16"}


def test_weights_nobody_vouches_for_are_refused(tmp_path: Path) -> None:
    state = ResNet18((4, 8)).state_dict()
    torch.save(state, tmp_path / "mine.pth")
    with pytest.raises(ArtefactError, match=r"mine\.pth: nothing vouches for this file"):
        read_weights(tmp_path / "mine.pth")
    torch.save(state, tmp_path / "resnet18-0badc0de.pth")
    with pytest.raises(ArtefactError, match="its name says 0badc0de"):
        read_weights(tmp_path / "resnet18-0badc0de.pth")
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(ArtefactError, match="not a safetensors file"):
        read_weights(tmp_path / "a.safetensors")
    with pytest.raises(ArtefactError, match=r"gone\.safetensors: weights can't be read"):
        read_weights(tmp_path / "gone.safetensors")


def test_a_file_named_by_its_hash_is_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "x.pth")
    digest = hashlib.sha256((tmp_path / "x.pth").read_bytes()).hexdigest()
    named = (tmp_path / "x.pth").rename(tmp_path / f"x-{digest[:8]}.pth")
    state, found = read_weights(named)
    assert torch.equal(state["a"], torch.ones(2))
    assert found == digest


def test_files_find_their_networks_and_strangers_are_named(tmp_path: Path) -> None:
    files = []
    for name, trunk in (("b", EfficientNet((16, 32), lite=False)), ("r", ResNet18((4, 8)))):
        files.append(tmp_path / f"{name}.safetensors")
        save_file(trunk.state_dict(), files[-1])
    teachers, hashes = load_teachers("paper", 3, files)
    assert [type(t.trunk).__name__ for t in teachers] == ["ResNet18", "EfficientNet"]
    assert set(hashes) == {"resnet18", "efficientnet_b0"}
    stranger = tmp_path / "stranger.safetensors"
    save_file({"conv": torch.ones(3)}, stranger)
    with pytest.raises(ArtefactError, match=r"stranger.*fit no network"):
        load_teachers("paper", 3, [*files, stranger])
    with pytest.raises(ConfigError, match="no teacher pair 'papper'"):
        load_teachers("papper", 3)


def test_lite0_keys_of_the_package_index_become_timms() -> None:
    own = EfficientNet((8,), lite=True).state_dict()
    theirs = {
        "_conv_stem.weight": own["conv_stem.weight"],
        "_bn0.bias": own["bn1.bias"],
        "_fc.weight": own["bn1.bias"],
    }
    theirs["_blocks.0._project_conv.weight"] = own["blocks.0.0.conv_pw.weight"]
    theirs["_blocks.4._depthwise_conv.weight"] = own["blocks.2.1.conv_dw.weight"]
    theirs["_blocks.4._bn2.bias"] = own["blocks.2.1.bn3.bias"]
    renamed = official_keys("efficientnet_lite0", theirs)
    assert set(renamed) <= set(own)
    assert len(renamed) == 5
    assert all(torch.equal(renamed[key], own[key]) for key in renamed)


def test_real_weights_fit_and_see_something(shared: Path) -> None:
    folder = shared / "weights"
    files = [folder / "resnet18_conv1_to_layer3.safetensors", folder / "efficientnet_b0_trunk.safetensors"]
    teachers, _ = load_teachers("paper", 1, files)
    pixels = torch.from_numpy(np.kron(tiles(1, 5)[0, :32, :32], np.ones((4, 4), np.uint8))).float()[
        None, None
    ]
    with torch.no_grad():
        taps = [tap for teacher in teachers for tap in teacher(pixels)]
    for tap in taps:
        assert torch.isfinite(tap).all()
        assert 0.01 < tap.std() < 100
