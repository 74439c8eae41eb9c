"""``inspector selftest``: ask a line's engine whether it still is itself, and write down the answer for others."""

from inspector.selftest.checks import self_test

__all__ = ["self_test"]
