"""Work that is spread over a Ray cluster: which worker does which piece, and what happens to the pieces of one that is lost."""

import importlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field

from robo_dream.errors import MissingExtraError, RoboDreamError, one_line
from robo_dream.schema import configuration

Piece = TypeVar("Piece")
Result = TypeVar("Result")
_PASSED_ON = ("MUJOCO_GL", "LP_NUM_THREADS", "PYTHONPATH")  # of this process to its workers
_MOST_LOST = 20  # workers in a row without a result between them: then it is the work that ends them
_BESIDE = 1  # further pieces a worker has in hand, so that it never waits for the way here and back


@configuration
class LocalRunner:
    """On this machine, by as many processes as `workers` says."""

    kind: Literal["local"] = "local"


@configuration
class RayRunner:
    """On a Ray cluster, by as many actors as `workers` says, a core each. All its machines see the same folders and have the same code."""

    kind: Literal["ray"] = "ray"
    address: str = "auto"  # of the head, such as 10.0.0.1:6379; auto: one that runs here; local: one of this machine alone, for as long


Runner = Annotated[LocalRunner | RayRunner, Field(discriminator="kind")]


class _Actor(Generic[Piece, Result]):
    """One worker: begins once, and does one piece after another."""

    def __init__(self) -> None:
        self._work: Callable[[Piece], Result] | None = None

    def begin(self, start: Callable[[], Callable[[Piece], Result]], folder: str) -> None:
        if not Path(folder).is_dir():
            raise RoboDreamError(f"a worker of the cluster has no folder {folder}; all its machines must see the same folders")
        os.chdir(folder)
        self._work = start()

    def do(self, piece: Piece) -> Result:
        assert self._work is not None
        return self._work(piece)


def spread(runner: RayRunner, start: Callable[[], Callable[[Piece], Result]], pieces: Sequence[Piece], workers: int) -> Iterator[Result]:
    """The result of each piece, as they come, by `start`() of each worker. Pieces of a worker that is lost are done by others.

    Raises `MissingExtraError` without Ray, and `RoboDreamError` where there is no cluster at the address, or every worker is lost.
    """
    ray = _ray()
    _join(ray, runner)
    actor, folder = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Actor), os.getcwd()
    left, lost = deque(pieces), 0
    actors: list[Any] = []
    ready: set[int] = set()  # numbers of those that have begun and live
    running: dict[Any, tuple[int, Piece | None]] = {}  # whose answer, and of which piece

    def begin() -> None:
        actors.append(actor.remote())
        running[actors[-1].begin.remote(start, folder)] = len(actors) - 1, None

    def hand_out() -> None:
        for depth in range(1, 2 + _BESIDE):
            for number in sorted(ready):
                if left and sum(whose == number for whose, _ in running.values()) < depth:
                    piece = left.popleft()
                    running[actors[number].do.remote(piece)] = number, piece

    try:
        for _ in range(min(workers, len(left))):
            begin()
        while left or any(piece is not None for _, piece in running.values()):
            (answer,), _ = ray.wait(list(running), num_returns=1)
            number, piece = running.pop(answer)
            try:
                result = ray.get(answer)
            except ray.exceptions.RayTaskError as error:  # what the work itself raised
                raise (error.cause or error) from None
            except ray.exceptions.RayActorError as error:
                mine = [one for one, (whose, _) in running.items() if whose == number]
                left.extendleft(some for some in (piece, *(running.pop(one)[1] for one in mine)) if some is not None)
                ready.discard(number)
                if (lost := lost + 1) > _MOST_LOST:
                    raise RoboDreamError(
                        f"{lost} workers of the cluster were lost in a row, the last with: {one_line(error, 300)}"
                    ) from error
                begin()  # where there is a core for it; meanwhile those that live go on
                hand_out()
                continue
            ready.add(number)
            hand_out()
            if piece is not None:
                lost = 0
                yield result
    finally:
        ray.shutdown()  # ends its actors


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtraError(
            f"runner.kind is ray, and Ray is not installed ({one_line(error)}): "
            "pip install --constraint configs/constraints.txt --editable '.[ray]', or set runner.kind=local"
        ) from error


def _join(ray: Any, runner: RayRunner) -> None:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"OMP_NUM_THREADS": "1"}
    try:
        ray.init(address=runner.address, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": passed_on})
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RoboDreamError(
            f"no Ray cluster to be reached at runner.address={runner.address} ({one_line(error, 200)}); start one (`ray start --head`), "
            f"give its address, or set runner.kind=local"
        ) from error
