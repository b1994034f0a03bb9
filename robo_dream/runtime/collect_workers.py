"""The processes that play: each writes a shard of its own and ends the moment its parent does."""

import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from robo_dream.data import layout
from robo_dream.data.cache import shard_root
from robo_dream.data.spec import DatasetSpec
from robo_dream.data.writer import DatasetWriter, encode
from robo_dream.errors import RoboDreamError
from robo_dream.runtime.players import Player


def shards(out: Path) -> list[Path]:
    """The shards in `out` that hold a dataset."""
    return [root for root in sorted(out.glob("shard-*")) if (root / layout.INFO).exists()]


def collect(out: Path, spec: DatasetSpec, seeds: Sequence[int], first_seed: int, workers: int, player: Player) -> Iterator[int]:
    """Plays every seed and yields it once its episode is committed. Raises `RoboDreamError` when a worker fails."""
    context = mp.get_context("spawn")  # a forked GL context is broken
    crew: dict[connection.Connection, BaseProcess] = {}
    try:
        for worker in range(min(workers, len(seeds))):
            ours, theirs = context.Pipe(duplex=False)
            arguments = (theirs, out, worker, spec, list(seeds[worker::workers]), first_seed, player)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            theirs.close()
            crew[ours] = process
        running = set(crew)
        while running:
            for ready in connection.wait(list(running)):
                assert isinstance(ready, connection.Connection)
                try:
                    message = ready.recv()
                except EOFError:
                    crew[ready].join()
                    raise RoboDreamError(
                        f"a worker ended with exit code {crew[ready].exitcode} (a negative one is a signal, -9 out of memory); "
                        "finished episodes are kept: give the same command again, perhaps with fewer workers"
                    ) from None
                if message is None:
                    running.remove(ready)
                elif isinstance(message, str):
                    raise RoboDreamError(f"a worker failed: {message}; finished episodes are kept")
                else:
                    yield message
    finally:
        for process in crew.values():
            process.terminate()
        for process in crew.values():
            process.join()


def _work(
    channel: connection.Connection, out: Path, worker: int, spec: DatasetSpec, seeds: list[int], first_seed: int, player: Player
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with player.playing() as play, DatasetWriter(shard_root(out, worker), spec) as writer:
            for seed in seeds:
                # by the seed and not by the place in the shard, so that the split does not depend on the number of workers
                encoded = replace(encode(play(seed), spec), is_train=spec.split_rule.is_train(seed - first_seed))
                writer.append_encoded(encoded)
                channel.send(seed)
        channel.send(None)
    except RoboDreamError as error:
        channel.send(str(error))
    except BrokenPipeError:  # the parent is gone
        return


def _end_with_parent() -> None:
    parent = mp.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
