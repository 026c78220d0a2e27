"""Readable tables: pairs and final results as pandas tables for the notebooks."""

import pandas as pd

from activedpo_lib.method.formulas import interval


def pair_table(pairs, scores=None, utility=None):
    """Pairs, labelled or not, as a table of texts; with the criterion's score and the truth where
    they are known.
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


KEYS = ["task", "model", "strategy", "seed", "round", "labels"]


def split_times(table):
    """(results, times): the same params give the same results, byte for byte; times are the
    machine's.
    """
    times = [column for column in table if column == "cpu_seconds" or column.startswith("seconds")]
    return table.drop(columns=times), table[[*KEYS, *times]]


def final_table(table, measures):
    """Each task, model and strategy after its last round: mean over seeds and half width of the 95
    % t interval.
    """
    last = table[table["round"] == table["round"].max()]
    rows = []
    for cell, group in last.groupby(["task", "model", "strategy"], sort=False):
        row = dict(zip(("task", "model", "strategy"), cell, strict=True)) | {"seeds": len(group)}
        for measure in measures:
            mean, half = interval(group[measure])
            row |= {measure: mean, f"{measure} ±": half}
        rows.append(row)
    return pd.DataFrame(rows)


def verdicts(difference, measure, by=("task", "model", "strategy"), baseline="Random"):
    """For each cell of the columns `by`: is the paired difference to the baseline above, below or
    level, by its interval?

    difference: the table of `plots.difference_to`. The last round alone, and the mean over all
    rounds.
    """
    rounds = difference[difference["round"] > 0]
    rows = []
    for cell, own in rounds.groupby(list(by), sort=False):
        group = own[own["round"] == own["round"].max()]
        row = dict(zip(by, cell, strict=True)) | {"seeds": len(group)}
        for name, values in (
            ("last round", group[measure]),
            ("mean of rounds", own.groupby("seed")[measure].mean()),
        ):
            mean, half = interval(values)
            row |= {
                name: mean,
                f"{name} ±": half,
                f"{name}: verdict": verdict(mean, half, baseline),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def verdict(mean, half, baseline="Random"):
    """What a mean and the half width of its interval establish: above, below, or level where the
    interval holds zero.
    """
    if half != half:
        return "one seed"
    return f"above {baseline}" if mean > half else f"below {baseline}" if mean < -half else "level"


def last_and_mean(table, measure):
    """Each seed's value after the last round, and its mean over all rounds after the first: two
    arrays (seeds,).
    """
    rounds = table[table["round"] > 0]
    last = rounds[rounds["round"] == rounds["round"].max()].sort_values("seed")[measure]
    return last.to_numpy(), rounds.groupby("seed")[measure].mean().to_numpy()
