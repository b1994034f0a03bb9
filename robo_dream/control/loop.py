"""The receding-horizon loop: observe, believe, plan, act for one block, look again."""

from robo_dream.control.choosing import Policy
from robo_dream.control.episode import Bench, EpisodeResult, EpisodeRun, Hold, Hooks, LoopConfig


def run_episode(bench: Bench, policy: Policy, config: LoopConfig, hooks: Hooks | None = None) -> EpisodeResult:
    """One episode in which `policy` decides, whatever it is: the same checks stand between it and the arm.

    A recorder among the `hooks` misses nothing when the episode is cut short. Where pictures are not fit to act on, the arm holds still and
    the policy is not asked. Safety reasons end the episode and are returned; exceptions pass through. In every case the arm is told to
    stop. No more than the newest `config.history` observations are kept.
    """
    run = EpisodeRun(bench, config, hooks or Hooks())
    chooser = policy.begin(run)
    try:
        end = run.look()
        while end is None:
            end = run.due()
            if end is None:
                choice = Hold(run.blind) if run.blind else chooser.choose()
                if isinstance(choice, Hold) and choice.reasons:
                    chooser.rest()
                end = run.take(choice)
    finally:
        try:
            chooser.close()
        finally:
            bench.arm.stop()
    return run.result(end)
