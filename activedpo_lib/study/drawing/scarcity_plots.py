"""Figures 15, 17 and 21: panels a task, curves a variant or strategy. Figure 16 is drawn as Figure
1 is; beside it, whose picks push the right way.
"""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from activedpo_lib.study.drawing import plots
from activedpo_lib.study.scarcity.longer import MEASURES, known
from activedpo_lib.study.scarcity.numbers import measure_of

PANELS = (
    ("labels", ("usual", "half the labels", "twice the labels", "its own labels")),
    ("steps", ("usual", "half the labels", "twice the labels", "its own labels")),
    ("labels", ("step x1/2", "usual", "step x2")),
)


def elasticity(table: pd.DataFrame, title: str) -> Figure:
    """Figure 15: a row a task; reward against labels and against the optimiser's steps for several
    numbers of labels, and against labels for several step sizes. table: of `with_steps`.
    """
    tasks = list(dict.fromkeys(table["task"]))
    size = (10.5, 2.9 * len(tasks) + 0.9)
    figure, axes = plt.subplots(len(tasks), 3, figsize=size, squeeze=False, layout="constrained")
    looks = plots.look(dict.fromkeys(table["variant"]), "variant")
    for task, row in zip(tasks, axes, strict=True):
        for ax, (x, names) in zip(row, PANELS, strict=True):
            own = table[(table["task"] == task) & table["variant"].isin(names)]
            plots.curves(own, measure_of(table), ax, "variant", looks, x)
            ax.set(title=f"{task}, {own['model'].iloc[0]}")
            ax.set_xlabel("optimiser steps" if x == "steps" else "labels")
    return with_legend(figure, title, plots.seeds_note(table))


def controls(table: pd.DataFrame, title: str) -> Figure:
    """Figure 17: a row a task and model, a column a strategy; reward against labels, a curve a
    variant.
    """
    cells = list(table.groupby(["task", "model"], sort=False))
    names = list(dict.fromkeys(table["strategy"]))
    size = (3.3 * len(names) + 0.6, 2.6 * len(cells) + 0.9)
    figure, axes = plt.subplots(
        len(cells), len(names), figsize=size, squeeze=False, sharey="row", layout="constrained"
    )
    looks = plots.look(dict.fromkeys(table["variant"]), "variant")
    for ((task, model), found), row in zip(cells, axes, strict=True):
        for name, ax in zip(names, row, strict=True):
            own = found[found["strategy"] == name]
            plots.curves(own, measure_of(table), ax, "variant", looks)
            ax.set(title=f"{plots.LABELS.get(name, name)}: {task}, {model}")
    return with_legend(figure, title, plots.seeds_note(table))


def longer(table: pd.DataFrame, title: str) -> Figure:
    """Figure 21: a row a task and model, a column a measure, curves the strategies; dotted: the
    labels of the other figures.
    """
    cells, measures = list(table.groupby(["task", "model"], sort=False)), known(table)
    size = (3.5 * len(measures) + 0.6, 2.6 * len(cells) + 0.9)
    figure, axes = plt.subplots(
        len(cells), len(measures), figsize=size, squeeze=False, layout="constrained"
    )
    for ((task, model), own), row in zip(cells, axes, strict=True):
        for measure, ax in zip(measures, row, strict=True):
            plots.curves(own, measure, ax).set(title=f"{task}, {model}", ylabel=MEASURES[measure])
            ax.axvline(own["labels"].max() / 2, color="black", linestyle=":", linewidth=0.8)
    return with_legend(figure, title, plots.seeds_note(table))


def alignments(means: pd.Series, title: str, ax: Axes | None = None) -> Axes:
    """Whose labels would push the policy the right way: a point a (strategy, task, model), the best
    on top. means: of `mean_alignments`.
    """
    ax = ax or plt.subplots(figsize=(7.0, 4.2), layout="constrained")[1]
    order = means.groupby(level="strategy").mean().sort_values().index
    cells = means.groupby(level=["task", "model"], sort=False).groups
    for (task, model), marker in zip(cells, itertools.cycle("os^DvP*X")):
        own = means.xs((task, model), level=("task", "model"))[order]
        ax.plot(own, range(len(own)), marker, label=f"{task}, {model}", alpha=0.8)
    ax.set_yticks(range(len(order)), [plots.LABELS.get(name, name) for name in order])
    ax.set(xlabel="cosine of a batch's push and the direction that raises the reward", title=title)
    ax.axvline(0, color="#777777", linewidth=0.8)
    ax.legend(frameon=False)
    return ax


def with_legend(figure: Figure, title: str, note: str) -> Figure:
    """The figure with one legend of all its panels below it, a title, and a note under that."""
    entries: dict[str, object] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        entries.values(), entries.keys(), loc="outside lower center", ncols=4, frameon=False
    )
    figure.suptitle(f"{title}\n{note}", fontsize="medium")
    return figure
