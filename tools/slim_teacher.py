"""`make slim-teacher`: EfficientNet-Lite0 with two thirds of its expansions, for preset `fastest`.

    python tools/slim_teacher.py [--steps 6000] [--out FILE]

Every inverted residual of Lite0 widens what it is given sixfold before it looks around. Here a third of those channels
goes. First block by block, without training: of a block's channels those stay that, one after the other, leave the
least of its answer unexplained (orthogonal least squares, Chen, Billings & Luo 1989), and its projection is set anew by
least squares. Then all that is left learns to say what the whole network says, stage by stage. All of it on drawn
pictures (drawn_pictures.py): no photograph takes part. Half an hour on two cores; another machine, or another number
of threads, gives other weights that say as much. Prints, for pictures that nothing was learnt from, which share of
each stage's answer the slim network leaves unexplained.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from drawn_pictures import Drawing, Faulty
from torch import Tensor, nn

from inspector.learning.networks import EfficientNet, InvertedResidual
from inspector.learning.teachers import LITE, SLIM, TeacherSpec, build_trunk, load_trunk, shipped
from inspector.view import progress_bar

STRIDES = (4, 8, 16)  # of what is kept of it
SIDE = 160  # px of a picture: half of a tile with its margins
POOL, POOL_SIDE = 5000, 192
FITTED = 96  # pictures that channels are chosen by
PLACES = 40_000  # of them, in a layer
RIDGE = 1e-5
BATCH, RATE, DECAY, WARM_UP = 16, 2e-3, 1e-4, 50
STAGE_WEIGHTS = (1.0, 1.0, 0.5, 1.0)  # the third is no tap
OWN_FLOOR = 0.02  # of a channel's variance over all pictures: below, a picture's own counts as that


def main() -> int:
    """Choose, teach, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--out", type=Path, default=shipped(SLIM))
    given = parser.parse_args()
    torch.manual_seed(0)
    spec = TeacherSpec("efficientnet_lite0", STRIDES)
    whole, _, _ = load_trunk(spec, {})
    assert isinstance(whole, EfficientNet)
    whole.eval().requires_grad_(False)
    drawn = Faulty(Drawing(POOL_SIDE, 1).pictures(POOL), SIDE, 2)
    unseen = pixels(Faulty(Drawing(POOL_SIDE, 3).pictures(200), SIDE, 4), 64)
    slim = slimmed(whole, pixels(drawn, FITTED))
    print(f"chosen: {words(unexplained(slim, whole, unseen))} unexplained", flush=True)
    with progress_bar("slim teacher") as progress:
        teach(slim, whole, lambda: pixels(drawn, BATCH), given.steps, progress)
    print(f"taught: {words(unexplained(slim, whole, unseen))} unexplained")
    kept = {
        name: value.half() if value.ndim == 4 else value
        for name, value in slim.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    safetensors.torch.save_file({name: value.contiguous() for name, value in kept.items()}, given.out)
    digest = hashlib.sha256(given.out.read_bytes()).hexdigest()
    print(f"{given.out}: sha256 {digest}, which inspector/learning/teachers.py has to have for it to be used")
    return 0


def pixels(drawn: Faulty, count: int) -> Tensor:
    """Pictures as Lite0 takes them, [count, 3, SIDE, SIDE]."""
    mean, deviation = (torch.tensor(one).view(3, 1, 1) for one in LITE)
    return (torch.from_numpy(drawn.batch(count)) - mean) / deviation


def stages(trunk: EfficientNet, x: Tensor) -> list[Tensor]:
    """What every stage but the first answers."""
    x = trunk.act(trunk.bn1(trunk.conv_stem(x)))
    answers = []
    for stage in trunk.blocks:
        x = stage(x)
        answers.append(x)
    return answers[1:]


@torch.no_grad()
def slimmed(whole: EfficientNet, x: Tensor) -> EfficientNet:
    """A trunk with SLIM_EXPAND channels in the middle of its blocks for each that comes in: those that say most."""
    slim = build_trunk(TeacherSpec(SLIM, STRIDES)).eval()
    assert isinstance(slim, EfficientNet)
    for name in ("conv_stem", "bn1"):
        getattr(slim, name).load_state_dict(getattr(whole, name).state_dict())
    old = new = whole.act(whole.bn1(whole.conv_stem(x)))
    for old_stage, new_stage in zip(whole.blocks, slim.blocks, strict=True):
        for block, lighter in zip(old_stage.children(), new_stage.children(), strict=True):
            answer = block(old)
            if isinstance(block, InvertedResidual):
                assert isinstance(lighter, InvertedResidual)
                fit(block, lighter, new, answer)
            else:
                lighter.load_state_dict(block.state_dict())
            old, new = answer, lighter(new)
    return slim


def fit(block: InvertedResidual, lighter: InvertedResidual, given: Tensor, answer: Tensor) -> None:
    """Set a lighter block to say the most of a block's answer, from what it is given in the lighter network."""
    wide = block.act(block.bn2(block.conv_dw(block.act(block.bn1(block.conv_pw(given))))))
    wanted = answer - given if block.shortcut else answer
    values, targets = (_places(one).double() for one in (wide, wanted))
    middle, target = values.mean(0), targets.mean(0)
    values, targets = values - middle, targets - target
    gram, cross = values.T @ values, values.T @ targets
    kept = torch.tensor(most_telling(gram, cross / targets.std(0), lighter.conv_pw.out_channels))
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(kept), dtype=torch.float64)
    weights = torch.linalg.solve(gram[kept][:, kept] + ridge, cross[kept])
    for name in ("conv_pw", "bn1", "conv_dw", "bn2"):
        state = getattr(block, name).state_dict()
        chosen = {key: value[kept] if value.ndim else value for key, value in state.items()}
        getattr(lighter, name).load_state_dict(chosen)
    lighter.conv_pwl.weight.copy_(weights.T[:, :, None, None])
    norm = lighter.bn3  # does nothing but add
    norm.weight.fill_(1.0)
    norm.running_mean.zero_()  # type: ignore[union-attr]
    norm.running_var.fill_(1.0 - norm.eps)  # type: ignore[union-attr]
    norm.bias.copy_(target - middle[kept] @ weights)


def _places(maps: Tensor) -> Tensor:
    """Some of the places of maps [N, C, h, w], the same of all that are as large: [PLACES at most, C]."""
    values = maps.permute(0, 2, 3, 1).flatten(0, 2)
    chosen = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))[:PLACES]
    return values[chosen]


def most_telling(gram: Tensor, cross: Tensor, count: int) -> list[int]:
    """Which variables explain targets best, one after the other, each beside those before it.

    Args:
        gram: [n, n], products of the variables, of mean 0.
        cross: [n, m], of variables and targets.
        count: how many to choose, n at most.
    """
    gram, cross, alone = gram.clone(), cross.clone(), gram.diagonal().clone()
    chosen: list[int] = []
    for _ in range(count):
        left = gram.diagonal()
        gain = cross.square().sum(1) / left.clamp(min=1e-12)
        gain[left <= 1e-9 * alone] = 0.0  # said by the others already
        gain[chosen] = -1.0
        best = int(gain.argmax())
        chosen.append(best)
        scale = left[best].clamp(min=1e-12).sqrt()
        by_gram, by_cross = gram[:, best] / scale, cross[best] / scale
        gram, cross = gram - by_gram.outer(by_gram), cross - by_gram.outer(by_cross)
    return sorted(chosen)


def teach(
    slim: EfficientNet,
    whole: EfficientNet,
    draw: Callable[[], Tensor],
    steps: int,
    progress: Callable[[int, int, str], None],
) -> None:
    """Let the slim network learn what the whole one says; BatchNorm stays as it is, so no batch matters to another."""
    slim.eval().requires_grad_(True)
    with torch.no_grad():
        spread = [answer.var((0, 2, 3), keepdim=True) for answer in stages(whole, draw())]
    optimizer = torch.optim.AdamW(slim.parameters(), lr=RATE, weight_decay=DECAY)
    for step in range(steps):
        warm = min(1.0, (step + 1) / WARM_UP)
        for group in optimizer.param_groups:
            group["lr"] = RATE * warm * (0.5 * (1 + math.cos(math.pi * step / steps)) + 0.01)
        x = draw().to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                taught = stages(whole, x)
            learnt = stages(slim, x)
        loss = torch.zeros(())
        for weight, t, s, v in zip(STAGE_WEIGHTS, taught, learnt, spread, strict=True):
            loss = loss + weight * disagreement(t.float(), s.float(), v + 1e-4 * v.mean())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(slim.parameters(), 1.0)
        optimizer.step()
        progress(step + 1, steps, f"loss {loss.item():.3f}")
    slim.requires_grad_(False)


def disagreement(taught: Tensor, learnt: Tensor, spread: Tensor) -> Tensor:
    """Squared difference of maps [N, C, h, w], half of it against a channel's variance over all pictures, [1, C, 1, 1].

    The other half is what differs within a picture, against that picture's own variance: a faint weave has to be told
    as well as a strong one.
    """
    apart = learnt - taught
    own = taught.var((2, 3), keepdim=True) + OWN_FLOOR * spread
    within = (apart - apart.mean((2, 3), keepdim=True)).square() / own
    return 0.5 * (apart.square() / spread).mean() + 0.5 * within.mean()


@torch.no_grad()
def unexplained(slim: EfficientNet, whole: EfficientNet, x: Tensor) -> list[float]:
    """The share of each stage's variance, channel by channel, that the slim network gets wrong."""
    shares = []
    for t, s in zip(stages(whole, x), stages(slim, x), strict=True):
        shares.append(float(((t - s).square().mean((0, 2, 3)) / t.var((0, 2, 3))).mean()))
    return shares


def words(shares: list[float]) -> str:
    """Stage by stage."""
    return ", ".join(f"{share:.1%}" for share in shares)


if __name__ == "__main__":
    sys.exit(main())
