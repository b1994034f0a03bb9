"""A camera whose own thread keeps the newest good frame, watches for what goes wrong, and opens a lost camera again."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
from jaxtyping import Float
from pydantic import Field

from hardware.cameras.clock_sync import ClockSync
from hardware.cameras.exposure import Exposure, ExposureSource
from hardware.cameras.stream import ExposureVerdict, Health, Latency, StreamCheck
from robo_dream.embodiment import Frame, Intrinsics
from robo_dream.errors import CameraError, ContractError
from robo_dream.schema import Unit, configuration

_log = logging.getLogger(__name__)
_GRAB_TIMEOUT = 0.1  # s; how long leaving may have to wait for the thread
_BACKOFF = 2.0  # each attempt to reconnect waits so many times as long as the one before


Seconds = Annotated[float, Field(gt=0, le=600), Unit("s")]
Delay = Annotated[float, Field(ge=0, lt=2), Unit("s")]
Count = Annotated[int, Field(ge=0, le=1_000)]


@configuration
class WatchConfig:
    """When a camera counts as started, and as lost. Seconds and counts."""

    warm_up_frames: Count = 15  # exposures dropped after opening: half a second in which automatic exposure settles
    start_seconds: Seconds = 5.0  # from opening to the first frame, warm-up included
    lost_after: Seconds = 1.0  # without a new frame; `read` raises then. The guard holds the arm long before (0.2 s)
    reconnects: Count = 3  # attempts after a loss
    reconnect_wait: Seconds = 0.5  # s before the first attempt; twice as long before each next one
    delay: Delay = 0.0  # s from exposure to arrival, for a camera that cannot tell; as `robo-dream calibrate latency` measured it


class LiveCamera:
    """An `embodiment.Camera` over any source of exposures.

    Entering opens the source, warms it up and waits for a frame; raises `CameraError` when that fails. `read` returns the newest frame
    at once: numbers and times only ever go up, a number counts the exposures that were lost too, and repeated, unpaired and late ones
    are dropped and counted in `health`. Without a new frame for `lost_after` seconds `read` raises `CameraError`; meanwhile the thread
    opens the camera again.
    """

    def __init__(
        self,
        name: str,
        source: ExposureSource,
        watch: WatchConfig | None = None,
        world_from_camera: Float[np.ndarray, "4 4"] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._source, self._watch, self._pose, self._clock = source, watch or WatchConfig(), world_from_camera, clock
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._newest: Frame | None = None
        self._newest_arrival = -float("inf")
        self._error: CameraError | None = None
        self._trouble = ""  # what the thread is doing about a loss
        self._attempts = 0  # to open it again since the last frame
        self._check = StreamCheck(source.period, ClockSync(self._watch.delay))

    def __enter__(self) -> "LiveCamera":
        if self._thread is not None:
            raise ContractError(f"camera {self.name!r} is already open; leave it before entering it again")
        self._stop.clear()
        self._newest, self._error, self._trouble, self._attempts = None, None, "", 0
        self._check = StreamCheck(self._source.period, ClockSync(self._watch.delay))
        self._source.open()
        try:
            self._thread = threading.Thread(target=self._run, name=f"camera {self.name}", daemon=True)
            self._thread.start()
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._error is not None, self._watch.start_seconds)
            if self._newest is None:
                raise self._error or CameraError(
                    f"{self._who}: no usable frame within {self._watch.start_seconds:g} s of opening ({self._seen()}); "
                    "plug it into a USB 3 port of its own, close other programs that use it, or lower its resolution or rate"
                )
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(self._watch.start_seconds)
            if thread.is_alive():
                _log.warning("%s: its driver does not return from waiting for a picture; it is closed when it does", self._who)

    @property
    def intrinsics(self) -> Intrinsics:
        """NaN before the camera has been entered, where it tells them itself."""
        return self._source.intrinsics

    @property
    def world_from_camera(self) -> Float[np.ndarray, "4 4"]:
        """NaN when the camera was never calibrated; `robo-dream calibrate hand-eye` finds it."""
        return np.full((4, 4), np.nan) if self._pose is None else self._pose

    def read(self) -> Frame:
        """The newest frame; raises `CameraError` when the newest is older than `lost_after` seconds, or the camera is gone for good."""
        with self._changed:
            frame, arrival, error, trouble = self._newest, self._newest_arrival, self._error, self._trouble
        if error is not None:
            raise error
        if frame is None:
            raise ContractError(f"camera {self.name!r} is not open; use it in a `with` block")
        age = self._clock() - arrival
        if age > self._watch.lost_after:
            raise CameraError(
                f"{self._who}: no new frame for {age:.2f} s (allowed {self._watch.lost_after:g} s); {trouble or 'it has stalled'}. "
                "Check its cable and port"
            )
        return frame

    def wait_newer(self, number: int, timeout: float) -> Frame:
        """The first frame after the one with `number`; raises `CameraError` when none comes within `timeout` seconds."""
        with self._changed:
            newer = lambda: self._error is not None or (self._newest is not None and self._newest.number > number)  # noqa: E731
            if not self._changed.wait_for(newer, timeout):
                raise CameraError(f"{self._who}: no frame after number {number} within {timeout:g} s; {self._trouble or 'it has stalled'}")
        return self.read()

    @property
    def health(self) -> Health:
        return self._check.health

    def latency(self) -> Latency:
        """From exposure to arrival, over the last 1,000 frames."""
        return self._check.latency()

    @property
    def _who(self) -> str:
        return f"camera {self.name!r} ({self._source.label})"

    def _seen(self) -> str:
        health = self._check.health
        return f"{health.exposures} exposures came, {health.unpaired} more unpaired, {health.repeated} repeated"

    def _run(self) -> None:
        try:
            self._watch_source()
        finally:
            self._source.close()  # here, because no library likes to be closed while it waits in another thread

    def _watch_source(self) -> None:
        """Grabs until told to stop or nothing more can come."""
        warm_up, quiet_since, allowed = self._watch.warm_up_frames, self._clock(), self._first_wait
        while not self._stop.is_set():
            try:
                exposure = self._source.grab(_GRAB_TIMEOUT)
                if exposure is not None and self._take(exposure, warm_up):
                    warm_up, quiet_since, allowed = max(warm_up - 1, 0), self._clock(), self._watch.lost_after
                elif self._clock() - quiet_since > allowed:
                    raise CameraError(f"{self._who}: no new exposure for {self._clock() - quiet_since:.2f} s (allowed {allowed:g} s)")
            except CameraError as error:
                if not self._again(error):
                    return
                warm_up, quiet_since, allowed = self._watch.warm_up_frames, self._clock(), self._first_wait
            except Exception as error:  # whatever a vendor's library throws must end in a named error, not in a silent thread
                _log.exception("%s: unexpected error", self._who)
                self._give_up(CameraError(f"{self._who}: {type(error).__name__}: {error}"))
                return

    @property
    def _first_wait(self) -> float:
        """Seconds that a camera may take from being opened to its first exposure."""
        return max(self._watch.start_seconds, self._watch.lost_after)

    def _take(self, exposure: Exposure, warm_up: int) -> bool:
        """Whether `exposure` is new; publishes it when the warm-up is over."""
        verdict = self._check.judge(exposure)
        if verdict is ExposureVerdict.LOOPED and not self._source.may_loop:
            raise CameraError(f"{self._who}: its exposures began again from an earlier one; it was reset, or a recording repeats")
        if verdict not in (ExposureVerdict.NEW, ExposureVerdict.LOOPED):
            _log.debug("%s: exposure %s is %s and dropped", self._who, exposure.number, verdict)
            return False
        if warm_up == 0:
            image, depth = exposure.pictures()
            frame = Frame(self._check.time, image, self._check.number, depth)
            with self._changed:
                self._newest, self._newest_arrival, self._trouble = frame, exposure.arrival, ""
                self._attempts = 0
                self._changed.notify_all()
        return True

    def _again(self, loss: CameraError) -> bool:
        """Whether the camera was opened again after `loss`."""
        self._check.lost()
        if not self._source.is_live:
            self._give_up(loss)
            return False
        _log.warning("%s", loss)
        self._source.close()
        limit, failure = self._watch.reconnects, loss
        while self._attempts < limit:  # attempts since the last frame: a camera that opens and sends nothing is tried no more often
            wait = self._watch.reconnect_wait * _BACKOFF**self._attempts
            self._attempts += 1
            with self._changed:
                self._trouble = f"opening it again, attempt {self._attempts} of {limit}"
            if self._stop.wait(wait):
                return False
            try:
                self._source.open()
            except CameraError as error:
                failure = error
                continue
            self._check.reconnected()
            _log.warning("%s: open again at attempt %d", self._who, self._attempts)
            return True
        tried = f"; {limit} attempts to open it again failed, the last with: {failure}" if limit else ""
        self._give_up(CameraError(f"{loss}{tried}"))
        return False

    def _give_up(self, error: CameraError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()
