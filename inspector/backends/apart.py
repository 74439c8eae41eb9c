"""Teachers, students and what judges by the answers of both, each a graph or a plan of its own.

    tiles ─▶ teachers ─┐
       ├───▶ students ─┴▶ judging ─▶ map, score
       └────────────────────▲

Teachers and students know nothing of each other, so that two engines may run them side by side.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from dataclasses import dataclass

TEACHERS, STUDENTS, JUDGING = PARTS = ("teachers", "students", "judging")
INPUT, OUTPUTS = "tiles", ["map", "score"]  # of the whole graph
SEAM_FILE = "seam.json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a network hands on to judging: a tensor [N, *shape]."""

    name: str  # in the graph
    shape: tuple[int, ...]  # of one tile's
    itemsize: int  # bytes a number
    of: str  # TEACHERS or STUDENTS

    @property
    def tile_bytes(self) -> int:
        """Of one tile's."""
        return self.itemsize * math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Apart:
    """Three graphs, or the plans that were built from them, and what lies between them."""

    parts: dict[str, bytes]  # by PARTS
    answers: tuple[Answer, ...]

    def inputs_of(self, part: str) -> list[Answer]:
        """What a part takes besides tiles."""
        return list(self.answers) if part == JUDGING else []

    def outputs_of(self, part: str) -> list[str]:
        """What a part gives."""
        return OUTPUTS if part == JUDGING else [one.name for one in self.answers if one.of == part]

    def to_bytes(self) -> bytes:
        """As one file: a plan is vouched for as a whole."""
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as file:
            rows = [[one.name, list(one.shape), one.itemsize, one.of] for one in self.answers]
            for name, data in {SEAM_FILE: json.dumps(rows).encode(), **self.parts}.items():
                file.writestr(zipfile.ZipInfo(name), data)  # the same bytes whenever it is written
        return held.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Apart:
        """The way back. Raises RuntimeError when it is no such file."""
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                rows = json.loads(file.read(SEAM_FILE))
                return cls(
                    {part: file.read(part) for part in PARTS},
                    tuple(Answer(name, tuple(shape), size, of) for name, shape, size, of in rows),
                )
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise RuntimeError(f"this is no plan of three engines ({error})") from None
