"""Games learned in a dream: tables of ticks survived."""

from collections.abc import Callable, Mapping, Sequence

from table_cells import Figures, Row, results


def doom() -> list[Row]:
    """By the temperature that the controller learned at, lowest first, with random play above."""
    figures = results("doom")
    rows: list[Row] = [("controller learned at", "real game, frames", "dream, frames")]
    for name, label in (("random", "random play, as recorded"), ("random_each_step", "random play, a choice each step")):
        rows.append((label, _spread(figures, name, ""), ""))
    stems = {key.split("/")[0] for key in figures if key.startswith("temperature_") and key.endswith("/real_mean_frames")}
    for stem in sorted(stems, key=lambda name: float(name.removeprefix("temperature_"))):
        heat = stem.removeprefix("temperature_")
        rows.append((f"temperature {heat}", _spread(figures, stem, "/real"), _spread(figures, stem, "/dream")))
    return rows


def _spread(figures: Figures, stem: str, kind: str) -> str:
    joint = f"{stem}{kind}" if kind else stem
    return f"{figures[f'{joint}_mean_frames']:.0f} ± {figures[f'{joint}_std_frames']:.0f}"


TABLES: Mapping[str, Callable[[], Sequence[Row]]] = {"doom": doom}
