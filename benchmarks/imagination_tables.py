"""What imagining adds: tables of uses of imagination, of planners, costs and representations."""

from collections.abc import Callable, Mapping, Sequence

from table_cells import TABLETOP, Row, decision_times, facts, gain, plain, plain_rates, points, rate, results

_SHOWN = {
    "picture-and-arm": "where it is",
    "picture-arm-at-start": "taken to be where it starts",
    "picture": "nothing: a picture alone",
}

_IMAGINING = {
    "policy_alone": "policy alone",
    **{f"best_of_{number}": f"the policy's best of {number}" for number in (2, 4, 8, 32, 128, 512)},
    "planner": "search as released",
    "cem": "CEM, no proposals",
    "small_search": "a small search",
    "oracle_dynamics": "the same, oracle dynamics",
    "goal_bridge": "imagined goal bridge",
}


_VIDEO_TASKS = {"push": "push", "reach": "reach", "lift": "lift", "tuning-push": "push, for tuning"}
_VIDEO_METHODS = {
    "policy_alone": "policy alone", "planner": "policy-guided search, as released", "video_1": "1 video", "video_4": "4 videos, agreed",
    "video_16": "16 videos, agreed", "video_16_best": "16 videos, best", "video_16_checked": "16 videos, agreed, checked",
}  # fmt: skip
_OVERLAY_METHODS = {
    "overlay": "the strip of the next frame", "inverse_dynamics": "inverse dynamics, same video", "policy_alone": "policy alone"
}  # fmt: skip
_OVERLAY_ERRORS = {
    "seen_strip": "the strip of the frame that came", "kept_strip": "the same, drawn by the model's directions",
    "seen_inverse": "inverse dynamics, pictures that came", "strip_middle": "the strip, the middle of 16 videos",
    "inverse_middle": "inverse dynamics, the middle of 16", "strip": "the strip of one video",
    "inverse": "inverse dynamics, same video", "still": "nothing (no command)",
}  # fmt: skip
_VIDEO_ERRORS = {
    "seen": "the pictures that came", "open_loop": "the action-conditioned model, told the true actions",
    "middle": "the middle one of 16 videos",
    "one": "one video", "nearest": "the nearest of 16 videos", "copied": "the present, held",
}  # fmt: skip


def imagination() -> list[Row]:
    """What each use of imagination reaches, and what it adds to the policy alone on the same pairs; the recorded regime first."""
    figures = results("imagination_pays")
    head = ("world, regime", "method", "pairs", "moderate / strict %", "strict gain, points", "decision p50 / p95, ms")
    rows: list[Row] = [head]
    for stem in _imagining_worlds():
        if _shown_otherwise(stem):
            continue
        for method, label in _IMAGINING.items():
            key = f"{stem}/{method}"
            if f"{key}/strict" in figures:
                times = decision_times(figures, key)
                gained = points(figures, f"{key}/gain_strict") if f"{key}/gain_strict" in figures else ""
                rows.append((stem.replace("/", ", "), label, plain(figures[f"{key}/pairs"]), plain_rates(figures, key), gained, times))
    return rows


def imagination_peaks() -> list[Row]:
    """By world: of how many of the policy's proposals the best is best, and whether more do harm."""
    figures = results("imagination_pays")
    rows: list[Row] = [("world, regime", "best of", "most tried", "most minus best, strict, points", "so")]
    for stem in _imagining_worlds():
        key = f"{stem}/best_of"
        if f"{key}/peak" in figures:
            peak, most = int(figures[f"{key}/peak"]), int(figures[f"{key}/most"])
            falls = figures[f"{key}/most_minus_peak_strict_high"] < 0
            so = (
                "more helped as far as was tried"
                if peak == most
                else f"over-optimises beyond {peak}"
                if falls
                else "more adds nothing sure"
            )
            rows.append((stem.replace("/", ", "), str(peak), str(most), points(figures, f"{key}/most_minus_peak_strict"), so))
    return rows


def picture_goals() -> list[Row]:
    """By world whose goals were shown in more than one way: what the policy alone and the search reach with each."""
    figures = results("imagination_pays")
    head = ("world, regime", "of the arm at the goal", "pairs", "policy alone", "search as released", "strict gain, points")
    rows: list[Row] = [head]
    worlds = _imagining_worlds()
    for other in [stem for stem in worlds if _shown_otherwise(stem)]:
        usual = _usual(other)
        known = "nothing: a picture alone" if _shown_otherwise(other) == "picture-and-arm" else _SHOWN["picture-and-arm"]
        for stem, said in ((usual, known), (other, _SHOWN[_shown_otherwise(other)])):
            rates = (plain_rates(figures, f"{stem}/{method}") for method in ("policy_alone", "planner"))
            counts = (plain(figures[f"{stem}/{method}/pairs"]) for method in ("policy_alone", "planner"))
            pairs = ", ".join(dict.fromkeys(counts))  # of the policy alone and of the search, where these differ
            rows.append((usual.replace("/", ", "), said, pairs, *rates, points(figures, f"{stem}/planner/gain_strict")))
    return rows


def _shown_otherwise(stem: str) -> str:
    """How the goals of a world are shown that is named by it; empty where they are shown as its checkpoint learned it."""
    return next((shown for shown in _SHOWN if stem.split("/")[0].endswith(f"-{shown}")), "")


def _usual(stem: str) -> str:
    world, regime = stem.split("/")
    return f"{world.removesuffix(f'-{_shown_otherwise(stem)}')}/{regime}"


def least_gain() -> list[Row]:
    """By checkpoint: what imagination is known to promise too much, and what search that heeds it reaches."""
    figures = results("least_gain")
    names = (
        *("ogbench_cube_double_recorded_s", "ogbench_scene_recorded_s", "so101_recorded_s"),
        *("ogbench_cube_single_s", "ogbench_scene_s", "ogbench_cube_double_s"),
    )
    rows: list[Row] = [
        ("checkpoint", "least gain / for five goals", "other pairs", "policy alone", "search, any gain", "search, least gain")
    ]
    for name in names:
        tried = f"{name}/tuning"
        pairs = plain(figures[f"{tried}/pairs"]) if f"{tried}/pairs" in figures else ""
        rates = (plain_rates(figures, f"{tried}/{method}") if pairs else "" for method in ("policy_alone", "planner", "careful"))
        gains = (plain(figures[key]) if (key := f"{name}/{task}/least_gain") in figures else "" for task in ("default", "five_tasks"))
        rows.append((f"`{name}`", " / ".join(filter(None, gains)), pairs, *rates))
    return rows


def local_goals() -> list[Row]:
    """The same search by other costs: where things should be shortly, the final goal, both."""
    figures = results("local_goals")
    names = {
        "policy_alone": "policy alone", "planner": "the final goal, as released", "local_5": "local goal, 5 steps ahead",
        "local_10": "local goal, 10 steps ahead", "local_10_nearest": "local goal, 10 steps ahead, nearest",
        "local_10_and_final": "local goal, 10 steps ahead, and the final goal", "final_nearest": "the final goal, nearest",
    }  # fmt: skip
    rows: list[Row] = [("goals", "search by", "pairs", "moderate %", "strict %", "strict, above policy alone")]
    for stem, goals in {"cube-single": "25 steps away", "cube-single-five-goals": "OGBench's five"}.items():
        for method, name in names.items():
            key = f"{stem}/{method}"
            if f"{key}/strict" in figures:
                gained = "" if method == "policy_alone" else points(figures, f"{key}/gain_strict")
                rows.append(
                    (goals, name, plain(figures[f"{key}/pairs"]), *(rate(figures, key, kind) for kind in ("moderate", "strict")), gained)
                )
    return rows


def representations() -> list[Row]:
    """Representations side by side, small: probes that only the judge may see, and what planning reaches."""
    figures = results("representation_trials")
    names = {
        "held": "recorded: keypoints, and the gripper tells poses", "keypoints": "recorded: 32 keypoints, no labels",
        "keypoints_16": "recorded: 16 keypoints, no labels", "flattened": "recorded: views flattened, no labels",
        "straightened": "recorded: keypoints, latents straightened", "inverse_dynamics_alone": "recorded: keypoints, no reconstruction",
        "privileged": "privileged: keypoints and the simulator's poses",
    }  # fmt: skip
    rows: list[Row] = [("representation", "cube: mm, linear / MLP probe", "degrees, linear / MLP", "policy alone", "search")]
    for name, label in names.items():
        if f"{name}/planner/strict" in figures:
            probes = (
                " / ".join(plain(figures[f"{name}/probe_{kind}/{what}"]) for kind in ("linear", "mlp"))
                for what in ("object_mm", "object_yaw_deg")
            )
            rows.append((label, *probes, *(plain_rates(figures, f"{name}/{method}") for method in ("policy_alone", "planner"))))
    return rows


def _imagining_worlds() -> list[str]:
    end = "/policy_alone/strict"
    stems = [key.removesuffix(end) for key in results("imagination_pays") if key.endswith(end)]
    return sorted(stems, key=lambda stem: (not stem.endswith("/recorded"), stem))


def planners() -> list[Row]:
    """Every search on the same pairs of our tabletop, by imagined rollouts a decision."""
    figures, rows = results("planners"), [("planner", "reach", "push", "lift", "rollouts a decision")]
    for name, label in {
        "predictive": "`predictive`", "cem": "`cem`", "icem": "`icem`", "mppi": "`mppi`", "gradient": "`gradient`", "hybrid": "`hybrid`",
        "cem_with_proposals": "`cem` with the policy's proposals", "policy_guided": "`policy_guided`, as released",
    }.items():  # fmt: skip
        cells = [plain_rates(figures, f"{task}/privileged/{name}") for task in TABLETOP]
        rollouts = list(dict.fromkeys(plain(figures[f"{t}/privileged/{name}/rollouts"]) for t in TABLETOP))
        rows.append((label, *cells, ", ".join(rollouts)))
    return rows


def far_goals() -> list[Row]:
    figures, rows = results("costs"), [("goal", "poses: moderate / strict %", "raw latents: moderate / strict %")]
    for steps in (25, 50, 100):
        cells = (plain_rates(figures, f"far_goals/{steps}_steps/{cost}") for cost in ("poses", "latents"))
        rows.append((f"{steps} steps away", *cells))
    return rows


_WORDS = {
    "seen/picture": ("pairs of colour and verb that were said", "the goal's picture"),
    "seen/known": ("the same", "a known sentence"),
    "seen/paraphrased": ("the same", "a paraphrase"),
    "unsaid/picture": ("pairs that never were said", "the goal's picture"),
    "unsaid/unsaid": ("the same", "a sentence"),
    "swapped": ("both, judged by another instruction", "a sentence"),
    "chance": ("both, judged by another pair's outcome", "nobody acts"),
    "nothing": ("pairs that were said", "no instruction"),
}
_WORDS_HEAD = {
    "known": "known sentences",
    "known/others": 'known sentences, "on" left out',
    "known/on": 'known sentences, "on" alone',
    "paraphrased": "paraphrases",
    "unsaid": "pairs of colour and verb that never were said",
    "unknown": "about something else",
}


def video_success() -> list[Row]:
    """Success of planners that imagine videos, beside the policy alone and, where it was run, the search as released."""
    figures = results("video_planner")
    rows: list[Row] = [("pairs", "method", "moderate %", "strict %", "decision p50 / p95, ms")]
    for task, method in ((task, method) for task in _VIDEO_TASKS for method in _VIDEO_METHODS):
        if f"{(key := f'{task}/{method}')}/pairs" in figures:
            pairs, rates = f"{_VIDEO_TASKS[task]}, {figures[f'{key}/pairs']}", (rate(figures, key, kind) for kind in ("moderate", "strict"))
            rows.append((pairs, _VIDEO_METHODS[method], *rates, decision_times(figures, key)))
    return rows


def video_errors() -> list[Row]:
    """How far the object is off in videos, where it moves."""
    figures, at = results("video_planner"), ("0.5", "1", "2", "3")
    rows: list[Row] = [("what is shown", *(f"{seconds} s ahead" for seconds in at))]
    for name, words in _VIDEO_ERRORS.items():
        rows.append((words, *(plain(figures[f"errors/moved/{name}_{seconds}s_mm"]) for seconds in at)))
    return rows


def overlay_success() -> list[Row]:
    """Success of acting by drawing the next frame, beside inverse dynamics on the same video and the policy alone."""
    figures = results("overlay")
    rows: list[Row] = [("pairs", "actions from", "moderate %", "strict %", "decision p50 / p95, ms")]
    for task, method in ((task, method) for task in ("reach", "push") for method in _OVERLAY_METHODS):
        if f"{(key := f'{task}/{method}')}/pairs" in figures:
            rates = (rate(figures, key, kind) for kind in ("moderate", "strict"))
            rows.append((f"{task}, {figures[f'{key}/pairs']}", _OVERLAY_METHODS[method], *rates, decision_times(figures, key)))
    return rows


def overlay_errors() -> list[Row]:
    """How far off the commands of the next action block are, by what they are read off."""
    figures, units = results("overlay"), ("x_mm", "y_mm", "z_mm", "yaw_degrees", "gripper_percent")
    rows: list[Row] = [("actions from", "x, mm", "y, mm", "z, mm", "yaw, degrees", "gripper, %")]
    for name, words in _OVERLAY_ERRORS.items():
        rows.append((words, *(plain(figures[f"errors/{name}_{unit}"]) for unit in units)))
    return rows


def words_success() -> list[Row]:
    """Goals in words beside the goal's picture, with Wilson's intervals."""
    figures = results("words")
    rows: list[Row] = [("what is asked for", "how", "trials", "came true, %")]
    for key, (asked, how) in _WORDS.items():
        if f"success/{key}_percent" in figures:
            rows.append((asked, how, plain(figures[f"success/{key}_n"]), _share_of(figures, f"success/{key}")))
    return rows


def words_head() -> list[Row]:
    """What the goals of texts are, without acting."""
    figures = results("words")
    rows: list[Row] = [("texts", "tried", "refused, %", "goal is right, %")]
    for key, label in _WORDS_HEAD.items():
        if f"head/{key}/refused_percent" in figures:
            true = _share_of(figures, f"head/{key}/true") if f"head/{key}/true_percent" in figures else ""
            rows.append((label, plain(figures[f"head/{key}/refused_n"]), plain(figures[f"head/{key}/refused_percent"]), true))
    return rows


def _share_of(figures: Mapping[str, float], key: str) -> str:
    return f"{figures[f'{key}_percent']:.1f} ({figures[f'{key}_low']:.0f} to {figures[f'{key}_high']:.0f})"


TABLES: Mapping[str, Callable[[], Sequence[Row]]] = {
    "imagination": imagination,
    "imagination-peaks": imagination_peaks,
    "words-success": words_success,
    "words-head": words_head,
    "video-success": video_success,
    "video-errors": video_errors,
    "overlay-success": overlay_success,
    "overlay-errors": overlay_errors,
    "picture-goals": picture_goals,
    "least-gain": least_gain,
    "local-goals": local_goals,
    "planners": planners,
    "planners-against-cem": lambda: [
        ("task", "moderate, points", "strict, points"),
        *(
            (
                task,
                "+0" if task == "reach" else gain(results("planners"), f"{task}/privileged/cem", "moderate"),
                gain(results("planners"), f"{task}/privileged/cem", "strict"),
            )
            for task in TABLETOP
        ),
    ],
    "representation-trials": representations,
    "far-goals": far_goals,
    "cost-ranking": lambda: facts(
        "costs",
        "Spearman of cost and what really happens",
        {
            "goal within the horizon: latents, learned distance, poses": "{near/spearman_low} to {near/spearman_high}",
            "the same, pose cost of what really happened": "{near/true_poses_spearman_low} to {near/true_poses_spearman_high}",
            "goal 100 steps away, horizon 25: poses": "{goal_100_horizon_25/pose_spearman}",
            "the same, learned temporal distance": "{goal_100_horizon_25/distance_spearman}",
            "the same, raw latent distance": "{goal_100_horizon_25/latent_spearman}",
            "the same, poses with `tool_to_object`": "{goal_100_horizon_25/pose_tool_to_object_spearman}",
        },
    ),
}
