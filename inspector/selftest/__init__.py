"""What is asked of a line's engine on the machine that runs it, and written down for others.

``inspector selftest``: is it still itself? ``inspector bench``: which way to run it is the fastest?
"""

from inspector.selftest.bench import bench
from inspector.selftest.checks import self_test

__all__ = ["bench", "self_test"]
