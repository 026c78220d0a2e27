"""The committed figures, in figures/: a user's own beside them, and how a maintainer renews them.

`compare` prints Figure 1's last round, yours beside the committed; `renew` copies a finished
batch's figures over the committed ones.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from activedpo_lib.batch import arguments
from activedpo_lib.batch.engine import figures_folder, runs_folder
from activedpo_lib.batch.jobs import batch_jobs
from activedpo_lib.store import HOME, read_json, source_digest, write_table
from activedpo_lib.study.notebooks import ALL, ALONE, figures_of

COMMITTED = Path("figures")
CELL = ["task", "model", "strategy"]


def committed_record() -> dict:
    """Where the committed figures come from: profile, seeds, code digest, commit, packages."""
    return read_json(HOME / COMMITTED / "provenance.json")


def is_of(profile: str) -> bool:
    """Whether the committed figures are of this profile."""
    return Path(profile).stem == committed_record()["profile"]


def origin() -> str:
    """One line: which commit, code and seeds the committed figures are of, and whether this is that
    code.
    """
    record = committed_record()
    made = f"the committed figures: commit {record['commit']}, code {record['code']}"
    if record["code"] == source_digest():
        return f"{made}, as here"
    return f"{made}; here: code {source_digest()}, other code, so numbers may differ"


def beside(own: pd.DataFrame, committed: pd.DataFrame, measure: str = "reward") -> pd.DataFrame:
    """Two tables of rounds as one of cells: after the last round, mean over seeds, half width of
    its 95 % interval, seeds; the committed ones' in the columns `committed ...`.
    """
    from activedpo_lib.study.tables import final_table

    tables = [final_table(table, [measure]) for table in (own, committed)]
    renamed = tables[1].rename(columns=lambda name: name if name in CELL else f"committed {name}")
    columns = [*CELL, measure, f"{measure} ±", "seeds"]
    return tables[0][columns].merge(renamed, on=CELL, how="left")


def write_beside(runs: Path) -> Path:
    """Write a batch's Figure 1 beside the committed one into its tables. Returns the file."""
    tables = [
        pd.read_csv(folder / "fig1_reward.csv") for folder in (runs / "figures", HOME / COMMITTED)
    ]
    path = runs / "tables" / "beside_committed.csv"
    write_table(path, beside(*tables))
    return path


def renew(seeds: int) -> list[str]:
    """Copy the figures, tables and records of the finished batch of the committed profile over the
    committed ones; those that have a target of their own stay, whatever was tried of them. Returns
    their names; BadArgument where a job is not done.
    """
    profile = committed_record()["profile"]
    missing = [job.rule for job in batch_jobs(profile, seeds, ALL) if job.state != "done"]
    if missing:
        raise arguments.BadArgument(
            f"expected every figure of profile {profile} with {seeds} seeds, {len(missing)} "
            f"notebooks are not done ({', '.join(sorted(missing))}); run `make all-figures "
            f"SEEDS={seeds}` first"
        )
    alone = tuple(figure for target in ALONE for figure in figures_of(target))
    files = [
        path
        for path in sorted((HOME / figures_folder(profile)).iterdir())
        if path.suffix in (".csv", ".svg", ".json") and not path.name.startswith(alone)
    ]
    for path in files:
        shutil.copyfile(path, HOME / COMMITTED / path.name)
    return [path.name for path in files]


@arguments.command
def main(given: Sequence[str] | None = None) -> int:
    """The command line. Exit status 0, or 2 where there is nothing to compare or renew with."""
    parser = arguments.Arguments(
        prog="python -m activedpo_lib.batch.reference", description=__doc__.splitlines()[0]
    )
    parser.add_argument("what", choices=["compare", "renew"])
    parser.add_argument("--seeds", type=arguments.seeds, default=10, help="of the batch to take")
    asked = parser.parse_args(given)
    arguments.need_checkout()
    profile = committed_record()["profile"]
    if asked.what == "compare":
        if not (HOME / figures_folder(profile) / "fig1_reward.csv").is_file():
            raise arguments.BadArgument(
                f"expected your own figures in {figures_folder(profile)}, found none; run "
                f"`make figures PROFILE={profile}` first"
            )
        print(origin())
        print(pd.read_csv(write_beside(HOME / runs_folder(profile))).round(3).to_string())
        return 0
    print("this writes figures/, which README, notebooks and `make verify` are held to")
    print(origin())
    names = renew(asked.seeds)
    print(f"renewed {len(names)} files of figures/ from {figures_folder(profile)}; see `git diff`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
