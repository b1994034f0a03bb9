"""What the page shows of a run and of a decision, as JSON: NumPy only, so it reads without torch and without a checkpoint."""

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import numpy as np
from jaxtyping import UInt8

from robo_dream.errors import DataError
from robo_dream.recording.decision import Decision
from robo_dream.recording.timeline import ActionNames, chosen, plain, rms
from robo_dream.safety.limits import PLAUSIBLE
from robo_dream.status import PlanStatus
from robo_dream.viewer.pictures import Draw
from robo_dream.viewer.watch import RunWatch

SILENT_SECONDS = 60.0  # without a new file, after which a run that has no result will get none
_SLIDERS = 24  # channels offered for moving by hand
_SHOWN_FUTURES = 8  # of a plan, from the best to the worst


def run_view(watch: RunWatch, decisions_from: int = 0, steps_from: int = 0) -> dict[str, Any]:
    """The run, and the rows of its time line from the given ones on."""
    result = watch.result or {}
    told = {key: result[key] for key in ("moderate", "strict", "moderate_step", "strict_step", "end", "reasons") if key in result}
    size = len(watch.steps[0].get("sent") or ()) if watch.steps else 0
    return {
        "name": str(watch.root.parent.name if watch.root.name == "record" else watch.root.name),
        "root": str(watch.root),
        "about": {key: watch.about[key] for key in ("task", "seed", "goal", "checkpoint", "policy") if key in watch.about}
        | {"world": world_name(watch.about)},
        "cameras": list(watch.cameras),
        "goal_cameras": list(watch.goal.pictures),
        "actions": action_names(watch.about, size),
        "widened": widened_limits(watch.about),
        "finished": watch.result is not None,
        "silent": watch.result is None and watch.silent_seconds > SILENT_SECONDS,
        "result": told,
        "distances": plain(np.asarray(result.get("distances", []), float)),
        "decisions": watch.decisions[decisions_from:],
        "steps": watch.steps[steps_from:],
    }


def action_names(about: Mapping[str, Any], size: int) -> list[dict[str, str]]:
    """Names and units of the `size` numbers of an action of the run `about`."""
    told = ActionNames.of(about, size)
    return [{"name": name, "unit": "" if unit == "1" else unit} for name, unit in zip(told.names, told.units, strict=True)][:size]


def widened_limits(about: Mapping[str, Any]) -> list[dict[str, str]]:
    """The safety limits of the run `about` that were beyond their plausible range, as `limits.beyond` had it: each in a sentence."""
    config = about.get("config")
    loop = about.get("loop") or (config.get("loop") if isinstance(config, Mapping) else None)
    limits = loop.get("limits") if isinstance(loop, Mapping) else None
    beyond = limits.get("beyond") if isinstance(limits, Mapping) else None
    found = []
    for name in beyond if isinstance(beyond, list | tuple) else ():
        value = limits.get(name) if isinstance(limits, Mapping) and isinstance(name, str) and name in PLAUSIBLE else None
        if isinstance(value, int | float):
            found.append({"name": name, "sentence": PLAUSIBLE[name].said(name, value)})
    return found


def world_name(about: Mapping[str, Any]) -> str:
    """In which world the run `about` was: its kind and which of that kind; empty where run.json does not tell."""
    config = about.get("config") or {}
    world = about.get("world") or config.get("world") or {}
    scene = world.get("scene") or config.get("scene") or {}
    which = world.get("env") or world.get("arm") or scene.get("arm")
    return " ".join(str(part) for part in (world.get("kind") or ("tabletop" if scene else ""), which) if part)


def decision_view(watch: RunWatch, index: int) -> dict[str, Any]:
    """Everything of one decision but its pictures. Candidates stand best first; errors are None where nothing was measured yet."""
    decision = watch.decision(index)
    horizon = len(decision.latents)
    ahead = [decision.step + (h + 1) * decision.action_block for h in range(horizon)]
    later = [watch.believed(step) for step in ahead]
    pick = chosen(decision)
    return {
        "index": index,
        "step": decision.step,
        "block": decision.action_block,
        "horizon": horizon,
        "planner": decision.planner,
        "seed": str(decision.seed),  # beyond what a JavaScript number holds
        "status": str(decision.status),
        "sentence": PlanStatus(decision.status).sentence,
        "unsure_reasons": list(decision.unsure_reasons),
        "perception": plain(decision.perception),
        "num_iterations": decision.num_iterations,
        "was_cut": bool(decision.late_readings),
        "cost": plain(decision.cost),
        "chosen": pick,
        "strategies": list(decision.strategies),
        "ms": {name: plain(1e3 * seconds) for name, seconds in decision.seconds.items()},
        "best_by_iteration": plain(decision.best_by_iteration),
        "term_names": list(decision.terms),
        "candidates": _candidates(decision),
        "actions": plain(decision.actions),
        "num_real": num_real(watch, decision),
        "latent_error": [None if seen is None else plain(rms(seen - decision.latents[h])) for h, seen in enumerate(later)],
        "latent_moved": [None if seen is None else plain(rms(seen - decision.belief)) for seen in later],
        "disagreement": None if pick is None else plain(decision.disagreement[pick]),
        "channels": _channels(decision),
        "futures": _futures(decision),
    }


def candidate_view(watch: RunWatch, index: int, sample: int) -> dict[str, Any]:
    """The actions of one candidate and the latents that it leads through."""
    decision = watch.decision(index)
    require_sample(decision, sample)
    return {"actions": plain(decision.candidates[sample])}


def require_sample(decision: Decision, sample: int) -> None:
    """Raises `DataError` for a candidate that the decision does not have."""
    if not 0 <= sample < len(decision.candidates):
        raise DataError(f"the decision at step {decision.step} has no candidate {sample}; it kept {len(decision.candidates)}")


def num_real(watch: RunWatch, decision: Decision) -> int:
    """How many moments of the plan, its start included, have really come, up to the first that cannot be read."""
    moments = range(decision.step, decision.step + len(decision.actions) + 1, decision.action_block)
    known = (step < len(watch.steps) and "damage" not in watch.steps[step] for step in moments)
    return sum(takewhile(bool, known))


def real_pictures(watch: RunWatch, decision: Decision) -> dict[str, UInt8[np.ndarray, "moment height width 3"]]:
    """What every camera saw at the moments that were imagined, as far as they have come; the first is the decision's own."""
    steps = [watch.step(decision.step + h * decision.action_block) for h in range(num_real(watch, decision))]
    return {name: np.stack([step.observation.frames[name].image for step in steps]) for name in watch.cameras} if steps else {}


def pixel_view(watch: RunWatch, index: int, draw: Draw) -> dict[str, Any]:
    """By camera: RMS difference, of 255, between what was seen and the plan's pictures, and between what was seen and the last real one."""
    decision = watch.decision(index)
    real, drawn = real_pictures(watch, decision), draw(decision.latents)
    views = {}
    for name, seen in real.items():
        imagined = np.asarray(drawn[name])[: len(seen) - 1] if name in drawn else seen[:0]
        views[name] = {
            "imagined": [plain(rms(a.astype(float).ravel() - b.ravel())) for a, b in zip(imagined, seen[1:], strict=False)],
            "copied": [plain(rms(seen[0].astype(float).ravel() - b.ravel())) for b in seen[1:]],
        }
    return views


def _candidates(decision: Decision) -> list[dict[str, Any]]:
    """Best first."""
    order, modes = np.argsort(decision.totals, kind="stable"), decision.modes
    elites = set() if decision.elites is None else set(decision.elites.tolist())
    totals, disagreement = plain(decision.totals[order]), plain(decision.disagreement[order], 3)
    terms = [plain(term[order], 3) for term in decision.terms.values()]
    return [
        {
            "sample": int(sample),
            "total": totals[rank],
            "elite": int(sample) in elites,
            "origin": decision.origin_names[int(decision.origins[sample])],
            "strategy": None if modes is None or modes[sample] < 0 else int(modes[sample]),
            "terms": [term[rank] for term in terms],
            "disagreement": disagreement[rank],
        }
        for rank, sample in enumerate(order)
    ]


def _futures(decision: Decision) -> dict[str, Any] | None:
    """Where the plan may lead: some futures from the best to the worst, and how many there are; None where one was imagined."""
    if decision.futures is None or decision.future_totals is None:
        return None
    best_first = np.argsort(decision.future_totals, kind="stable")
    places = np.unique(np.linspace(0, len(best_first) - 1, min(_SHOWN_FUTURES, len(best_first))).round().astype(int))
    shown = [{"future": int(k), "total": plain(float(decision.future_totals[k]))} for k in best_first[places]]
    return {"count": len(best_first), "shown": shown}


def require_future(decision: Decision, number: int) -> np.ndarray:
    """The latents of one future of the plan; raises `DataError` for one that the decision does not have."""
    count = 0 if decision.futures is None else len(decision.futures)
    if decision.futures is None or not 0 <= number < count:
        raise DataError(f"the decision at step {decision.step} has no future {number}; it kept {count}")
    return decision.futures[number]


def _channels(decision: Decision) -> list[dict[str, Any]]:
    """The channels that differ most among the futures of this decision, with the range that they take there."""
    latents = decision.candidate_latents.reshape(-1, decision.candidate_latents.shape[-1])
    latents = np.concatenate([latents[np.isfinite(latents).all(1)], decision.belief[None], decision.goal[None]])
    widest = np.argsort(-latents.std(0), kind="stable")[:_SLIDERS]
    low, high = latents.min(0), latents.max(0)
    room = 0.25 * (high - low)
    return [{"channel": int(c), "low": plain(float(low[c] - room[c])), "high": plain(float(high[c] + room[c]))} for c in widest]
