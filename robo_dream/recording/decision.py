"""One decision as it is kept, in NumPy arrays: what was imagined, what it cost, what was chosen."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Decision:
    """Of a single planning problem. Axes are those of `robo_dream.imagination`, without the batch.

    With the model, cost and settings of its run it can be made again exactly: `previous` and `previous_elites` are the actions that
    warm-started it (None: nothing did), as the planner got them; `late_readings` is where a deadline cut it. What has a default is
    missing in records made before it was kept.
    """

    step: int  # control step at which the decision was made
    time: float  # monotonic seconds of the observation
    planner: str
    seed: int
    status: str  # a `PlanStatus`
    actions: Float[np.ndarray, "time action"]
    latents: Float[np.ndarray, "horizon channel"]
    belief: Float[np.ndarray, " channel"]
    goal: Float[np.ndarray, " channel"]
    candidates: Float[np.ndarray, "sample time action"]
    candidate_latents: Float[np.ndarray, "sample horizon channel"]
    terms: Mapping[str, Float[np.ndarray, "sample horizon"]]
    totals: Float[np.ndarray, " sample"]
    origins: Int[np.ndarray, " sample"]  # index into `origin_names`
    origin_names: tuple[str, ...]
    best_by_iteration: Float[np.ndarray, " iteration"]
    disagreement: Float[np.ndarray, "sample horizon"]
    seconds: Mapping[str, float]
    modes: Int[np.ndarray, " sample"] | None = None  # strategy of each elite, 0 the followed one; -1 no vote; None: not looked for
    total: float | None = None  # of the chosen plan
    elites: Int[np.ndarray, " elite"] | None = None  # indices of candidates, best first
    goal_object_pos: Float[np.ndarray, "object 3"] | None = None  # metres, where it was given outright
    goal_tool_pos: Float[np.ndarray, "3"] | None = None
    previous: Float[np.ndarray, "time action"] | None = None  # what warm-started the search, as the planner got it
    previous_elites: Float[np.ndarray, "elite time action"] | None = None
    late_readings: tuple[int, ...] = ()  # of the planner's clock, past the deadline
    unsure_reasons: tuple[str, ...] = ()  # the loop's own, which turn a trusted status into UNSURE
    belief_disagreement: float | None = None  # gathered on the way to an imagined belief; None: it was seen, or recorded before 0.2
    perception: float | None = None  # share of usual moments that look at least as odd as what was seen; None: nobody checked
    perception_residuals: Float[np.ndarray, " residual"] | None = None  # what that share follows from: `residual_names`
    memory: Float[np.ndarray, " memory"] | None = None  # beside the belief, of a model that remembers
    belief_unseen: int | None = None  # control steps for which no picture had come; None: the model remembers nothing
    futures: Float[np.ndarray, "future horizon channel"] | None = None  # where the plan may lead; None: one future was imagined
    future_totals: Float[np.ndarray, " future"] | None = None  # what each of them costs
    together: int = 1  # problems of the same search; of more than one, sums are rounded otherwise than alone

    @property
    def cost(self) -> float:
        """The least total that was imagined; infinite when no candidate had a finite one."""
        finite = self.totals[np.isfinite(self.totals)]
        return float(finite.min()) if len(finite) else float("inf")

    @property
    def strategies(self) -> tuple[int, ...]:
        """How many elites voted for each strategy, the followed one first; empty where the planner looked for none."""
        return () if self.modes is None else tuple(np.bincount(self.modes[self.modes >= 0]).tolist())

    @property
    def num_iterations(self) -> int:
        """How many iterations the search got through."""
        return len(self.best_by_iteration)

    @property
    def action_block(self) -> int:
        """Control steps in one imagined step."""
        return len(self.actions) // len(self.latents)
