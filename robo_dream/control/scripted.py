"""The loop with a script in the planner's place: it looks, checks and holds in the same way."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from robo_dream.control.episode import Episode, EpisodeEnd
from robo_dream.control.loop_config import LoopConfig
from robo_dream.control.stepping import Stepping
from robo_dream.embodiment import Camera, Clock, Observation, RobotArm

Script = Callable[[Observation], np.ndarray | None]
"""The next action, given what is seen; None when there is none any more."""


def scripted_episode(
    arm: RobotArm,
    cameras: Sequence[Camera],
    clock: Clock,
    script: Script,
    config: LoopConfig,
    *,
    truth: Callable[[], Mapping[str, np.ndarray]] | None = None,
    is_done: Callable[[Observation], bool] | None = None,
    on_step: Callable[[Observation, np.ndarray, np.ndarray], None] | None = None,
) -> Episode:
    """As `run_episode`, without decisions: an episode ends as BUDGET when the script does."""
    run = Stepping(arm, cameras, clock, config, truth, on_step)

    def turn() -> EpisodeEnd | None:
        if run.blind:
            return run.hold(run.blind)
        action = script(run.observations[-1])
        if action is None:
            return EpisodeEnd.BUDGET
        run.consecutive_holds = 0
        return run.act(action)

    try:
        end = run.until_end(is_done, turn)
    finally:
        arm.stop()
    return run.episode(end)
