"""Leaving an arm: it is stopped first, whatever happened, and then let go of."""

from abc import ABC, abstractmethod
from types import TracebackType

from robo_dream.errors import ArmError


class StoppedOnLeaving(ABC):
    """The end of a driver's `with`."""

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.stop()
        except ArmError:
            if value is None:  # an error that is under way says more
                raise
        finally:
            self._disconnect()

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def _disconnect(self) -> None: ...
