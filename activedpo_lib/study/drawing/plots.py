"""What every figure shares: looks, curves, differences, intervals. A function takes a tidy table
and an axis, draws, and returns the axis.

A tidy table has one row a (task, model, strategy or variant, seed, round), and a column a measure.
Figures come from such tables only, never from live variables.
"""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from activedpo_lib.method.formulas import interval
from activedpo_lib.study.drawing.looks import COLOURS, LABELS, MARKERS

# How one name is drawn: keyword arguments of matplotlib, among them color, marker and label.
Look = Mapping[str, str]

# A study's variants take these in order, and SHAPES beside them.
VARIANTS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#000000")
# A strategy of your own takes one of these, by its name.
OTHERS = ("#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
SHAPES = "DosP^vX*"
# How figures write a measure, with its unit.
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


def style() -> None:
    """The look of every figure: seaborn's white grid, small text, SVG text kept as text."""
    sns.set_theme(style="whitegrid", context="paper")
    plt.rcParams |= {
        "svg.fonttype": "none",
        "svg.hashsalt": "activedpo",
        "figure.dpi": 110,
        "axes.titlesize": "medium",
    }


def colour(strategy: str) -> str:
    """The strategy's colour; strategies of your own get the remaining ones, by name."""
    return COLOURS.get(strategy) or OTHERS[sum(strategy.encode()) % len(OTHERS)]


def look(names: Iterable[str], by: str = "strategy") -> dict[str, Look]:
    """{name: its colour, marker and label}: a strategy has its own in every figure; variants of a
    study, and whatever else `by` says the names are, get theirs in order.
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


def means(
    table: pd.DataFrame, measure: str, by: str = "strategy", x: str = "labels"
) -> pd.DataFrame:
    """The mean of `measure` over seeds, a row a name and round: (by, x, mean, half), where half is
    half the width of the 95 % t interval, NaN for one seed.
    """
    rows = []
    for (name, _), group in table.groupby([by, "round" if "round" in table else x], sort=False):
        mean, half = interval(group[measure])
        rows.append({by: name, x: group[x].mean(), "mean": mean, "half": half})
    return pd.DataFrame(rows)


def difference_to(
    table: pd.DataFrame, measure: str, baseline: str = "random", by: str = "strategy"
) -> pd.DataFrame:
    """The rows of all names but `baseline`, `measure` replaced by its paired difference to the
    baseline's in the same task, model, seed, round, and (unless `by` is variant, which may change
    it) strategy. Raises KeyError where the baseline lacks one of those.
    """
    keys = [
        key
        for key in ("task", "model", "variant", "strategy", "seed", "round")
        if key in table and key != by and (key, by) != ("strategy", "variant")
    ]
    usual = table[table[by] == baseline].set_index(keys)[measure]
    others = table[table[by] != baseline].copy()
    pairs = usual.loc[list(map(tuple, others[keys].to_numpy()))]
    others[measure] = others[measure].to_numpy() - pairs.to_numpy()
    return others


def curves(
    table: pd.DataFrame,
    measure: str,
    ax: Axes,
    by: str = "strategy",
    looks: Mapping[str, Look] | None = None,
    x: str = "labels",
) -> Axes:
    """Mean over seeds with its 95 % interval against x, one line a name of the column `by`; where
    the lines share their x, they are set apart a little.
    """
    rows = means(table, measure, by, x)
    names = list(dict.fromkeys(rows[by]))
    looks = looks or look(names, by)
    steps = max(1, rows[x].nunique() - 1)
    apart = 0.05 * table[x].max() / steps if x in ("labels", "round") else 0
    for at, name in enumerate(names):
        own = rows[rows[by] == name]
        ax.errorbar(
            own[x].to_numpy() + apart * (at - (len(names) - 1) / 2),
            own["mean"].to_numpy(),
            np.nan_to_num(own["half"]),
            markersize=4,
            linewidth=1.4,
            elinewidth=0.9,
            capsize=2,
            **looks[name],
        )
    ax.set(xlabel=AXES.get(x, x), ylabel=AXES.get(measure, measure))
    return ax


def differences(
    table: pd.DataFrame,
    measure: str,
    ax: Axes,
    by: str = "strategy",
    baseline: str = "random",
    looks: Mapping[str, Look] | None = None,
) -> Axes:
    """The paired difference to `baseline`, mean over seeds with its 95 % interval; zero is level
    with it.
    """
    looks = looks or look(dict.fromkeys(table[by]), by)
    curves(difference_to(table, measure, baseline, by), measure, ax, by, looks)
    ax.axhline(0, color="black", linewidth=1)
    ax.set_ylabel(f"difference to {LABELS.get(baseline, baseline)}")
    return ax


def intervals(
    names: Sequence[str],
    groups: Sequence[Sequence[float]],
    ax: Axes,
    looks: Mapping[str, Look] | None = None,
    zero: bool = True,
) -> Axes:
    """One row a name: the mean of its values over seeds and their 95 % t interval, with the seeds
    as dots; `zero` draws the line where nothing differs.
    """
    for at, (name, values) in enumerate(zip(names, groups, strict=True)):
        mean, half = interval(values)
        own = (looks or {}).get(name, {"color": VARIANTS[0], "marker": "D"})
        below = [at + 0.22] * len(values)
        ax.plot(values, below, ".", color=own["color"], markersize=3, alpha=0.45)
        drawn = {"color": own["color"], "marker": own["marker"], "markersize": 5, "capsize": 3}
        ax.errorbar(mean, at, xerr=np.nan_to_num(half), **drawn)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    if zero:
        ax.axvline(0, color="black", linewidth=1)
    return ax


def seeds_note(table: pd.DataFrame) -> str:
    """How many seeds an interval is over, as every figure says it."""
    seeds = table["seed"].nunique()
    return f"mean and 95 % t interval over {seeds} seeds" if seeds > 1 else "one seed: no interval"
