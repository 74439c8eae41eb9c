"""GenICam cameras through Harvesters and a GenTL producer (.cti). The only file that knows Harvesters.

Whoever calls ``read`` is the acquisition thread: a buffer is waited for, copied and queued again at
once. Buffers are taken from the event monitor itself, because Harvesters' ``fetch``:

* hands out whole buffers only, so the block id of an incomplete one is gone with it;
* waits inside the producer with Python's interpreter lock held: while it waits, no other thread of this
  process runs. Here the producer is only asked, and the waiting is done outside.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from genicam import genapi, gentl
from harvesters.core import Harvester, ImageAcquirer

from inspector import config
from inspector.cameras.features import find_node, reason, set_features
from inspector.cameras.pixel_formats import FORMATS, decode
from inspector.cameras.stamper import Stamper
from inspector.errors import CameraError
from inspector.interfaces import CameraInfo
from inspector.records import Acquired, Frame, LostFrame, Reason

GENICAM_ERRORS = (gentl.GenericException, genapi.GenericException)
POLL_S = 0.003  # every question costs up to 0.1 ms of a core, every wait lateness; buffers bridge it
HEADLESS_S = 5.0  # of images that all came incomplete before any told its place: the link is bad, not young
CLOCK_WINDOW = 256  # frames over which the camera's clock is compared with ours
STAND_STILL_S = 1.0  # how long close waits for a read in another thread
SIMULATED_VENDORS = ("SimCam", "Machine Vision Games Ltd.", "EMVA_D")
IMAGES = (gentl.PAYLOADTYPE_INFO_IDS.PAYLOAD_TYPE_IMAGE, gentl.PAYLOADTYPE_INFO_IDS.PAYLOAD_TYPE_CHUNK_DATA)
LOAD_FAILED = "Failed to load CTI file; "
GONE = gentl.DEVICE_ACCESS_STATUS_LIST.DEVICE_ACCESS_STATUS_NOACCESS
ACCESS_WORDS = {
    gentl.DEVICE_ACCESS_STATUS_LIST.DEVICE_ACCESS_STATUS_READWRITE: "free",
    gentl.DEVICE_ACCESS_STATUS_LIST.DEVICE_ACCESS_STATUS_READONLY: "read only: another program controls it",
    gentl.DEVICE_ACCESS_STATUS_LIST.DEVICE_ACCESS_STATUS_BUSY: "taken by another program",
    GONE: "not reachable",
}

# What it has to say is said in our own sentences.
logging.getLogger("harvesters").addHandler(logging.NullHandler())


def open_genicam(line_id: str, camera: config.GenicamCamera, line: config.Line, root: Path) -> GenicamCamera:
    """Open the camera of a line and set its features. Raises CameraError."""
    return GenicamCamera(line_id, camera, line, root)


def list_cameras(producers: list[Path]) -> list[str]:
    """Return one row a camera of these producers and of those in GENICAM_GENTL64_PATH.

    One that can't be loaded, or sees no camera, has a row. Raises CameraError when no producer is known, or
    none can be loaded.
    """
    found = [*producers, *_producers_of_environment()]
    if not found:
        raise CameraError(
            "no producer is known; name one with --producer, or set GENICAM_GENTL64_PATH to the folder "
            "where the camera's vendor put its .cti"
        )
    rows, failures = [], []
    producers = list(dict.fromkeys(found))
    for producer in producers:
        try:
            with _harvester(producer) as harvester:
                devices = [_row(device) for device in harvester.device_info_list]
        except CameraError as error:
            failures.append(str(error))
            rows.append(str(error))
            continue
        rows += [f"{row}  {producer}" for row in devices] or [f"no camera is seen by {producer}"]
    if len(failures) == len(producers):
        raise CameraError("; ".join(failures))
    return rows


def producer_path(camera: config.GenicamCamera, root: Path) -> Path:
    """Where a line's producer lies."""
    return root / os.path.expandvars(camera.producer)


class GenicamCamera:
    """One camera, opened and set.

    Args:
        line_id: the line's id.
        camera: producer, serial number, buffers, features, where the encoder's counts come from.
        line: geometry of the web, and the deadline.
        root: the folder that the producer's path is relative to.

    Raises:
        CameraError: no producer, no such camera, taken, or a feature it does not take as asked.
    """

    def __init__(self, line_id: str, camera: config.GenicamCamera, line: config.Line, root: Path) -> None:
        self._config = camera
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._ready: deque[Acquired] = deque()
        self._headless: list[tuple[int, int]] = []  # block id, capture: incomplete before any encoder count
        self._clock = CameraClock()
        self._teardown = contextlib.ExitStack()
        producer = producer_path(camera, root)
        harvester = self._teardown.enter_context(_harvester(producer))
        try:
            self._acquirer = _create(harvester, producer, camera.serial)
            self._teardown.callback(_tear_down, self._acquirer)
            self._nodes = self._acquirer.remote_device.node_map
            self._name = f"camera {self._acquirer.device.serial_number}"
            self._set_up()
            self._info = self._look()
        except GENICAM_ERRORS as error:
            self.close()
            raise CameraError(f"{producer.name}: the camera could not be set up: {reason(error)}") from None
        except BaseException:
            self.close()
            raise
        web = line.web
        self._frame_counts = round(self._info.height_px * web.mm_per_px / 1000 * web.encoder_counts_per_m)
        self._knows_place = camera.encoder == "rows"
        self._stamper = Stamper(
            line_id,
            self._info.serial,
            self._info.height_px,
            web,
            line.overload.deadline_ms,
            by_rows=self._knows_place,
        )

    @property
    def info(self) -> CameraInfo:
        """Known once the camera is open."""
        return self._info

    def start(self) -> None:
        """Begin acquisition. Raises CameraError."""
        try:
            self._acquirer.start()
        except GENICAM_ERRORS as error:
            raise CameraError(f"{self._name}: acquisition does not start: {reason(error)}") from None
        # Private, but the version is pinned: nothing public tells of incomplete buffers.
        self._monitor = next(iter(self._acquirer._new_buffer_event_monitor_dict.values()))

    def read(self, timeout_s: float) -> Acquired | None:
        """Return the next trigger, or None when nothing came within ``timeout_s``.

        ``captured_us`` is when the whole image was there: the camera's own time where it has one, else the
        time it was taken over. Raises CameraError when the camera is gone, its encoder ran back, its block
        ids jumped by thousands, it delivers what it was not set to, or no image at all that tells its place.
        """
        until_s = time.monotonic() + timeout_s
        while not self._ready:
            with self._lock:
                if self._closing.is_set():
                    return None
                try:
                    came = self._take_buffer()
                except GENICAM_ERRORS as error:
                    raise CameraError(
                        f"{self._name} is gone ({reason(error)}); check power and cable, then start the line again"
                    ) from None
            if came:
                continue
            if time.monotonic() >= until_s:
                self._check_presence()
                return None
            self._closing.wait(POLL_S)
        return self._ready.popleft()

    def close(self) -> None:
        """Stop acquisition and let go of the device; never raises."""
        self._closing.set()
        locked = self._lock.acquire(timeout=STAND_STILL_S)
        try:
            self._teardown.close()
        finally:
            if locked:
                self._lock.release()

    # -- opening ---------------------------------------------------------------------------------

    def _set_up(self) -> None:
        acquirer, camera = self._acquirer, self._config
        features = dict(camera.features)
        if find_node(self._nodes, "AcquisitionMode", camera.aliases) is not None:
            features.setdefault("AcquisitionMode", "Continuous")
        if camera.encoder == "chunk":
            features |= {"ChunkModeActive": True, "ChunkSelector": "EncoderValue", "ChunkEnable": True}
        set_features(self._nodes, features, camera.aliases, self._name)
        if camera.buffers < acquirer.min_num_buffers:
            raise CameraError(
                f"{self._name}: buffers = {camera.buffers} is too few; it needs {acquirer.min_num_buffers}"
            )
        acquirer.num_buffers = camera.buffers

    def _look(self) -> CameraInfo:
        nodes, device = self._nodes, self._acquirer.device
        pixel_format = str(nodes.PixelFormat.value)
        width, height = int(nodes.Width.value), int(nodes.Height.value)
        try:
            layout = FORMATS[pixel_format]
        except KeyError:
            able = [name for name in nodes.PixelFormat.symbolics if name in FORMATS]
            raise CameraError(
                f"{self._name}: PixelFormat {pixel_format} can't be used; set features.PixelFormat to one of: "
                f"{', '.join(able) or 'none of its formats can'}"
            ) from None
        if width % layout.step_px:
            raise CameraError(
                f"{self._name}: PixelFormat {pixel_format} needs a Width that is a multiple of {layout.step_px}, "
                f"not {width}"
            )
        return CameraInfo(
            kind="genicam",
            vendor=device.vendor,
            model=device.model,
            serial=device.serial_number,
            pixel_format=pixel_format,
            width_px=width,
            height_px=height,
            is_simulated=device.vendor in SIMULATED_VENDORS or self._shows_test_pattern(),
        )

    def _shows_test_pattern(self) -> bool:
        """A camera left on its test pattern sees no web: nobody may eject or pass by it."""
        node = find_node(self._nodes, "TestPattern", self._config.aliases)
        return node is not None and str(node.value) != "Off"

    # -- acquisition -----------------------------------------------------------------------------

    def _take_buffer(self) -> bool:
        """Take over a buffer if one has come: what it means is then ready."""
        looked_us = time.monotonic_ns() // 1000
        try:
            self._monitor.update_event_data(0)
        except gentl.TimeoutException:
            self._clock.nothing_there(looked_us)
            return False
        buffer = self._monitor.buffer
        try:
            self._ready.extend(self._read_out(buffer, time.monotonic_ns() // 1000))
        finally:
            buffer.parent.queue_buffer(buffer)
        return True

    def _read_out(self, buffer: Any, arrived_us: int) -> list[Acquired]:
        """What a buffer brought: the triggers lost before it, and its own."""
        block_id = self._block_id(buffer)
        captured_us = self._clock.captured_us(_timestamp_us(buffer), arrived_us)
        if not buffer.is_complete():
            return self._incomplete(block_id, captured_us, "the camera's image came incomplete")
        self._check_shape(buffer)
        # Of a producer that doesn't know how many lines came, some say 0.
        rows = _optional(lambda: buffer.delivered_image_height) or buffer.height
        filled = _optional(lambda: buffer.size_filled)
        if filled == 0:
            return self._incomplete(block_id, captured_us, "the camera's image came empty")
        padding = _optional(lambda: buffer.padding_x) or 0
        info = self._info
        try:
            # Behind what was filled lie rows of an earlier image: good web, perhaps, that went by long ago.
            image = memoryview(buffer.raw_buffer)[:filled]
            pixels = decode(image, info.pixel_format, info.width_px, rows, padding)
        except ValueError as error:
            return self._incomplete(block_id, captured_us, str(error))
        encoder = self._encoder(buffer, rows) if self._config.encoder == "chunk" else None
        before = self._place_headless(block_id, encoder)
        lost, stamp = self._stamper.stamp(block_id, captured_us, rows, encoder)
        return [*before, *lost, Frame(stamp, pixels)]

    def _incomplete(self, block_id: int, captured_us: int, detail: str) -> list[Acquired]:
        if not self._knows_place:
            self._headless.append((block_id, captured_us))
            if captured_us - self._headless[0][1] > HEADLESS_S * 1e6:
                raise CameraError(
                    f"{self._name}: all of its first {len(self._headless)} images came incomplete, so none told its "
                    "place on the web; GigE: check the MTU (9000) on every port of the way, then start the line again"
                )
            return []
        lost, stamp = self._stamper.stamp(block_id, captured_us)
        return [*lost, LostFrame(stamp, Reason.FRAME_INCOMPLETE, detail)]

    def _place_headless(self, block_id: int, encoder: tuple[int, int] | None) -> list[Acquired]:
        """Incomplete frames before the first that told its place lie before it, a frame's length each."""
        self._knows_place = True
        if encoder is None or not self._headless:
            return []
        placed: list[Acquired] = []
        for early_id, captured_us in self._headless:
            start = encoder[0] - (block_id - early_id) * self._frame_counts
            lost, stamp = self._stamper.stamp(
                early_id, captured_us, None, (start, start + self._frame_counts)
            )
            placed += [*lost, LostFrame(stamp, Reason.FRAME_INCOMPLETE, "the camera's image came incomplete")]
        self._headless.clear()
        return placed

    def _block_id(self, buffer: Any) -> int:
        block_id = _optional(lambda: buffer.frame_id)
        if block_id is None:
            raise CameraError(
                f"{self._name}: its producer gives no block ids, so lost frames could not be told; "
                "use another producer for this camera"
            )
        return int(block_id)

    def _check_shape(self, buffer: Any) -> None:
        if buffer.payload_type not in IMAGES:
            raise CameraError(
                f"{self._name}: it sends payloads of type {buffer.payload_type}, not plain images; "
                "switch multi-part, JPEG or 3D output off"
            )
        if buffer.width != self._info.width_px:
            raise CameraError(
                f"{self._name}: an image is {buffer.width} px wide, not {self._info.width_px}; "
                "was it set anew by another program? start the line again"
            )

    def _encoder(self, buffer: Any, rows: int) -> tuple[int, int]:
        """The camera's count at the frame's first row, and the count one frame's length on."""
        self._acquirer._update_chunk_data(buffer=buffer, is_manual=True)
        node = find_node(self._nodes, "ChunkEncoderValue", self._config.aliases)
        if node is None:
            raise CameraError(
                f"{self._name}: its images carry no ChunkEncoderValue; name the chunk in aliases, "
                'or set encoder = "rows"'
            )
        start = int(node.value)
        return start, start + self._frame_counts * rows // self._info.height_px

    def _check_presence(self) -> None:
        """No image for a while: a web that stands still, or a camera that is gone?"""
        if _optional(lambda: self._acquirer.device.module.access_status) == GONE:
            raise CameraError(f"{self._name} is gone; check power and cable, then start the line again")


class CameraClock:
    """Tells when an image was whole, by the camera's clock set against ours.

    An image that waited in a buffer while this process was held up is older than the moment it is taken
    over, and its deadline nearer. The smallest difference of the two clocks over the last frames is that
    of a frame that did not wait; it follows the drift of the camera's clock. A clock that goes back was set
    anew: what was learnt of it before is worth nothing. And no image was whole before the last moment at which
    none was there: after a stand-still the drift of hours is in one step, and a camera that stamps an image's
    first row lets it look older, the slower the web.
    """

    def __init__(self) -> None:
        self._offsets_us: deque[int] = deque(maxlen=CLOCK_WINDOW)
        self._last_us = 0  # what the camera's clock said before
        self._empty_us = 0  # when no image was there, ours

    def nothing_there(self, now_us: int) -> None:
        """Take note that no image waits, monotonic microseconds."""
        self._empty_us = now_us

    def captured_us(self, camera_us: int | None, arrived_us: int) -> int:
        """Return monotonic microseconds; ``camera_us`` None: the camera has no clock."""
        if camera_us is None:
            return arrived_us
        if camera_us < self._last_us:
            self._offsets_us.clear()
        self._last_us = camera_us
        self._offsets_us.append(arrived_us - camera_us)
        return max(camera_us + min(self._offsets_us), self._empty_us)


@contextmanager
def _harvester(producer: Path) -> Iterator[Harvester]:
    """A Harvester with one producer, its devices listed. Raises CameraError."""
    if not producer.is_file():
        raise CameraError(
            f"{producer}: no such producer; install the camera vendor's GenTL producer and name its .cti "
            "(the virtual camera's is built by: make -C tools/simcam)"
        )
    library = str(producer.absolute())  # a bare name would be looked for among the system's libraries
    try:  # Harvesters would only log why a producer can't be loaded
        probe = gentl.GenTLProducer.create_producer()
        probe.open(library)
        probe.close()
    except gentl.GenericException as error:
        why = reason(error).removeprefix(LOAD_FAILED).removeprefix(f"{library}: ")
        raise CameraError(
            f"{producer}: can't be loaded as a GenTL producer ({why}); "
            "install the camera vendor's for this machine, and name its .cti"
        ) from None
    harvester = Harvester()
    try:
        harvester.add_file(library)
        harvester.update()
        yield harvester
    finally:
        with contextlib.suppress(*GENICAM_ERRORS, RuntimeError):
            harvester.reset()


def _create(harvester: Harvester, producer: Path, serial: str) -> ImageAcquirer:
    """Open the device with this serial number, or the only one there is. Raises CameraError."""
    devices = harvester.device_info_list
    if not devices:
        raise CameraError(f"{producer.name} sees no camera; check power, cable and the link's address")
    known = ", ".join(_row(device) for device in devices)
    chosen = [d for d in devices if _text(d, "serial_number") == serial or not serial]
    if not chosen:
        raise CameraError(f"no camera with serial {serial!r}; {producer.name} sees: {known}")
    if len(chosen) > 1:
        raise CameraError(f"camera.serial must say which of these to use: {known}")
    name = f"camera {_text(chosen[0], 'serial_number')}"
    try:
        with _sigint_kept():
            return harvester.create(devices.index(chosen[0]))
    except (gentl.AccessDeniedException, gentl.ResourceInUseException) as error:
        raise CameraError(
            f"{name} is taken: {reason(error)}; end the other program, or wait for its time-out"
        ) from None
    except GENICAM_ERRORS as error:
        raise CameraError(f"{name} can't be opened: {reason(error)}") from None


@contextmanager
def _sigint_kept() -> Iterator[None]:
    """Harvesters puts its own SIGINT handler in; the line's must stay."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _tear_down(acquirer: ImageAcquirer) -> None:
    """Let go of a camera, also of one that is gone: then Harvesters' own ``stop`` gives up half way."""
    steps: list[Callable[[], Any]] = [acquirer.stop]
    for stream in list(acquirer.data_streams):
        kill, discard = (
            gentl.ACQ_STOP_FLAGS_LIST.ACQ_STOP_FLAGS_KILL,
            gentl.ACQ_QUEUE_TYPE_LIST.ACQ_QUEUE_ALL_DISCARD,
        )
        steps += [partial(stream.stop_acquisition, kill), partial(stream.flush_buffer_queue, discard)]
    for step in [*steps, acquirer._release_buffers, acquirer.destroy]:
        with contextlib.suppress(*GENICAM_ERRORS, RuntimeError):
            step()


def _producers_of_environment() -> list[Path]:
    folders = os.environ.get("GENICAM_GENTL64_PATH", "").split(os.pathsep)
    return [file for folder in folders if folder for file in sorted(Path(folder).glob("*.cti"))]


def _row(device: Any) -> str:
    access = ACCESS_WORDS.get(_optional(lambda: device.access_status), "access not told")
    names = (_text(device, name) for name in ("vendor", "model", "serial_number"))
    return f"{' '.join(names)} ({access})"


def _text(device: Any, name: str) -> str:
    return str(_optional(lambda: getattr(device, name)) or "")


def _timestamp_us(buffer: Any) -> int | None:
    nanoseconds = _optional(lambda: buffer.timestamp_ns)
    return nanoseconds // 1000 if nanoseconds else None


def _optional(ask: Callable[[], Any]) -> Any | None:
    """What a producer may or may not tell."""
    try:
        return ask()
    except GENICAM_ERRORS:
        return None
