"""The replay page of a run, served while its model is still loading: torch takes seconds to import, and the page does not wait for it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from robo_dream.recording.record import find_record
from robo_dream.viewer.questions import Asker
from robo_dream.viewer.routes import Dreamer, Routes
from robo_dream.viewer.server import LOOPBACK, PageServer
from robo_dream.viewer.watch import RunWatch


@contextmanager
def served(run: Path, host: str = LOOPBACK, port: int = 0, checkpoint: Path | None = None, device: str = "cpu") -> Iterator[PageServer]:
    """A server of the page of the run in the folder `run`, finished or not; `serve_forever` serves it. Port 0 is any free one.

    Pictures are drawn, and questions answered, by the run's checkpoint, or by `checkpoint` on `device`. At another host than
    loopback others can see the run, and nobody can ask.
    """
    watch = RunWatch(find_record(run))

    def load_dreams() -> Dreamer:
        from robo_dream.runtime.pictures import load_dreams

        return load_dreams(watch.about, watch.channels, checkpoint, device)

    def load_asker() -> Asker:
        from robo_dream.runtime.asker import RunAsker

        return RunAsker(watch.root, watch.about, checkpoint)

    with ThreadPoolExecutor(1, "model") as pool:
        dreams = pool.submit(load_dreams)
        asker = pool.submit(load_asker) if host == LOOPBACK else None
        with PageServer(Routes(watch, dreams, asker=asker), host, port) as server:
            yield server
