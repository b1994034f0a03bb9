"""Games learned in a dream: tables of ticks survived."""

from collections.abc import Callable, Mapping, Sequence

from table_cells import Figures, Row, results


def doom() -> list[Row]:
    """By the temperature that the controller learned at, lowest first, with random play above."""
    figures = results("doom")
    rows: list[Row] = [("controller learned at", "real game, frames", "dream, frames")]
    rows.append(("random play, a choice each step", _spread(figures, "random_each_step", ""), ""))
    fixed = (
        ("held_random", "random play, choices held for 1 to 3 steps"),
        *((f"always_{one}", f"always {one}") for one in ("left", "stay", "right")),
    )
    for name, label in fixed:
        rows += [(label, _spread(figures, f"fixed/{name}", "/real"), _spread(figures, f"fixed/{name}", "/dream"))]
    stems = {key.split("/")[0] for key in figures if key.startswith("temperature_") and key.endswith("/real_mean_frames")}
    for stem in sorted(stems, key=lambda name: float(name.removeprefix("temperature_"))):
        heat = stem.removeprefix("temperature_")
        rows.append((f"temperature {heat}", _spread(figures, stem, "/real"), _spread(figures, stem, "/dream")))
    return rows


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


TABLES: Mapping[str, Callable[[], Sequence[Row]]] = {"doom": doom, "doom_hazard": doom_hazard, "curiosity": curiosity}
