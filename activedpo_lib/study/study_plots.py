"""The studies' figures: tidy tables in, one matplotlib figure out."""

import matplotlib.pyplot as plt
import numpy as np

from activedpo_lib.study import plots
from activedpo_lib.study.tables import last_and_mean


def _finish(figure, title, table, handles_of=None, ncols=4):
    if handles_of is not None:
        handles, labels = handles_of.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=min(ncols, len(labels)),
            frameon=False,
        )
    figure.suptitle(f"{title}\n{plots.seeds_note(table)}", fontsize="medium")
    return figure


def model_dependence(final, title):
    """Figure 2: each model on each subset, reward and win-rate. final: one row a (model_name,
    subset, seed).
    """
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
    models, subsets = sorted(final["model_name"].unique()), sorted(final["subset"].unique())
    looks = plots.look(models, "model_name")
    for ax, measure in zip(axes, ("reward", "win_rate"), strict=True):
        for at, model in enumerate(models):
            for number, subset in enumerate(subsets):
                values = final[(final["model_name"] == model) & (final["subset"] == subset)][
                    measure
                ]
                mean, half = plots.interval(values)
                x, own = number + 0.36 * (at - 0.5), looks[model]
                ax.bar(
                    x,
                    mean,
                    0.32,
                    color=own["color"],
                    alpha=0.35,
                    label=model if number == 0 else None,
                )
                ax.plot([x] * len(values), values, ".", color=own["color"], markersize=3)
                ax.errorbar(x, mean, np.nan_to_num(half), color=own["color"], capsize=3)
        ax.set_xticks(range(len(subsets)), subsets)
        ax.set(xlabel="prompts of the preference data", ylabel=plots.AXES[measure])
    axes[1].axhline(0.5, color="black", linewidth=1)
    return _finish(figure, title, final, axes[0])


def normalisation(results, gradients, picks, title):
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
        seen = gradients[gradients["task"] == task]
        for values, colour, label in (
            (seen["norm"], "#0072B2", "sum over tokens"),
            (seen["norm"] / seen["tokens"], "#D55E00", "mean over tokens"),
        ):
            row[2].plot(
                seen["tokens"],
                values / values.mean(),
                ".",
                markersize=3,
                alpha=0.4,
                color=colour,
                label=label,
            )
        row[2].set(
            xlabel="response length (tokens)",
            ylabel="gradient norm / its mean",
            title="the cause, in pi_SFT's pool",
        )
        row[2].legend(frameon=False, markerscale=3)
        found = picks[picks["task"] == task]
        groups = [
            found[found["variant"] == name]["length"]
            - found[found["variant"] == name]["pool length"]
            for name in looks
        ]
        plots.intervals(list(looks), groups, row[3], looks)
        row[3].set(xlabel="picks longer than the pool by (tokens)", title="what is picked")
    return _finish(figure, title, results, axes[0, 0])


def projection(results, quality, sizes, title):
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
    return _finish(figure, title, results, axes[0, 0], 3)


def quality_panels(quality, axes):
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


def projection_quality(quality, title):
    """Figure 11: every kind of projection against exact inner products."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    quality_panels(quality, axes)
    figure.suptitle(
        f"{title}\nmean over {quality['draw'].nunique()} draws of the projection", fontsize="medium"
    )
    return figure


def proposition(correlations, scatter, coverage, title):
    """Figure 6: rank correlation with the error by round; one pool; coverage of the fitted bound
    where it should hold.

    correlations: rows (task, seed, round, criterion, correlation); scatter: (uncertainty, error) of
    one pool; coverage: rows (strategy, experiment, labels, coverage), its column `level` what the
    constant was fitted to.
    """
    tasks = list(dict.fromkeys(correlations["task"]))
    figure, axes = plt.subplots(
        1, len(tasks) + 2, figsize=(3.6 * (len(tasks) + 2), 4.3), layout="constrained"
    )
    names = list(dict.fromkeys(correlations["criterion"]))
    for ax, task in zip(axes, tasks, strict=False):
        own = correlations[correlations["task"] == task]
        plots.curves(
            own, "correlation", ax, "criterion", plots.look(names, "criterion"), x="round"
        ).set_title(task)
        ax.axhline(0, color="black", linewidth=1)
    axes[-2].plot(*scatter, ".", markersize=3, alpha=0.5, color=plots.COLOURS["activedpo"])
    axes[-2].set(
        xlabel=r"uncertainty $\|\phi\|_{V^{-1}}$",
        ylabel="|error of the reward difference| (utils)",
        title="one pool",
    )
    plots.curves(coverage, "coverage", axes[-1]).set_title("two-layer network, Eq. 5")
    axes[-1].axhline(coverage["level"].iloc[0], color="black", linestyle=":", linewidth=1)
    axes[-1].legend(frameon=False)
    return _finish(figure, title, correlations, axes[0], 5)


def effects(results, measure, by, baseline, title, curves=True):
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
    return _finish(figure, title, results, axes[0] if curves else None)


def costs(results, title):
    """Figure 8: the same rewards against labels, wall-clock and FLOP. results: with cumulative
    `wall` and `flops`.
    """
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
    for ax, x in zip(axes, ("labels", "wall", "flops"), strict=True):
        plots.curves(results, "reward", ax, x=x)
    for ax in axes[1:]:
        ax.set_ylabel("")
    return _finish(figure, title, results, axes[0])


def panels(results, measures, title):
    """One panel a measure, one line a strategy, against labels (Figure 9)."""
    figure, axes = plt.subplots(
        1, len(measures), figsize=(3.5 * len(measures), 3.9), layout="constrained"
    )
    for ax, measure in zip(np.atleast_1d(axes), measures, strict=True):
        plots.curves(results, measure, ax)
    return _finish(figure, title, results, np.atleast_1d(axes)[0])


def what_was_picked(picks, criteria, topics, title):
    """Figure 10: mean rank of each strategy's picks under each criterion; their length, overlap,
    topics.
    """
    names = list(dict.fromkeys(picks["strategy"]))
    looks = plots.look(names)
    figure, axes = plt.subplots(
        1, 4, figsize=(15, 3.6), width_ratios=[1.5, 1, 1, 1.3], layout="constrained"
    )
    table = picks.groupby("strategy", sort=False)[criteria].mean().loc[names]
    axes[0].imshow(table, vmin=0, vmax=1, cmap="PuOr_r", aspect="auto")
    axes[0].grid(False)
    axes[0].set_xticks(
        range(len(criteria)), [name.replace(" (", "\n(") for name in criteria], fontsize="x-small"
    )
    axes[0].set_yticks(range(len(names)), [plots.LABELS.get(name, name) for name in names])
    for (y, x), value in np.ndenumerate(table.to_numpy()):
        axes[0].text(
            x,
            y,
            f"{value:.2f}",
            ha="center",
            va="center",
            color="white" if abs(value - 0.5) > 0.3 else "black",
        )
    axes[0].set_title("mean rank under a criterion (0.5: chance)")
    labels = {looks[name]["label"]: looks[name] for name in names}
    for ax, measure, label in zip(
        axes[1:3],
        ("length", "overlap"),
        ("longer than the pool by (tokens)", "more overlap than the pool by"),
        strict=True,
    ):
        seeds = picks.groupby(["strategy", "seed"], sort=False)[[measure, f"pool {measure}"]].mean()
        groups = [
            (seeds.loc[name][measure] - seeds.loc[name][f"pool {measure}"]).to_numpy()
            for name in names
        ]
        plots.intervals(list(labels), groups, ax, labels)
        ax.set_xlabel(label)
    for name in names if len(topics) else ():
        own = (
            picks[picks["strategy"] == name]["topic"]
            .value_counts(normalize=True)
            .reindex(topics.index, fill_value=0)
        )
        axes[3].plot(range(len(topics)), own, linewidth=0, markersize=5, **looks[name])
    axes[3].plot(
        range(len(topics)), topics, color="#999999", linewidth=1, label="the pool's prompts"
    )
    axes[3].set_xticks(
        range(len(topics)), topics.index, rotation=60, ha="right", fontsize="x-small"
    )
    axes[3].set_ylabel("share of picks")
    return _finish(figure, title, picks, axes[3], 5)


def when_it_pays(conditions, title):
    """Figure 12: ActiveDPO - Random under each condition. conditions: {name: (last (seeds,), mean
    of rounds (seeds,))}.
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
    seeds = {len(values[0]) for values in conditions.values()}
    figure.suptitle(
        f"{title}\nmean and 95 % t interval over {min(seeds)} seeds, each seed a dot",
        fontsize="medium",
    )
    return figure


def replay(results, needed, title):
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
    return _finish(figure, title, results, axes[0])
