"""The pictures of `benchmarks/trust.py`, drawn with matplotlib."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import calibration
import matplotlib.pyplot as plt
import numpy as np
from calibration import DETECTORS, ROW, USUAL, Trust
from exploits import DELIVERED, PROMISE, UNPENALISED, Outcomes, joined
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from robo_dream.evaluation.intervals import auroc

INK, GREY, RED, PALE_RED = "#222222", "#9a9a9a", "#c0392b", "#fbeae8"
COLOURS = ("#111111", "#8e44ad", "#7f5539", "#2e8b57", "#2f6fd0", "#e08a1e", "#c0392b")  # of the conditions, in order
STYLE = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "axes.titlesize": 10,
    "axes.titlelocation": "left", "figure.titlesize": 13, "figure.titleweight": "bold", "savefig.dpi": 130,
}  # fmt: skip


def draw_exploits(rows: Mapping[str, Outcomes], path: Path) -> None:
    """Imagined against real improvement of every plan, a panel a planner."""
    whole = joined(list(rows.values()))
    low = float(min(whole.promised.min(), whole.brought.min(), 0)) - 1
    high = float(max(whole.promised.max(), whole.brought.max())) + 1
    shades = np.percentile(whole.disagreement, [2, 98])
    with plt.rc_context(STYLE):
        columns = -(-len(rows) // 2) if len(rows) > 3 else len(rows)
        figure, axes = plt.subplots(
            -(-len(rows) // columns), columns, figsize=(3.1 * columns + 0.8, 6.6 if len(rows) > 3 else 3.9), sharex=True, sharey=True,
            squeeze=False, layout="constrained",
        )  # fmt: skip
        points = None
        for axis, (name, some) in zip(axes.flat, rows.items(), strict=False):
            axis.add_patch(
                Polygon([(PROMISE, low), (PROMISE, DELIVERED * PROMISE), (high, DELIVERED * high), (high, low)], color=PALE_RED, lw=0)
            )
            axis.plot([low, high], [low, high], color=GREY, lw=1, zorder=1)
            axis.axhline(0, color=GREY, lw=0.6, ls=":")
            points = axis.scatter(
                some.promised,
                some.brought,
                c=some.disagreement,
                cmap="viridis",
                vmin=shades[0],
                vmax=shades[1],
                s=26,
                edgecolor="white",
                lw=0.4,
            )
            axis.set(xlim=(low, high), ylim=(low, high), aspect="equal", title=name)
            num_promises = int(some.is_promise.sum())
            axis.text(0.96, 0.05, f"{some.is_exploit.sum()} of {num_promises}\nexploits", transform=axis.transAxes, ha="right", color=RED)
        for axis in axes.flat[len(rows) :]:
            axis.set_visible(False)
        axes.flat[0].text(low + 1, low + 2.2, "as promised", color=GREY, rotation=45, rotation_mode="anchor", fontsize=8)
        assert points is not None
        figure.colorbar(points, ax=axes, label="disagreement of the plan", shrink=0.6, pad=0.01)
        figure.suptitle("What plans promise and what they bring (pushes, played open loop in true physics)", x=0.01, ha="left")
        figure.supxlabel("improvement imagined (cm of the object's way, turns included)", fontsize=10)
        figure.supylabel("improvement in true physics (cm)", fontsize=10)
        _save(figure, path)


def draw_gates(rows: Mapping[str, Outcomes], path: Path) -> None:
    """Exploits caught against promises kept that a gate would refuse, over the plans of all planners and of unpenalised CEM."""
    looks = {
        "disagreement": ("disagreement", INK), "apart": ("heads' own futures apart", COLOURS[4]), "modesty": ("a small promise", GREY),
        "doubt_a_centimetre": ("disagreement over promise", COLOURS[5]),
    }  # fmt: skip
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9.0, 6.0), sharey=True, layout="constrained")
        for axis, (title, some) in zip(
            axes, {"all planners": joined(list(rows.values())), UNPENALISED: rows[UNPENALISED]}.items(), strict=True
        ):
            axis.plot([0, 100], [0, 100], color=GREY, lw=0.8, ls=":")
            for score, (label, colour) in looks.items():
                wrong, well = (np.sort(getattr(some, score)[mask]) for mask in (some.is_exploit, some.is_kept))
                at = np.concatenate([[-np.inf], np.sort(np.concatenate([wrong, well]))])
                shares = [100 * (1 - np.searchsorted(values, at, "right") / max(1, len(values))) for values in (well, wrong)]
                axis.plot(*shares, color=colour, lw=1.8, label=f"{label} ({auroc(wrong, well):.2f})")
            axis.set(
                title=f"{title}: {some.is_exploit.sum()} exploits, {some.is_kept.sum()} kept", xlabel="promises kept that are refused (%)"
            )
            axis.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
            axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=9, title="threshold on (AUROC)")
        axes[0].set_ylabel("exploits caught (%)")
        figure.suptitle("Which gate would have caught the exploits?", x=0.01, ha="left")
        _save(figure, path)


def draw_reliability(measured: Mapping[str, Trust], path: Path) -> None:
    """Error against disagreement by tenths: of latents, and of the object, whose error is the encoder's too."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.4), layout="constrained")
        for colour, (name, trust) in zip(COLOURS, measured.items(), strict=False):
            look = {"color": colour, "lw": 2.6 if name == USUAL else 1.4, "marker": "o", "ms": 3.5, "zorder": 3 if name == USUAL else 2}
            left.plot(*calibration.reliability(trust.disagreement, trust.latent_error), label=name, **look)
            uncertainty, error = calibration.reliability(trust.disagreement, trust.object_error)
            right.plot(uncertainty, 100 * error, label=name, **look)
        left.set(title="imagined against encoded later", ylabel="latent error (RMS, latent units)", ylim=(0, None))
        right.set(title="imagined against where the object truly is", ylabel="error of the object's position (RMS, cm)", ylim=(0, None))
        for axis in (left, right):
            axis.set(xlabel="disagreement (mean of a tenth, latent units)", xlim=(0, None))
        figure.legend(*right.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=9)
        figure.suptitle("Does disagreement know the error? 1 to 10 blocks (0.5 to 5 s) imagined", x=0.01, ha="left")
        _save(figure, path)


def draw_detectors(measured: Mapping[str, Trust], path: Path) -> None:
    """AUROC of every detector in every condition, of one decision and of some in a row."""
    others = [name for name in measured if name != USUAL]
    well = measured[USUAL].detectors
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, -(-len(others) // 2), figsize=(11.5, 6.0), sharex=True, sharey=True, layout="constrained")
        for axis, name in zip(axes.flat, others, strict=False):
            for place, detector in enumerate(DETECTORS):
                wrong = measured[name].detectors[detector]
                once = auroc(wrong.ravel(), well[detector].ravel())
                row = auroc(calibration.in_a_row(wrong).ravel(), calibration.in_a_row(well[detector]).ravel())
                axis.barh(
                    place, once - 0.5, left=0.5, color=COLOURS[5] if detector in ("spread", "uncertainty") else COLOURS[4], height=0.62
                )
                axis.plot([row, row], [place - 0.31, place + 0.31], color=INK, lw=2)
                axis.text(1.03, place, f"{once:.2f}", va="center", fontsize=9, color=INK)
            axis.axvline(0.5, color=GREY, lw=0.8)
            axis.set(title=name, xlim=(0.4, 1.0), xticks=(0.5, 0.75, 1.0), ylim=(len(DETECTORS) - 0.5, -0.5))
            axis.tick_params(axis="y", length=0)
        axes[0, 0].set_yticks(range(len(DETECTORS)), [meaning.split(":")[0] for meaning in DETECTORS.values()])
        figure.suptitle("What notices that the world is not as in training?", x=0.01, ha="left")
        figure.supxlabel(
            f"AUROC against the scene of training (orange: disagreement); bar and number: one decision, line: mean of {ROW} in a row",
            fontsize=10,
        )
        _save(figure, path)


def draw_beliefs(measured: Mapping[str, Trust], path: Path) -> None:
    """For every condition what the cameras see, above what is believed, decoded."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, -(-len(measured) // 2), figsize=(3.0 * -(-len(measured) // 2), 6.9), layout="constrained")
        for axis in axes.flat:
            axis.axis("off")
        for axis, (name, trust) in zip(axes.flat, measured.items(), strict=False):
            axis.imshow(trust.picture)
            axis.set_title(f"{name}\nobject believed {1e3 * np.median(trust.belief_error):.0f} mm off (median)")
        figure.suptitle("Above: what the cameras see. Below: what is believed, decoded", x=0.01, ha="left")
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)
