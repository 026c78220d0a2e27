"""Figures of people's labels: with whom a policy agrees."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from pandas.io.formats.style import Styler

from activedpo_lib.study.drawing.plots import SHAPES, VARIANTS


def taste(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Agreement with each person against labels, 95 % intervals; `table` is `Sitting.taste`'s."""
    ax = ax or plt.subplots(figsize=(5, 3))[1]
    for at, (who, own) in enumerate(table.groupby("who", sort=False)):
        share = own["agreement"]
        reach = [share - own["low"], own["high"] - share]
        shift = 0.15 * at * max(1, table["labels"].max()) / 10
        ax.errorbar(
            own["labels"] + shift, share, yerr=[side.clip(lower=0) for side in reach], capsize=3,
            color=VARIANTS[at], marker=SHAPES[at], label=f"{who}, {own['pairs'].iloc[0]} pairs",
        )  # fmt: skip
    ax.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    ax.set(xlabel="labels", ylabel="agreement on held-out pairs", ylim=(0, 1))
    ax.legend()
    return ax


def texts(table: pd.DataFrame) -> Styler:
    """A table of texts to be read: whole, and from the left; numbers as short as they are."""
    left = {"selector": "th, td", "props": "text-align: left; vertical-align: top"}
    numbers = dict.fromkeys(table.select_dtypes("float").columns, "{:g}")
    return table.style.hide().format(numbers, escape="html").set_table_styles([left])
