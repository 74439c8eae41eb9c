"""A web that ends by itself: whatever its verdicts name has been told when the line halts."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import pytest

from inspector.bus.publisher import Publisher
from inspector.calibrating.calibrate import calibrate
from inspector.line import Corridor, Ending
from inspector.parts import open_parts
from inspector.records import Frame
from tests.small_recipe import make_recipe, make_site, weave

FAULTY = 3


@pytest.mark.parametrize(
    ("stopped", "told"), [(False, FAULTY), (True, 1)], ids=["ended by itself", "stopped"]
)
def test_evidence_that_waits_when_the_last_verdict_is_out(tmp_path: Path, stopped: bool, told: int) -> None:
    site = make_site(tmp_path)
    make_recipe(site, "stripes")
    for folder, seeds in (("good", range(8)), ("frames", range(10, 10 + FAULTY))):
        (tmp_path / folder).mkdir()
        for seed in seeds:
            cloth = weave(seed, 128, 256)
            if folder == "frames":
                cloth[40:60, 100:120] = 255
            cv2.imwrite(str(tmp_path / folder / f"{seed:02}.png"), cloth)
    calibrate(tmp_path / "good", "stripes", "1", site)
    parts = open_parts(site, "1")
    publisher, stop = Publisher(site, "1"), threading.Event()
    corridor = Corridor(parts, publisher, Ending(), stop)
    parts.camera.start()
    for _ in range(FAULTY):
        frame = parts.camera.read(5.0)
        assert isinstance(frame, Frame)
        with corridor.turn:
            for judged in corridor._judge(frame):
                assert len(judged.verdicts[0].defects) == 1
                corridor.maps.push_out(judged)
    corridor.verdicts.offer(judged)  # the others are out; their evidence still waits
    corridor.verdicts.close()
    if stopped:
        stop.set()
    corridor._publish()
    parts.close()
    assert publisher._seq["defect"] == told
