"""Writes the tables and figures of README.md and docs/ from docs/results/*.json, so that no number is typed twice.

    python benchmarks/tables.py            # fills everything between markers
    python benchmarks/tables.py --check    # exit code 1 where a page differs from the results

A result file is flat: a figure's name to a number; names that begin with `_` say where the figures come from. A page marks a table with
`<!-- table: NAME -->` and `<!-- end -->` on lines of their own, and a single figure with `<!-- figure: FILE KEY -->` and `<!-- end -->`.
Intervals of success rates are Wilson's, from the rate and the number of pairs. Differences were bootstrapped over pairs when they were
measured, and are stored.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from robo_dream.evaluation.intervals import wilson

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
Row = Sequence[str]
Figures = Mapping[str, float]

METHODS = {
    "planner": "policy-guided search",
    "policy_alone": "policy alone",
    "oracle_dynamics": "search with oracle dynamics",
    "random": "random",
    "zero_action": "zero action",
    "lewm_cem": "LeWM with CEM",
    "intact": "INTACT",
}
_TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_FIGURE = re.compile(r"(<!-- figure: ([\w-]+) (\S+) -->)(.*?)(<!-- end -->)", re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a page differs")
    check = parser.parse_args().check
    stale = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (filled := fill(text)) != text:
            stale.append(str(page.relative_to(ROOT)))
            if not check:
                page.write_text(filled, encoding="utf-8")
    for name in stale:
        print(f"{name} {'differs from docs/results; run `make tables`' if check else 'written'}")
    return int(check and bool(stale))


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def fill(text: str) -> str:
    """`text` with what stands between its markers taken from the results; raises `KeyError` for a name that is not known."""
    assert "\n<!-- figure" not in text, "a line that begins with a comment is no part of its paragraph: move a word to its front"
    text = _TABLE.sub(lambda found: f"{found[1]}{markdown(TABLES[found[2]]())}\n{found[4]}", text)
    return _FIGURE.sub(lambda found: f"{found[1]}{plain(results(found[2])[found[3]])}{found[5]}", text)


@cache
def results(name: str) -> Figures:
    """The figures of docs/results/`name`.json; of what begins with `_` nothing is a figure."""
    data = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return {key: value for key, value in data.items() if not key.startswith("_")}


def markdown(rows: Sequence[Row]) -> str:
    """The first row is the header."""
    assert len({len(row) for row in rows}) == 1 and len(rows[0]) <= 6, f"a table has at most six columns, all rows alike: {rows}"
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def plain(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def rate(figures: Figures, key: str, kind: str) -> str:
    """A success rate in percent, with Wilson's 95 % interval where the number of pairs is known."""
    percent = figures[f"{key}/{kind}"]
    if f"{key}/pairs" not in figures:
        return f"{percent:g}"
    pairs = int(figures[f"{key}/pairs"])
    low, high = wilson(round(percent * pairs / 100), pairs)
    return f"{percent:.1f} ({100 * low:.0f} to {100 * high:.0f})"


def gain(figures: Figures, key: str, kind: str) -> str:
    """Policy-guided search minus this method, in points, with the interval that was bootstrapped over the pairs of both."""
    if f"{key}/gain_{kind}" not in figures:
        return ""
    return "{:+d} ({:+d} to {:+d})".format(*(int(figures[f"{key}/gain{part}_{kind}"]) for part in ("", "_low", "_high")))


def decision_times(figures: Figures, key: str) -> str:
    """p50 and p95 in milliseconds; empty where nobody timed it."""
    return " / ".join(plain(figures[f"{key}/decision_{q}_ms"]) for q in ("p50", "p95") if f"{key}/decision_{q}_ms" in figures)


def both_rates(figures: Figures, key: str) -> str:
    return " / ".join(rate(figures, key, kind) for kind in ("moderate", "strict"))


def plain_rates(figures: Figures, key: str) -> str:
    return " / ".join(plain(figures[f"{key}/{kind}"]) for kind in ("moderate", "strict"))


def success(file: str, world: str, regime: str = "privileged", methods: Sequence[str] = tuple(METHODS)) -> list[Row]:
    """What each method reaches in a world, and what a decision takes."""
    figures = results(file)
    rows: list[Row] = [("method", "pairs", "moderate %", "strict %", "rollouts", "decision p50 / p95, ms")]
    for method in methods:
        key = f"{world}/{regime}/{method}"
        if f"{key}/moderate" in figures:
            times = decision_times(figures, key)
            rollouts = plain(figures[f"{key}/rollouts"]) if f"{key}/rollouts" in figures else ""
            rates = (rate(figures, key, kind) for kind in ("moderate", "strict"))
            rows.append((METHODS[method], plain(figures[f"{key}/pairs"]), *rates, rollouts, times))
    return rows


def gains(file: str, worlds: Mapping[str, str], regime: str = "privileged") -> list[Row]:
    """Policy-guided search minus every other method on identical pairs."""
    figures, rows = results(file), [("task", "search minus", "moderate, points", "strict, points")]
    for world, name in worlds.items():
        for method in METHODS:
            key = f"{world}/{regime}/{method}"
            if f"{key}/gain_moderate" in figures:
                rows.append((name, METHODS[method], gain(figures, key, "moderate"), gain(figures, key, "strict")))
    return rows


def rates(file: str, head: str, cases: Mapping[str, str]) -> list[Row]:
    """One line a case: its name, pairs and both rates; `cases` names the key of each."""
    figures, rows = results(file), [(head, "pairs", "moderate %", "strict %")]
    for name, key in cases.items():
        rows.append((name, plain(figures[f"{key}/pairs"]), rate(figures, key, "moderate"), rate(figures, key, "strict")))
    return rows


def facts(file: str, head: str, cases: Mapping[str, str]) -> list[Row]:
    """One line a case: what was measured, and a template with the names of its figures in braces."""
    figures = results(file)

    def filled(template: str) -> str:
        return re.sub(r"{(\S+?)}", lambda found: plain(figures[found[1]]), template)

    return [(head, "measured"), *((name, filled(template)) for name, template in cases.items())]


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
        taken = decision_times(figures, f"{key}/planner") or "not recorded"
        rows.append((task, regime, plain(figures[f"{key}/planner/pairs"]), *both, taken))
    return rows


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


_SHOWN = {
    "picture-and-arm": "where it is",
    "picture-arm-at-start": "taken to be where it starts",
    "picture": "nothing: a picture alone",
}


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


def points(figures: Figures, key: str) -> str:
    """A difference in points with its interval."""
    return "{:+.0f} ({:+.0f} to {:+.0f})".format(*(figures[f"{key}{end}"] for end in ("", "_low", "_high")))


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
        cells = [plain_rates(figures, f"{task}/privileged/{name}") for task in _TABLETOP]
        rollouts = list(dict.fromkeys(plain(figures[f"{t}/privileged/{name}/rollouts"]) for t in _TABLETOP))
        rows.append((label, *cells, ", ".join(rollouts)))
    return rows


def latency() -> list[Row]:
    figures, rows = results("latency"), [("decision", "rollouts", "p50 / p95 / p99, ms", "GFLOP", "GB moved", "of the fp32 matrix rate")]
    for name, label in {
        "policy_guided_push_32x1x12": "push as released, 32x1x12",
        "policy_guided_128x3x5": "policy_guided 128x3x5",
        "policy_guided_128x3x5_float32": "the same in float32",
        "cem_300x30x5_last_latent": "CEM 300x30x5, scored by the last latent",
        "cem_300x30x5_poses": "CEM 300x30x5, scored by poses",
    }.items():
        times = " / ".join(plain(figures[f"{name}/{q}_ms"]) for q in ("p50", "p95", "p99"))
        rest = (plain(figures[f"{name}/{what}"]) for what in ("gflop", "gb_moved"))
        rows.append((label, plain(figures[f"{name}/rollouts"]), times, *rest, f"{figures[f'{name}/percent_of_fp32_rate']} %"))
    return rows


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


def far_goals() -> list[Row]:
    figures, rows = results("costs"), [("goal", "poses: moderate / strict %", "raw latents: moderate / strict %")]
    for steps in (25, 50, 100):
        cells = (plain_rates(figures, f"far_goals/{steps}_steps/{cost}") for cost in ("poses", "latents"))
        rows.append((f"{steps} steps away", *cells))
    return rows


def twins() -> list[Row]:
    figures, rows = results("twins"), [("arm", "reach, plain", "reach, twin", "push, plain", "push, twin")]
    for arm, label in {"so101": "SO-101", "ur5e": "UR5e", "xarm6": "xArm 6"}.items():
        rows.append((label, *(rate(figures, f"{arm}-{task}/{way}", "moderate") for task in ("reach", "push") for way in ("plain", "twin"))))
    return rows


def so101() -> list[Row]:
    """The checkpoint that read no poses in plain simulation and through the twin's wire, beside the script that is told them."""
    figures, head = results("so101_twin"), ("task", "where", "who moves it", "trials", "moderate / strict %", "decision p50 / p95, ms")
    rows: list[Row] = [head]
    for task in ("reach", "push"):
        for where, policy, label in (
            ("twin", "imagination", "policy-guided search"),
            ("twin", "policy_alone", "policy alone"),
            ("twin", "oracle", "script told true poses"),
            ("plain", "planner", "policy-guided search"),
            ("plain", "policy_alone", "policy alone"),
            ("plain", "oracle", "script told true poses"),
        ):
            if f"{(key := f'so101-{task}/{where}/{policy}')}/pairs" in figures:
                rates = both_rates(figures, key)
                rows.append((task, where, label, plain(figures[f"{key}/pairs"]), rates, decision_times(figures, key)))
    return rows


def stops() -> list[Row]:
    """What the guard was doing when it was told to stop at once; deceleration in rad/s^2."""
    figures, rows = results("stops"), [("while the guard", "emergency stops", "slowest, ms")]
    labels = {
        "moving": "moves the arm",
        **{f"soft_stop_{a}": f"decelerates by {a} rad/s²" for a in ("0.1", "0.4", "4", "40")},
        "homing": "brings the arm to its start",
        "calibrating": "calibrates",
        "reconnecting": "connects again",
    }
    rows += [(label, plain(figures[f"num/{state}"]), plain(figures[f"estop_max_ms/{state}"])) for state, label in labels.items()]
    return rows


def kills() -> list[Row]:
    """By twin and by the process that was struck: the slowest stop and the farthest, beside what was stated of them."""
    figures = results("kills")
    rows: list[Row] = [("twin", "process", "strikes", "at rest after, s (stated)", "a joint went on, rad (stated)")]
    struck: dict[tuple[str, str], list[str]] = {}
    for key in figures:
        if key.startswith("num/"):
            struck.setdefault((key.split("/")[1], key.split("/")[2]), []).append(key.removeprefix("num/"))
    for (twin, victim), cases in struck.items():
        slowest = max(cases, key=lambda case: figures[f"max_seconds/{case}"])
        farthest = max(cases, key=lambda case: figures[f"max_travel_rad/{case}"])
        rows.append((
            twin, {"main": "planner", "driver": "vendor's client"}.get(victim, victim),
            plain(sum(figures[f"num/{case}"] for case in cases)),
            f"{figures[f'max_seconds/{slowest}']:.2f} ({figures[f'stated_seconds/{slowest}']:.2f})",
            f"{figures[f'max_travel_rad/{farthest}']:.3f} ({figures[f'stated_travel_rad/{farthest}']:.3f})",
        ))  # fmt: skip
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


def house() -> list[Row]:
    figures, rows = results("house"), [("", "before", "now")]
    for name, label in {
        "files": "Python files", "lines": "lines of Python", "readme_lines": "lines of README", "import_circles": "import circles",
        "files_picture_to_action": "files from a picture to an action",
        "files_episode_to_checkpoint": "files from an episode to a checkpoint",
        "duplicate_pairs": "pairs of similar blocks",
    }.items():  # fmt: skip
        if name in figures:
            rows.append((label, plain(figures[f"{name}_before"]) if f"{name}_before" in figures else "", plain(figures[name])))
    return rows


def house_way() -> list[Row]:
    """Where the files from a picture to an action are, most first."""
    stem, named = "files_picture_to_action/", "`{}`".format
    found = {key.removeprefix(stem): value for key, value in results("house").items() if key.startswith(stem)}
    most_first = sorted(found, key=lambda folder: (-found[folder], folder))
    return [("folder", "files from a picture to an action"), *((named(folder), plain(found[folder])) for folder in most_first)]


def house_folders() -> list[Row]:
    """Files and lines of each folder, before and now; a folder that is gone has nothing now."""
    figures = results("house")
    folders = sorted({key.split("/", 1)[1] for key in figures if key.startswith("files/") or key.startswith("files_before/")})
    rows: list[Row] = [("folder", "files before", "files now", "lines before", "lines now")]
    for folder in folders:
        kinds = (f"{kind}{when}/{folder}" for kind in ("files", "lines") for when in ("_before", ""))
        rows.append((folder, *(plain(figures[key]) if key in figures else "" for key in kinds)))
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


_LIMITED = (
    "pictures/unexplained", "latents/dimensions", "latents/std", "latents/mean", "proprio/std", "proprio/mean", "proprio/clamped",
    "camera_and_arm/pictures", "camera_and_arm/shuffled", "horizon/first", "horizon/last", "actions/rank", "actions/scale_loss",
    "cost/spread", "cost/rank", "uncertainty/spearman",
)  # fmt: skip
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
_TABLETOP = ("reach", "push", "lift")
_IMAGINING = {
    "policy_alone": "policy alone",
    **{f"best_of_{number}": f"the policy's best of {number}" for number in (2, 4, 8, 32, 128, 512)},
    "planner": "search as released",
    "cem": "CEM, no proposals",
    "small_search": "a small search",
    "oracle_dynamics": "the same, oracle dynamics",
    "goal_bridge": "imagined goal bridge",
}
_POLICY_ALONE = "cube-double-other-pairs/privileged/policy_alone"
_NAMES = "cube-single-skill-names"

TABLES: Mapping[str, Callable[[], Sequence[Row]]] = {
    "readme": readme,
    **{f"tabletop-{task}": lambda task=task: success("tabletop", task) for task in _TABLETOP},
    "tabletop-gains": lambda: gains("tabletop", {task: task for task in _TABLETOP}),
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
    "imagination": imagination,
    "imagination-peaks": imagination_peaks,
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
            for task in _TABLETOP
        ),
    ],
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
    "representation-trials": representations,
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
            "cube-single, policy-guided search": "cube-single/privileged/planner",
            "cube-single, policy alone": "cube-single/privileged/policy_alone",
            "cube-single, zero action": "cube-single/privileged/zero_action",
            "scene, policy-guided search": "scene/privileged/planner",
            "scene, policy alone": "scene/privileged/policy_alone",
            "cube-double, policy-guided search, an earlier checkpoint": "cube-double-earlier-checkpoint/privileged/planner",
        },
    ),
    "published-cube-single": lambda: published("cube-single"),
    "published-reacher": lambda: published("reacher"),
    "perception": perception,
    "held-labels": held_labels,
    "slides-and-switches": slides_and_switches,
    "inspected": inspected,
    "inspected-ranges": inspected_ranges,
    "planted-faults": planted_faults,
    "training-cost": lambda: [
        ("checkpoint", "data", "collecting, minutes", "training, minutes"),
        *_training_cost(),
    ],
    "metaworld-expert": lambda: success("metaworld", "reach-expert"),
    "metaworld-near": lambda: success("metaworld", "reach-near"),
    "metaworld-gains": lambda: gains("metaworld", {"reach-expert": "expert's last frame", "reach-near": "25 steps away"}),
    "reacher": lambda: success("dm_control", "reacher"),
    "reacher-gains": lambda: gains("dm_control", {"reacher": "reacher"}),
    "latency": latency,
    "latency-growth": lambda: facts(
        "latency",
        "how time grows (float32, not compiled)",
        {
            "linear in candidates, 64 to 2,048": "R2 {growth/candidates_r2}",
            "linear in horizon, 2 to 10 imagined steps": "R2 {growth/horizon_r2}",
            "linear in problems, 1 to 16": "R2 {growth/problems_r2}",
            "an imagined step of a candidate": "{growth/us_an_imagined_step_low} to {growth/us_an_imagined_step_high} us",
            "one decision with 100,000 candidates": "{large_search/seconds} s, {large_search/mib} MiB",
        },
    ),
    "latency-swm": lambda: facts(
        "latency",
        "CEM of stable-worldmodel 0.1.1 with a LeWM-sized model, beside ours",
        {
            "both scored by the latent after the last step": "{stable_worldmodel/times_slower_judged_alike} times as long "
            "({stable_worldmodel/times_slower_judged_alike_low} to {stable_worldmodel/times_slower_judged_alike_high} by round)",
            "ours scored by poses": "{stable_worldmodel/times_slower_ours_on_poses} times as long",
            "the fastest settings of both, scored alike": "{stable_worldmodel/times_slower_judged_alike_fastest_settings} times as long",
            "the fastest of both, ours by poses": "{stable_worldmodel/times_slower_ours_on_poses_fastest_settings} times as long",
            "floating-point operations, scored alike": "{stable_worldmodel/times_the_operations_judged_alike} times as many",
            "floating-point operations, ours scored by poses": "{stable_worldmodel/times_the_operations_ours_on_poses} times as many",
        },
    ),
    "hidden-object": hidden_object,
    "delays": delays,
    "changed-physics": lambda: facts(
        "changed_physics",
        "held-out boxes, each of its own mass and friction",
        {
            "windows in which the box moves for 3 s": "{all/windows}, of them {heavy/windows} heavy",
            "box imagined 1 s ahead, as it begins to move": "{all/first_second_mm} mm off",
            "2 s later, from one frame": "{all/later_without_mm} mm",
            "2 s later, with memory": "{all/later_memory_mm} mm",
            "heavy boxes: at first, later from one frame, later with memory": "{heavy/first_second_mm}, {heavy/later_without_mm}, "
            "{heavy/later_memory_mm} mm",
        },
    ),
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
    "replay": lambda: facts(
        "replay",
        "a run of 500 decisions with 128 candidates, 2 cores",
        {
            "the page can be used after": "{page/usable_after_s} s",
            "any other decision is drawn in (p50 / p95)": "{page/decision_p50_ms} / {page/decision_p95_ms} ms",
            "the next decision is drawn in": "{page/next_decision_ms} ms",
            "walking in the dream": "{page/walking_pictures_a_second} pictures a second of each camera",
            "decisions recomputed equal to the bit": "{recompute/equal_to_the_bit_a_planner} of {recompute/decisions_a_planner} of each of "
            "{recompute/planners} planners",
        },
    ),
    "twins": twins,
    "so101": so101,
    "twins-strict": lambda: [
        ("arm", "push strict %, plain", "push strict %, twin"),
        *(
            (label, *(rate(results("twins"), f"{arm}-push/{way}", "strict") for way in ("plain", "twin")))
            for arm, label in {"so101": "SO-101", "ur5e": "UR5e", "xarm6": "xArm 6"}.items()
        ),
    ],
    "safety": lambda: [
        *facts(
            "fault_campaign",
            "in simulation, judged by the physics behind the wire",
            {
                f"faults struck, over {plain(7)} drivers": "{faults}",
                "of them under limits drawn at random": "{faults_under_drawn_limits}",
                "unsafe motions": "{unsafe_motions}",
                "stops later than stated": "{late_stops}",
                "records that could not be read": "{unreadable_records}",
            },
        ),
        *facts(
            "safety",
            "",
            {
                "emergency key reaches the driver, planner blocking both cores (p99)": (
                    "{emergency_key/p99_ms_at_10hz} ms at 10 Hz, {emergency_key/p99_ms_at_50hz} ms at 50 Hz"
                ),
                "commands leave after their beat": "{commands/late_p99_ms} ms (p99), {commands/late_max_ms} ms at most",
            },
        )[1:],
    ],
    "stops": stops,
    "kills": kills,
    "looks": looks,
    "noticing": noticing,
    "noticing-costs": noticing_costs,
    "house": house,
    "house-way": house_way,
    "house-folders": house_folders,
}


def _training_cost() -> Iterator[Row]:
    jaco, ogbench, meta, control = results("training"), results("ogbench"), results("metaworld"), results("dm_control")
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


if __name__ == "__main__":
    sys.exit(main())
