"""Real cloth through the whole line: virtual camera, Harvesters, tiles, engine, verdicts on the bus.

    python tools/real_cloth.py --data ../shared/data/aitex_fabric02 --work /tmp/cloth
        [--conveyor ../shared/data/conveyor_frames_a] [--table results.md] [--again]

Learns a recipe from a pack's good frames with the commands a plant would use (train, which builds
the engine, calibrate), plays the pack's test frames in name order through tools/simcam and `inspector run`, hears
the verdicts on the bus as any pyzmq program would, and lays each beside the pack's mask. Then the same
with the frames of a rig on which web begins and ends. Prints a Markdown table of every frame.

The work folder gets config.toml, recipes, limits and frames; it must lie outside the repository, because
neither the packs nor what was learnt from them may get in. A recipe that is there already is kept, unless
--again. The packs don't say how large a pixel is: 0.2 mm is assumed, so every metre here is as good as that.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zmq
from plant import ROOT
from workfolder import outside_repository

from inspector import config
from inspector.limits import load_limits

MM_PER_PX = 0.2
COUNTS_PER_M = 10000
FRAMES_PER_S = 0.5  # frames of up to 50 tiles: slow machines keep up, too
FIRST_WORD_S, NEXT_WORD_S = 60, 10  # heartbeats come ten times a second once the engine is loaded
RATES = (
    1000,
    100,
    10,
    1,
)  # false alarms per 100 m to ask a limit for; the line runs with the last, the default
IN_PLACE_SHARE = 0.25  # boxes over more of the judged web than this would hit a mask by luck

# What the eye sees in conveyor_frames_a, which has no labels. One piece of cloth goes round on the rig, so
# frames of which the recipe knows nothing show metres that it knows.
CONVEYOR_TRAIN = (16, 19, 21, 23, 25, 27, 29)
CONVEYOR_CALIBRATE = (1, 5, 9, 13)
CONVEYOR_SEEN = {
    0: "stuck-on scrap",
    2: "stuck-on scraps",
    3: "pulled thread at the left",
    6: "pulled thread at the left",
    7: "scraps, tear, a second layer",
    10: "fold above, web end below",
    11: "pulled thread at the left",
    14: "pulled thread at the left",
    17: "fold above",
    18: "pulled thread at the left",
} | dict.fromkeys((1, 5, 9, 13, 16, 19, 21, 23, 25, 27, 29), "web start")
CONVEYOR_SEEN |= dict.fromkeys((4, 8, 12, 15, 20, 22, 24, 26, 28), "web end, frayed")

LINE = """
[line.{line}]
recipe = "{line}"
tiles = {{ size_mm = 51.2, overlap_mm = 6.4 }}
region = {{ kind = "auto" }}
overload = {{ deadline_ms = 5000 }}
[line.{line}.web]
width_mm = {width_mm}
mm_per_px = {mm_per_px}
encoder_counts_per_m = {counts}
speed_m_min = {speed:.2f}
seamless = false
[line.{line}.camera]
kind = "genicam"
producer = "{producer}"
serial = "SIM0001"
[line.{line}.camera.features]
DeviceScanType = "Areascan"
Width = {width}
Height = {height}
PixelFormat = "Mono8"
AcquisitionFrameRate = {rate}
[line.{line}.bus]
verdicts = "tcp://127.0.0.1:{port}"
maps = "tcp://127.0.0.1:{maps_port}"
replay = "tcp://127.0.0.1:{replay_port}"
"""


@dataclass(frozen=True)
class Shot:
    """One frame to play."""

    name: str
    kind: str  # "good", the defect's kind, or what the eye sees
    pixels: np.ndarray  # uint8 [H, W]
    mask: np.ndarray | None = None  # bool [H, W]; None: no truth


@dataclass(frozen=True)
class Web:
    """A pack as a line sees it."""

    line: str  # also the recipe's name
    shots: list[Shot]
    train: Path
    calibrate: Path
    port: int  # the first of three

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a frame, px."""
        height, width = self.shots[0].pixels.shape
        return height, width

    @property
    def frame_m(self) -> float:
        """Metres of web a frame shows."""
        return self.size[0] * MM_PER_PX / 1000

    def toml(self) -> str:
        """The line's table."""
        height, width = self.size
        return LINE.format(
            line=self.line,
            width_mm=width * MM_PER_PX,
            mm_per_px=MM_PER_PX,
            counts=COUNTS_PER_M,
            speed=self.frame_m * FRAMES_PER_S * 60,
            producer=ROOT / "tools" / "simcam" / "simcam.cti",
            width=width,
            height=height,
            rate=FRAMES_PER_S,
            port=self.port,
            maps_port=self.port + 1,
            replay_port=self.port + 2,
        )


@dataclass
class Heard:
    """What the bus said of one frame."""

    verdicts: list[dict[str, Any]] = field(default_factory=list)  # web, and rows before or after it
    defects: dict[str, dict[str, Any]] = field(default_factory=dict)

    def box(self, defect: dict[str, Any], shape: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of the frame that a defect's box covers."""
        top_mm = (defect["y_m"] - self.verdicts[0]["y_start_m"]) * 1000
        spans = ((top_mm, defect["h_mm"], shape[0]), (defect["x_mm"], defect["w_mm"], shape[1]))
        rows, columns = (
            slice(max(0, round(at / MM_PER_PX)), min(end, round((at + size) / MM_PER_PX)))
            for at, size, end in spans
        )
        return rows, columns

    @property
    def outcome(self) -> str:
        """FAIL if any of its web failed, else what was inspected, else NOT_INSPECTED."""
        outcomes = {verdict["verdict"] for verdict in self.verdicts}
        return next(o for o in ("FAIL", "PASS", "NOT_INSPECTED") if o in outcomes)

    @property
    def judged(self) -> dict[str, Any] | None:
        """The verdict on its web; None where there was none."""
        return next((v for v in self.verdicts if v["verdict"] != "NOT_INSPECTED"), None)


# -- the packs -----------------------------------------------------------------------------------------


def test_shots(pack: Path) -> list[Shot]:
    """An MVTec-style tree's test frames, in the order of their file names."""
    shots = []
    for path in sorted(pack.glob("test/*/*.png"), key=lambda path: path.name):
        pixels, kind = grey(path), path.parent.name
        mask = np.zeros(pixels.shape, np.bool_)
        if kind != "good":
            mask = grey(pack / "ground_truth" / kind / f"{path.stem}_mask.png") > 127
        shots.append(Shot(path.stem, kind, pixels, mask))
    return shots


def conveyor_shots(pack: Path) -> list[Shot]:
    """All frames of the rig, in the order they were taken."""
    paths = sorted(pack.glob("frames/*.jpg"))
    return [Shot(path.stem, CONVEYOR_SEEN[n], grey(path)) for n, path in enumerate(paths)]


def grey(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise SystemExit(f"{path}: can't be read")
    return pixels


def copy_some(pack: Path, numbers: Sequence[int], folder: Path) -> Path:
    """Copy frames of the rig to a folder of their own, as a person would choose good web."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = sorted(pack.glob("frames/*.jpg"))
    for number in numbers:
        shutil.copy(paths[number], folder)
    return folder


def write_for_camera(shots: Sequence[Shot], folder: Path) -> None:
    """Write the frames as the virtual camera wants them: PGM, in order of their names."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for shot in shots:
        height, width = shot.pixels.shape
        (folder / f"{shot.name}.pgm").write_bytes(
            f"P5 {width} {height} 255\n".encode() + shot.pixels.tobytes()
        )


# -- the line ------------------------------------------------------------------------------------------


def inspector(work: Path, *arguments: str | Path) -> None:
    """Run one of our commands in the work folder, as a person would."""
    print("\n$ inspector", *arguments, flush=True)
    command = [sys.executable, "-m", "inspector", *map(str, arguments)]
    if subprocess.run(command, cwd=work, check=False).returncode:
        raise SystemExit(1)


def play(work: Path, web: Web) -> tuple[list[Heard], dict[str, Any]]:
    """Play a web's frames once through camera and line; return what the bus said, and the run's summary."""
    frames, summary = work / "frames" / web.line, work / f"{web.line}.json"
    write_for_camera(web.shots, frames)
    command = [sys.executable, "-m", "inspector", "run", "--line", web.line]
    command += ["--frames", str(len(web.shots)), "--summary", str(summary)]
    print("\n$ inspector", *command[3:], flush=True)
    environment = os.environ | {"SIMCAM_IMAGES": str(frames), "SIMCAM_LOCK_DIR": str(work)}
    heard = [Heard() for _ in web.shots]
    with zmq.Context() as context, context.socket(zmq.SUB) as verdicts, context.socket(zmq.SUB) as maps:
        for socket, port, kinds in (
            (verdicts, web.port, ("verdict", "state", "hb")),
            (maps, web.port + 1, ("defect",)),
        ):
            for kind in kinds:
                socket.subscribe(f"inspector/1/line/{web.line}/{kind}/")
            socket.connect(f"tcp://127.0.0.1:{port}")
        with subprocess.Popen(command, cwd=work, env=environment) as process:
            for header in messages(verdicts, maps):
                sort_in(header, heard, web.frame_m)
        if process.returncode:
            raise SystemExit(f"the line ended with code {process.returncode}")
    complete(heard)
    return heard, json.loads(summary.read_text())


def messages(verdicts: zmq.Socket[bytes], maps: zmq.Socket[bytes]) -> Iterator[dict[str, Any]]:
    """Headers until the line's last state; exits when it goes silent or a message is missing."""
    poller = zmq.Poller()
    for socket in (verdicts, maps):
        poller.register(socket, zmq.POLLIN)
    seen: dict[str, int] = {}
    ended, patience_s = False, FIRST_WORD_S
    while True:
        ready = poller.poll(500 if ended else patience_s * 1000)
        if not ready and ended:
            return
        if not ready:
            raise SystemExit("the line went silent")
        patience_s = NEXT_WORD_S
        for socket, _ in ready:
            topic, text, *_ = socket.recv_multipart()
            kind = topic.split(b"/")[-2].decode()
            header = json.loads(text)
            if kind in ("verdict", "defect") and header["seq"] != seen.get(kind, 0) + 1:
                raise SystemExit(f"{kind} {header['seq']} came after {seen.get(kind, 0)}")
            seen[kind] = header["seq"]
            ended = ended or (kind == "state" and header["state"] in ("Halted", "Error"))
            if kind in ("verdict", "defect"):
                yield header


def sort_in(header: dict[str, Any], heard: list[Heard], frame_m: float) -> None:
    """Put a verdict or a defect to its frame."""
    if "verdict" in header:
        heard[header["sequence"]].verdicts.append(header)
    else:
        heard[int(header["y_m"] / frame_m + 1e-6)].defects[header["defect_id"]] = header


def complete(heard: Sequence[Heard]) -> None:
    """Every frame has its verdict, and every defect that a verdict names was told."""
    for number, one in enumerate(heard):
        named = {name for verdict in one.verdicts for name in verdict["defect_ids"]}
        if not one.verdicts or named != set(one.defects):
            raise SystemExit(
                f"frame {number}: {len(one.verdicts)} verdicts, {len(one.defects)} of {len(named)} defects"
            )


# -- what came out -------------------------------------------------------------------------------------


def covered(one: Heard, shape: tuple[int, int]) -> np.ndarray:
    """The pixels under any defect's box, bool [H, W]."""
    under = np.zeros(shape, np.bool_)
    for defect in one.defects.values():
        under[one.box(defect, shape)] = True
    return under


def share_covered(one: Heard, shot: Shot) -> float:
    """Share of the judged web that lies under boxes."""
    if one.judged is None:
        return 0.0
    rows_m = one.judged["y_end_m"] - one.judged["y_start_m"]
    across_mm = one.judged["x_end_mm"] - one.judged["x_start_mm"]
    judged_px = rows_m * 1000 * across_mm / MM_PER_PX**2
    return float(covered(one, shot.pixels.shape).sum() / judged_px)


def frame_table(shots: Sequence[Shot], heard: Sequence[Heard]) -> list[str]:
    """A row per frame."""
    rows = [
        "| frame | shows | verdict | score | defects | under boxes | a box on the mask | tiles |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for shot, one in zip(shots, heard, strict=True):
        judged = one.judged
        score, tiles = (f"{judged['score']:.1f}", judged["n_tiles_inspected"]) if judged else ("", 0)
        hit = "" if shot.mask is None or not shot.mask.any() else "yes" if on_mask(shot, one) else "no"
        rows.append(
            f"| {shot.name} | {shot.kind} | {one.outcome} | {score} | {len(one.defects)} "
            f"| {share_covered(one, shot):.0%} | {hit} | {tiles} |"
        )
    return rows


def on_mask(shot: Shot, one: Heard) -> bool:
    """Whether a reported box overlaps the truth."""
    return shot.mask is not None and bool((covered(one, shot.pixels.shape) & shot.mask).any())


def figures(web: Web, heard: Sequence[Heard]) -> list[str]:
    """Recall and false alarms of a web with truth."""
    pairs = list(zip(web.shots, heard, strict=True))
    faulty = [(shot, one) for shot, one in pairs if shot.kind != "good"]
    good = [(shot, one) for shot, one in pairs if shot.kind == "good"]
    failed = sum(one.outcome == "FAIL" for _, one in faulty)
    hit = [(shot, one) for shot, one in faulty if on_mask(shot, one)]
    in_place = sum(share_covered(one, shot) <= IN_PLACE_SHARE for shot, one in hit)
    alarms = sum(one.outcome == "FAIL" for _, one in good)
    metres = len(good) * web.frame_m
    lines = [
        f"- faulty frames failed: {failed} of {len(faulty)}",
        (
            f"- a box on the mask: {len(hit)} of {len(faulty)}; boxes over at most {IN_PLACE_SHARE:.0%} of the web "
            f"besides: {in_place} of {len(faulty)}"
        ),
        (
            f"- good frames failed: {alarms} of {len(good)} ({metres:.2f} m of good web, "
            f"{alarms / metres * 100:.0f} per 100 m; one alarm would be {100 / metres:.0f} per 100 m)"
        ),
    ]
    for kind in sorted({shot.kind for shot, _ in faulty}):
        of_kind = [(shot, one) for shot, one in faulty if shot.kind == kind]
        failed = sum(one.outcome == "FAIL" for _, one in of_kind)
        lines.append(f"  - {kind}: {failed} of {len(of_kind)} failed")
    return lines


def other_limits(web: Web, heard: Sequence[Heard], limits: dict[int, float]) -> list[str]:
    """The same scores against the limits of other rates of false alarms."""
    rows = [
        "",
        "| false alarms asked for, per 100 m | limit | faulty frames above it | good frames above it |",
        "|---|---|---|---|",
    ]
    for rate, limit in limits.items():
        above = [
            shot.kind == "good"
            for shot, one in zip(web.shots, heard, strict=True)
            if one.judged and one.judged["score"] > limit
        ]
        rows.append(f"| {rate} | {limit:.2f} | {len(above) - sum(above)} | {sum(above)} |")
    return rows


def row_table(web: Web, heard: Sequence[Heard]) -> list[str]:
    """For frames in which web begins or ends: which rows got which verdict."""
    rows = [
        "| frame | shows | used for | rows: verdict | score | defects | under boxes |",
        "|---|---|---|---|---|---|---|",
    ]
    use = dict.fromkeys(CONVEYOR_TRAIN, "training") | dict.fromkeys(CONVEYOR_CALIBRATE, "limits")
    for number, (shot, one) in enumerate(zip(web.shots, heard, strict=True)):
        parts = []
        for verdict in one.verdicts:
            first, last = (
                round((verdict[key] / web.frame_m - number) * web.size[0]) for key in ("y_start_m", "y_end_m")
            )
            why = f" ({verdict['detail']})" if verdict["verdict"] == "NOT_INSPECTED" else ""
            parts.append(f"{first}-{last}: {verdict['verdict']}{why}")
        score = f"{one.judged['score']:.1f}" if one.judged else ""
        rows.append(
            f"| {shot.name} | {shot.kind} | {use.get(number, '')} | {'; '.join(parts)} | {score} "
            f"| {len(one.defects)} | {share_covered(one, shot):.0%} |"
        )
    return rows


def report(web: Web, table: list[str], heard: Sequence[Heard], summary: dict[str, Any]) -> str:
    """The whole of a web's Markdown."""
    limit = heard[0].verdicts[0]["limit"]
    total_ms = sorted(one.judged["total_ms"] for one in heard if one.judged)
    if not total_ms:
        raise SystemExit(f"{web.line}: not one verdict came in time; the machine is too slow, or busy")
    lines = [
        f"## {web.line}",
        "",
        (
            f"Limit {limit:.2f} sigma, {len(web.shots)} frames of {web.size[1]}x{web.size[0]} px, "
            f"{summary['tiles']} tiles, {FRAMES_PER_S:g} frames/s."
        ),
        "",
        *table,
        "",
        (
            f"- frame to verdict: median {total_ms[len(total_ms) // 2]:.0f} ms, slowest {total_ms[-1]:.0f} ms; "
            f"frames lost {sum(summary['lost'].values())}, late {summary['late']}"
        ),
        "",
    ]
    return "\n".join(lines)


# -- all of it -----------------------------------------------------------------------------------------


def learn(work: Path, web: Web, again: bool) -> dict[int, float]:
    """Train (unless it was done before), build, calibrate; return the limit for each rate of false alarms."""
    recipe = ["--recipe", web.line]
    if again or not (work / "engines" / web.line / "recipe.toml").exists():
        inspector(work, "train", web.train, *recipe, "--overwrite")  # builds the engine too
    else:
        inspector(work, "build-engine", *recipe)
    limits = {}
    for rate in RATES:
        asked = ["--false-alarms-per-100m", str(rate)]
        inspector(work, "calibrate", web.calibrate, *recipe, "--line", web.line, *asked)
        limits[rate] = load_limits(config.load(work / "config.toml"), web.line, web.line).limit_sigma
    inspector(work, "check", "--line", web.line)
    return limits


def main() -> int:
    """Learn, play, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="MVTec-style pack of line-scan frames")
    parser.add_argument("--work", type=Path, required=True, help="folder outside the repository")
    parser.add_argument("--conveyor", type=Path, help="the rig's frames, conveyor_frames_a")
    parser.add_argument("--table", type=Path, help="write the Markdown there too")
    parser.add_argument("--again", action="store_true", help="train anew though there is a recipe")
    given = parser.parse_args()
    work = outside_repository(given.work)
    work.mkdir(parents=True, exist_ok=True)
    data = given.data.resolve()
    cloth = Web("cloth", test_shots(data), data, data, 5641)
    webs = [cloth]
    if given.conveyor:
        pack = given.conveyor.resolve()
        train = copy_some(pack, CONVEYOR_TRAIN, work / "conveyor-train")
        calibrate = copy_some(pack, CONVEYOR_CALIBRATE, work / "conveyor-calibrate")
        webs.append(Web("conveyor", conveyor_shots(pack), train, calibrate, 5651))
    (work / "config.toml").write_text('plant = "real cloth"\n' + "".join(web.toml() for web in webs))
    reports = []
    for web in webs:
        limits = learn(work, web, given.again)
        heard, summary = play(work, web)
        table = row_table(web, heard)
        if web is cloth:
            table = [
                *frame_table(web.shots, heard),
                "",
                *figures(web, heard),
                *other_limits(web, heard, limits),
            ]
        reports.append(report(web, table, heard, summary))
    text = "\n".join(reports)
    print("\n" + text)
    if given.table:
        given.table.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
