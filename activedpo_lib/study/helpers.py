"""Helpers of a study, on cores that would idle: they take its runs from the end, while the study
takes them from the start.

A run is locked while somebody is at it: a helper passes over it, and the study waits for it. So no
list says who runs what, and a helper may end at any moment. Each process has one thread: several
that share cores wait for each other's threads, which took five times as long as one process alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import torch

from activedpo_lib.records import Log
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.saved import unfinished
from activedpo_lib.schema import Params
from activedpo_lib.store import RunHeld
from activedpo_lib.study.live.bar import silent
from activedpo_lib.typed import build

# How many runs of a study go on at once: one where nobody says more.
AT_ONCE = "ACTIVEDPO_RUNS_AT_ONCE"
Runs = Sequence[tuple[Params, int]]  # cells and seeds
Helpers = list[subprocess.Popen[bytes]]


@contextlib.contextmanager
def helpers(runs: Runs, root: Path | str, log: Log = print) -> Iterator[Helpers]:
    """Inside, other processes, which it yields, are at `runs` from their end: as many as the
    environment's ACTIVEDPO_RUNS_AT_ONCE, less one. None where it is not set, or nothing is left for
    them. Raises ValueError where it is no number.
    """
    wanted = _at_once() - 1
    left = [own for own in runs if unfinished(*own, root)] if wanted else []
    if not left:
        yield []
        return
    started, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="activedpo-") as folder:
        job, said = write_job(folder, left, root, os.getpid()), Path(folder) / "said.txt"
        try:
            with open(said, "w", encoding="utf-8") as out:
                for _ in range(min(wanted, len(left) - 1)):
                    started.append(_start(job, out))
            yield started
        finally:
            torch.set_num_threads(threads)
            failed = [helper for helper in started if helper.poll()]  # not those that are ended now
            for helper in started:
                helper.terminate()
                helper.wait()
            if failed:
                last = said.read_text(encoding="utf-8").strip().splitlines()[-1:] or ["killed"]
                log(f"a helper ended early, the study ran what it left: {last[0]}")


def _start(job: Path, out: IO[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "activedpo_lib.study.helpers", str(job)]
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | one)


def _at_once() -> int:
    said = os.environ.get(AT_ONCE, "1")
    if not said.isdecimal() or int(said) < 1:
        raise ValueError(
            f"{AT_ONCE} must be a whole number of at least 1, got {said!r}; unset it for one run "
            "at a time"
        )
    return int(said)


def write_job(folder: Path | str, runs: Runs, root: Path | str, parent: int) -> Path:
    """A helper's file: the runs, their folder, and the process that it ends with. Returns it."""
    values = {"root": str(Path(root).resolve()), "parent": parent}
    values["runs"] = [[dataclasses.asdict(params), seed] for params, seed in runs]
    job = Path(folder) / "job.json"
    job.write_text(json.dumps(values), encoding="utf-8")
    return job


def main(job: Path | str) -> None:
    """Run what nobody is at, from the end on; begin nothing once the study's process is gone."""
    values = json.loads(Path(job).read_text(encoding="utf-8"))
    for own, seed in reversed(values["runs"]):
        if os.getppid() != values["parent"]:
            return
        with contextlib.suppress(RunHeld):
            run_rounds(build(Params, own, ""), seed, values["root"], log=silent, patience=0)


if __name__ == "__main__":
    main(sys.argv[1])
