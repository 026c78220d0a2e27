"""What the study notebooks share: run a study once, open its runs, keep its figure beside its
table.
"""

import pandas as pd

from activedpo_lib.runs.checkpoints import provenances
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.run import open_run
from activedpo_lib.store import provenance, write_json, write_table
from activedpo_lib.study.tables import split_times


def run_study(study, seeds, root="runs", log=print):
    """The tidy table of all the study's runs, one row a round; `variant` says which. Finished
    rounds are read, not run again.

    Where another process is at one of the runs, waits for it: studies share runs.
    """
    tables = []
    for (
        seed
    ) in seeds:  # seed by seed: whenever it is stopped, the variants have the same seeds, or nearly
        for cell, params in study.cells.items():
            table = run_rounds(params, seed, root, log=lambda _: None, patience=float("inf"))
            table.insert(2, "variant", cell[1])
            tables.append(table)
        done = f"{len(tables)} of {len(seeds) * len(study.cells)} runs"
        log(
            f"{study.name}, seed {seed}: {len(study.cells)} runs of {int(table['round'].max())} "
            f"rounds; {done}"
        )
    return pd.concat(tables, ignore_index=True)


def opened(study, seeds, root="runs"):
    """Yield (cell as {"task", "variant", "strategy", "seed"}, Run) of a study whose rounds are all
    saved.
    """
    for seed in seeds:
        for (task, variant, strategy), params in study.cells.items():
            run = open_run(params, seed, root, log=lambda _: None)
            yield {"task": task, "variant": variant, "strategy": strategy, "seed": seed}, run


def keep(folder, name, figure, table, studies, seeds, root, notebook, profile, more=None):
    """Write `folder`/`name`.svg with its table and where both came from, each whole; an empty
    `folder` writes nothing.

    more: {name: table} of what else the figure shows, beside it as `name`_<its name>.csv.
    """
    if not folder:
        return
    results, _ = (
        split_times(table)
        if "round" in table and "labels" in table and "model" in table
        else (table, None)
    )
    for part, other in {
        "": results,
        **{f"_{part}": other for part, other in (more or {}).items()},
    }.items():
        write_table(f"{folder}/{name}{part}.csv", other)
    figure.savefig(
        f"{folder}/{name}.svg",
        metadata={"Date": None, "Description": f"{notebook}, profile {profile}"},
    )
    digests = {study.name: study.digests() for study in studies}
    every = {digest for found in digests.values() for digest in found.values()}
    record = {"notebook": notebook, "profile": profile} | provenance(digests, list(seeds))
    write_json(f"{folder}/{name}.json", record | {"runs": provenances(root, every, seeds)})
