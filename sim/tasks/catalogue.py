"""The tasks by name."""

from collections.abc import Mapping

from robo_dream.errors import ConfigError
from sim.tasks.lift import Lift
from sim.tasks.place import Place
from sim.tasks.push import Push
from sim.tasks.reach import Reach
from sim.tasks.task import Task

TASKS: Mapping[str, Task] = {task.name: task for task in (Reach(), Push(), Lift(), Place())}


def task_named(name: str) -> Task:
    """Raises `ConfigError` for a name that is not known."""
    if name not in TASKS:
        raise ConfigError(f"no task named {name!r}; known: {', '.join(TASKS)}. A task of your own implements sim.tasks.task.Task")
    return TASKS[name]
