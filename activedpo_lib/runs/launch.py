"""The door to a run: all its rounds here, or in several processes that torchrun starts; TRL's
trainers find each other through accelerate.

`accelerate launch` itself starts torchrun where there are GPUs, but a single process where there
are none.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

from activedpo_lib.people.answers import Question
from activedpo_lib.records import Log
from activedpo_lib.runs import artifacts
from activedpo_lib.runs.by_hand import AnswersMissing
from activedpo_lib.runs.checkpoints import run_folder
from activedpo_lib.runs.rounds import all_rounds
from activedpo_lib.runs.run import Strategies, check_pool, strategy_of, task_of
from activedpo_lib.runs.saved import saved_rounds, unfinished
from activedpo_lib.schema import Params
from activedpo_lib.store import locked, sweep


class ProcessesFailed(RuntimeError):
    """One of a run's processes ended with an error, or was killed."""


def run_rounds(
    params: Params,
    seed: int,
    root: Path | str = "runs",
    strategies: Strategies | None = None,
    log: Log = print,
    patience: float = 15.0,
) -> pd.DataFrame:
    """All rounds of one run (one task, model, strategy and seed); finished rounds are read, not run
    again.

    params: from `load_params`; seed: draws run, SFT and evaluation sampling; root: the folder of
    all runs; strategies: {name: factory} of your own beside STRATEGIES; log: called with a line of
    progress after each round; patience: seconds to wait for another process that works on the same
    run.
    Returns the tidy table, one row a round, 0 being pi_SFT. Interrupt it at any moment: the next
    call goes on after the last finished round, to the same table. Raises ValueError for an unknown
    strategy, RunHeld, or ProcessesFailed where the params ask for several `processes`.
    """
    strategy_of(params, strategies)  # an unknown name is an error of a finished run too
    folder = run_folder(params, seed, root)
    with locked(folder, patience) as lock:
        sweep(folder)
        if params.processes == 1:
            all_rounds(params, seed, root, strategies, log)
        elif unfinished(params, seed, root):
            check_pool(task_of(params), params)
            artifacts.train_missing(params, seed, root, log)  # once, before they start
            _start_processes(params, seed, root, log, lock.fileno())
    return saved_rounds(params, seed, root)


def next_questions(
    params: Params,
    seed: int,
    root: Path | str = "runs",
    strategies: Strategies | None = None,
    log: Log = print,
) -> list[Question]:
    """Where a person labels: run on to the next round that waits, and return its open questions;
    none when every round is finished. As `run_rounds` otherwise.
    """
    try:
        run_rounds(params, seed, root, strategies, log)
    except AnswersMissing as waiting:
        return list(waiting.questions)
    return []


def _start_processes(params: Params, seed: int, root: Path | str, log: Log, lock: int) -> None:
    """All rounds, shared by `params.processes` processes (activedpo_lib.runs.worker); their lines
    go to `log`. They inherit the open file `lock`: the run stays locked until the last of them is
    gone, also where this process is killed.

    Raises ProcessesFailed with the last lines said; finished rounds stay, and the next call goes on
    after them.
    """
    with tempfile.TemporaryDirectory(prefix="activedpo-") as folder:
        job = Path(folder) / "job.json"
        values = {"params": dataclasses.asdict(params), "seed": seed}
        values["root"] = str(Path(root).resolve())
        job.write_text(json.dumps(values), encoding="utf-8")
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone",
            "--nproc_per_node", str(params.processes), "-m", "activedpo_lib.runs.worker", str(job),
        ]  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        if torch.cuda.device_count() < params.processes:
            environment["ACCELERATE_USE_CPU"] = "1"
        status, last = _follow(command, environment, log, lock)
    if status:
        # Not the starter's own traceback.
        theirs = [line for line in last if line.startswith("[rank")] or last
        raise ProcessesFailed(
            f"a run in {params.processes} processes ended with {status}:\n" + "".join(theirs[:60])
        )


def _follow(
    command: list[str], environment: dict[str, str], log: Log, lock: int
) -> tuple[int, list[str]]:
    """Run the command; a worker's lines of progress go to `log`, the libraries' notices are kept
    for errors only. Returns (exit status, the last lines).
    """
    last: list[str] = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        pass_fds=[lock],
    ) as process:
        try:
            for line in process.stdout or ():
                last = [*last, line][-200:]
                if line.startswith("["):
                    log(line.rstrip())
        except BaseException:
            process.terminate()
            raise
    return process.returncode, last
