"""`make verify`: run one cell of the committed figures again, and compare it with the committed
table.
"""

import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import pandas as pd

from activedpo_lib.batch import arguments
from activedpo_lib.batch.reference import COMMITTED, committed_record, is_of, origin
from activedpo_lib.params import load_grid, load_params
from activedpo_lib.store import HOME, write_table

Cell = dict[str, Any]  # task, model, strategy, seed


def committed_cell(cell: Cell) -> pd.DataFrame:
    """The committed table's rows of a cell. Raises BadArgument naming what it has instead."""
    table = pd.read_csv(HOME / COMMITTED / "fig1_reward.csv")
    for name, value in cell.items():
        if value not in set(table[name]):
            raise arguments.BadArgument(
                f"--{name}: expected one of the committed table's "
                f"({', '.join(map(str, sorted(set(table[name]))))}), got {value!r}"
            )
    for name, value in cell.items():
        table = table[table[name] == value]
    if table.empty:
        raise arguments.BadArgument(
            f"expected a cell of figures/fig1_reward.csv, got {cell}, which has no rows there"
        )
    return table


def differences(profile: str, cell: Cell) -> list[tuple[int, str, Any, Any]]:
    """Rows (round, measure, committed, now) where a new run differs from the committed table,
    compared as written there.
    """
    from activedpo_lib.runs.launch import run_rounds
    from activedpo_lib.study.tables import split_times

    committed = committed_cell(cell)
    params = load_params(profile, cell["task"], cell["model"], cell["strategy"])
    with tempfile.TemporaryDirectory() as root:
        now, _ = split_times(run_rounds(params, cell["seed"], root))
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


@arguments.command
def main(given: Sequence[str] | None = None) -> int:
    """The command line. Exit status 0 where every number is the committed one, 1 where one is not,
    2 for a cell that is not committed.
    """
    parser = arguments.Arguments(
        prog="python -m activedpo_lib.batch.verify", description=__doc__.splitlines()[0]
    )
    arguments.add_profile(parser)
    parser.add_argument("--task")
    parser.add_argument("--model")
    parser.add_argument("--strategy", default="activedpo")
    parser.add_argument("--seed", type=arguments.whole_number(0, "seeds count from 0"), default=0)
    asked = parser.parse_args(given)
    arguments.need_checkout()
    if not is_of(asked.profile):
        raise arguments.BadArgument(
            f"the committed figures are of profile {committed_record()['profile']}, got "
            f"{asked.profile}; leave the profile out"
        )
    grid = load_grid(asked.profile)
    cell = {
        "task": asked.task or grid.tasks[0],
        "model": asked.model or grid.models[0],
        "strategy": asked.strategy,
        "seed": asked.seed,
    }
    committed_cell(cell)
    print(origin(), flush=True)
    found = differences(asked.profile, cell)
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
