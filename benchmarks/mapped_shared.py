"""Slow: picking from 1,000,000 pairs in one memory-mapped file that several processes share, d 256
(1 GiB): the picks of one process, rows read again, and what each holds and receives.
"""

import datetime
import multiprocessing
import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import torch.distributed as dist

from activedpo_lib.method.design import HEAD, select_greedy
from activedpo_lib.shards import ProcessGroup, processes
from activedpo_lib.streams import stream
from activedpo_lib.study.costs import pick_traffic
from benchmarks.mapped import Counting
from benchmarks.mapped_large import write
from benchmarks.measure import Row, counting_arrivals, held_at_peak

PAIRS, DIMENSIONS, PICKS = 1_000_000, 256, 50


def pick(phi, picks, group):
    """`picks` of the whole pool phi (n, d), of which this process reads its share."""
    own = group.share(len(phi))
    ties = stream(0, "ties").uniforms(range(own.start, own.stop))
    return select_greedy(phi[own], picks, 0.5, ties=ties, processes=group)


def together(count, path, folder, picks=PICKS, killed=False):
    """`count` processes that pick from the file at `path`; each leaves RANK.npz in `folder`.

    killed: the last one is, after half the picks, as on a machine that fails. Returns their exit
    statuses.
    """
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    started = [
        context.Process(target=_one_process, args=(rank, count, path, folder, picks, killed))
        for rank in range(count)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return [process.exitcode for process in started]


def _one_process(rank, count, path, folder, picks, killed):
    meeting, patience = f"file://{folder}/meet", datetime.timedelta(seconds=600)
    dist.init_process_group("gloo", meeting, patience, count, rank)
    if killed and rank == count - 1:
        _kill_after(picks // 2)
    group, found, arrived = processes(), [], []
    counting_arrivals(rank, arrived)
    phi = np.load(path, mmap_mode="r")
    above, _ = held_at_peak(lambda: found.append(pick(phi, picks, group)))
    np.savez(f"{folder}/{rank}.npz", indices=found[0].indices, mib=above, arrived=sum(arrived))
    dist.destroy_process_group()


def _kill_after(picks):
    """This process ends itself at the pick after so many."""
    real, calls = ProcessGroup.first, []

    def first(*arguments):
        calls.append(1)
        if len(calls) > picks:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    ProcessGroup.first = first


def run():
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "pairs.npy")
        write(path, PAIRS, DIMENSIONS, rank=64)
        pool = Counting(np.load(path, mmap_mode="r"))
        ties = stream(0, "ties").uniforms(range(PAIRS))
        truth = select_greedy(pool, PICKS, 0.5, ties=ties).indices
        yield Row(f"{PAIRS:,} x {DIMENSIONS}: rows read again / n", pool.again / PAIRS)
        for count in (1, 2, 4):
            place = Path(folder) / str(count)
            if any(together(count, path, place)):
                raise RuntimeError(f"one of {count} processes failed")
            found = [np.load(place / f"{rank}.npz") for rank in range(count)]
            yield from told(count, found, truth)


def told(count, found, truth):
    """The rows of `count` processes that left `found`, against the picks of one."""
    same = np.mean([np.mean(each["indices"] == truth) for each in found])
    memory = max(float(each["mib"]) for each in found)
    counted = sum(int(each["arrived"]) for each in found) / len(truth)
    name = f"{count} processes"
    yield Row(f"{name}: picks equal to one process's", float(same), at_least=1)
    yield Row(f"{name}: memory beyond the page cache, each", memory, "MiB", at_most=256)
    yield Row(f"{name}: a pick brings to all of them, counted", counted, "B")
    yield Row(f"{name}: the same by the cost model", traffic(count), "B")


def traffic(count):
    """Bytes that a pick brings to all of `count` processes by the cost model: one of them has the
    pair, and nobody sends it to that one.
    """
    return count * pick_traffic(DIMENSIONS, count) - (count > 1) * 8 * (HEAD + DIMENSIONS)
