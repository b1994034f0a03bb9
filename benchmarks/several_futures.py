"""What averaging costs where there are two good ways, and what following one of them saves.

    python benchmarks/several_futures.py --out runs/several_futures

Plans once in each of `--seeds` worlds whose obstacle stands exactly between tool and goal (`robo_dream.testing.detour`), with and
without proposals of both ways, and prints a table; several_futures.png shows one decision: its candidates, their mean, the mode.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from robo_dream.imagination import Belief, Goal, Plan, Proposer
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.icem import IcemConfig
from robo_dream.planning.kinds import planner_of
from robo_dream.planning.mppi import MppiConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.testing.detour import (
    CLEARANCE,
    OBSTACLE_RADIUS,
    DetourCost,
    TwoWays,
    collides,
    detour_model,
    detour_problems,
    passes_left,
)

ARRIVED = 0.05  # m from the goal at the end of the plan
BATCH = 25  # worlds planned together
MODEL = detour_model()
SEARCHES = (
    CemConfig(horizon=20, num_samples=128, num_iterations=3, num_elites=16, colour=2.0),
    IcemConfig(horizon=20),
    MppiConfig(horizon=20, colour=2.0),
    PolicyGuidedConfig(horizon=20),
)
Search = CemConfig | IcemConfig | MppiConfig | PolicyGuidedConfig
INK, FAINT, PAPER, OBSTACLE = (32, 36, 44), (122, 130, 142), (250, 250, 248), (214, 217, 222)
BAD, GOOD, FOLLOWED_ELITE, OTHER = (200, 42, 42), (24, 88, 168), (118, 168, 222), (228, 148, 42)
SCALE, OVERSAMPLED = 2050, 3  # px a metre, drawn this much larger and shrunk


def plan_of(search: Search, belief: Belief, goal: Goal, seeds: Sequence[int], proposed: bool) -> Plan:
    proposers: tuple[Proposer, ...] = (TwoWays(MODEL),) if proposed else ()
    return planner_of(search, MODEL, DetourCost(MODEL), proposers).plan(belief, goal, seeds)


def table(num_seeds: int) -> str:
    belief, goal = detour_problems(num_seeds, seed=0)
    rows = [
        "| planner | proposals | returns | through the obstacle % | arrived without % | cost | strategies |",
        "|---|---|---|---|---|---|---|",
    ]
    for search in SEARCHES:
        for proposed in (True, False):
            for returns in ("mean", "best", "mode"):
                hit, arrived, totals, strategies = [], [], [], []
                for start in range(0, num_seeds, BATCH):
                    part = slice(start, min(start + BATCH, num_seeds))
                    here, there = Belief(belief.latent[part]), Goal(goal.latent[part])
                    plan = plan_of(replace(search, action_selection=returns), here, there, range(num_seeds)[part], proposed)
                    hit.append(collides(here, plan.actions[:, None])[:, 0])
                    left = (plan.latents[:, -1] - there.latent)[:, :3].norm(dim=1)
                    arrived.append((left < ARRIVED) & ~hit[-1])
                    totals.append(plan.total)
                    if plan.trace.modes is not None:
                        strategies.append((plan.trace.modes.amax(dim=1) + 1).float())
                found = f"{torch.cat(strategies).mean():.2f}" if strategies else "-"
                shares = f"{100 * share(hit):.1f} | {100 * share(arrived):.1f}"
                with_arcs = "two ways" if proposed else "none"
                rows.append(f"| {search.kind} | {with_arcs} | {returns} | {shares} | {torch.cat(totals).mean():.2f} | {found} |")
                print(rows[-1], flush=True)
    return "\n".join(rows)


def share(flags: list[Tensor]) -> float:
    return float(torch.cat(flags).float().mean())


def picture(seed: int) -> Image.Image:
    """The same decision twice: what the mean of the elites does, and what the mode does."""
    belief, goal = detour_problems(1, seed=0)
    search = PolicyGuidedConfig(horizon=20)
    mean, mode = (plan_of(replace(search, action_selection=returns), belief, goal, [seed], True) for returns in ("mean", "mode"))
    panels = [panel(belief, goal, plan) for plan in (mean, mode)]
    wide, tall = panels[0].size
    sheet = Image.new("RGB", (2 * wide + 24, tall), PAPER)
    for number, image in enumerate(panels):
        sheet.paste(image, (number * (wide + 24), 0))
    return sheet


def panel(belief: Belief, goal: Goal, plan: Plan) -> Image.Image:
    """Seen from above, the goal to the right: all candidates faint, the elites in the colour of their strategy, the plan thick."""
    width, height, top = 900, 660, 92
    image = Image.new("RGB", (width * OVERSAMPLED, height * OVERSAMPLED), PAPER)
    draw = ImageDraw.Draw(image)
    ahead = (goal.latent - belief.latent)[0, :2]
    forward = ahead / ahead.norm()
    turn = torch.stack([forward, torch.stack([-forward[1], forward[0]])])  # (2, 2): world to picture, y to the left of the way

    def pixels(actions: Tensor) -> list[tuple[float, float]]:
        path = torch.cat([torch.zeros(1, 2), actions[:, :2].cumsum(dim=0)]) @ turn.T - torch.stack([ahead.norm() / 2, torch.tensor(0.0)])
        return [(OVERSAMPLED * (width / 2 + SCALE * float(x)), OVERSAMPLED * ((height + top) / 2 - SCALE * float(y))) for x, y in path]

    def disc(centre: tuple[float, float], radius: float, **style: object) -> None:
        draw.ellipse([centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius], **style)  # type: ignore[arg-type]

    def line(actions: Tensor, colour: tuple[int, int, int], thick: float) -> None:
        points = pixels(actions)
        draw.line(points, fill=colour, width=round(thick * OVERSAMPLED), joint="curve")

    start, end = pixels(torch.zeros(1, 5))[0], pixels((goal.latent - belief.latent)[:, :5])[-1]
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    disc(middle, (OBSTACLE_RADIUS + CLEARANCE) * SCALE * OVERSAMPLED, outline=FAINT, width=2)
    disc(middle, OBSTACLE_RADIUS * SCALE * OVERSAMPLED, fill=OBSTACLE)
    trace, modes = plan.trace, plan.trace.modes
    for actions in trace.candidates[0]:
        line(actions, (206, 211, 219), 0.8)
    for index in reversed(trace.elites[0].tolist()):
        followed = modes is not None and int(modes[0, index]) == 0
        line(trace.candidates[0, index], FAINT if modes is None else FOLLOWED_ELITE if followed else OTHER, 1.6)
    hit = bool(collides(belief, plan.actions[:, None])[0, 0])
    line(plan.actions[0], BAD if hit else GOOD, 6)
    for centre, colour in ((start, INK), (end, INK)):
        disc(centre, 9 * OVERSAMPLED, fill=colour)
    font = ImageFont.load_default(17 * OVERSAMPLED)
    draw.text((start[0], start[1] + 16 * OVERSAMPLED), "tool", fill=INK, font=font, anchor="ma")
    draw.text((end[0], end[1] + 16 * OVERSAMPLED), "goal", fill=INK, font=font, anchor="ma")
    left = passes_left(belief, goal, trace.candidates[:, trace.elites[0]])[0]
    if modes is None:
        title, note = "returns: mean", f"the mean of {len(left)} elites, of which {int(left.sum())} go left,"
    else:
        votes = torch.bincount(modes[0][modes[0] >= 0]).tolist()
        title, note = "returns: mode", f"{votes[0]} of {len(left)} elites agree on this strategy (the others are orange), and the plan"
    outcome = "goes through the obstacle" if hit else "goes round it"
    draw.rectangle([0, 0, width * OVERSAMPLED, top * OVERSAMPLED], fill=PAPER)
    draw.text((28 * OVERSAMPLED, 18 * OVERSAMPLED), title, fill=INK, font=ImageFont.load_default(28 * OVERSAMPLED))
    draw.text((28 * OVERSAMPLED, 58 * OVERSAMPLED), f"{note} {outcome}", fill=BAD if hit else GOOD, font=font)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--pictured", type=int, default=0, help="the seed of the decision that is drawn")
    parser.add_argument("--out", type=Path, default=Path("runs/several_futures"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    picture(args.pictured).save(args.out / "several_futures.png")
    (args.out / "table.md").write_text(table(args.seeds) + "\n")
    print(f"{args.out}: several_futures.png and table.md")


if __name__ == "__main__":
    main()
