"""Leaving an arm: it is stopped first, whatever happened, and then let go of. And stopping one whose driver is no more."""

from abc import ABC, abstractmethod
from types import TracebackType

from hardware.arms.arm_lock import ArmLock
from robo_dream.errors import ArmError


class StoppedOnLeaving(ABC):
    """The end of a driver's `with`, and what is left when the process of the driver is gone."""

    _arm_lock: ArmLock | None = None

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.stop()
            self._let_go()
        except ArmError:
            if value is None:  # an error that is under way says more
                raise
        finally:
            self._disconnect()
            self._release()

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def last_resort(self) -> str:
        """Stops the arm from a driver that was never entered, when the process of the one that was is gone: over a connection of its own.

        Returns a sentence that says what acted and whether the arm confirmed it; where nothing can be told to the arm, what its controller
        does by itself. Raises `ArmError` when the arm was told and nothing is known to have acted.
        """

    def _take(self, identity: str) -> None:
        """The arm for itself alone, until it is left; raises `ArmError` naming who has it."""
        self._arm_lock = ArmLock(identity).take()

    def _release(self) -> None:
        if self._arm_lock is not None:
            self._arm_lock.release()
            self._arm_lock = None

    def _let_go(self) -> None:  # noqa: B027  (most arms hold themselves)
        """Takes the torque away where the arm may be without."""

    @abstractmethod
    def _disconnect(self) -> None: ...
