"""What a planner that serves says to a question: one decision for each robot that asks, several in one search. See `serving.wire`."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robo_dream.config import dump
from robo_dream.control.decision import Remembered, Seen, decision_of, seen_by
from robo_dream.embodiment import Observation
from robo_dream.errors import DataError
from robo_dream.imagination import Belief, Goal, Plan, Planner
from robo_dream.models import checkpoint
from robo_dream.models.perception_check import PerceptionCheck
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.goals import goal_from_observation, goal_from_positions
from robo_dream.runtime.made_with import made_with
from robo_dream.runtime.planner import PlanningChanges, PlanningConfig, build_planner, planning_for
from robo_dream.runtime.serving.wire import (
    array_in,
    decision_message,
    map_in,
    number_in,
    observation_in,
    require_keys,
    whole_in,
)
from robo_dream.schema import shown
from robo_dream.viewer.again import plan_of

ASK = ("ask", "task", "observation", "goal", "seconds")
ASK_DECISION = (
    *ASK, "step", "start", "seed", "previous", "previous_elites", "committed", "memory", "moved", "search_seconds", "keep", "perception",
)  # fmt: skip
_MAX_STEP = 10**9
_MAX_TASK = 64  # letters


@dataclass(frozen=True)
class GoalAsked:
    """A goal that a robot wants encoded once, before it moves: as it is seen there, or positions and what is seen now."""

    task: str
    goal: "Goal | Observation | Positions"
    now: Observation | None


@dataclass(frozen=True)
class Positions:
    """Where tool or objects should be (m), and nothing else: all that is not said stays as it is seen."""

    tool_pos: np.ndarray | None
    object_pos: np.ndarray | None


@dataclass(frozen=True)
class DecisionAsked:
    """A decision that a robot asks for. All of it comes with the question: nothing of a robot is kept between two of them."""

    task: str
    observation: Observation
    goal: Goal | Observation | Positions
    step: int
    start: int
    seed: int
    previous: tuple[np.ndarray, np.ndarray] | None  # actions and elites of the plan before, moved on to now
    committed: np.ndarray | None
    before: Remembered | None
    moved: np.ndarray
    search_seconds: float | None  # deadline of the search; None lets it finish
    is_whole: bool  # the whole decision is answered, for a record
    is_checked: bool  # whether what is seen looks as usual is answered, too

    @property
    def alike(self) -> tuple[Any, ...]:
        """What has to be equal of decisions that are made in one search."""
        given = (True, True) if isinstance(self.goal, Observation) else (self.goal.object_pos is None, self.goal.tool_pos is None)
        shapes = None if self.previous is None else tuple(part.shape for part in self.previous)
        return self.task, self.search_seconds, shapes, self.committed is None, self.before is None, given


Asked = GoalAsked | DecisionAsked
Answer = dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """The model of a checkpoint and how it plans, task by task; answers what `asked` reads out of messages. For one thread at a time."""

    path: Path
    model: LatentVideoModel
    info: checkpoint.CheckpointInfo
    check: PerceptionCheck | None
    how: Mapping[str, Any]  # device, compiled and precision of the model, as a record names them
    changes: PlanningChanges
    by_task: Mapping[str, PlanningChanges]
    clock: Callable[[], float] = time.monotonic
    _planners: dict[str, tuple[Planner, PlanningConfig]] = field(default_factory=dict)

    def metadata(self) -> Answer:
        """What a client is told when it connects."""
        model, config = self.model, self.model.spec.config
        return {
            "server": "robo_dream", "checkpoint": str(self.path), "checkpoint_sha256": checkpoint.sha256(self.path),
            "cameras": list(model.cameras), "image_size": config.image_size, "picture_goals": config.picture_goals,
            "action_spec": model.action_spec.to_json(), "action_block": model.action_block, "remembers": model.remembers,
            "num_objects": model.spec.num_objects, "tasks": sorted(self.info.settings.planning.get("tasks", {})),
            "perception_least": None if self.check is None else self.check.calibration.least, "asks": list(ASK_DECISION),
        }  # fmt: skip

    def asked(self, message: Mapping[str, Any]) -> Asked:
        """The question in `message`; raises `DataError` for anything else."""
        ask, task = message.get("ask", "decision"), message.get("task", "")
        if ask not in ("decision", "goal"):
            raise DataError(f"ask is {shown(ask)}; allowed are decision and goal")
        if not isinstance(task, str) or len(task) > _MAX_TASK:
            raise DataError(f"task is {shown(task)}; expected a name of at most {_MAX_TASK} letters")
        require_keys(message, "the question", ASK if ask == "goal" else ASK_DECISION)
        task = task if task in self.info.settings.planning.get("tasks", {}) or task in self.by_task else ""  # the usual settings
        goal = self._goal_in(message)
        if ask == "goal":
            now = self._seen(message, "observation") if "observation" in message else None
            if isinstance(goal, Positions) and now is None:
                raise DataError("a goal of positions needs the observation of now: all that is not said stays as it is")
            return GoalAsked(task, goal, now)
        step = whole_in(message, "step", 0, _MAX_STEP)
        observation = self._seen(message, "observation")
        size = self.model.action_spec.size
        before = None if message.get("memory") is None else self._memory_in(message)
        allowed = number_in(message, "search_seconds", None, 0.001, 3600.0)
        return DecisionAsked(
            task, observation, goal, step, whole_in(message, "start", step, _MAX_STEP), whole_in(message, "seed", 0, 2**63 - 1),
            self._previous_in(message), self._moves_in(message, "committed", self.model.action_block), before,
            np.zeros((0, size), np.float32) if (moved := self._moves_in(message, "moved", 1)) is None else moved,
            None if allowed is None else float(allowed), message.get("keep") is True, message.get("perception") is True,
        )  # fmt: skip

    def goal_answer(self, asked: GoalAsked) -> Answer:
        """The goal as it is given with each question, and what the decisions will be made with, for a record."""
        goal = self._encoded(asked.goal, None if asked.now is None else self.model.believe([[asked.now]]).latent)
        _, planning = self._planner(asked.task)
        arrays = {"latent": goal.latent, "object_pos": goal.object_pos, "tool_pos": goal.tool_pos}
        made_by = {
            "policy": "imagination", "planning": dump(planning), "checkpoint": str(self.path), "made_with": made_with(self.model.device),
            "checkpoint_sha256": checkpoint.sha256(self.path),
        }  # fmt: skip
        return {
            "goal": {name: _row(value, 0) for name, value in arrays.items() if value is not None},
            "made_by": made_by,
            "how": dict(self.how),
        }

    @torch.no_grad()
    def decisions(self, asked: Sequence[DecisionAsked]) -> list[Answer]:
        """One answer to each question; they are `alike`, and planned for in one search. Raises what the model or the planner raises."""
        began = self.clock()
        seen = self._all_seen(asked)
        belief = _joined(seen)
        goals = [self._encoded(one.goal, what.belief.latent) for one, what in zip(asked, seen, strict=True)]
        goal = Goal(*(_together([getattr(one, name) for one in goals]) for name in ("latent", "object_pos", "tool_pos")))  # type: ignore[arg-type]
        planner, _ = self._planner(asked[0].task)
        previous, allowed = self._previous(asked, planner.name), asked[0].search_seconds
        plan = planner.plan(belief, goal, [one.seed for one in asked], previous, None if allowed is None else began + allowed)
        return [self._answer(plan, i, one, seen[i], belief, goal, previous, began) for i, one in enumerate(asked)]

    def _answer(
        self,
        plan: Plan,
        row: int,
        asked: DecisionAsked,
        seen: Seen,
        belief: Belief,
        goal: Goal,
        previous: Plan | None,
        began: float,
    ) -> Answer:
        perception = self.check.of(asked.observation) if asked.is_checked and self.check is not None else None
        answer: Answer = {
            "actions": _row(plan.actions, row), "status": plan.status[row].value, "step": asked.step, "seed": asked.seed,
            "planner": plan.planner, "tool_pos": seen.tool_pos.tolist(), "together": len(plan.actions),
            "server_timing": {"infer_ms": 1e3 * (self.clock() - began)},
        }  # fmt: skip
        if perception is not None:
            answer |= {"usual": perception.usual, "cause": perception.cause}
        if asked.is_whole:
            made = decision_of(plan, row, asked.start, asked.observation.time, belief, goal, previous, (), perception)
            answer["decision"] = decision_message(replace(made, together=len(plan.actions)))
        if (kept := seen.remembered) is not None and kept.belief.memory is not None and kept.belief.unseen is not None:
            answer["memory"] = {
                "latent": _row(kept.belief.latent, 0), "memory": _row(kept.belief.memory, 0), "unseen": int(kept.belief.unseen[0]),
                "step": kept.step, "exposed": dict(kept.exposed),
            }  # fmt: skip
        return answer

    def _all_seen(self, asked: Sequence[DecisionAsked]) -> list[Seen]:
        """What the model makes of each observation. Pictures that need neither a past nor a future are encoded in one go."""
        one = asked[0]
        if len(asked) == 1 or one.before is not None or one.committed is not None:
            return [seen_by(self.model, [q.observation], q.step, q.committed, q.before, list(q.moved)) for q in asked]
        belief = self.model.believe([[q.observation] for q in asked])
        tools = self.model.poses(belief.latent).tool_pos
        rows = [Belief(*(None if part is None else part[i : i + 1] for part in _parts(belief))) for i in range(len(asked))]  # type: ignore[arg-type]
        exposed = [{name: frame.time for name, frame in q.observation.frames.items()} for q in asked]
        return [
            Seen(row, tools[i], None if row.memory is None else Remembered(row, asked[i].step, exposed[i])) for i, row in enumerate(rows)
        ]

    def _planner(self, task: str) -> tuple[Planner, PlanningConfig]:
        if task not in self._planners:
            planning = planning_for(self.info, task, self.changes, self.by_task)
            made = build_planner(planning.planner, self.model, planning.cost, planning.proposals, self.clock, futures=planning.futures)
            self._planners[task] = made, planning
        return self._planners[task]

    def _previous(self, asked: Sequence[DecisionAsked], name: str) -> Plan | None:
        given = [one.previous for one in asked if one.previous is not None]
        if not given:
            return None
        actions, elites = (torch.from_numpy(np.stack(part)).to(self.model.device) for part in zip(*given, strict=True))
        return plan_of(actions, elites, name)

    def _encoded(self, goal: Goal | Observation | Positions, now: Tensor | None) -> Goal:
        if isinstance(goal, Goal):
            return goal
        if isinstance(goal, Observation):
            return goal_from_observation(self.model, goal)
        assert now is not None
        return goal_from_positions(now, self._batch(goal.object_pos), self._batch(goal.tool_pos))

    def _batch(self, array: np.ndarray | None) -> Tensor | None:
        return None if array is None else torch.from_numpy(array).to(self.model.device)[None]

    def _goal_in(self, message: Mapping[str, Any]) -> Goal | Observation | Positions:
        told = map_in(message, "goal", ("latent", "object_pos", "tool_pos", "observation"))
        if "observation" in told:
            if len(told) > 1:
                raise DataError(f"goal has {', '.join(told)}; give an observation, or a latent, positions or both")
            return self._seen(told, "observation")
        tool_pos = array_in(told, "tool_pos", 1, 3) if "tool_pos" in told else None
        object_pos = None
        if "object_pos" in told:
            object_pos = array_in(told, "object_pos", 2, 3, is_partial=True)
            if len(object_pos) != self.model.spec.num_objects:
                raise DataError(f"goal.object_pos has {len(object_pos)} rows; this model knows {self.model.spec.num_objects} objects")
        if "latent" in told:
            latent = self._batch(array_in(told, "latent", 1, self.model.spec.config.latent))
            assert latent is not None
            return Goal(latent, self._batch(object_pos), self._batch(tool_pos))
        if tool_pos is None and object_pos is None:
            raise DataError("goal is empty; give observation (how it should look), latent, tool_pos or object_pos")
        return Positions(tool_pos, object_pos)

    def _seen(self, message: Mapping[str, Any], key: str) -> Observation:
        spec = self.model.action_spec
        return observation_in(message, key, spec.size - 1 if spec.kind == "joint_move" else 0)

    def _moves_in(self, message: Mapping[str, Any], key: str, multiple: int) -> np.ndarray | None:
        if message.get(key) is None:
            return None
        moves = array_in(message, key, 2, self.model.action_spec.size)
        if len(moves) % multiple or len(moves) > 1000:
            raise DataError(f"{key} has {len(moves)} control steps; expected at most 1000, a multiple of {multiple}")
        return moves

    def _previous_in(self, message: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
        if message.get("previous") is None:
            return None
        actions, elites = (array_in(message, key, n, self.model.action_spec.size) for key, n in (("previous", 2), ("previous_elites", 3)))
        if elites.shape[1:] != actions.shape or not len(elites):
            raise DataError(f"previous has shape {actions.shape} and previous_elites {elites.shape}; elites are such plans, at least one")
        return actions, elites

    def _memory_in(self, message: Mapping[str, Any]) -> Remembered:
        told = map_in(message, "memory", ("latent", "memory", "unseen", "step", "exposed"))
        if not self.model.remembers:
            raise DataError("memory is given, and this model has none; leave it out")
        latent = array_in(told, "latent", 1, self.model.spec.config.latent)
        memory = array_in(told, "memory", 1, self.model.spec.config.memory)
        unseen = torch.tensor([whole_in(told, "unseen", 0, _MAX_STEP)], device=self.model.device)
        exposed = {name: float(number_in(told["exposed"], name, 0.0, -1e15, 1e15) or 0.0) for name in map_in(told, "exposed")}
        rows = (torch.from_numpy(part).to(self.model.device)[None] for part in (latent, memory))
        latent_row, memory_row = rows
        return Remembered(Belief(latent_row, memory=memory_row, unseen=unseen), whole_in(told, "step", 0, _MAX_STEP), exposed)


def _parts(belief: Belief) -> tuple[Tensor | None, ...]:
    return belief.latent, belief.disagreement, belief.memory, belief.unseen


def _joined(seen: Sequence[Seen]) -> Belief:
    """The beliefs to plan from as one batch."""
    if len(seen) == 1:
        return seen[0].belief
    return Belief(*(_together(list(part)) for part in zip(*(_parts(one.belief) for one in seen), strict=True)))  # type: ignore[arg-type]


def _together(rows: Sequence[Tensor | None]) -> Tensor | None:
    there = [row for row in rows if row is not None]
    return torch.cat(there) if there else None


def _row(values: Tensor, row: int) -> np.ndarray:
    values = values[row].detach().cpu()
    return (values.float() if values.is_floating_point() else values).numpy()


def answers_of(
    path: Path,
    model: LatentVideoModel,
    how: Mapping[str, Any],
    changes: PlanningChanges,
    by_task: Mapping[str, PlanningChanges],
) -> Answers:
    """What answers with `model`, the checkpoint in `path`. Raises `ConfigError` for settings that cannot be used, before anybody asks."""
    info = checkpoint.read_info(path)
    calibration = info.settings.perception
    answers = Answers(path, model, info, None if calibration is None else PerceptionCheck(model, calibration), how, changes, by_task)
    for task in ("", *info.settings.planning.get("tasks", {}), *by_task):
        answers._planner(task)
    return answers
