"""The jobs of a batch as the engine sees them, and the state of each."""

import csv
import io
import subprocess
from pathlib import Path
from typing import NamedTuple

from activedpo_lib.batch.engine import engine_command
from activedpo_lib.batch.progress import error_of
from activedpo_lib.params import ParamsError, load_grid, load_params
from activedpo_lib.schema import Params
from activedpo_lib.store import HOME, try_lock


class Job(NamedTuple):
    """One notebook of the batch: its log is the executed copy; state: done, running, failed or
    waiting.
    """

    rule: str
    log: str
    state: str


def batch_jobs(profile: str, seeds: int, target: str = "all") -> list[Job]:
    """The batch's Jobs, as the engine sees them (a dry run: nothing is started). Raises ParamsError
    where the engine cannot plan.
    """
    command = engine_command(profile, seeds, "1", target=target)
    told = subprocess.run([*command, "--summary"], capture_output=True, text=True, check=False)
    if told.returncode:
        raise ParamsError(f"the engine cannot plan {profile}: {told.stderr.strip()[-2000:]}")
    lines = told.stdout[told.stdout.index("output_file") :]
    found = {}
    for row in csv.DictReader(io.StringIO(lines), delimiter="\t"):
        log, output = row["log-file(s)"], row["output_file"]
        # The engine names a log once it is there; the figures are one job's, every table has its
        # own.
        job = log if log != "-" else output if "/tables/" in output else row["rule"]
        if row["rule"] != "-":
            found[job] = Job(row["rule"], log, job_state(log, row["plan"]))
    return list(found.values())


def job_state(log: str, plan: str) -> str:
    """The state of the job whose executed notebook is `log`; plan: what the engine would do."""
    if _held(HOME / Path(log).with_suffix(".lock")):
        return "running"
    if plan.strip() == "no update":
        return "done"
    return "failed" if error_of(HOME / log) else "waiting"


def _held(lock: Path) -> bool:
    if not lock.is_file():
        return False
    with open(lock) as file:
        return not try_lock(file)


def grid_runs(profile: str, seeds: int) -> list[tuple[Params, int]]:
    """Every (params, seed) of the profile's grid."""
    grid = load_grid(profile)
    cells = [
        load_params(profile, task, model, strategy)
        for task in grid.tasks
        for model in grid.models
        for strategy in grid.strategies
    ]
    return [(params, seed) for params in cells for seed in range(seeds)]
