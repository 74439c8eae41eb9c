"""How a pair's students learn: for how long, in what steps, from which cells."""

from __future__ import annotations

from inspector.images.reading import Cut
from inspector.learning.distill import BATCH, DECAY, HARD_SHARE, Course, bf16_is_fast
from inspector.learning.split import as_much_web
from inspector.learning.teachers import AS_PUBLISHED

MOST_LOOKS = 6000  # at tiles of 256 px in all epochs: a minute or two


def course_of(pair: str, tiles: int, cut: Cut, seed: int, identity: str, epochs: int | None = None) -> Course:
    """How a pair's students learn from so many tiles; ``epochs`` None: as many as suit them."""
    epochs = epochs or default_epochs(pair, tiles, cut)
    return Course(
        epochs,
        seed,
        identity,
        patience_for(pair, epochs),
        bf16=pair not in AS_PUBLISHED and bf16_is_fast(),
        batch=batch_of(pair, cut),
        decay=decay_of(pair),
        hard_share=hard_share_of(pair),
    )


def default_epochs(pair: str, tiles: int, cut: Cut) -> int:
    """The paper's 100 for its pair; for ours as many as come to some 6000 tiles of 256 px looked at in all."""
    return 100 if pair in AS_PUBLISHED else min(100, max(12, as_much_web(MOST_LOOKS, cut) // tiles))


def batch_of(pair: str, cut: Cut) -> int:
    """Tiles a step: the paper's 8 for its pair; for ours fewer of large tiles, or so much web would be few steps."""
    return BATCH if pair in AS_PUBLISHED else min(BATCH, max(2, as_much_web(BATCH, cut)))


def patience_for(pair: str, epochs: int) -> int | None:
    """Epochs without a gain that end a training: a tenth, at least 3. The paper's pair learns as published."""
    return None if pair in AS_PUBLISHED else max(3, round(epochs / 10))


def decay_of(pair: str) -> float:
    """Of weights in training. What is as published learns by plain Adam."""
    return 0.0 if pair in AS_PUBLISHED else DECAY


def hard_share_of(pair: str) -> float:
    """Of a batch's cells, what students learn from. What is as published learns from all."""
    return 1.0 if pair in AS_PUBLISHED else HARD_SHARE
