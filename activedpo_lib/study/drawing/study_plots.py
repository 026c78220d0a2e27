"""Figures of results tables: tidy tables in, one matplotlib figure out. Figures of what lies behind
the results are in `probe_plots`.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from activedpo_lib.study.drawing import plots
from activedpo_lib.study.tables import last_and_mean


def finish(
    figure: Figure, title: str, table: pd.DataFrame, legend_of: Axes | None = None, ncols: int = 4
) -> Figure:
    """The figure with its title, how many seeds its intervals are over, and one legend below."""
    if legend_of is not None:
        handles, labels = legend_of.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=min(ncols, len(labels)),
            frameon=False,
        )
    figure.suptitle(f"{title}\n{plots.seeds_note(table)}", fontsize="medium")
    return figure


def effects(
    results: pd.DataFrame, measure: str, by: str, baseline: str, title: str, curves: bool = True
) -> Figure:
    """Curves, their paired difference to `baseline`, and both summaries of it: after the last round
    and over all rounds.
    """
    difference = plots.difference_to(results, measure, baseline, by)
    names = list(dict.fromkeys(difference[by]))
    looks = plots.look(list(dict.fromkeys(results[by])), by)
    columns = 4 if curves else 2
    figure, axes = plt.subplots(
        1,
        columns,
        figsize=(3.4 * columns + 1, max(3.4, 0.3 * len(names) + 1.2)),
        layout="constrained",
    )
    if curves:
        plots.curves(results, measure, axes[0], by, looks)
        plots.differences(results, measure, axes[1], by, baseline, looks)
    both = [last_and_mean(difference[difference[by] == name], measure) for name in names]
    labels = [looks[name]["label"] for name in names]
    own = {looks[name]["label"]: looks[name] for name in names}
    for at, (ax, when) in enumerate(
        zip(axes[-2:], ("after the last round", "mean over rounds"), strict=True)
    ):
        plots.intervals(labels, [values[at] for values in both], ax, own)
        ax.set(xlabel=f"difference to {plots.LABELS.get(baseline, baseline)}", title=when)
    axes[-1].set_yticklabels([])
    return finish(figure, title, results, axes[0] if curves else None)


def costs(results: pd.DataFrame, title: str) -> Figure:
    """Figure 8: the same rewards against labels, wall-clock and FLOP. results: with cumulative
    `wall` and `flops`.
    """
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
    for ax, x in zip(axes, ("labels", "wall", "flops"), strict=True):
        plots.curves(results, "reward", ax, x=x)
    for ax in axes[1:]:
        ax.set_ylabel("")
    return finish(figure, title, results, axes[0])


def panels(results: pd.DataFrame, measures: list[str], title: str) -> Figure:
    """One panel a measure, one line a strategy, against labels (Figure 9)."""
    figure, axes = plt.subplots(
        1, len(measures), figsize=(3.5 * len(measures), 3.9), layout="constrained"
    )
    for ax, measure in zip(np.atleast_1d(axes), measures, strict=True):
        plots.curves(results, measure, ax)
    return finish(figure, title, results, np.atleast_1d(axes)[0])


def when_it_pays(
    conditions: dict[str, tuple[np.ndarray, np.ndarray]], title: str, room: float | None = None
) -> Figure:
    """Figure 12: ActiveDPO - Random under each condition. conditions: {name: (last (seeds,), mean
    of rounds (seeds,))}; room: what full knowledge gains under the usual ones, a dotted line.
    """
    names = list(conditions)
    figure, axes = plt.subplots(
        1, 2, figsize=(9.5, 0.34 * len(names) + 1.6), sharey=True, layout="constrained"
    )
    for at, (ax, when) in enumerate(
        zip(axes, ("after the last round", "mean over rounds"), strict=True)
    ):
        plots.intervals(names, [conditions[name][at] for name in names], ax)
        ax.set(xlabel="ActiveDPO - Random, mean oracle reward", title=when)
    axes[1].invert_yaxis()  # shared: each panel turned it once
    dotted = ""
    if room is not None:
        axes[0].axvline(room, color="black", linestyle=":", linewidth=0.8)
        dotted = "; dotted: what full knowledge gains under the usual conditions"
    seeds = min(len(values[0]) for values in conditions.values())
    note = f"mean and 95 % t interval over {seeds} seeds, each seed a dot"
    note = note if seeds > 1 else "one seed: no interval"
    figure.suptitle(f"{title}\n{note}{dotted}", fontsize="medium")
    return figure


def replay(results: pd.DataFrame, needed: dict[str, np.ndarray], title: str) -> Figure:
    """Figure 14: agreement with held-out human labels, and labels needed to reach Random's last
    level.

    needed: {strategy: (seeds,) labels}, those that never reach it at the largest number plus one
    round.
    """
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.5), layout="constrained")
    plots.curves(results, "agreement", axes[0])
    plots.differences(results, "agreement", axes[1])
    looks = plots.look(list(needed))
    plots.intervals([looks[name]["label"] for name in needed], list(needed.values()), axes[2],
                    {own["label"]: own for own in looks.values()}, zero=False)  # fmt: skip
    axes[2].axvline(results["labels"].max(), color="black", linestyle=":", linewidth=1)
    axes[2].set_xlabel("labels to reach Random's last level (dotted: all)")
    return finish(figure, title, results, axes[0])


def reward_for_distance(probed: pd.DataFrame) -> Figure:
    """Reward against KL to the reference, a dot a round and seed: the same reward nearer to it is
    the better bargain.
    """
    figure, ax = plt.subplots(figsize=(5, 3.4))
    for name, own in plots.look(list(dict.fromkeys(probed["strategy"]))).items():
        rows = probed[probed["strategy"] == name]
        ax.plot(rows["kl"], rows["oracle_reward"], linewidth=0, markersize=3.5, alpha=0.6, **own)
    ax.set(xlabel=plots.AXES["kl"], ylabel=plots.AXES["oracle_reward"])
    ax.legend(frameon=False)
    return figure
