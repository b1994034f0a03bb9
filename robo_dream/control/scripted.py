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
    try:
        end = run.look()
        while end is None:
            if is_done is not None and is_done(run.observations[-1]):
                end = EpisodeEnd.DONE
            elif len(run.sent) >= config.max_steps:
                end = EpisodeEnd.BUDGET
            elif run.blind:
                end = run.hold(run.blind)
            elif (action := script(run.observations[-1])) is None:
                end = EpisodeEnd.BUDGET
            else:
                run.consecutive_holds = 0
                end = run.act(action)
    finally:
        arm.stop()
    return run.episode(end)
