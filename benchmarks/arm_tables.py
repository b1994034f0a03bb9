"""What happens at an arm and in time: tables of twins, safety, stops, latency and replay."""

from collections.abc import Callable, Mapping, Sequence

from table_cells import Row, both_rates, decision_times, facts, plain, rate, results


def serve() -> list[Row]:
    figures = results("serve")
    rows: list[Row] = [("clients", "searches", "decisions a second", "in one search", "p50 / p95 / p99, ms")]
    for clients in (1, 4, 16):
        for name, label in {"batched": "shared", "unbatched": "each alone"}.items():
            key = f"{name}_{clients}"
            times = " / ".join(plain(figures[f"{key}_ms_p{percent}"]) for percent in (50, 95, 99))
            rows.append((str(clients), label, plain(figures[f"{key}_decisions_per_second"]), plain(figures[f"{key}_together"]), times))
    return rows


def lerobot_policy() -> list[Row]:
    figures = results("lerobot_policy")
    rows: list[Row] = [("task", "by", "trials", "moderate / strict %", "nearest, median, cm", "decision p50 / p95, ms")]
    for task in ("reach", "push"):
        for way, label in {
            "record": "`lerobot-record`, goal a snapshot",
            "record_pictures": "`lerobot-record`, goal pictures alone",
            "async": "LeRobot's policy server and client",
            "run": "`robo-dream run`",
        }.items():
            if f"{(key := f'{task}/{way}')}/pairs" in figures:
                told = plain(figures[f"{key}/pairs"]), both_rates(figures, key), plain(figures[f"{key}/nearest_cm_p50"])
                rows.append((task, label, *told, decision_times(figures, key) or "not recorded"))
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


def speed() -> list[Row]:
    """Each ratio: the code before, as it was, and set the same by hand."""
    figures, rows = results("speed"), [("decision", "threads", "before, ms", "now, ms", "times less", "than the same set by hand")]
    for kind, where in (("", ""), ("avx2/", ", without AVX-512")):
        for plan, label in (("released_push", "push as released"), ("policy_guided_128x3x5", "policy_guided 128x3x5")):
            for threads in (1, 2):
                stem = f"{kind}threads_{threads}/{plan}/"
                low, high = figures[f"{stem}before_ratio_low"], figures[f"{stem}before_ratio_high"]
                times = f"{figures[f'{stem}before_ratio']:.2f} ({low:.2f} to {high:.2f})"
                spent = (plain(figures[f"{stem}{when}_p50_ms"]) for when in ("before", "after"))
                rows.append((f"{label}{where}", f"{threads}", *spent, times, f"{figures[f'{stem}same_settings_ratio']:.2f}"))
    return rows


TABLES: Mapping[str, Callable[[], Sequence[Row]]] = {
    "latency": latency,
    "speed": speed,
    "serve": serve,
    "lerobot_policy": lerobot_policy,
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
}
