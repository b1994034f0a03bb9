"""What is believed of pictures, and what tells that it is wrong: tables of labels, memory, trust and inspection."""

from collections.abc import Callable, Mapping, Sequence

from table_cells import Figures, Row, facts, plain, results

_LIMITED = (
    "pictures/unexplained", "latents/dimensions", "latents/std", "latents/mean", "proprio/std", "proprio/mean", "proprio/clamped",
    "camera_and_arm/pictures", "camera_and_arm/shuffled", "horizon/first", "horizon/last", "actions/rank", "actions/scale_loss",
    "cost/spread", "cost/rank", "uncertainty/spearman",
)  # fmt: skip

_ACTION_NAMES = ("x", "y", "z", "yaw", "gripper")

_FAULTS = {  # in words, the finding, and one of its figures
    "cameras_swapped": ("cameras swapped", "pictures", "pictures/unexplained"),
    "colours_swapped": ("red and blue swapped (BGR)", "pictures", "pictures/unexplained"),
    "actions_twice_as_large": ("actions twice as large", "actions", "actions/best_scale"),
    "proprioception_of_other_data": ("stale normaliser of proprioception", "normaliser", "proprio/mean"),
    "latents_scaled_for_other_data": ("stale normaliser of latents", "normaliser", "latents/std"),
    "encoder_that_tells_nothing": ("encoder that tells nothing", "collapse", "latents/dimensions"),
    "encoder_of_one_dimension": ("encoder collapsed to one dimension", "collapse", "latents/dimensions"),
    "cost_that_is_constant": ("constant cost", "cost (default)", "cost/default/spread"),
}


def hidden_object() -> list[Row]:
    """Errors of what is believed of a thing behind a screen, at the last look before the screen is gone."""
    figures = results("hidden_object")
    rows: list[Row] = [("behind a screen for", "windows", "with memory, mm", "one frame, mm", "imagined on, mm", "not hidden, mm")]
    for seconds, part in ((seconds, part) for seconds in ("0.5", "1", "3") for part in ("still", "pushed")):
        if count := figures[f"{seconds}s/{part}/windows"]:
            names = ("memory", "one_frame", "imagined", "uncovered")
            errors = (plain(figures[f"{seconds}s/{part}/{name}_mm"]) for name in names)
            rows.append((f"{seconds} s, {'pushed meanwhile' if part == 'pushed' else 'at rest'}", plain(count), *errors))
    return rows


def labels_saved() -> list[Row]:
    """R2 of pseudo-actions on held-out episodes, by the episodes with actions that the labeller learned from."""
    figures = results("labels_saved")
    rows: list[Row] = [("labelled episodes", *_ACTION_NAMES)]
    for share in _shares(figures):
        told = (f"{figures[f'{share}/{name}/r2']:.2f}" for name in _ACTION_NAMES)
        rows.append((f"{figures[f'{share}/episodes']} ({share.split('_')[0]} %)", *told))
    return rows


def labels_calibration() -> list[Row]:
    """Errors of pseudo-actions beside the standard deviations that are told of them."""
    figures = results("labels_saved")
    rows: list[Row] = [("labelled episodes", "error / standard deviation", "within one", "within two")]
    for share in _shares(figures):
        cells = (
            f"{figures[f'{share}/{name}']:.2f} ({figures[f'{share}/{name}_lowest']:.2f} to {figures[f'{share}/{name}_highest']:.2f})"
            for name in ("error_over_std", "within_1_std", "within_2_std")
        )
        rows.append((f"{figures[f'{share}/episodes']} ({share.split('_')[0]} %)", *cells))
    return rows


def _shares(figures: Figures) -> list[str]:
    return [key.removesuffix("/episodes") for key in figures if key.endswith("/episodes")]


def split_futures() -> list[Row]:
    """How often futures pass the bump, by temperature, beside how often the puck did."""
    figures = results("split_futures")
    rows: list[Row] = [("the bump's odds", "passed, %", "imagined at temperature 1, %", "0.5", "2", "0 (the likeliest)")]
    for odds in ("0.3", "0.5", "0.8"):
        imagined = (plain(figures[f"odds_{odds}/temperature_{temperature}_percent"]) for temperature in ("1", "0.5", "2", "0"))
        rows.append((odds, plain(figures[f"odds_{odds}/true_percent"]), *imagined))
    return rows


def split_futures_planners() -> list[Row]:
    """What the same search does by how it judges, where the bump's odds are 0.5."""
    figures = results("split_futures")
    rows: list[Row] = [("judged by", "pairs", "took the risky way, %", "arrived, %", "control steps to the goal", "left at the end, mm")]
    for name, label in {
        "one_future": "one future: what is expected",
        "mean": "mean of 8 futures",
        "cvar": "CVaR, the worst half of 8",
        "worst": "the worst of 8",
    }.items():
        if f"{name}/risky_percent" in figures:
            keys = ("risky_percent", "success_percent", "steps_to_goal", "distance_left_mm")
            cells = (plain(figures[f"{name}/{key}"]) if f"{name}/{key}" in figures else "" for key in keys)
            rows.append((label, plain(figures["pairs"]), *cells))
    return rows


def delays() -> list[Row]:
    """Success with pictures that come otherwise than they should, with and without memory."""
    figures = results("delays")
    rows: list[Row] = [("pictures", "pairs", "with memory: moderate / strict %", "one frame", "given up: memory, one frame")]
    for fault, label in {
        "none": "as usual", "late_100ms": "100 ms late", "late_200ms": "200 ms late", "dropped_20_percent": "20 % dropped",
        "late_200ms_dropped": "200 ms late and 20 % dropped", "gone_1s": "none for 1 s",
    }.items():  # fmt: skip
        if f"{fault}/memory/moderate" not in figures:
            continue
        rates = [" / ".join(plain(figures[f"{fault}/{name}/{kind}"]) for kind in ("moderate", "strict")) for name in ("memory", "without")]
        stopped = ", ".join(plain(figures[f"{fault}/{name}/stopped"]) for name in ("memory", "without"))
        rows.append((label, plain(figures[f"{fault}/pairs"]), *rates, stopped))
    return rows


def changed_physics() -> list[Row]:
    """Errors of a 1 s imagination of a box that is moved, before and after 2 s of moving it."""
    figures = results("changed_physics")
    rows: list[Row] = [("boxes", "windows", "as it begins to move, mm", "2 s later, one frame, mm", "with memory, mm", "physics alone, mm")]
    for name, label in {"all": "all", "heavy": "3 to 10 times as heavy", "slippery": "at most half the friction"}.items():
        errors = (plain(figures[f"{name}/{key}_mm"]) for key in ("first_second", "later_without", "later_memory", "physics"))
        rows.append((label, plain(figures[f"{name}/windows"]), *errors))
    return rows


def changed_physics_pushes() -> list[Row]:
    """Success of pushes with boxes of another mass or friction, with and without memory."""
    figures = results("changed_physics")
    rows: list[Row] = [("boxes", "pairs", "with memory: moderate / strict %", "one frame")]
    for name, label in {
        "heavy_x3": "3 times as heavy", "heavy_x10": "10 times as heavy", "slippery_x0.3": "0.3 times the friction",
    }.items():  # fmt: skip
        key = f"push/{name}"
        if not {f"{key}/{which}/moderate" for which in ("memory", "without")} <= figures.keys():
            continue
        rates = [" / ".join(plain(figures[f"{key}/{which}/{kind}"]) for kind in ("moderate", "strict")) for which in ("memory", "without")]
        rows.append((label, plain(figures[f"{key}/pairs"]), *rates))
    return rows


def broken_promises() -> list[Row]:
    figures, rows = results("trust"), [("planner", "plans that promise 3 cm or more", "of these, less than half came true")]
    for name, label in {
        "cem": "CEM, no proposals", "cem_disagreement_30": "CEM, uncertainty cost 30", "cem_disagreement_100": "CEM, uncertainty cost 100",
        "cem_disagreement_300": "CEM, uncertainty cost 300", "gradient": "gradient, no proposals", "policy_alone": "policy alone",
        "policy_guided": "policy-guided, as released", "policy_guided_disagreement_30": "policy-guided, uncertainty cost 30",
        "policy_guided_worst_half_of_heads": "policy-guided, scored by the worst half of the heads",
        "policy_guided_worst_head": "policy-guided, scored by the worst head",
    }.items():  # fmt: skip
        key = f"exploits/{name}"
        rows.append((label, f"{figures[f'{key}/promising']} of {figures[f'{key}/plans']}", str(figures[f"{key}/broken"])))
    return rows


def beliefs() -> list[Row]:
    figures, rows = results("trust"), [("scene", "object believed off by, mm (median)")]
    for name, label in {
        "as_in_training": "as in training", "wild_actions": "wild actions", "box_ten_times_as_heavy": "a box ten times as heavy",
        "longer_taller_box": "a longer, taller box", "cameras_off_2cm_2deg": "cameras off by 2 cm and 2 degrees",
        "lamp_at_40_percent": "lamp at 40 %", "blue_box": "a blue box",
    }.items():  # fmt: skip
        rows.append((label, plain(figures[f"beliefs/{name}/object_error_p50_mm"])))
    return rows


def perception() -> list[Row]:
    figures = results("training")
    rows: list[Row] = [("`feature_grid`", "s a step, one core", "cube", "mm p50 / p90 / p95", "degrees p50 / p90 / p95")]
    for grid in (16, 32):
        for cube in ("red", "blue"):
            key = f"perception/feature_grid_{grid}"
            cells = (" / ".join(plain(figures[f"{key}/{cube}/{q}_{unit}"]) for q in ("p50", "p90", "p95")) for unit in ("mm", "deg"))
            rows.append((str(grid), plain(figures[f"{key}/seconds_a_step"]), cube, *cells))
    return rows


def looks() -> list[Row]:
    """What each part of a wider world costs while collecting."""
    figures, rows = results("looks"), [("randomized", "frames/s, one core", "kB a frame")]
    for name, label in {
        "none": "nothing", "colours_and_patterns": "colours and patterns", "lights": "lights", "shadows": "shadows in half of the episodes",
        "cameras": "cameras", "effects": "camera effects", "distractors": "distractors", "physics_and_kinds": "physics and kinds",
        "all_but_shadows": "all but shadows", "all": "all of the recipe",
    }.items():  # fmt: skip
        rows.append((label, *(plain(figures[f"{name}/{what}"]) for what in ("frames_per_s", "kb_a_frame"))))
    return rows


_KINDS_OF_LOOKS = {
    "usual": "the usual scene", "training": "as training draws them", "colours": "colours held out", "patterns": "patterns held out",
    "lights": "lights held out", "cameras": "cameras held out", "effects": "camera effects held out", "all": "all held out",
}  # fmt: skip


def unseen_looks() -> list[Row]:
    """Success in looks that training never had, before and after other looks were learned."""
    figures = results("unseen_looks")
    rows: list[Row] = [("looks", "pairs a task", "reach %: before, after", "push %", "lift %")]
    for kind, label in _KINDS_OF_LOOKS.items():
        for method, who in {"planner": "search", "policy_alone": "policy alone"}.items():
            keys = [[f"{kind}/{name}/{task}/{method}/moderate" for name in ("before", "after")] for task in ("reach", "push", "lift")]
            if any(key in figures for pair in keys for key in pair):
                cells = (", ".join(plain(figures[key]) if key in figures else "-" for key in pair) for pair in keys)
                rows.append((f"{label}, {who}", plain(figures[f"{kind}/pairs"]), *cells))
    return rows


def unseen_looks_believed() -> list[Row]:
    """How far off objects are believed in these looks."""
    figures = results("unseen_looks")
    rows: list[Row] = [("looks", "pictures", "off by, mm (median): before, after", "over 2 cm, %", "turn, degrees (median)")]
    for kind, label in _KINDS_OF_LOOKS.items():
        cells = (
            ", ".join(plain(figures[f"{kind}/{name}/believed/{key}"]) for name in ("before", "after"))
            for key in ("median_mm", "far", "median_deg")
        )
        rows.append((label, plain(figures[f"{kind}/before/believed/pictures"]), *cells))
    return rows


def noticing() -> list[Row]:
    """Changes that no training had: how wrong beliefs are in them, and what notices. Without a change stands the rate of false alarms."""
    figures = results("noticing")
    rows: list[Row] = [
        (
            "planted",
            "beliefs > 2 cm off, %",
            "AUROC of these",
            "of these found, %: gripper / check",
            "found in 1 s, %",
            "acted on, off / on",
        )
    ]
    for name, label in {
        "displaced_camera": "cameras displaced by 2 cm and 2°", "new_colour": "object of another colour",
        "unknown_object": "object of another kind and colour", "swapped_cameras": "cameras swapped",
        "lens_smear": "lens smeared, a third of the picture", "frozen_light": "lamp at 40 %, exposure as before",
        "known_colour": "object of another kind, the same red", "small_smear": "lens smeared lightly, an eighth",
    }.items():  # fmt: skip
        wrong, area, soon = (plain(figures[f"{key}/{name}"]) for key in ("wrong", "auroc", "found_in_1s"))
        by = " / ".join(plain(figures[f"{key}/{name}"]) for key in ("wrong_found_by_gripper", "wrong_found"))
        rows.append((label, wrong, area, by, soon, _wrong_plans(figures, name)))
    wrong, area, soon = (plain(figures[key]) for key in ("wrong/usual", "auroc/usual", "false_alarms_in_1s"))
    return [*rows, ("nothing", wrong, area, "", f"{soon} (false)", _wrong_plans(figures, "usual"))]


def _wrong_plans(figures: Figures, name: str) -> str:
    """Decisions acted on with a wrong belief, without and with the check; empty where no push was tried."""
    counts = [figures.get(f"plans/{name}/{key}") for key in ("wrong", "wrong_at_5_percent", "pairs")]
    return "" if None in counts else "{} / {} in {}".format(*counts)


def noticing_costs() -> list[Row]:
    """What a rate of false alarms costs in the usual scene, and what it still finds."""
    figures = results("noticing")
    rows: list[Row] = [("false alarms asked for", "decisions refused, %", "push, %", "stopped, %", "plans on wrong beliefs avoided, %")]
    rows.append(("none (off)", "0", *(plain(figures[f"plans/usual/{key}/unchecked"]) for key in ("success", "stopped")), "0"))
    for rate, label in {"5_percent": "5 %", "1_percent": "1 %", "0.1_percent": "0.1 %"}.items():
        success = (plain(figures[f"plans/usual/{key}/{rate}"]) for key in ("success", "stopped"))
        avoided = figures["wrong_plans_avoided" if rate == "5_percent" else f"wrong_plans_avoided/{rate}"]
        rows.append((label, plain(figures[f"false_alarms/{rate}"]), *success, plain(avoided)))
    return rows


def held_labels() -> list[Row]:
    """What grippers tell of poses, world by world."""
    figures = results("held_labels")
    worlds = {
        "cube-single": "OGBench cube-single", "cube-double": "OGBench cube-double", "scene": "OGBench scene, its cube",
        "tabletop": "tabletop (Jaco)", "so101": "tabletop (SO-101)",
    }  # fmt: skip
    rows: list[Row] = [
        ("world", "episodes / grasps", "frames told, %", "position, mm p50 / p90", "mended by looking", "turn, degrees p50 / p90")
    ]
    for world, name in worlds.items():
        if f"{world}/grasps" in figures:
            counts = " / ".join(plain(figures[f"{world}/{key}"]) for key in ("episodes", "grasps"))
            kinds = ("mm", "looked/mm", "degrees")
            errors = (" / ".join(plain(figures[key]) for p in (50, 90) if (key := f"{world}/{kind}_p{p}") in figures) for kind in kinds)
            rows.append((name, counts, plain(figures[f"{world}/frames_told_percent"]), *errors))
    return rows


def slides_and_switches() -> list[Row]:
    """What the hand and pictures tell of what is not picked up, world by world."""
    figures = results("held_labels")
    rows: list[Row] = [("world", "slides: frames told, %", "position, mm p50 / p90", "switches: frames told, %", "of these rightly, %")]
    for key in figures:
        if key.endswith("/slides_told_percent"):
            world = key.split("/")[0]
            off = " / ".join(plain(figures[f"{world}/slides_mm_p{p}"]) for p in (50, 90))
            stands = (plain(figures[f"{world}/switches_{kind}_percent"]) for kind in ("told", "right"))
            rows.append((f"OGBench {world}", plain(figures[key]), off, *stands))
    return rows


def inspected() -> list[Row]:
    """What `robo-dream inspect` says of each released checkpoint, and the figures that its limits rest on."""
    figures = results("inspect")
    rows: list[Row] = [
        ("checkpoint", "verdict", "drawn again", "better than the last frame, first / last block", "costs: spread", "costs: rank, %")
    ]
    for name in sorted({key.split("/")[0] for key in figures if not key.startswith("faults/")}):
        ahead = " / ".join(f"{figures[f'{name}/horizon/{end}']:.1f}" for end in ("first", "last"))
        spreads, ranks = (sorted(figures[key] for key in figures if key.startswith(f"{name}/cost/") and key.endswith(end))
                          for end in ("/spread", "/rank"))  # fmt: skip
        rows.append((
            f"`{name}`", _inspected_as(figures, name), f"{figures[f'{name}/pictures/unexplained']:.2f}", ahead,
            _from_to([f"{value:.2f}" for value in spreads]), _from_to([f"{100 * value:.0f}" for value in ranks]),
        ))  # fmt: skip
    return rows


def inspected_ranges() -> list[Row]:
    """Of every figure that has a limit: from the least to the most of the released checkpoints, and of the planted faults."""
    figures = results("inspect")
    rows: list[Row] = [("figure", "released checkpoints", "with a fault planted")]
    for key in _LIMITED:
        healthy, faulty = (sorted(value for name, value in figures.items() if name.startswith("faults/") == fault and _is_of(name, key))
                           for fault in (False, True))  # fmt: skip
        rows.append((key, *(_from_to([f"{value:.2f}" for value in values]) for values in (healthy, faulty))))
    return rows


def _is_of(name: str, key: str) -> bool:
    """Whether a figure of some checkpoint or fault is `key`, or that of one of its costs where `key` is of any."""
    own = name.removeprefix("faults/").split("/", 1)[1]
    return own == key or (key.startswith("cost/") and own.startswith("cost/") and own.split("/")[2] == key.split("/")[1])


def planted_faults() -> list[Row]:
    """Each fault planted in the tabletop's checkpoint: what tells of it, and the figure that it moves."""
    figures, healthy = results("inspect"), "jaco_s"
    rows: list[Row] = [("planted", "verdict", "named by", "figure", "healthy", "with the fault")]
    for fault, (says, check, key) in _FAULTS.items():
        assert figures[f"faults/{fault}/named"] == 1, f"{fault} is not found by name"
        values = (f"{figures[f'{where}/{key}']:.2f}" for where in (healthy, f"faults/{fault}"))
        rows.append((says, _inspected_as(figures, f"faults/{fault}"), check, key, *values))
    return rows


def _inspected_as(figures: Figures, name: str) -> str:
    return "unfit" if figures[f"{name}/unfit"] else "doubtful" if figures[f"{name}/doubtful"] else "fit"


def _from_to(values: Sequence[str]) -> str:
    return values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


TABLES: Mapping[str, Callable[[], Sequence[Row]]] = {
    "perception": perception,
    "held-labels": held_labels,
    "slides-and-switches": slides_and_switches,
    "inspected": inspected,
    "inspected-ranges": inspected_ranges,
    "planted-faults": planted_faults,
    "hidden-object": hidden_object,
    "unseen-looks": unseen_looks,
    "unseen-looks-believed": unseen_looks_believed,
    "delays": delays,
    "labels-saved": labels_saved,
    "labels-calibration": labels_calibration,
    "split-futures": split_futures,
    "split-futures-planners": split_futures_planners,
    "changed-physics": changed_physics,
    "changed-physics-pushes": changed_physics_pushes,
    "speed-of-belief": lambda: facts(
        "speed_of_belief",
        "one thread of a busy machine, in turn, medians",
        {
            "belief of one frame": "{belief/without_p50_ms} ms",
            "belief with memory": "{belief/memory_p50_ms} ms",
            "a belief with memory takes longer by": "{belief/memory_costs_ms} ms",
            "the plan made from a belief of one frame": "{plan/without_p50_ms} ms",
            "the plan made from a belief with memory": "{plan/memory_p50_ms} ms",
        },
    ),
    "trust-plans": broken_promises,
    "trust-beliefs": beliefs,
    "trust-facts": lambda: facts(
        "trust",
        "what tells a wrong imagination",
        {
            "disagreement against error of what is imagined, in scenes as in training": "Spearman {disagreement/spearman_with_error}",
            "the box imagined 2.5 s ahead (median)": "within {disagreement/object_error_after_2.5s_p50_mm} mm",
            "disagreement as a gate on plans": "AUROC {disagreement/as_a_gate_on_plans_auroc} (0.5 is chance)",
            "disagreement against cameras off by 2 cm and 2 degrees": "AUROC {disagreement/cameras_off_auroc}",
            "gripper in the belief against gripper by its joints: beliefs with the box more than 2 cm off that are found": (
                "{tool_check/beliefs_2cm_off_found_percent} % at {tool_check/false_alarms_percent} % false alarms, in {tool_check/ms} ms"
            ),
        },
    ),
    "looks": looks,
    "noticing": noticing,
    "noticing-costs": noticing_costs,
}
