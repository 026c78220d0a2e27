"""Figures of what lies behind the results: clusters, norms, projections, errors, picks."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from activedpo_lib.study.drawing import plots
from activedpo_lib.study.drawing.study_plots import finish
from activedpo_lib.study.probing.picks import CRITERIA
from activedpo_lib.study.tables import last_and_mean


def clusters(made: dict[str, tuple]) -> Figure:
    """The two main directions of the embeddings, a mark a cluster. made: of `make_subsets`."""
    figure, axes = plt.subplots(1, len(made), figsize=(8, 3.2), layout="constrained")
    for ax, (name, (_, embeddings, found, _)) in zip(axes, made.items(), strict=True):
        centred = embeddings - embeddings.mean(0)
        x, y = (centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T).T
        for k in range(found.max() + 1):
            own, look = found == k, {"color": plots.VARIANTS[k], "marker": plots.SHAPES[k]}
            ax.scatter(x[own], y[own], s=7, alpha=0.5, label=f"cluster {k + 1}", **look)
        ax.set(xlabel="first principal direction", ylabel="second")
        ax.set_title({"sft": "demonstrations", "pool": "prompts"}[name])
        ax.legend(frameon=False, markerscale=2)
    return figure


def model_dependence(final: pd.DataFrame, title: str) -> Figure:
    """Figure 2: each model on each subset, reward and win-rate. final: one row a (model_name,
    subset, seed).
    """
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
    for ax, measure in zip(axes, ("reward", "win_rate"), strict=True):
        _bars(final, measure, ax)
    axes[1].axhline(0.5, color="black", linewidth=1)
    return finish(figure, title, final, axes[0])


def _bars(final: pd.DataFrame, measure: str, ax: Axes) -> None:
    models, subsets = sorted(final["model_name"].unique()), sorted(final["subset"].unique())
    looks = plots.look(models, "model_name")
    values = final.set_index(["model_name", "subset"])[measure]
    for (number, subset), (at, model) in itertools.product(enumerate(subsets), enumerate(models)):
        own, colour = values.loc[[(model, subset)]], looks[model]["color"]
        (mean, half), x = plots.interval(own), number + 0.36 * (at - 0.5)
        label = model if number == 0 else None
        ax.bar(x, mean, 0.32, color=colour, alpha=0.35, label=label)
        ax.plot([x] * len(own), own, ".", color=colour, markersize=3)
        ax.errorbar(x, mean, np.nan_to_num(half), color=colour, capsize=3)
    ax.set_xticks(range(len(subsets)), subsets)
    ax.set(xlabel="prompts of the preference data", ylabel=plots.AXES[measure])


def normalisation(
    results: pd.DataFrame, gradients: pd.DataFrame, picks: pd.DataFrame, title: str
) -> Figure:
    """Figure 3: for each task the curves, the difference to `response`, the cause, and what is
    picked.

    gradients: a row a response (task, tokens, norm); picks: a row a (task, variant, seed) with
    `length` - `pool length`.
    """
    tasks = list(dict.fromkeys(results["task"]))
    figure, axes = plt.subplots(
        len(tasks), 4, figsize=(13.5, 3 * len(tasks) + 0.6), squeeze=False, layout="constrained"
    )
    looks = plots.look(list(dict.fromkeys(results["variant"])), "variant")
    for task, row in zip(tasks, axes, strict=True):
        own = results[results["task"] == task]
        plots.curves(own, "reward", row[0], "variant", looks).set_title(task)
        plots.differences(own, "reward", row[1], "variant", "response", looks)
        _norms(gradients[gradients["task"] == task], row[2])
        longer = (picks["length"] - picks["pool length"]).groupby([picks["task"], picks["variant"]])
        groups = [longer.get_group((task, name)) for name in looks]
        plots.intervals(list(looks), groups, row[3], looks)
        row[3].set(xlabel="picks longer than the pool by (tokens)", title="what is picked")
    return finish(figure, title, results, axes[0, 0])


def _norms(gradients: pd.DataFrame, ax: Axes) -> None:
    kinds = {"sum over tokens": gradients["norm"]}
    kinds["mean over tokens"] = gradients["norm"] / gradients["tokens"]
    for (label, values), colour in zip(kinds.items(), plots.VARIANTS, strict=False):
        look = {"markersize": 3, "alpha": 0.4, "color": colour, "label": label}
        ax.plot(gradients["tokens"], values / values.mean(), ".", **look)
    ax.set(xlabel="response length (tokens)", ylabel="gradient norm / its mean")
    ax.set_title("the cause, in pi_SFT's pool")
    ax.legend(frameon=False, markerscale=3)


def taught(table: pd.DataFrame) -> Figure:
    """What labels on different pairs, on minimal pairs and on random ones teach (Fig. 3)."""
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 2.6), layout="constrained")
    cells = table.groupby(["task", "labels on"], sort=False)
    names = [", ".join(name) for name, _ in cells]
    for ax, measure in zip(axes, ("agreement", "reward"), strict=True):
        plots.intervals(names, [own[measure] for _, own in cells], ax, zero=False)
    axes[0].set_xlabel("the pool's other pairs in the right order")
    axes[1].set(xlabel=plots.AXES["reward"], yticklabels=[])
    return figure


def projection(
    results: pd.DataFrame, quality: pd.DataFrame, sizes: dict[str, tuple[str, int]], title: str
) -> Figure:
    """Figure 4: reward by dimension beside the quality of the projection. sizes: {variant: (kind,
    dimensions)}.
    """
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
    names = list(sizes)
    looks = plots.look(names, "variant")
    looks = {
        name: own | {"label": f"{sizes[name][0]}, d = {sizes[name][1]}"}
        for name, own in looks.items()
    }
    plots.curves(results, "reward", axes[0, 0], "variant", looks)
    ends = [last_and_mean(results[results["variant"] == name], "reward")[0] for name in names]
    own = {style["label"]: style for style in looks.values()}
    plots.intervals(list(own), ends, axes[0, 1], own, zero=False)
    axes[0, 1].set(xlabel=f"{plots.AXES['reward']}, after the last round")
    quality_panels(quality, axes[1])
    return finish(figure, title, results, axes[0, 0], 3)


def quality_panels(quality: pd.DataFrame, axes: np.ndarray) -> None:
    """Cosine error and log-det share against d, a line a kind. quality: rows (kind, dimensions,
    draw, error, share).
    """
    kinds = list(dict.fromkeys(quality["kind"]))
    for ax, measure, label in zip(
        axes,
        ("error", "share"),
        ("RMS error of cosines", "log-det of the picks / of exact picks"),
        strict=True,
    ):
        for at, (kind, own) in enumerate(plots.look(kinds, "kind").items()):
            means = quality[quality["kind"] == kind].groupby("dimensions")[measure].mean()
            ax.plot(means.index * 1.03**at, means, linewidth=1.2, markersize=4, **own)
        ax.set(xscale="log", xlabel="dimensions d", ylabel=label)
    sizes = np.sort(quality["dimensions"].unique())
    axes[0].plot(sizes, sizes**-0.5, color="black", linestyle=":", label="1 / sqrt(d)")
    axes[0].set_yscale("log")
    axes[0].legend(frameon=False, fontsize="small")


def projection_quality(quality: pd.DataFrame, title: str) -> Figure:
    """Figure 11: every kind of projection against exact inner products."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    quality_panels(quality, axes)
    _chance_line(quality, axes[1])
    figure.suptitle(
        f"{title}\nmean over {quality['draw'].nunique()} draws of the projection", fontsize="medium"
    )
    return figure


def _chance_line(quality: pd.DataFrame, ax: Axes) -> None:
    chance = quality["chance"].iloc[0]
    ax.axhline(chance, color="black", linestyle=":", linewidth=1)
    ax.text(quality["dimensions"].min(), chance, "a random batch", va="bottom", fontsize="small")


def proposition(
    correlations: pd.DataFrame, scatter: pd.DataFrame, network: pd.DataFrame, title: str
) -> Figure:
    """Figure 6: rank correlation with the error by round; one pool; coverage of the fitted bound
    where it should hold.

    correlations: rows (task, seed, round, criterion, correlation); scatter: rows (uncertainty,
    error) of one pool; network: of `theory.network_table`, whose `level` nu was fitted to.
    """
    tasks = list(dict.fromkeys(correlations["task"]))
    panels = len(tasks) + 2
    figure, axes = plt.subplots(1, panels, figsize=(3.6 * panels, 4.3), layout="constrained")
    looks = plots.look(list(dict.fromkeys(correlations["criterion"])), "criterion")
    for ax, task in zip(axes, tasks, strict=False):
        own = correlations[correlations["task"] == task]
        plots.curves(own, "correlation", ax, "criterion", looks, x="round").set_title(task)
        ax.axhline(0, color="black", linewidth=1)
    look = {"markersize": 3, "alpha": 0.5, "color": plots.COLOURS["activedpo"]}
    axes[-2].plot(scatter["uncertainty"], scatter["error"], ".", **look)
    axes[-2].set(xlabel=r"uncertainty $\|\phi\|_{V^{-1}}$", title="one pool")
    axes[-2].set_ylabel("|error of the reward difference| (utils)")
    checked = network[network["checked"]]
    plots.curves(checked, "coverage", axes[-1]).set_title("two-layer network, Eq. 5")
    axes[-1].axhline(checked["level"].iloc[0], color="black", linestyle=":", linewidth=1)
    axes[-1].legend(frameon=False)
    return finish(figure, title, correlations, axes[0], 5)


def what_was_picked(picks: pd.DataFrame, topics: pd.Series, title: str) -> Figure:
    """Figure 10: mean rank of each strategy's picks under each criterion; their length, overlap,
    topics. topics: share of the pool's prompts on each.
    """
    looks = plots.look(list(dict.fromkeys(picks["strategy"])))
    figure, axes = plt.subplots(
        1, 4, figsize=(15, 3.6), width_ratios=[1.5, 1, 1, 1.3], layout="constrained"
    )
    _rank_panel(picks, looks, axes[0])
    labels = {own["label"]: own for own in looks.values()}
    for ax, measure in zip(axes[1:3], ("length", "overlap"), strict=True):
        more = picks[measure] - picks[f"pool {measure}"]
        seeds = more.groupby([picks["strategy"], picks["seed"]], sort=False).mean()
        plots.intervals(list(labels), [seeds.loc[name].to_numpy() for name in looks], ax, labels)
    axes[1].set_xlabel("longer than the pool by (tokens)")
    axes[2].set_xlabel("more overlap than the pool by")
    _topic_panel(picks, topics, looks, axes[3])
    return finish(figure, title, picks, axes[3], 5)


def _rank_panel(picks: pd.DataFrame, looks: dict[str, dict], ax: Axes) -> None:
    table = picks.groupby("strategy", sort=False)[list(CRITERIA)].mean().loc[list(looks)]
    ax.imshow(table, vmin=0, vmax=1, cmap="PuOr_r", aspect="auto")
    ax.grid(False)
    names = [name.replace(" (", "\n(") for name in CRITERIA]
    ax.set_xticks(range(len(names)), names, fontsize="x-small")
    ax.set_yticks(range(len(looks)), [own["label"] for own in looks.values()])
    for (y, x), value in np.ndenumerate(table.to_numpy()):
        colour = "white" if abs(value - 0.5) > 0.3 else "black"
        ax.text(x, y, f"{value:.2f}", ha="center", va="center", color=colour)
    ax.set_title("mean rank under a criterion (0.5: chance)")


def _topic_panel(picks: pd.DataFrame, topics: pd.Series, looks: dict[str, dict], ax: Axes) -> None:
    places = range(len(topics))
    for name in looks if len(topics) else ():
        own = picks[picks["strategy"] == name]["topic"].value_counts(normalize=True)
        shares = own.reindex(topics.index, fill_value=0)
        ax.plot(places, shares, linewidth=0, markersize=5, **looks[name])
    ax.plot(places, topics, color="#999999", linewidth=1, label="the pool's prompts")
    ax.set_xticks(places, topics.index, rotation=60, ha="right", fontsize="x-small")
    ax.set_ylabel("share of picks")
