"""One function a figure (floor 2): (tidy table, ax) -> ax. Figures come from saved tables only, never from live variables."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from activedpo_lib.formulas import interval

# Okabe and Ito's colours, told apart with any colour vision; a strategy has one everywhere.
COLOURS = {"random": "#000000", "apo": "#009E73", "aplp": "#E69F00", "activedpo": "#0072B2"}
OTHERS = ("#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
MARKERS = {"random": "o", "apo": "s", "aplp": "^", "activedpo": "D"}
LABELS = {"random": "Random", "apo": "APO", "aplp": "APLP", "activedpo": "ActiveDPO"}
AXES = {
    "reward": "mean oracle reward (reward-model logit)",
    "win_rate": "win-rate against the initial LLM",
    "utility": "mean true utility (utils)",
    "length": "response length (tokens)",
    "distinct": "share of distinct responses",
}
PARTS = ("generate", "measure", "select", "label", "train", "evaluate")


def style():
    """The look of every figure: seaborn's white grid, small text, SVG text kept as text."""
    sns.set_theme(style="whitegrid", context="paper")
    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "activedpo", "figure.dpi": 110, "axes.titlesize": "medium"}


def colour(strategy):
    """The strategy's colour; strategies of your own get the remaining ones, by name."""
    return COLOURS.get(strategy) or OTHERS[sum(strategy.encode()) % len(OTHERS)]


def means(table, measure):
    """Mean over seeds and half width of its 95 % t interval: rows (strategy, labels, mean, half, seeds)."""
    rows = []
    for (strategy, number), group in table.groupby(["strategy", "round"], sort=False):
        mean, half = interval(group[measure])
        rows.append({"strategy": strategy, "round": number, "labels": group["labels"].mean(), "mean": mean,
                     "half": half, "seeds": len(group)})  # fmt: skip
    return rows


def difference_to_random(table, measure):
    """The table with `measure` replaced by its paired difference to Random: same task, model, seed and round."""
    keys = ["task", "model", "seed", "round"]
    baseline = table[table["strategy"] == "random"].set_index(keys)[measure]
    others = table[table["strategy"] != "random"].copy()
    others[measure] = others[measure].to_numpy() - baseline.loc[list(map(tuple, others[keys].to_numpy()))].to_numpy()
    return others


def curves(table, measure, ax):
    """Mean over seeds with its 95 % interval against the number of labels, one line a strategy, set apart a little."""
    rows = means(table, measure)
    names = list(dict.fromkeys(row["strategy"] for row in rows))
    jitter = 0.05 * table["labels"].max() / max(1, table["round"].max())
    for at, name in enumerate(names):
        own = [row for row in rows if row["strategy"] == name]
        x = np.array([row["labels"] for row in own]) + jitter * (at - (len(names) - 1) / 2)
        mean, half = (np.array([row[key] for row in own]) for key in ("mean", "half"))
        ax.errorbar(x, mean, np.nan_to_num(half), color=colour(name), marker=MARKERS.get(name, "P"), markersize=4,
                    linewidth=1.4, elinewidth=0.9, capsize=2, label=LABELS.get(name, name))  # fmt: skip
    ax.set(xlabel="labels", ylabel=AXES.get(measure, measure))
    return ax


def differences(table, measure, ax):
    """The paired difference to Random, mean over seeds with its 95 % interval; zero is level with Random."""
    curves(difference_to_random(table, measure), measure, ax)
    ax.axhline(0, color=COLOURS["random"], linewidth=1)
    ax.set_ylabel("difference to Random")
    return ax


def grid_figure(table, measure, title):
    """Figures 1 and 5: a column a task and model; above the curves, below the paired difference to Random."""
    cells = list(dict.fromkeys(zip(table["task"], table["model"], strict=True)))
    seeds = table["seed"].nunique()
    size = (max(5.5, 3.1 * len(cells) + 0.4), 5.6)
    figure, axes = plt.subplots(
        2, len(cells), figsize=size, squeeze=False, sharex=True, height_ratios=[3, 2], layout="constrained"
    )
    for ax in axes[0, 1:]:  # one scale for what is compared across columns; each difference has its own
        ax.sharey(axes[0, 0])
    for (task, model), (above, below) in zip(cells, axes.T, strict=True):
        own = table[(table["task"] == task) & (table["model"] == model)]
        curves(own, measure, above).set(title=f"{task}, {model}", xlabel="")
        differences(own, measure, below)
        if above is not axes[0, 0]:
            above.set_ylabel("")
            below.set_ylabel("")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    note = f"mean and 95 % t interval over {seeds} seeds" if seeds > 1 else "one seed: no interval"
    figure.suptitle(f"{title}\n{note}", fontsize="medium")
    return figure


def time_by_part(table, ax):
    """Where a run's time goes: wall seconds of all rounds by part, mean over runs, one bar a strategy."""
    present = [part for part in PARTS if f"seconds_{part}" in table]
    runs = table.groupby(["strategy", "task", "model", "seed"], sort=False)[[f"seconds_{p}" for p in present]].sum()
    bars = runs.groupby("strategy", sort=False).mean()
    left = np.zeros(len(bars))
    for part, shade in zip(present, sns.color_palette("colorblind", len(PARTS)), strict=False):
        width = bars[f"seconds_{part}"].to_numpy()
        ax.barh([LABELS.get(name, name) for name in bars.index], width, left=left, color=shade, label=part)
        left += width
    ax.set(xlabel="seconds a run (wall, one thread)")
    ax.invert_yaxis()
    ax.legend(ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    return ax
