"""`make figures`: the Snakefile's jobs on this machine; stopped at any moment, the next call goes
on.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from activedpo_lib.batch import arguments, reference
from activedpo_lib.batch.engine import engine_command, follow_engine, runs_folder
from activedpo_lib.batch.gpus import cards
from activedpo_lib.params import ParamsError, load_grid, load_params
from activedpo_lib.schema import MADE_HERE, Grid
from activedpo_lib.store import HOME, try_lock
from activedpo_lib.study.notebooks import ALONE
from activedpo_lib.tasks import load_task


def check(profile: str, read: bool = True) -> Grid:
    """Build every cell of the profile's grid and read its data: bad input stops the batch before
    any work.

    read: also the data; without, a plan can be made where a hub's are not at hand. Raises
    ParamsError or DataError.
    """
    grid = load_grid(profile)
    for task in grid.tasks:
        for model in grid.models:
            for strategy in grid.strategies:
                params = load_params(profile, task, model, strategy)
        if params.replay:
            raise ParamsError(
                "replay true: a batch's figures compare the oracle's rewards, and people's answers "
                "have none; run notebooks 06, 07 and 21 with this profile, one by one, by "
                "`python -m activedpo_lib.batch.execute`, or set replay to false"
            )
        if params.oracle.kind == "human":
            raise ParamsError(
                "oracle.kind human: a batch has no person to ask; label in notebook 23, or set "
                "oracle.kind to reward_model in the profile"
            )
        if params.task.source != "world" and (read or params.task.source == "files"):
            load_task(params.task, params.evaluation.prompts)
    if read:
        _check_models(profile, grid)
    return grid


def _check_models(profile: str, grid: Grid) -> None:
    """Raise ParamsError where a model that the profile names is not at hand or cannot be a policy;
    the models that are made here need no look.
    """
    for name in grid.models:
        params = load_params(profile, model=name)
        if params.model.base in MADE_HERE:
            continue
        from activedpo_lib.runs.pretrained import check_base  # seconds, for the named ones alone

        try:
            check_base(params)
        except (ValueError, FileNotFoundError) as error:
            raise ParamsError(f"model {name}: {error}") from None


def check_cards(profile: str) -> None:
    """Raise ParamsError where a run's processes are more than this machine's GPUs, if it has any:
    each takes one of its own.
    """
    processes, here = load_params(profile).processes, len(cards())
    if here and processes > here:
        raise ParamsError(
            f"processes must be at most this machine's {here} GPUs, got {processes}; lower it in "
            "the profile"
        )


@arguments.command
def main(given: Sequence[str] | None = None) -> int:
    """The command line. Exit status 0 when every figure is made, 1 when a job failed, 2 for bad
    parameters.
    """
    parser = arguments.Arguments(
        prog="python -m activedpo_lib.batch.batch", description=__doc__.splitlines()[0]
    )
    arguments.add_batch(parser)
    parser.add_argument("--cores", type=arguments.cores, default="all")
    parser.add_argument(
        "--cluster",
        type=arguments.cluster,
        help="folder with Snakemake's settings for a cluster, as cluster/slurm",
    )
    asked = parser.parse_args(given)
    arguments.need_checkout()
    grid = check(asked.profile)
    if not asked.cluster:
        check_cards(asked.profile)
    seeds = asked.seeds or len(grid.seeds)
    print(
        f"{asked.profile}: {len(grid.tasks)} tasks x {len(grid.models)} models x "
        f"{len(grid.strategies)} strategies x {seeds} seeds; Ctrl-C stops, the same command goes on"
    )
    if asked.target in ALONE:
        print(f"{ALONE[asked.target]}, and what they need of the others")
    return run_batch(asked.profile, seeds, asked.cores, asked.cluster or "", asked.target)


def run_batch(
    profile: str, seeds: int, cores: str = "all", cluster: str = "", target: str = "all"
) -> int:
    """Run the engine, one batch of a profile at a time, under a lock that dies with us (the
    engine's own outlives a kill). Returns the exit status.
    """
    folder = HOME / runs_folder(profile)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        if not try_lock(lock):
            print(
                f"error: another batch of profile {folder.name} is running (it holds "
                f"runs/{folder.name}/.lock); wait or stop it",
                file=sys.stderr,
            )
            return 2
        try:
            failed = follow_engine(
                engine_command(profile, seeds, cores, cluster, target), folder / "engine.log"
            )
        except KeyboardInterrupt:
            print("stopped; finished rounds are kept: the same command goes on", file=sys.stderr)
            return 130
    if failed:
        print("mend what failed; the same command goes on with what is missing", file=sys.stderr)
        return 1
    tell_results(folder)
    return 0


def tell_results(folder: Path) -> None:
    """Print where a finished batch's figures and executed notebooks are."""
    shown = Path("runs", folder.name)
    if reference.is_of(folder.name):
        table = reference.write_beside(folder)
        print(f"Figure 1 beside the committed one: {table.relative_to(HOME)}, or `make compare`")
    print(f"executed notebooks: {shown}/notebooks/")
    print(f"figures: {shown}/figures/")


if __name__ == "__main__":
    sys.exit(main())
