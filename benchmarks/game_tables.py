"""Games learned in a dream: tables of ticks survived."""

from collections.abc import Callable, Mapping, Sequence

from table_cells import Figures, Row, results


def doom() -> list[Row]:
    """Ways to play that look at nothing, then controllers by the temperature they learned at, over games of all seeds."""
    figures = results("doom")
    rows: list[Row] = [("played by", "real game, frames", "means of the seeds", "dream, frames")]
    fixed = (
        ("each_step", "random play, a choice each step"),
        ("held_random", "random play, choices held for 1 to 3 steps"),
        ("recorded", "random play as recorded, for up to 3, 8 or 24"),
        ("swept_random", "blind sweeps of 24 to 32 steps, left and right in turn"),
        *((f"always_{one}", f"always {one}") for one in ("left", "stay", "right")),
    )
    for name, label in fixed:
        rows += [(label, _spread(figures, f"fixed/{name}", "/real"), "", _spread(figures, f"fixed/{name}", "/dream"))]
    stems = {key.split("/")[0] for key in figures if key.startswith("temperature_") and key.endswith("/real_mean_frames")}
    for stem in sorted(stems, key=lambda name: float(name.removeprefix("temperature_"))):
        means = sorted(figures[key] for key in figures if key.startswith("seed_") and key.endswith(f"/{stem}/real_mean_frames"))
        heat, seeds = stem.removeprefix("temperature_"), ", ".join(f"{mean:.0f}" for mean in means)
        rows.append(
            (f"a controller learned at temperature {heat}", _spread(figures, stem, "/real"), seeds, _spread(figures, stem, "/dream"))
        )
    return rows


def doom_late() -> list[Row]:
    """By the tick: how often real games of a controller ended with the next step, and how often M told that they would."""
    figures = results("doom")
    rows: list[Row] = [("ticks", "told, 2,500 games", "happened", "told, 5,000 games", "happened")]
    for key in figures:
        if key.startswith("late/held_only/") and key.endswith("/told"):
            ticks = key.split("/")[2]
            cells = [
                f"{figures[f'late/{name}/{ticks}/{kind}']:.2%}" for name in ("held_only", "more_games") for kind in ("told", "happened")
            ]
            rows.append((ticks.removeprefix("ticks_").replace("_", " "), *cells))
    return rows


def car_racing() -> list[Row]:
    """Random play, the controllers of each round, and one that is shown z alone where there is one."""
    figures = results("car_racing")
    rounds = sorted({key.split("/")[0] for key in figures if key.startswith("round_")})
    rows: list[Row] = [("played by", "tracks", "points", "in the dream")]
    rows.append(("random play", f"{figures['random_games']:.0f}", _points(figures, "random_"), ""))
    for stem in (*rounds, *(["picture_alone"] if "picture_alone/tracks" in figures else [])):
        number = stem.removeprefix("round_")
        label = {"0": "a controller dreamed up from random games", "picture_alone": "one that is shown z alone, in the last dream"}.get(
            number, f"after {number} round{'s' * (number != '1')} of its own play"
        )
        tracks = f"{figures[f'{stem}/tracks']:.0f}"
        rows.append((label, tracks, _points(figures, f"{stem}/real_"), _points(figures, f"{stem}/dream_")))
    return rows


def _points(figures: Figures, stem: str) -> str:
    return f"{figures[f'{stem}mean_points']:.0f} ± {figures[f'{stem}std_points']:.0f}"


def curiosity() -> list[Row]:
    """Before a noisy television: means over seeds, in percent, with bootstrap intervals."""
    figures = results("curiosity")
    kinds = {"random": "random play", "error": "curiosity by prediction error", "disagreement": "curiosity by disagreement"}
    keys = ("at_screen", "at_screen_last_third", "places", "block_moved", "push_error")
    rows: list[Row] = [("collected by", "before the screen", "in the last third", "places seen", "steps moving the block", "push error")]
    for name, label in kinds.items():
        stems = [f"{name}/{key}" for key in keys]
        rows.append((label, *(f"{figures[stem]:.1f} ({figures[f'{stem}_low']:.1f} to {figures[f'{stem}_high']:.1f})" for stem in stems)))
    return rows


def _spread(figures: Figures, stem: str, kind: str) -> str:
    joint = f"{stem}{kind}" if kind else stem
    return f"{figures[f'{joint}_mean_frames']:.0f} ± {figures[f'{joint}_std_frames']:.0f}"


def doom_hazard() -> list[Row]:
    """How often games were over after the next step, by the chance that M gave it."""
    figures = results("doom")
    rows: list[Row] = [("M's chance of the end, next step", "steps", "told on average", "happened")]
    for key in figures:
        if key.startswith("hazard/") and key.endswith("/told"):
            stem = key.removesuffix("/told")
            low, high = (f"{float(edge):.1%}" for edge in stem.removeprefix("hazard/").split("_to_"))
            told, happened = (f"{figures[f'{stem}/{name}']:.2%}" for name in ("told", "happened"))
            rows.append((f"{low} to {high}", f"{figures[f'{stem}/steps']:.0f}", told, happened))
    return rows


TABLES: Mapping[str, Callable[[], Sequence[Row]]] = {
    "doom": doom,
    "doom_late": doom_late,
    "doom_hazard": doom_hazard,
    "car-racing": car_racing,
    "curiosity": curiosity,
}
