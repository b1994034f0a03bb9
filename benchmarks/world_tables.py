"""What planning reaches in each world: tables of success, their differences, and what training cost."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from table_cells import METHODS, TABLETOP, Row, both_rates, decision_times, facts, gains, plain, rate, rates, results, success

_POLICY_ALONE = "cube-double-other-pairs/privileged/policy_alone"

_NAMES = "cube-single-skill-names"


CHECKPOINTS = Path(__file__).parents[1] / "configs/checkpoints"
FAULTS = {
    "closed_beside": "the hand closes beside a cube that it sees within 2.5 cm",
    "cube_seen_elsewhere": "the hand closes where it sees the cube, over 2.5 cm from where it is",
    "set_down_elsewhere": "the cube is carried, and is not where it should be",
    "never_closed": "the hand never closes for the cube",
    "goal_seen_elsewhere": "the goal is seen over 4 cm from where it is",
    "taken_for_done": "it is taken for done",
    "not_a_cube": "a handle or a button is not moved",
}  # as `five_goal_faults.py` names them


def published(world: str) -> list[Row]:
    """What others report of pairs of the same kind, not the same pairs."""
    figures = results("published")
    rows: list[Row] = [("published", "moderate %", "strict %")]
    methods = ("random", "lewm_cem", "intact")
    rows += [(METHODS[method], *(plain(figures[f"{world}/{method}/{kind}"]) for kind in ("moderate", "strict"))) for method in methods]
    return rows


def readme() -> list[Row]:
    """Policy-guided search beside the policy alone: the recorded regime first."""
    rows: list[Row] = [("task", "regime", "pairs", "search: moderate / strict %", "policy alone", "decision p50 / p95, ms")]
    for task, file, world, regime in (
        ("OGBench cube-single, 25 steps", "imagination_pays", "cube-single", "recorded"),
        ("OGBench's own five goals, cube-single", "imagination_pays", "cube-single-five-goals", "recorded"),
        ("OGBench's own five goals, cube-double", "imagination_pays", "cube-double-five-goals", "recorded"),
        ("OGBench's own five goals, scene", "imagination_pays", "scene-five-goals", "recorded"),
        ("OGBench cube-double, 25 steps", "imagination_pays", "cube-double", "recorded"),
        ("OGBench scene, 25 steps", "imagination_pays", "scene", "recorded"),
        ("tabletop push", "imagination_pays", "push", "recorded"),
        ("tabletop lift", "imagination_pays", "lift", "recorded"),
        ("SO-101 reach", "so101_twin", "so101-reach/plain", "recorded"),
        ("SO-101 push", "so101_twin", "so101-push/plain", "recorded"),
        ("OGBench cube-single, 25 steps", "ogbench", "cube-single", "privileged"),
        ("tabletop push", "tabletop", "push", "privileged"),
        ("tabletop lift", "tabletop", "lift", "privileged"),
        ("OGBench cube-double", "ogbench", "cube-double", "privileged"),
        ("OGBench scene", "ogbench", "scene", "privileged"),
    ):
        figures, key = results(file), world if world.endswith("/plain") else f"{world}/{regime}"
        both = (both_rates(figures, f"{key}/{method}") for method in ("planner", "policy_alone"))
        wired = f"{key.removesuffix('/plain')}/twin/imagination"  # through the arm's own wire
        taken = decision_times(figures, f"{key}/planner") or decision_times(figures, wired) or "not recorded"
        rows.append((task, regime, plain(figures[f"{key}/planner/pairs"]), *both, taken))
    return rows


def _training_cost() -> Iterator[Row]:
    jaco, ogbench, meta, control = results("training"), results("ogbench"), results("metaworld"), results("dm_control")
    recipe = json.loads((CHECKPOINTS / "jaco_recorded_s.json").read_text())["recipe"]
    episodes = sum(part["num_episodes"] for part in recipe["data"]["parts"])
    yield ("tabletop (Jaco), recorded", f"{plain(episodes)} episodes", "not recorded", f"{recipe['training_minutes']:.0f}")
    data = "{} episodes, {} demonstrations without pictures"
    yield (
        "tabletop (Jaco)",
        data.format(plain(jaco["jaco/episodes"]), plain(jaco["jaco/demonstrations"])),
        f"{jaco['jaco/collect_minutes']} + {jaco['jaco/demonstrations_minutes']}",
        str(jaco["jaco/training_minutes"]),
    )
    single = "cube-single/checkpoint"
    yield (
        "OGBench cube-single",
        data.format(ogbench[f"{single}/episodes"], plain(ogbench[f"{single}/episodes_without_pictures"])),
        f"{ogbench[f'{single}/collect_minutes']} + not recorded",
        str(ogbench[f"{single}/training_minutes"]),
    )
    recorded = results("recorded")
    for world, own in (
        ("cube-single", "checkpoint_with_grasps"),
        ("cube-double", "checkpoint_of_two_cubes"),
        ("scene", "checkpoint_of_scene"),
    ):
        minutes = (str(recorded[f"{own}/{part}_minutes"]) for part in ("collecting", "training"))
        yield (f"OGBench {world}, recorded", f"{plain(recorded[f'{own}/episodes'])} episodes", *minutes)
    clips = "{} episodes, {} short clips, {} demonstrations"
    for world in ("cube-double", "scene"):
        key = f"{world}/checkpoint"
        minutes = [ogbench.get(f"{key}/{part}_minutes") for part in ("collect", "short_clips", "demonstrations")]
        yield (
            f"OGBench {world}",
            clips.format(*(plain(ogbench[f"{key}/{what}"]) for what in ("episodes", "short_clips", "demonstrations"))),
            " + ".join(str(minute) for minute in minutes if minute is not None),
            str(ogbench[f"{key}/training_minutes"]),
        )
    key = "reach/checkpoint"
    minutes = (str(meta[f"{key}/{part}_minutes"]) for part in ("collect", "training"))
    yield "Meta-World reach", f"{meta[f'{key}/episodes']} episodes", *minutes
    key = "reacher/checkpoint"
    collect = f"{control[f'{key}/collect_seconds'] / 60:.1f}"
    yield "dm_control reacher", f"{control[f'{key}/episodes']} episodes", collect, str(control[f"{key}/training_minutes"])


def ddp() -> list[Row]:
    figures = results("ddp")
    rows: list[Row] = [("stage", "steps/s, one", "steps/s, two", "ratio (middle half)", "ratio of core time", "gradients, MiB / ms")]
    for stage in ("representation", "dream", "policy"):
        key = "speedup_2" if stage == "representation" else f"{stage}/speedup_2"
        half = " to ".join(plain(figures[f"{stage}/speedup_2_p{percent}"]) for percent in (25, 75))
        rates = (plain(figures[f"{stage}/steps_per_second_{who}"]) for who in ("one", "two"))
        message = " / ".join(plain(figures[f"{stage}/message_{unit}"]) for unit in ("MiB", "ms"))
        rows.append((stage, *rates, f"{plain(figures[key])} ({half})", plain(figures[f"{stage}/core_seconds_ratio"]), message))
    return rows


def double_moves() -> list[Row]:
    """Policies of cube-double by how they learned: far goals on other pairs than the frozen ones, and near ones."""
    figures = results("recorded")
    told = {
        "without single moves, 12,000 steps: as released before": "before",
        "hand elsewhere 0.5, cubes elsewhere 0.8, 20,000 steps": "long",
        "0.3, 0.5, 30,000 steps": "longest",
        "0.3, 0.5, 12,000 steps: released": "released",
    }
    rows: list[Row] = [
        ("the policy has learned from single moves", "solved", "cubes brought, of 18", "25 steps, search", "25 steps, policy alone")
    ]
    for name, key in told.items():
        start = f"tuning/double_moves/{key}"
        pairs = plain(figures.get(f"{start}/pairs", figures["tuning/double_moves/pairs"]))
        moved = plain(figures[f"{start}/moved"]) if f"{start}/moved" in figures else ""
        near = (" / ".join(plain(figures[f"{start}/near_{who}_{how}"]) for how in ("moderate", "strict")) for who in ("search", "alone"))
        rows.append((name, f"{plain(figures[f'{start}/solved'])} of {pairs}", moved, *near))
    return rows


def hand_beside_cube() -> list[Row]:
    """What the policies of three checkpoints make good of an offset between hand and cube, and how often they close there."""
    figures, worlds = results("five_goal_faults"), ("cube-single", "cube-double", "scene")
    rows: list[Row] = [("the hand above the table: makes good / closes over 3 cm beside", *worlds)]
    for height in (150, 80, 50, 30):
        made, closes = (
            [figures[f"{world}/recorded/policy/{height}_mm/{what}_percent"] for world in worlds] for what in ("makes_good", "closes_beside")
        )
        both = (f"{plain(one)} % / {plain(other)} %" for one, other in zip(made, closes, strict=True))
        rows.append((f"{height / 10:g} cm", *both))
    return rows


def five_goal_faults() -> list[Row]:
    """What the missed ones of watched pairs are laid to."""
    figures = results("five_goal_faults")
    worlds = [world for world in ("cube-double", "scene") if f"{world}/recorded/pairs" in figures]
    rows: list[Row] = [
        ("missed far goals, recorded regime", *(f"{one}, of {plain(figures[f'{one}/recorded/pairs'])} pairs" for one in worlds))
    ]
    for name, label in {**{f"fault/{name}": label for name, label in FAULTS.items()}, "moderate_count": "solved (moderate)"}.items():
        counts = [figures[f"{world}/recorded/{name}"] for world in worlds]
        if any(counts):
            rows.append((label, *map(plain, counts)))
    return rows


TABLES: Mapping[str, Callable[[], Sequence[Row]]] = {
    "readme": readme,
    "five-goal-faults": five_goal_faults,
    "hand-beside-cube": hand_beside_cube,
    **{f"tabletop-{task}": lambda task=task: success("tabletop", task) for task in TABLETOP},
    "tabletop-gains": lambda: gains("tabletop", {task: task for task in TABLETOP}),
    "tabletop-model": lambda: facts(
        "tabletop",
        "on 200 held-out windows",
        {
            "pictures err less than the last frame copied, after 5 control steps": "{model/times_better_than_copy_after_5_steps} times",
            "after 25 control steps": "{model/times_better_than_copy_after_25_steps} times",
            "after 50 control steps (5 s, 10 imagined steps)": "{model/times_better_than_copy_after_50_steps} times",
            "disagreement of the ensemble against latent error": "Spearman {model/disagreement_error_spearman}",
            "pose head, position of the box (median)": "{model/object_error_p50_mm} mm",
            "pose head, turn of the box (median)": "{model/object_turn_error_p50_deg} degrees",
        },
    ),
    **{f"ogbench-{world}": lambda world=world: success("ogbench", world) for world in ("cube-single", "cube-double", "scene")},
    "ogbench-gains": lambda: gains("ogbench", {world: world for world in ("cube-single", "cube-double", "scene")}),
    "tabletop-recorded": lambda: rates(
        "imagination_pays",
        "tabletop, recorded",
        {
            f"{task}, {name}": f"{task}/recorded/{method}"
            for task in ("reach", "push", "lift")
            for method, name in (("planner", "policy-guided search"), ("policy_alone", "policy alone"))
        },
    ),
    "ogbench-recorded": lambda: success("imagination_pays", "cube-single", "recorded"),
    "ogbench-recorded-double": lambda: success("imagination_pays", "cube-double", "recorded"),
    "ogbench-recorded-scene": lambda: success("imagination_pays", "scene", "recorded"),
    "ogbench-recorded-gains": lambda: gains(
        "recorded", {"cube-single": "nothing but pictures, joints and actions", _NAMES: "names of skills read too"}, "recorded"
    ),
    "ogbench-recorded-latents": lambda: success("recorded", "cube-single", "recorded"),
    "ogbench-recorded-trials": lambda: rates(
        "recorded",
        "40 held-out pairs",
        {
            "policy alone": f"{_NAMES}/recorded/policy_alone",
            "search, 16 rollouts": f"{_NAMES}/recorded/planner_16_rollouts",
            "search, 128 rollouts": f"{_NAMES}/recorded/planner",
            "search, 512 rollouts": f"{_NAMES}/recorded/planner_512_rollouts",
            "128 rollouts, 3 iterations": f"{_NAMES}/recorded/planner_3_iterations",
            "128 rollouts, temperature 1.0 instead of 0.5": f"{_NAMES}/recorded/planner_temperature_1.0",
            "128 rollouts, temperature 0.25 instead of 0.5": f"{_NAMES}/recorded/planner_temperature_0.25",
            "128 rollouts, 8 imagined steps instead of 5": f"{_NAMES}/recorded/planner_8_imagined_steps",
            "128 rollouts, learned distance mixed in": f"{_NAMES}/recorded/planner_learned_distance_mixed_in",
            "frozen manifest: policy alone": f"{_NAMES}-frozen-manifest/recorded/policy_alone",
            "frozen manifest: search by learned distance": f"{_NAMES}-frozen-manifest/recorded/planner_learned_distance",
            "frozen manifest: search by raw latent distance": f"{_NAMES}-frozen-manifest/recorded/planner",
            "frozen manifest: CEM, 3,000 rollouts, no proposals": f"{_NAMES}-frozen-manifest/recorded/cem_without_proposals",
        },
    ),
    "ogbench-seeds": lambda: rates(
        "ogbench",
        "training",
        {
            f"{name}, {METHODS[method]}": f"cube-single-{key}/privileged/{method}"
            for name, key in {
                "seed 0, released": "training-seed-0",
                "seed 1": "training-seed-1",
                "seed 2": "training-seed-2",
                "the three together": "three-trainings",
            }.items()
            for method in ("planner", "policy_alone")
        },
    ),
    "ogbench-lewm": lambda: [
        ("method", "moderate %", "strict %", "rollouts", "decision p50 / p95, s"),
        *(
            (
                METHODS[method],
                *(rate(results("ogbench"), key, kind) for kind in ("moderate", "strict")),
                plain(results("ogbench")[f"{key}/rollouts"]),
                " / ".join(
                    f"{results('ogbench')[f'{key}/decision_{q}_ms'] / 1e3:g}"
                    for q in ("p50", "p95")
                    if f"{key}/decision_{q}_ms" in results("ogbench")
                ),
            )
            for method, key in {
                "lewm_cem": "cube-single-beside-lewm/recorded/lewm_cem",
                "planner": "cube-single-beside-lewm/privileged/planner",
                "random": "cube-single-beside-lewm/privileged/random",
            }.items()
        ),
    ],
    "ogbench-double-trials": lambda: rates(
        "ogbench",
        "cube-double",
        {
            "search, proposals at temperature 0.2, 60 other pairs": "cube-double-other-pairs/privileged/planner_temperature_0.2",
            "search, temperature 0.5, 60 other pairs": "cube-double-other-pairs/privileged/planner_temperature_0.5",
            "search, temperature 0.2, the manifest (released)": "cube-double/privileged/planner",
            "search, temperature 0.5, the manifest": "cube-double/privileged/planner_temperature_0.5",
            **{
                f"policy alone, trained {how} perception noise, 60 other pairs": f"{_POLICY_ALONE}_trained_{how}_perception_noise"
                for how in ("without", "with")
            },
        },
    ),
    "five-goals": lambda: rates(
        "five_goals",
        "OGBench's own five goals",
        {
            "cube-single, recorded, policy-guided search": "cube-single/recorded/planner",
            "cube-single, recorded, policy alone": "cube-single/recorded/policy_alone",
            "cube-double, recorded, policy-guided search": "cube-double/recorded/planner",
            "cube-double, recorded, policy alone": "cube-double/recorded/policy_alone",
            "scene, recorded, policy-guided search": "scene/recorded/planner",
            "scene, recorded, policy alone": "scene/recorded/policy_alone",
            "cube-single, policy-guided search": "cube-single/privileged/planner",
            "cube-single, policy alone": "cube-single/privileged/policy_alone",
            "cube-single, zero action": "cube-single/privileged/zero_action",
            "scene, policy-guided search": "scene/privileged/planner",
            "scene, policy alone": "scene/privileged/policy_alone",
            "cube-double, policy-guided search, an earlier checkpoint": "cube-double-earlier-checkpoint/privileged/planner",
        },
    ),
    "double-moves": double_moves,
    "scene-moves": lambda: [
        ("the policy has learned from single moves, and", "solved of 6 pairs", "things brought, of 16"),
        *(
            (name, *(plain(results("recorded")[f"tuning/scene_moves/{key}/{what}"]) for what in ("solved", "moved")))
            for name, key in {
                "goals with the hand of another time (half of them)": "hand",
                "the same again, from another start": "hand_again",
                "more of these (0.7)": "hand_more",
                "other things elsewhere (half), hands where moves end": "hand_others",
                "more of these (0.8), 20,000 steps": "hand_others_longer",
                "the same from the representation's policy: released": "released",
            }.items()
        ),
    ],
    "published-cube-single": lambda: published("cube-single"),
    "published-reacher": lambda: published("reacher"),
    "training-cost": lambda: [
        ("checkpoint", "data", "collecting, minutes", "training, minutes"),
        *_training_cost(),
    ],
    "ddp": ddp,
    "metaworld-expert": lambda: success("metaworld", "reach-expert"),
    "metaworld-near": lambda: success("metaworld", "reach-near"),
    "metaworld-gains": lambda: gains("metaworld", {"reach-expert": "expert's last frame", "reach-near": "25 steps away"}),
    "reacher": lambda: success("dm_control", "reacher"),
    "reacher-gains": lambda: gains("dm_control", {"reacher": "reacher"}),
}
