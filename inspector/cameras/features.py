"""GenICam features by their SFNC names: found under the vendor's name, set, read back.

What a camera does not take as asked is one sentence and no picture: an exposure that was silently
clipped gives limits for another cloth.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from genicam import genapi

from inspector.config import Feature
from inspector.errors import CameraError

# Names from before SFNC 2, same meaning and unit. What needs converting (ExposureTimeRaw) is not here:
# the config's own aliases name such a feature where someone knows its unit.
OLD_NAMES = {
    "ExposureTime": ("ExposureTimeAbs",),
    "AcquisitionLineRate": ("AcquisitionLineRateAbs",),
    "AcquisitionFrameRate": ("AcquisitionFrameRateAbs",),
    "TriggerDelay": ("TriggerDelayAbs",),
    "DeviceSerialNumber": ("DeviceID",),
}
NOT_THERE = (genapi.EAccessMode.NI, genapi.EAccessMode.NA)
WRITABLE = (genapi.EAccessMode.RW, genapi.EAccessMode.WO)
TAKEN_AS_ASKED = 0.01  # a camera rounds times and rates to its clock


def set_features(
    nodes: Any, features: Mapping[str, Feature], aliases: Mapping[str, str], camera: str
) -> None:
    """Set features in their order. Raises CameraError at the first the camera does not take as asked.

    Args:
        nodes: the remote device's node map.
        features: by SFNC name; True executes a command.
        aliases: SFNC name to this vendor's.
        camera: how to call the camera in a sentence.
    """
    for name, value in features.items():
        node = find_node(nodes, name, aliases)
        if node is None:
            raise CameraError(f"{camera}: there is no feature {name!r}{_close_names(nodes, name)}")
        where = f"{camera}: features.{name} = {_shown(value)}"
        try:
            if _is_so_already(node, value):
                continue
            _check(node, value, where)
            if isinstance(node, genapi.ICommand):
                node.execute()
                continue
            node.value = value
            got = node.value
        except genapi.GenericException as error:
            raise CameraError(f"{where} was refused: {reason(error)}") from None
        if not _as_asked(value, got):
            raise CameraError(f"{where}, but the camera made it {_shown(got)}; write what it can do")


def find_node(nodes: Any, name: str, aliases: Mapping[str, str]) -> Any | None:
    """Return the node of an SFNC name under whatever name the camera has it; None when there is none."""
    for candidate in (aliases.get(name, name), *OLD_NAMES.get(name, ())):
        try:
            node = getattr(nodes, candidate)
            if node.get_access_mode() not in NOT_THERE:
                return node
        except (AttributeError, genapi.GenericException):
            continue
    return None


def reason(error: Exception) -> str:
    """What a GenICam exception says, the producer's own words if it has some, without where it was thrown."""
    text = str(error).split(" : ")[0].removeprefix("GenTL exception: ").strip().split(" (ID: ")[0]
    general, _, own = text.partition(" (Message from the source: ")
    return own.removesuffix(")") or general.rstrip(".") or type(error).__name__


def _is_so_already(node: Any, value: Feature) -> bool:
    """Many cameras have features that are read-only because there is one right value."""
    if isinstance(node, genapi.ICommand) or node.get_access_mode() == genapi.EAccessMode.WO:
        return False
    got = node.value
    return type(got) is type(value) and got == value


def _check(node: Any, value: Feature, where: str) -> None:
    """Refuse what can't be right, saying what would be. Raises CameraError."""
    if node.get_access_mode() not in WRITABLE:
        raise CameraError(
            f"{where} can't be written: it is read-only, or locked by another feature "
            "(an Auto mode? the order of the features?)"
        )
    if isinstance(node, genapi.IEnumeration):
        if value not in node.symbolics:
            raise CameraError(f"{where} must be one of: {', '.join(node.symbolics)}")
    elif isinstance(node, genapi.ICommand):
        if value is not True:
            raise CameraError(f"{where} must be true, which executes it; leave it out otherwise")
    elif isinstance(node, genapi.IBoolean):
        if not isinstance(value, bool):
            raise CameraError(f"{where} must be true or false")
    elif isinstance(node, genapi.IInteger):
        if not isinstance(value, int) or isinstance(value, bool):
            raise CameraError(f"{where} must be a whole number")
        if not node.min <= value <= node.max or (value - node.min) % max(node.inc, 1):
            raise CameraError(f"{where} must be from {node.min} to {node.max} in steps of {node.inc}")
    elif isinstance(node, genapi.IFloat):
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise CameraError(f"{where} must be a number")
        if not node.min <= value <= node.max:
            raise CameraError(f"{where} must be from {node.min:g} to {node.max:g}")
    elif not isinstance(value, str):
        raise CameraError(f"{where} must be text")


def _as_asked(asked: Feature, got: Feature) -> bool:
    if isinstance(got, float):
        return math.isclose(float(asked), got, rel_tol=TAKEN_AS_ASKED)
    return asked == got


def _close_names(nodes: Any, name: str) -> str:
    known = [node.node.name for node in nodes.nodes if node.node.is_feature()]
    close = difflib.get_close_matches(name, known, 3, 0.6)
    return f"; did you mean {' or '.join(close)}?" if close else "; see the camera's manual for its name"


def _shown(value: Feature) -> str:
    return (
        repr(value)
        if isinstance(value, str)
        else str(value).lower()
        if value in (True, False)
        else f"{value:g}"
    )
