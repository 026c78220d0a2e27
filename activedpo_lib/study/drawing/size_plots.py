"""Figure 19: what a choice of labels gains, and where it starts from, against the model's size."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from activedpo_lib.method.formulas import interval
from activedpo_lib.schema import KNOWING
from activedpo_lib.study.drawing import plots
from activedpo_lib.study.tables import last_round

KNOWN = {"color": "#777777", "marker": "+", "linestyle": "--"}


def model_size(table: pd.DataFrame, started: pd.DataFrame, title: str) -> Figure:
    """Reward by chooser; its difference to Random, each with 95 % intervals; effective dimension
    and overlap of the first pool's gradients; losses. Every panel against parameters.

    table: results with `parameters`; started: of `model_size.bases`.
    """
    figure, axes = plt.subplots(2, 2, figsize=(9.6, 7.2), layout="constrained")
    last = last_round(table)
    names = list(dict.fromkeys(last["strategy"]))
    for at, name in enumerate(names):
        _against_size(last[last["strategy"] == name], "reward", axes[0, 0], _look(name), at)
    _against_size(
        table[(table["round"] == 0) & (table["strategy"] == names[0])],
        "reward", axes[0, 0], {"color": "#BBBBBB", "marker": "_", "label": "pi_SFT"},
    )  # fmt: skip
    axes[0, 0].set(ylabel=plots.AXES["reward"], title="after the last round")
    apart = plots.difference_to(last, "reward")
    for at, name in enumerate(dict.fromkeys(apart["strategy"])):
        _against_size(apart[apart["strategy"] == name], "reward", axes[0, 1], _look(name), at)
    axes[0, 1].axhline(0, color="black", linewidth=1)
    axes[0, 1].set(ylabel="difference to Random (logit)", title="what a choice gains")
    _geometry(started, axes[1, 0])
    for column, own in (("base_loss", "base"), ("sft_loss", "pi_SFT")):
        look = {"color": "#0072B2" if own == "base" else "#D55E00", "marker": "o", "label": own}
        _against_size(started, column, axes[1, 1], look)
    axes[1, 1].set(ylabel="loss on demonstrations (nats a token)", title="how good each model is")
    for ax in axes.flat:
        ax.set(xscale="log", xlabel="parameters")
    for ax in (axes[0, 0], axes[1, 1]):
        ax.legend(frameon=False, fontsize="small")
    figure.suptitle(f"{title}\n{plots.seeds_note(table)}", fontsize="medium")
    return figure


def _look(name: str) -> dict[str, str]:
    if name.startswith(KNOWING):
        return KNOWN | {"label": "full knowledge"}
    return dict(plots.look([name])[name])


def _against_size(own: pd.DataFrame, column: str, ax: Axes, look: dict, at: int = 0) -> None:
    """Means over seeds with their intervals, a point a size; set apart a little by `at`."""
    sizes = own.groupby("parameters", sort=True)[column]
    found = np.array([interval(values) for _, values in sizes])
    places = np.array([count for count, _ in sizes]) * 1.04**at
    halves = np.nan_to_num(found[:, 1])
    ax.errorbar(places, found[:, 0], halves, markersize=5, capsize=2, elinewidth=0.9, **look)


def _geometry(started: pd.DataFrame, ax: Axes) -> None:
    share = started.assign(share=started["effective"] / started["pairs"])
    _against_size(share, "share", ax, {"color": "#009E73", "marker": "s"})
    ax.set_ylabel("effective dimension / pairs", color="#009E73")
    beside = ax.twinx()
    _against_size(started, "overlap", beside, {"color": "#CC79A7", "marker": "v"}, 1)
    beside.set_ylabel("overlap, mean |cosine|", color="#CC79A7")
    beside.grid(False)
    ax.set_title("the first pool's gradients")
