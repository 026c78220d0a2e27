"""Rewards beside the distance from pi_SFT: notebooks 20 and 25, and Figure 20."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from activedpo_lib.method.formulas import interval
from activedpo_lib.study.drawing import plots
from activedpo_lib.study.drawing.scarcity_plots import with_legend
from activedpo_lib.study.scarcity.numbers import measure_of

# Variants that train on the oracle's labels, the usual step first.
MARKS = {"oracle": "D", "usual": "D", "step x2": "^", "own step": "D"}
# strategy: differences to Random, (seeds,), at the same step size and at the same KL
Gains = Mapping[str, tuple[np.ndarray, np.ndarray]]


def reward_by_kl(sizes: pd.DataFrame, randoms: pd.DataFrame, title: str) -> Figure:
    """How far each policy moved and what for: a row a measure, a column a task and model; a line
    through Random's mean at each step size, the strategies as points with their seeds.

    sizes, randoms: of `update_table`, the last round; of `sizes` only what trains on the oracle's
    labels alone is drawn.
    """
    cells = list(sizes.groupby(["task", "model"], sort=False).groups)
    measures = [
        name
        for name in (measure_of(sizes), "utility")
        if name in sizes and sizes[name].notna().all()
    ]
    size = (3.0 * len(cells) + 0.6, 2.9 * len(measures) + 1.1)
    figure, axes = plt.subplots(
        len(measures), len(cells), figsize=size, squeeze=False, layout="constrained"
    )
    kept = sizes[sizes["variant"].isin(MARKS) & (sizes["strategy"] != "random")]
    for measure, row in zip(measures, axes, strict=True):
        for (task, model), ax in zip(cells, row, strict=True):
            for found, draw in ((randoms, _random_line), (kept, _points)):
                draw(found[(found["task"] == task) & (found["model"] == model)], measure, ax)
            ax.set_xscale("function", functions=(_root, np.square))
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.set(title=f"{task}, {model}", ylabel=plots.AXES[measure], xlim=(0, None))
            ax.set_xlabel("KL to pi_SFT (nats, root scale)")
    return with_legend(figure, title, "a small point a seed, a large one the mean of their roots")


def _root(kl: ArrayLike) -> np.ndarray:
    return np.sqrt(np.maximum(0.0, kl))  # an axis, and an estimate, may be a little below zero


def _random_line(own: pd.DataFrame, measure: str, ax: Axes) -> None:
    means = own.assign(kl=_root(own["kl"])).groupby("variant")[["kl", measure]].mean()
    means, colour = means.sort_values("kl"), plots.COLOURS["random"]
    ax.plot(own["kl"], own[measure], ".", markersize=3, alpha=0.4, color=colour)
    label = "Random, at several step sizes"
    ax.plot(means["kl"] ** 2, means[measure], "o-", markersize=5, color=colour, label=label)


def _points(own: pd.DataFrame, measure: str, ax: Axes) -> None:
    for (name, variant), runs in own.groupby(["strategy", "variant"], sort=False):
        look = {"color": plots.COLOURS[name], "marker": MARKS[variant], "linestyle": ""}
        label = f"{plots.LABELS[name]}, {variant if 'step' in variant else 'usual step'}"
        ax.plot(runs["kl"], runs[measure], markersize=3, alpha=0.4, **look)
        middle = _root(runs["kl"]).mean() ** 2  # a mean of the KL would be its largest seed's
        ax.plot(middle, runs[measure].mean(), markersize=8, label=label, **look)


def at_equal_kl(found: Mapping[str, Gains], title: str) -> Figure:
    """Figure 20: a panel a measure, a row a strategy; hollow, its difference to Random at the same
    step size; filled, with its 95 % interval, at the same KL. The best at the same KL on top.

    found: measure: of `over_cells`. Raises ValueError where no run could be compared.
    """
    first = next(iter(found.values()))
    if not first:
        raise ValueError("no strategy stayed where Random went: nothing can be compared at its KL")
    order = sorted(first, key=lambda name: first[name][1].mean(), reverse=True)
    figure, axes = plt.subplots(
        1, len(found), sharey=True, squeeze=False, layout="constrained",
        figsize=(1.8 + 3.6 * len(found), 0.24 * len(order) + 1.5),
    )  # fmt: skip
    seeds = max(len(kl) for _, kl in first.values())
    for ax, (measure, gains) in zip(axes[0], found.items(), strict=True):
        _dumbbells(ax, [gains[name] for name in order])
        ax.set_xlabel(f"difference in {plots.AXES[measure].removeprefix('mean ')}")
        ax.set_yticks(
            range(len(order)), [_row_label(name, first[name][1], seeds) for name in order]
        )
        ax.set_ylim(len(order) - 0.4, -0.6)
    note = f"mean over tasks and models, {seeds} seeds, 95 % interval (uncorrected)"
    return with_legend(figure, title, note if seeds > 1 else "one seed")


def _row_label(name: str, values: np.ndarray, seeds: int) -> str:
    label = plots.LABELS.get(name, name)
    return label if len(values) == seeds else f"{label} ({len(values)} of {seeds} seeds)"


def _dumbbells(ax: Axes, gains: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    ends = [end for step, kl in gains for end in (step.mean(), kl.mean())]
    for at, (step, kl) in enumerate(gains):
        mean, half = interval(kl)
        ax.plot((step.mean(), mean), (at, at), color="#bbbbbb", linewidth=1)
        ax.errorbar(
            mean, at, xerr=np.nan_to_num(half), fmt="o", color="#0072B2", capsize=2, linewidth=1,
            markersize=5, label="at the same KL",
        )  # fmt: skip
        ax.plot(step.mean(), at, "o", mfc="white", mec="black", label="at the same step size")
    ax.axvline(0, color="black", linewidth=1)
    reach = 2.5 * np.abs(ends).max()  # few seeds: intervals may be wider than the frame
    ax.set_xlim(-reach, reach)
