"""`make verify`: run one cell of the committed figures again, and compare it with the committed
table.
"""

import argparse
import sys
import tempfile

import pandas as pd

from activedpo_lib.batch.batch import figures_folder
from activedpo_lib.params import load_params
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.store import HOME, write_table
from activedpo_lib.study.tables import split_times


def differences(profile, task, model, strategy, seed):
    """Rows (round, measure, committed, now) where a new run differs from the committed table,
    compared as written there.
    """
    committed = pd.read_csv(HOME / figures_folder(profile) / "fig1_reward.csv")
    params = load_params(profile, task, model, strategy)
    cell = {
        "task": params.task.name,
        "model": params.model.name,
        "strategy": strategy,
        "seed": seed,
    }
    for column, value in cell.items():
        committed = committed[committed[column] == value]
    if committed.empty:
        raise ValueError(
            f"the committed table has no rows of {cell}; it is figures/fig1_reward.csv"
        )
    with tempfile.TemporaryDirectory() as root:
        now, _ = split_times(run_rounds(params, seed, root))
        write_table(f"{root}/now.csv", now)
        now = pd.read_csv(f"{root}/now.csv")
    measures = [column for column in now if column in committed and column not in cell]
    old, new = (table[measures].reset_index(drop=True) for table in (committed, now))
    return [
        (at, name, old[name][at], new[name][at])
        for name in measures
        for at in range(len(old))
        if not (
            old[name][at] == new[name][at] or (pd.isna(old[name][at]) and pd.isna(new[name][at]))
        )
    ]


def main(arguments=None):
    """The command line. Exit status 0 where every number is the committed one, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m activedpo_lib.batch.verify", description=__doc__
    )
    parser.add_argument("profile", nargs="?", default="tiny")
    parser.add_argument("--task")
    parser.add_argument("--model")
    parser.add_argument("--strategy", default="activedpo")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    found = differences(given.profile, given.task, given.model, given.strategy, given.seed)
    for at, name, old, new in found:
        print(f"round {at}, {name}: committed {old}, now {new}")
    print(
        "every number is the committed one"
        if not found
        else f"{len(found)} numbers differ: another machine, or other code"
    )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
