"""A pool too large for memory, in files that several processes share: the picks of one process in
bounded memory, and after one of them was killed.
"""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from activedpo_lib.method.design import BLOCK_BYTES
from activedpo_lib.params import load_params
from activedpo_lib.runs import launch
from activedpo_lib.runs.checkpoints import run_folder, scratch_folder
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.shards import SingleProcess
from benchmarks import mapped_shared
from benchmarks.mapped_large import write
from benchmarks.mapped_shared import pick, together

PAIRS, DIMENSIONS, PICKS = 100_000, 1024, 20


@pytest.mark.slow
def test_processes_that_share_a_file_pick_what_one_picks_also_after_a_kill(tmp_path):
    path = str(tmp_path / "pairs.npy")
    write(path, PAIRS, DIMENSIONS, rank=64)
    truth = pick(np.load(path), PICKS, SingleProcess()).indices.tolist()

    statuses = together(2, path, tmp_path / "killed", PICKS, killed=True)
    assert statuses[1] == -signal.SIGKILL
    assert statuses[0] == 1  # told with an error, neither done nor waiting for ever
    assert not list((tmp_path / "killed").glob("*.npz"))

    for count in (2, 4):  # again from the file, also by another number of processes
        folder = tmp_path / f"again{count}"
        assert together(count, path, folder, PICKS) == [0] * count
        for rank in range(count):
            with np.load(folder / f"{rank}.npz") as found:
                assert found["indices"].tolist() == truth
                # A few blocks and some numbers a pair, where the whole file is 391 MiB.
                assert found["mib"] < 3 * BLOCK_BYTES / 2**20 + 64 * PAIRS / count / 2**20


@pytest.mark.parametrize("count", [1, 2])
def test_the_benchmark_counts_what_a_pick_brings(count, tmp_path):
    """And the cost model's row, which stands beside it, says the same to the byte."""
    path = str(tmp_path / "pairs.npy")
    write(path, 10_000, mapped_shared.DIMENSIONS, rank=64)
    truth = pick(np.load(path), PICKS, SingleProcess()).indices
    assert together(count, path, tmp_path / "shared", PICKS) == [0] * count
    found = [np.load(tmp_path / "shared" / f"{rank}.npz") for rank in range(count)]
    same, _, counted, predicted = mapped_shared.told(count, found, truth)
    assert same.held
    assert counted.what == f"{count} processes: a pick brings to all of them, counted"
    assert counted.value == predicted.value
    assert (counted.value > 0) == (count > 1)


# --- a whole run, killed while it reads gradients into files

OVERRIDES = {
    "oracle.kind": "utility",
    "task.sft_rows": 32,
    "rounds": 1,
    "generation.prompts": 80,
    "selection.memory_mib": 0,
    "selection.token_budget": 32,  # a response or two a batch: time to kill in the middle
    "processes": 2,
}


def worker_of(rank, seen=Path("/proc")):
    """The process id of the run's process `rank`, started from here; None where there is none."""
    for path in seen.glob("[0-9]*/cmdline"):
        try:
            ours = f"PYTEST_CURRENT_TEST={os.environ['PYTEST_CURRENT_TEST']}".encode()
            said = (path.parent / "environ").read_bytes().split(b"\0")
            command = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if (
            ours in said
            and f"RANK={rank}".encode() in said
            and b"torch.distributed.run" not in command
        ):
            return int(path.parent.name)
    return None


class Watch(threading.Thread):
    """Sees how many gradients process 1 of a run has written; kills it where it has `kill_at`."""

    def __init__(self, scratch, kill_at=None):
        super().__init__(daemon=True)
        self.scratch, self.kill_at, self.seen, self.over = scratch, kill_at, [], False

    def run(self):
        while not self.over:
            for path in self.scratch.glob("process1/features-*.done"):
                self.seen.append(int(np.fromfile(path, dtype=bool).sum()))
                if self.kill_at and self.seen[-1] >= self.kill_at:
                    os.kill(worker_of(1), signal.SIGKILL)
                    return
            time.sleep(0.005)


@pytest.mark.slow
def test_a_run_of_which_one_process_was_killed_goes_on_from_its_gradients(tmp_path):
    params = load_params("smoke", strategy="activedpo", overrides=OVERRIDES)
    alone = load_params("smoke", strategy="activedpo", overrides=OVERRIDES | {"processes": 1})
    run_rounds(alone, 0, tmp_path, log=lambda _: None)
    truth = (run_folder(alone, 0, tmp_path) / "round1/labelled.json").read_text()

    folder = run_folder(params, 0, tmp_path)
    scratch = scratch_folder(folder, 1)
    watch = Watch(scratch, kill_at=20)
    watch.start()
    with pytest.raises(launch.ProcessesFailed, match="a run in 2 processes ended with"):
        run_rounds(params, 0, tmp_path, log=lambda _: None)
    watch.join()
    assert [path.name for path in folder.glob("round*")] == ["round0"]
    # Nothing but what the next call goes on from; the pairs' features have no name to be left by.
    kept = sorted(path.name.split("-")[0] for path in scratch.glob("*/*"))
    assert set(kept) == {"features"}

    watch = Watch(scratch)
    watch.start()
    run_rounds(params, 0, tmp_path, log=lambda _: None)
    watch.over = True
    watch.join()
    assert (folder / "round1/labelled.json").read_text() == truth
    assert watch.seen[0] >= 20  # what was there stays, and no other file is begun
    assert watch.seen == sorted(watch.seen)
    assert not scratch.exists()
