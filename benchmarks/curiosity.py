"""Curiosity before a noisy television (`sim/noisy_screen.py`): random play, curiosity by prediction error, and by disagreement.

    python benchmarks/curiosity.py --seeds 3 --steps 600

All three learn the same small ensemble as they go; the curious two plan by the cross-entropy method with `cost.curiosity` alone. By
disagreement: the spread of the heads (Plan2Explore, arXiv 2005.05960). By error: a head that learns how wrong the ensemble was (as in
Schmidhuber 1991). The models read numbers that the picture shows, not pixels. Intervals are bootstrapped over seeds.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from bar_chart import Panel, draw_panels
from jaxtyping import Float
from results_file import write_figures
from torch import Tensor, nn

from robo_dream.embodiment import ActionSpec, Observation
from robo_dream.evaluation.intervals import bootstrap
from robo_dream.imagination import Belief, Goal, Imagination, ScenePose
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.costs import CostConfig, StepWeights
from robo_dream.runtime.planner import build_planner
from sim.noisy_screen import NoisyScreen

METHODS = {"random": "random play", "error": "curiosity by prediction error", "disagreement": "curiosity by disagreement"}
SIZE = 20  # tool, block, screen
UNIT = 0.1  # of tool and block: the most that a step moves
LIFE, FIRST, EVERY, TRAIN = 50, 200, 25, 50  # steps of an episode, of random play at first, between trainings; updates of a training
BLOCK = 2  # steps done of each plan
GRID = 10  # cells of a side


class Ensemble(nn.Module):
    """Networks side by side: what a step changes of tool and block, in units of `UNIT`, and the screen after it."""

    def __init__(self, members: int, outputs: int, width: int = 64) -> None:
        super().__init__()
        sizes = (SIZE + 4, width, width, outputs)
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList(torch.randn(members, a, b) / a**0.5 for a, b in pairs)
        self.biases = nn.ParameterList(torch.zeros(members, 1, b) for _, b in pairs)

    def forward(self, states: Float[Tensor, "*member row state"], actions: Float[Tensor, "*member row action"]) -> Tensor:
        apart = (states[..., 2:4] - states[..., :2]) / (2 * UNIT)
        x = torch.cat([2 * states - 1, apart.clamp(-2, 2), actions / UNIT], -1)
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + bias
            x = nn.functional.silu(x) if place + 1 < len(self.weights) else x
        return x


@dataclass(frozen=True)
class ScreenModel:
    """A `WorldModel` of the noisy screen. What it calls disagreement is the predicted error where `by_error`."""

    heads: Ensemble
    error: Ensemble
    action_spec: ActionSpec
    by_error: bool
    action_block: int = 1
    cameras: tuple[str, ...] = ("above",)

    def believe(self, histories: Sequence[Sequence[Observation]]) -> Belief:
        raise NotImplementedError("this model is given what the picture shows")

    def imagine(self, belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> Imagination:
        state = belief.latent[:, None].expand(*actions.shape[:2], -1).flatten(0, 1)
        states, unsure = [], []
        for action in actions.flatten(0, 1).unbind(1):
            found = self.heads(state, action)
            unsure.append(self.error(state, action)[0, :, 0] if self.by_error else found.std(0).mean(-1))
            state = after(state, found.mean(0))
            states.append(state)
        return Imagination(torch.stack(states, 1).unflatten(0, actions.shape[:2]), torch.stack(unsure, 1).unflatten(0, actions.shape[:2]))

    def poses(self, latents: Float[Tensor, "*batch channel"]) -> ScenePose:
        raise NotImplementedError("nothing is planned by poses here")


def after(state: Float[Tensor, "row state"], found: Float[Tensor, "row state"]) -> Float[Tensor, "row state"]:
    return torch.cat([state[:, :4] + UNIT * found[:, :4], found[:, 4:]], -1).clamp(0, 1)


@dataclass(frozen=True)
class Steps:
    before: Float[Tensor, "row state"]
    actions: Float[Tensor, "row action"]
    later: Float[Tensor, "row state"]

    @property
    def targets(self) -> Float[Tensor, "*member row state"]:
        """What heads should say of them."""
        return torch.cat([(self.later - self.before)[..., :4] / UNIT, self.later[..., 4:]], -1)

    def rows(self, index: Tensor) -> "Steps":
        return Steps(self.before[index], self.actions[index], self.later[index])


class Learner:
    """Each head draws batches of its own; the error's head learns how wrong their mean is, in the mean over all numbers."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.heads, self.error = Ensemble(5, SIZE), Ensemble(1, 1)
        self.generator = torch.Generator().manual_seed(seed)
        self.optimiser = torch.optim.AdamW([*self.heads.parameters(), *self.error.parameters()], 2e-3, weight_decay=0.02, fused=True)

    def learn(self, steps: Steps, updates: int, batch: int = 64) -> None:
        for _ in range(updates):
            drawn = steps.rows(torch.randint(len(steps.before), (5, batch), generator=self.generator))
            one = steps.rows(torch.randint(len(steps.before), (batch,), generator=self.generator))
            loss = (self.heads(drawn.before, drawn.actions) - drawn.targets).square().mean()
            with torch.no_grad():
                wrong = (self.heads(one.before, one.actions).mean(0) - one.targets).square().mean(-1)
            loss = loss + (self.error(one.before, one.actions)[0, :, 0] - wrong).square().mean()
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()


def explore(method: str, seed: int, num_steps: int) -> tuple[Steps, list[bool]]:
    """One life: the steps made, and which of them were before the screen."""
    world, rng, learner = NoisyScreen(), np.random.default_rng(seed), Learner(seed)
    spec = world.action_spec
    model = ScreenModel(learner.heads, learner.error, spec, by_error=method == "error")
    cost = CostConfig(distance=0, curiosity=1, steps=StepWeights(1.0, 0.2))
    search = CemConfig(horizon=6, num_samples=48, num_iterations=2, num_elites=8, initial_std=1.0, noise_beta=2.0, num_proposals=0)
    planner = build_planner(search, model, cost)
    made: list[tuple[Tensor, Tensor, Tensor]] = []
    at_screen, plan, drift = [], None, np.zeros(2)
    for step in range(num_steps):
        if step % LIFE == 0:
            world.reset(rng)
            drift = np.zeros(2)
        before = torch.tensor(world.state, dtype=torch.float32)
        if method == "random" or step < FIRST:
            drift = 0.8 * drift + 0.06 * rng.normal(size=2)  # smooth, as people play
            action = np.clip(drift, spec.low, spec.high)
        else:
            if step % BLOCK == 0:
                plan = planner.plan(Belief(before[None]), Goal(before[None]), [seed * num_steps + step])
            assert plan is not None
            action = plan.actions[0, step % BLOCK].numpy()
        world.play(action)
        made.append((before, torch.tensor(action, dtype=torch.float32), torch.tensor(world.state, dtype=torch.float32)))
        at_screen.append(world.at_screen)
        if method != "random" and step + 1 >= FIRST and (step + 1) % EVERY == 0:
            learner.learn(joined(made), TRAIN)
    return joined(made), at_screen


def joined(made: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Steps:
    before, actions, later = (torch.stack(rows) for rows in zip(*made, strict=True))
    return Steps(before, actions, later)


def pushes(num: int, seed: int) -> Steps:
    """Held out: steps that move the block, from anywhere on the table."""
    world, rng, made = NoisyScreen(), np.random.default_rng(seed), []
    while len(made) < num:
        world.reset(rng)
        world.block = rng.uniform(0.1, 0.9, 2)
        world.tool = np.clip(world.block + rng.uniform(-0.2, 0.2, 2), 0, 1)
        world.play(np.zeros(2))  # nothing overlaps
        before, action = world.state, rng.uniform(-0.1, 0.1, 2)
        world.play(action)
        if np.linalg.norm(world.state[2:4] - before[2:4]) > 0.02:
            made.append((before, action, world.state))
    return joined([tuple(torch.tensor(part, dtype=torch.float32) for part in one) for one in made])  # pyright: ignore[reportArgumentType]


def figures_of(steps: Steps, at_screen: Sequence[bool], held_out: Steps, seed: int) -> dict[str, float]:
    """Of one life: shares in percent; and of a new model of its data, the block's error in percent of how far it was pushed."""
    cells = {(int(x), int(y)) for x, y in (GRID * steps.later[:, :2]).clamp(0, GRID - 1).tolist()}
    free = [(x, y) for x in range(GRID) for y in range(GRID) if x < 7 or y < 7]
    moved = (steps.later - steps.before)[:, 2:4].norm(dim=-1) > 1e-3
    learner = Learner(1000 + seed)
    learner.learn(steps, 400)
    with torch.no_grad():
        found = after(held_out.before, learner.heads(held_out.before, held_out.actions).mean(0))
    apart = (found - held_out.later)[:, 2:4].norm(dim=-1).mean()
    return {
        "at_screen": 100 * float(np.mean(at_screen[FIRST:])),
        "at_screen_last_third": 100 * float(np.mean(at_screen[2 * len(at_screen) // 3 :])),
        "places": 100 * len(cells & set(free)) / len(free),
        "block_moved": 100 * float(moved[FIRST:].float().mean()),
        "push_error": 100 * float(apart / (held_out.later - held_out.before)[:, 2:4].norm(dim=-1).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("docs/results/curiosity.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/curiosity.png"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    held_out, found = pushes(300, 12345), {name: [] for name in METHODS}
    for seed in range(options.seeds):
        for name in METHODS:
            found[name].append(figures_of(*explore(name, seed, options.steps), held_out, seed))
            print(seed, name, {key: round(value, 1) for key, value in found[name][-1].items()}, flush=True)
        written(options.out, options.picture, found, options.steps)  # after each seed: what is cut short has those before


def written(out: Path, picture: Path, found: Mapping[str, Sequence[Mapping[str, float]]], num_steps: int) -> None:
    """Means over seeds with their intervals, as figures and as a picture."""
    figures: dict[str, float | int | str | None] = {"num_seeds": len(found["random"]), "num_steps": num_steps}
    bars: dict[str, list[tuple[float, float, float]]] = {label: [] for label in METHODS.values()}
    for name, lives in found.items():
        for key in lives[0]:
            mean, low, high = interval(np.array([life[key] for life in lives]))
            bars[METHODS[name]].append((mean, low, high))
            figures |= {f"{name}/{key}": round(mean, 1), f"{name}/{key}_low": round(low, 1), f"{name}/{key}_high": round(high, 1)}
            figures |= {f"{name}/{key}/seed_{seed}": round(life[key], 1) for seed, life in enumerate(lives)}
    write_figures(out, figures)
    groups = ["before the screen", "the same,\nlast third", "places seen", "block moved", "error of pushes\n(held out)"]
    draw_panels(picture, [Panel("percent; intervals over seeds", groups, bars)])


def interval(values: Float[np.ndarray, " seed"]) -> tuple[float, float, float]:
    return float(values.mean()), *bootstrap(lambda drawn: float(values[drawn].mean()), len(values))


if __name__ == "__main__":
    main()
