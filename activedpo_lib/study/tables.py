"""Readable tables for the notebooks: pairs and responses as text, runs after their last round, and
what an interval establishes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from activedpo_lib.method.formulas import interval
from activedpo_lib.records import LabelledPair, Pair, Pool, Prompt

KEYS = ["task", "model", "strategy", "seed", "round", "labels"]
Utility = Callable[[Prompt, str], float]


def pair_table(
    pairs: Sequence[Pair | LabelledPair],
    scores: Sequence[float] | None = None,
    utility: Utility | None = None,
) -> pd.DataFrame:
    """Pairs, labelled or not, as a table of texts; with the criterion's score of each and the true
    utility of both responses, where they are given.
    """
    rows = []
    for at, pair in enumerate(pairs):
        names = ("chosen", "rejected") if hasattr(pair, "chosen") else ("first", "second")
        row = {"prompt": pair.prompt.text, **{name: getattr(pair, name).text for name in names}}
        if scores is not None:
            row["score"] = float(scores[at])
        if utility is not None:
            row |= {f"u({name})": utility(pair.prompt, getattr(pair, name).text) for name in names}
        rows.append(row)
    return pd.DataFrame(rows)


def response_table(pool: Pool, count: int, utility: Utility | None = None) -> pd.DataFrame:
    """The pool's first `count` responses beside their prompts, with the truth where it is known."""
    rows = []
    for at, response in zip(pool.prompt_index[:count], pool.responses[:count], strict=True):
        row = {"prompt": pool.prompts[at].text, "response": response.text}
        if utility is not None:
            row["true utility"] = utility(pool.prompts[at], response.text)
        rows.append(row)
    return pd.DataFrame(rows)


def picked_lengths(labelled: Iterable[LabelledPair]) -> pd.DataFrame:
    """Mean tokens a response of what each round picked: rows (round, length)."""
    rows = [
        {"round": pair.round, "length": len(response.tokens)}
        for pair in labelled
        for response in (pair.chosen, pair.rejected)
    ]
    return pd.DataFrame(rows).groupby("round", as_index=False).mean()


def distinct_prompts(picks: Mapping[str, Iterable[LabelledPair]]) -> pd.DataFrame:
    """How many prompts each round's batch asks about: rows (strategy, round, labels, prompts).

    picks: {strategy: its run's labelled pairs}.
    """
    rows = [
        {"strategy": name, "round": pair.round, "prompt": pair.prompt.id}
        for name, labelled in picks.items()
        for pair in labelled
    ]
    rounds = pd.DataFrame(rows).groupby(["strategy", "round"], sort=False)["prompt"]
    return rounds.agg(labels="size", prompts="nunique").reset_index()


def truth_known(table: pd.DataFrame) -> bool:
    """Is the true utility of every row known? Only the built-in world's is."""
    return bool(table["utility"].notna().all())


def split_times(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(results, times): the same params give the same results, byte for byte; times are the
    machine's.
    """
    results = without_times(table)
    times = [column for column in table if column not in results]
    return results, table[[*KEYS, *times]]


def without_times(table: pd.DataFrame) -> pd.DataFrame:
    """The table without its columns of seconds."""
    return table.drop(columns=[c for c in table if c.startswith(("cpu_seconds", "seconds"))])


def time_table(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds a run, mean over runs, a row a strategy: CPU, wall, and of the wall what measuring
    and selecting take; `select_share` is selection's part of the wall.
    """
    columns = ["cpu_seconds", "seconds", "seconds_measure", "seconds_select"]
    runs = table.groupby(["strategy", "task", "model", "seed"], sort=False)[columns].sum()
    found = runs.groupby("strategy", sort=False).mean()
    return found.assign(select_share=found["seconds_select"] / found["seconds"])


def last_round(table: pd.DataFrame) -> pd.DataFrame:
    """The rows after the last round."""
    return table[table["round"] == table["round"].max()]


def final_table(table: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Each task, model and strategy after its last round: for each measure the mean over seeds and
    half the width of the 95 % t interval.
    """
    rows = []
    for cell, group in last_round(table).groupby(["task", "model", "strategy"], sort=False):
        row = dict(zip(("task", "model", "strategy"), cell, strict=True)) | {"seeds": len(group)}
        for measure in measures:
            mean, half = interval(group[measure])
            row |= {measure: mean, f"{measure} ±": half}
        rows.append(row)
    return pd.DataFrame(rows)


def changes(table: pd.DataFrame, measures: Sequence[str], by: str = "strategy") -> pd.DataFrame:
    """What the rounds changed, from round 0 to the last: mean over seeds, a row a name of `by`."""
    ends = table[table["round"].isin([0, table["round"].max()])]
    found = ends.groupby(["round", by])[list(measures)].mean()
    return found.loc[table["round"].max()] - found.loc[0]


def verdict(mean: float, half: float, baseline: str = "Random") -> str:
    """The one rule of what a paired difference establishes: it is above or below the baseline where
    its 95 % interval, mean ± half, lies wholly on that side of zero; else level.
    """
    if np.isnan(half):
        return "one seed"
    return f"above {baseline}" if mean > half else f"below {baseline}" if mean < -half else "level"


def verdicts(
    difference: pd.DataFrame,
    measure: str,
    by: Sequence[str] = ("task", "model", "strategy"),
    baseline: str = "Random",
) -> pd.DataFrame:
    """`verdict` for each cell of the columns `by`, with its numbers: after the last round, and on
    the mean over all rounds but the first.

    difference: the table of `plots.difference_to`; baseline: how the verdict names it.
    """
    rows = []
    for cell, own in difference.groupby(list(by), sort=False):
        last, mean_of_rounds = last_and_mean(own, measure)
        row = dict(zip(by, cell, strict=True)) | {"seeds": len(last)}
        for name, values in (("last round", last), ("mean of rounds", mean_of_rounds)):
            mean, half = interval(values)
            row |= {name: mean, f"{name} ±": half}
            row[f"{name}: verdict"] = verdict(mean, half, baseline)
        rows.append(row)
    return pd.DataFrame(rows)


def verdict_counts(verdicts: pd.DataFrame, strategy: str) -> str:
    """In words, how often each verdict falls on `strategy`: one line a summary (last round, mean of
    rounds).
    """
    own = verdicts[verdicts["strategy"] == strategy]
    lines = []
    for summary in ("last round", "mean of rounds"):
        counts = own[f"{summary}: verdict"].value_counts()
        found = ", ".join(f"{name} in {count} of {len(own)}" for name, count in counts.items())
        lines.append(f"{strategy}, {summary}: {found}")
    return "\n".join(lines)


def last_and_mean(table: pd.DataFrame, measure: str) -> tuple[np.ndarray, np.ndarray]:
    """Each seed's value after the last round, and its mean over all rounds but the first: two
    arrays (seeds,), in the order of the seeds.
    """
    rounds = table[table["round"] > 0]
    last = last_round(rounds).sort_values("seed")[measure]
    return last.to_numpy(), rounds.groupby("seed")[measure].mean().to_numpy()
