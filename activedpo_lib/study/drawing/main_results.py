"""Notebooks 04 to 09, the main results: the tables of all runs together, Figures 1 and 5 and what
is drawn beside them, and how both are kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from activedpo_lib.params import load_params
from activedpo_lib.records import LabelledPair
from activedpo_lib.runs.checkpoints import provenances
from activedpo_lib.schema import Params
from activedpo_lib.store import provenance, write_json, write_table
from activedpo_lib.study.drawing import plots
from activedpo_lib.study.tables import pair_table, split_times, truth_known
from activedpo_lib.tasks import load_task

NOTEBOOK = "08_main_results"
PATTERNS = ("baselines_*.csv", "activedpo_*.csv")  # what notebooks 05 and 04 write
GREY = "#999999"
PARTS = ("generate", "measure", "select", "label", "train", "evaluate")  # of a round, in its order


def read_results(root: Path | str) -> pd.DataFrame:
    """All rows that notebooks 04 and 05 wrote under `root`/tables, task by task and model by model.

    Raises FileNotFoundError where there are none.
    """
    folder = Path(root) / "tables"
    parts = [path for pattern in PATTERNS for path in sorted(folder.glob(pattern))]
    if not parts:
        raise FileNotFoundError(
            f"{folder} has no runs; run `make figures`, or notebooks 04 and 05 with their "
            "parameter `table` set to a file there"
        )
    results = pd.concat([pd.read_csv(path) for path in parts], ignore_index=True)
    return results.sort_values(["task", "model"], kind="stable").reset_index(drop=True)


def pairs_asked(
    params: Params, labelled: Iterable[LabelledPair], rounds: Sequence[int], count: int
) -> pd.DataFrame:
    """The first `count` pairs of a run that each of `rounds` asked about, as text: what the oracle
    chose and rejected and, where it is known, the true utility of both.
    """
    utility = load_task(params.task, params.evaluation.prompts, comparisons=False).utility
    shown = [[pair for pair in labelled if pair.round == t][:count] for t in rounds]
    pairs = [pair for own in shown for pair in own]
    table = pair_table(pairs, utility=utility)
    table.insert(0, "round", [pair.round for pair in pairs])
    return table


def grid_figure(
    table: pd.DataFrame,
    measure: str,
    title: str,
    room: Mapping[tuple[str, str], float] = MappingProxyType({}),
) -> Figure:
    """Figures 1, 5 and 16: a column a task and model; above the curves, below the paired difference
    to Random. room: {(task, model): what full knowledge gains}, a thin line where it is known.
    """
    cells = list(dict.fromkeys(zip(table["task"], table["model"], strict=True)))
    figure, axes = plt.subplots(
        2,
        len(cells),
        figsize=(max(5.5, 3.1 * len(cells) + 0.4), 5.6),
        squeeze=False,
        sharex=True,
        height_ratios=[3, 2],
        layout="constrained",
    )
    for ax in axes[0, 1:]:  # one scale for what is compared; each difference has its own
        ax.sharey(axes[0, 0])
    for (task, model), (above, below) in zip(cells, axes.T, strict=True):
        own = table[(table["task"] == task) & (table["model"] == model)]
        plots.curves(own, measure, above).set(title=f"{task}, {model}", xlabel="")
        plots.differences(own, measure, below)
        if (task, model) in room:
            below.axhline(room[task, model], color="black", linestyle=":", linewidth=0.8)
        if above is not axes[0, 0]:
            above.set_ylabel("")
            below.set_ylabel("")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(f"{title}\n{plots.seeds_note(table)}", fontsize="medium")
    return figure


def progress(table: pd.DataFrame, by: str = "strategy") -> Figure:
    """Three panels against labels, one line a name of the column `by`: the oracle's reward, the
    win-rate, and the truth where it is known (else the length). One name alone is drawn with each
    of its seeds, thin.
    """
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    third = "utility" if truth_known(table) else "length"
    for measure, ax in zip(("reward", "win_rate", third), axes, strict=True):
        plots.curves(table, measure, ax, by)
        if table[by].nunique() == 1:
            seed_lines(table, measure, ax)
    if table[by].nunique() > 1:
        axes[0].legend(frameon=False)
    where = f"{table['task'].iloc[0]}, {table['model'].iloc[0]}"
    figure.suptitle(f"{where}: {plots.seeds_note(table)}", fontsize="medium")
    return figure


def seed_lines(table: pd.DataFrame, measure: str, ax: Axes) -> Axes:
    """Each seed of one strategy, thin, behind its mean."""
    for _, own in table.groupby("seed"):
        shade = plots.colour(own["strategy"].iloc[0])
        ax.plot(own["labels"], own[measure], color=shade, alpha=0.25, linewidth=0.8)
    return ax


def labellers(table: pd.DataFrame) -> Figure:
    """Two oracles (column `labeller`): each one's own reward, the true utility, the length."""
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.2), layout="constrained")
    for measure, ax in zip(("reward", "utility", "length"), axes, strict=True):
        plots.curves(table, measure, ax, "labeller")
    axes[0].set_ylabel("mean reward by its own oracle (logit)")
    axes[0].legend(frameon=False)
    where = f"{table['task'].iloc[0]}, {table['model'].iloc[0]}, built-in world"
    figure.suptitle(f"{where}: {plots.seeds_note(table)}", fontsize="medium")
    return figure


def lengths_by_round(picked: pd.DataFrame, written: pd.DataFrame, ax: Axes) -> Axes:
    """Tokens a response: what one run picked (`tables.picked_lengths`) beside what its policy
    wrote for evaluation (that run's rows of the results).
    """
    name = written["strategy"].iloc[0]
    style = plots.look([name])[name] | {"label": "picked"}
    ax.plot(picked["round"], picked["length"], **style)
    ax.plot(written["round"], written["length"], "o--", color=GREY, label="written for evaluation")
    ax.set(xlabel="round", ylabel="tokens a response", title=f"seed {written['seed'].iloc[0]}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False)
    return ax


def prompts_by_round(table: pd.DataFrame, ax: Axes) -> Axes:
    """Distinct prompts of each round's batch, a line a strategy (`tables.distinct_prompts`);
    dotted: a batch that asks about no prompt twice.
    """
    for name, style in plots.look(table["strategy"].unique()).items():
        own = table[table["strategy"] == name]
        ax.plot(own["round"], own["prompts"], **style)
    ax.axhline(table["labels"].max(), color="black", linestyle=":", linewidth=1)
    ax.set(xlabel="round", ylabel="distinct prompts of a batch", ylim=(0, None))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False)
    return ax


def time_by_part(table: pd.DataFrame, ax: Axes) -> Axes:
    """Where a run's time goes: wall seconds of all rounds by part, mean over runs, one bar a
    strategy.
    """
    present = [part for part in PARTS if f"seconds_{part}" in table]
    columns = [f"seconds_{part}" for part in present]
    runs = table.groupby(["strategy", "task", "model", "seed"], sort=False)[columns].sum()
    bars = runs.groupby("strategy", sort=False).mean()
    names = [plots.LABELS.get(name, name) for name in bars.index]
    left = np.zeros(len(bars))
    for part, shade in zip(present, sns.color_palette("colorblind", len(PARTS)), strict=False):
        width = bars[f"seconds_{part}"].to_numpy()
        ax.barh(names, width, left=left, color=shade, label=part)
        left += width
    ax.set(xlabel="seconds a run (wall, one thread)")
    ax.invert_yaxis()
    ax.legend(ncols=2, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def save_main_results(
    folder: Path | str,
    figures: Mapping[str, Figure],
    results: pd.DataFrame,
    profile: str,
    root: Path | str,
) -> None:
    """Write each figure as `folder`/<name>.svg beside its table, the times in timings.csv, and in
    provenance.json the params, seeds, packages and commit that made them. An empty `folder` writes
    nothing.
    """
    if not folder:
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table, times = split_times(results)
    made = {"Date": None, "Description": f"{NOTEBOOK}, profile {profile}"}
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.svg", metadata=made)
        write_table(folder / f"{name}.csv", table)
    write_table(folder / "timings.csv", times)
    write_json(folder / "provenance.json", _record(results, profile, root))


def _record(results: pd.DataFrame, profile: str, root: Path | str) -> dict:
    cells = results[["task", "model", "strategy"]].drop_duplicates().itertuples(index=False)
    digests = {"/".join(cell): load_params(profile, *cell).digest() for cell in cells}
    seeds = sorted(int(seed) for seed in results["seed"].unique())
    record = {"notebook": NOTEBOOK, "profile": profile} | provenance(digests, seeds)
    return record | {"runs": provenances(root, digests.values(), seeds)}
