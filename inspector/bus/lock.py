"""A line's lock: whoever runs a line, or has its camera to teach a recipe, does so alone."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO

from inspector.errors import BusError


def hold_line(config_file: Path, line_id: str) -> IO[str]:
    """Hold the line's lock until the file is closed or this process is gone, however it goes.

    Raises BusError when another process holds it, or the lock's file can't be opened.
    """
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    plant = hashlib.sha256(str(config_file).encode()).hexdigest()[:12]
    path = folder / f"inspector-{plant}-line-{line_id}.lock"
    try:
        file = path.open("a+")
    except OSError as error:
        raise BusError(
            f"{path}: can't be opened ({error.strerror}); set XDG_RUNTIME_DIR to a folder of yours"
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise BusError(f"line {line_id} runs already (process {holder}); end that one first") from None
    with contextlib.suppress(OSError):  # the number is a help for the message above, no more
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    return file
