"""Leaving an arm: it is stopped first, whatever happened, and then let go of."""

from abc import ABC, abstractmethod
from types import TracebackType

from robo_dream.errors import ArmError


class StoppedOnLeaving(ABC):
    """The end of a driver's `with`."""

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.stop()
            self._let_go()
        except ArmError:
            if value is None:  # an error that is under way says more
                raise
        finally:
            self._disconnect()

    @abstractmethod
    def stop(self) -> None: ...

    def _let_go(self) -> None:  # noqa: B027  (most arms hold themselves)
        """Takes the torque away where the arm may be without."""

    @abstractmethod
    def _disconnect(self) -> None: ...
