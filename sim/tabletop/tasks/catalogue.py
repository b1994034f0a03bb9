"""The tasks by name."""

from collections.abc import Mapping

from robo_dream.errors import ConfigError
from sim.tabletop.tasks.lift import Lift
from sim.tabletop.tasks.place import Place
from sim.tabletop.tasks.push import Push
from sim.tabletop.tasks.reach import Reach
from sim.tabletop.tasks.task import Task

TASKS: Mapping[str, Task] = {task.name: task for task in (Reach(), Push(), Lift(), Place())}


def task_named(name: str) -> Task:
    """Raises `ConfigError` for a name that is not known."""
    if name not in TASKS:
        raise ConfigError(f"no task named {name!r}; known: {', '.join(TASKS)}. A task of your own implements sim.tabletop.tasks.task.Task")
    return TASKS[name]
