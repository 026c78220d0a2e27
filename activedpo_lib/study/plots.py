"""One function a figure: (tidy table, ax) -> ax. Figures come from saved tables only, never from
live variables.
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from activedpo_lib.method.formulas import interval

# Okabe and Ito's colours for the paper's four, Paul Tol's muted ones for the rest: told apart with
# any colour vision.
COLOURS = {
    "random": "#000000",
    "apo": "#009E73",
    "aplp": "#E69F00",
    "activedpo": "#0072B2",
    "entropy": "#CC6677",
    "margin": "#332288",
    "certainty": "#DDCC77",
    "gradient_norm": "#44AA99",
    "frozen_v": "#88CCEE",
    "d_optimal": "#882255",
    "k_center": "#999933",
    "transductive": "#AA4499",
}
VARIANTS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#000000")
OTHERS = ("#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
MARKERS = {
    "random": "o",
    "apo": "s",
    "aplp": "^",
    "activedpo": "D",
    "entropy": "v",
    "margin": "<",
    "certainty": ">",
    "gradient_norm": "h",
    "frozen_v": "d",
    "d_optimal": "p",
    "k_center": "X",
    "transductive": "*",
}
SHAPES = "DosP^vX*"
LABELS = {
    "random": "Random",
    "apo": "APO",
    "aplp": "APLP",
    "activedpo": "ActiveDPO",
    "gradient_norm": "gradient norm",
    "frozen_v": "V fixed in the batch",
    "d_optimal": "D-optimal",
    "k_center": "k-center",
}
AXES = {
    "reward": "mean oracle reward (logit)",
    "win_rate": "win-rate against the initial LLM",
    "utility": "mean true utility (utils)",
    "length": "response length (tokens)",
    "distinct": "share of distinct responses",
    "agreement": "agreement with held-out human labels",
    "nll": "held-out loss (nats a comparison)",
    "kl": "KL to the reference (nats a response)",
    "sft_loss": "loss on demonstrations (nats a token)",
    "evaluator_reward": "reward by the second model (logit)",
    "wall": "seconds of the run so far",
    "flops": "FLOP so far (cost model)",
    "correlation": "rank correlation with the error",
    "coverage": r"share with error $\leq \nu \sigma$",
    "oracle_reward": "reward by the oracle (logit)",
}
PARTS = ("generate", "measure", "select", "label", "train", "evaluate")


def style():
    """The look of every figure: seaborn's white grid, small text, SVG text kept as text."""
    sns.set_theme(style="whitegrid", context="paper")
    plt.rcParams |= {
        "svg.fonttype": "none",
        "svg.hashsalt": "activedpo",
        "figure.dpi": 110,
        "axes.titlesize": "medium",
    }


def colour(strategy):
    """The strategy's colour; strategies of your own get the remaining ones, by name."""
    return COLOURS.get(strategy) or OTHERS[sum(strategy.encode()) % len(OTHERS)]


def look(names, by="strategy"):
    """{name: colour, marker and label}: a strategy has its own everywhere; variants of a study get
    theirs in order.
    """
    if by == "strategy":
        return {
            n: {"color": colour(n), "marker": MARKERS.get(n, "P"), "label": LABELS.get(n, n)}
            for n in names
        }
    return {
        name: {
            "color": VARIANTS[at % len(VARIANTS)],
            "marker": SHAPES[at % len(SHAPES)],
            "label": name,
        }
        for at, name in enumerate(names)
    }


def means(table, measure, by="strategy", x="labels"):
    """Mean over seeds and half width of its 95 % t interval, a row a round: (by, x, mean, half)."""
    rows = []
    for (name, _), group in table.groupby([by, "round" if "round" in table else x], sort=False):
        mean, half = interval(group[measure])
        rows.append({by: name, x: group[x].mean(), "mean": mean, "half": half})
    return rows


def difference_to(table, measure, baseline, by="strategy"):
    """The table with `measure` replaced by its paired difference to `baseline`: same task, model,
    seed, round, and the rest.
    """
    keys = [
        key
        for key in ("task", "model", "variant", "strategy", "seed", "round")
        if key in table and key != by
    ]
    if by == "variant":
        keys.remove("strategy")  # a variant may change it
    usual = table[table[by] == baseline].set_index(keys)[measure]
    others = table[table[by] != baseline].copy()
    others[measure] = (
        others[measure].to_numpy() - usual.loc[list(map(tuple, others[keys].to_numpy()))].to_numpy()
    )
    return others


def difference_to_random(table, measure):
    """The table with `measure` replaced by its paired difference to Random: same task, model, seed
    and round.
    """
    return difference_to(table, measure, "random")


def curves(table, measure, ax, by="strategy", looks=None, x="labels"):
    """Mean over seeds with its 95 % interval against x, one line a strategy; where they share it,
    set apart a little.
    """
    rows = means(table, measure, by, x)
    names = list(dict.fromkeys(row[by] for row in rows))
    looks = looks or look(names, by)
    steps = max(1, len({row[x] for row in rows}) - 1)
    jitter = 0.05 * table[x].max() / steps if x in ("labels", "round") else 0
    for at, name in enumerate(names):
        own = [row for row in rows if row[by] == name]
        places = np.array([row[x] for row in own]) + jitter * (at - (len(names) - 1) / 2)
        mean, half = (np.array([row[key] for row in own]) for key in ("mean", "half"))
        ax.errorbar(
            places,
            mean,
            np.nan_to_num(half),
            markersize=4,
            linewidth=1.4,
            elinewidth=0.9,
            capsize=2,
            **looks[name],
        )
    ax.set(xlabel=AXES.get(x, x), ylabel=AXES.get(measure, measure))
    return ax


def differences(table, measure, ax, by="strategy", baseline="random", looks=None):
    """The paired difference to `baseline`, mean over seeds with its 95 % interval; zero is level
    with it.
    """
    looks = looks or look(dict.fromkeys(table[by]), by)
    curves(difference_to(table, measure, baseline, by), measure, ax, by, looks)
    ax.axhline(0, color="black", linewidth=1)
    ax.set_ylabel(f"difference to {LABELS.get(baseline, baseline)}")
    return ax


def intervals(names, groups, ax, looks=None, zero=True):
    """One row a name: the mean of its values over seeds and their 95 % t interval, with the seeds
    as dots.
    """
    for at, (name, values) in enumerate(zip(names, groups, strict=True)):
        mean, half = interval(values)
        own = (looks or {}).get(name, {"color": VARIANTS[0], "marker": "D"})
        ax.plot(
            values, [at + 0.22] * len(values), ".", color=own["color"], markersize=3, alpha=0.45
        )
        ax.errorbar(
            mean,
            at,
            xerr=np.nan_to_num(half),
            color=own["color"],
            marker=own["marker"],
            markersize=5,
            capsize=3,
        )
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    if zero:
        ax.axvline(0, color="black", linewidth=1)
    return ax


def seeds_note(table):
    """How many seeds an interval is over, as every figure says it."""
    seeds = table["seed"].nunique()
    return f"mean and 95 % t interval over {seeds} seeds" if seeds > 1 else "one seed: no interval"


def grid_figure(table, measure, title):
    """Figures 1 and 5: a column a task and model; above the curves, below the paired difference to
    Random.
    """
    cells = list(dict.fromkeys(zip(table["task"], table["model"], strict=True)))
    size = (max(5.5, 3.1 * len(cells) + 0.4), 5.6)
    figure, axes = plt.subplots(
        2,
        len(cells),
        figsize=size,
        squeeze=False,
        sharex=True,
        height_ratios=[3, 2],
        layout="constrained",
    )
    for ax in axes[
        0, 1:
    ]:  # one scale for what is compared across columns; each difference has its own
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
    figure.suptitle(f"{title}\n{seeds_note(table)}", fontsize="medium")
    return figure


def time_by_part(table, ax):
    """Where a run's time goes: wall seconds of all rounds by part, mean over runs, one bar a
    strategy.
    """
    present = [part for part in PARTS if f"seconds_{part}" in table]
    runs = table.groupby(["strategy", "task", "model", "seed"], sort=False)[
        [f"seconds_{p}" for p in present]
    ].sum()
    bars = runs.groupby("strategy", sort=False).mean()
    left = np.zeros(len(bars))
    for part, shade in zip(present, sns.color_palette("colorblind", len(PARTS)), strict=False):
        width = bars[f"seconds_{part}"].to_numpy()
        ax.barh(
            [LABELS.get(name, name) for name in bars.index],
            width,
            left=left,
            color=shade,
            label=part,
        )
        left += width
    ax.set(xlabel="seconds a run (wall, one thread)")
    ax.invert_yaxis()
    ax.legend(ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    return ax
