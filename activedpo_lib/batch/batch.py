"""`make figures`: the Snakefile's jobs on this machine; stopped at any moment, the next call goes
on.
"""

import argparse
import ctypes
import signal
import subprocess
import sys
from pathlib import Path

from activedpo_lib.batch.gpus import cards
from activedpo_lib.params import ParamsError, load_grid, load_params
from activedpo_lib.store import HOME, try_lock
from activedpo_lib.tasks import load_task
from activedpo_lib.tasks.files import DataError


def check(profile, read=True):
    """Build every cell of the profile's grid and read its data: bad input stops the batch before
    any work.

    read: also the data; without, a plan can be made where a hub's are not at hand.
    """
    grid = load_grid(profile)
    for task in grid.tasks:
        for model in grid.models:
            for strategy in grid.strategies:
                params = load_params(profile, task, model, strategy)
        if params.task.source != "world" and (read or params.task.source == "files"):
            load_task(params.task, params.evaluation.prompts)
    return grid


def snakemake(profile, seeds, cores, cluster="", target="all"):
    """The engine's command line; `cluster`: a folder with Snakemake's settings for one; target:
    all, or all_figures.
    """
    grid = load_grid(profile)
    card_jobs = len(cards()) * grid.jobs_per_gpu
    return [
        sys.executable,
        "-m",
        "snakemake",
        target,
        "--snakefile",
        str(HOME / "Snakefile"),
        "--directory",
        str(HOME),
        "--cores",
        str(cores),
        "--rerun-incomplete",
        "--keep-going",
        "--nolock",
        "--quiet",
        "host",
        "rules",
        "reason",
        *(["--resources", f"gpu={card_jobs}"] if card_jobs else []),
        *(
            ["--workflow-profile", str(Path(cluster).resolve())]
            if cluster
            else ["--workflow-profile", "none"]
        ),
        "--config",
        f"profile={profile}",
        f"seeds={seeds}",
    ]


def main(arguments=None):
    """The command line. Exit status 0 when every figure is made, 1 when a job failed, 2 for bad
    parameters.
    """
    parser = argparse.ArgumentParser(
        prog="python -m activedpo_lib.batch.batch", description=__doc__.splitlines()[0]
    )
    parser.add_argument("profile", nargs="?", default="tiny")
    parser.add_argument(
        "--seeds", type=int, default=0, help="how many seeds; the profile's own number by default"
    )
    parser.add_argument("--cores", default="all")
    parser.add_argument(
        "--cluster",
        default="",
        help="folder with Snakemake's settings for a cluster, as cluster/slurm",
    )
    parser.add_argument(
        "--studies", action="store_true", help="every figure, not only Figures 1 and 5"
    )
    given = parser.parse_args(arguments)
    if given.profile.endswith((".yaml", ".yml")):  # notebooks run in another folder
        given.profile = str(Path(given.profile).resolve())
    try:
        grid = check(given.profile)
    except (ParamsError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seeds = given.seeds or len(grid.seeds)
    print(
        f"{given.profile}: {len(grid.tasks)} tasks x {len(grid.models)} models x "
        f"{len(grid.strategies)} strategies x "
        f"{seeds} seeds; Ctrl-C stops, the same command goes on", flush=True,
    )  # fmt: skip
    return run(
        given.profile, seeds, given.cores, given.cluster, "all_figures" if given.studies else "all"
    )


def run(profile, seeds, cores, cluster="", target="all"):
    """Run the engine, one batch of a profile at a time, under a lock that dies with us (the
    engine's own outlives a kill).
    """
    name = Path(profile).stem
    runs = HOME / "runs" / name
    runs.mkdir(parents=True, exist_ok=True)
    link = runs / "figures"  # executed copies show ../figures/..., as the source notebooks do
    if not link.is_symlink():
        link.symlink_to(Path("../..") / figures_folder(name), target_is_directory=True)
    with open(runs / ".lock", "w") as lock:
        if not try_lock(lock):
            print(
                f"error: another batch of profile {name} is running (it holds runs/{name}/.lock); "
                "wait or stop it",
                file=sys.stderr,
            )
            return 2
        try:
            command = snakemake(profile, seeds, cores, cluster, target)
            done = subprocess.run(command, check=False, preexec_fn=_die_with_parent).returncode
        except KeyboardInterrupt:
            print("stopped; finished rounds are kept: the same command goes on", file=sys.stderr)
            return 130
    if done:
        print(
            "some jobs failed: their executed notebooks, with tracebacks, are in "
            f"runs/{name}/notebooks/",
            file=sys.stderr,
        )
    else:
        print(
            f"done: figures in {figures_folder(name)}/, executed notebooks in "
            f"runs/{name}/notebooks/"
        )
    return min(done, 1)


def _die_with_parent():
    """The engine ends where this process is killed (Linux), instead of starting jobs beside the
    next call's engine.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG


def figures_folder(name):
    """Where a profile's figures go: the tiny profile's are the committed ones."""
    return "figures" if name == "tiny" else f"figures/{name}"


if __name__ == "__main__":
    sys.exit(main())
