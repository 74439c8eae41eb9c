"""Sources of stamped frames: GenICam cameras, folders of images, a virtual web.

    config's kind ── "genicam" ──▶ genicam.py   Harvesters and a GenTL producer
                  ├─ "folder"  ──▶ folder.py    images replayed
                  └─ "loom"    ──▶ loom.py      a woven web with known faults

Each module is loaded only when its kind is opened.
"""

from __future__ import annotations

from pathlib import Path

from inspector import config
from inspector.interfaces import Camera


def open_camera(line_id: str, line: config.Line, root: Path) -> Camera:
    """Open the camera of a line; ``root`` is the folder its paths start at. Raises CameraError."""
    match line.camera:
        case config.GenicamCamera():
            from inspector.cameras import genicam

            return genicam.open_genicam(line_id, line.camera, line, root)
        case config.FolderCamera():
            from inspector.cameras import folder

            return folder.open_folder(line_id, line.camera, line, root)
        case config.LoomCamera():
            from inspector.cameras import loom

            return loom.open_loom(line_id, line.camera, line)
