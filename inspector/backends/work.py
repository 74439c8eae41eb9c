"""What a graph costs for one tile."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """Counted and not run. A value is a number of any format: 2 bytes in fp16."""

    flop: int  # of convolutions and matrix products: a multiply-add is two
    values_fused: int  # read and written by those alone, as if all between them were fused into them
    values_unfused: int  # read and written by every operation, as if nothing were fused
