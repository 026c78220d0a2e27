"""How a benchmark measures: medians of interleaved runs, process CPU time, one thread; peaks of
memory in fresh processes.
"""

import importlib
import json
import multiprocessing
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One line of the table: `value` in `unit`, and the bar that it must keep to (None: told, not
    judged).
    """

    what: str
    value: float
    unit: str = "x"
    at_most: float | None = None
    at_least: float | None = None

    @property
    def held(self):
        """Whether the bar is kept; None where there is no bar."""
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    def cells(self):
        """(what, value, bar, held) as text."""
        bar = f"<= {self.at_most:g}" if self.at_most is not None else ""
        bar = f">= {self.at_least:g}" if self.at_least is not None else bar
        held = {True: "held", False: "MISSED", None: ""}[self.held]
        return self.what, f"{self.value:.3g} {self.unit}", bar, held


def interleaved(variants, repeats, clock=time.process_time, warm_up=True):
    """{name: (repeats,) seconds} of the functions in `variants`, run in turns so that a slow moment
    hits all of them.
    """
    if warm_up:
        for function in variants.values():
            function()
    seconds = {name: [] for name in variants}
    for _ in range(repeats):
        for name, function in variants.items():
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return {name: np.array(found) for name, found in seconds.items()}


def once(function, clock=time.process_time):
    """(seconds, result) of one call: for references too slow to repeat."""
    start = clock()
    result = function()
    return clock() - start, result


def ratio(seconds, name, to):
    """The median of the turns' ratios."""
    return float(np.median(seconds[name] / seconds[to]))


def _status(field):
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(field + ":")
    )
    return int(line.split()[1]) / 1024


def peak_mib(function, *arguments):
    """How many MiB of memory that is not the page cache a call holds at its peak, sampled in a
    fresh process.

    `function(*arguments)` prepares and returns the call. Returns (MiB above what was held before
    it, MiB in all).
    """
    # Blocks of their own for all but small arrays: freed memory goes back at once, and the peak is
    # of what is in use.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    try:
        return in_fresh_process(_peak, function, arguments)
    finally:
        del os.environ["MALLOC_MMAP_THRESHOLD_"]


def in_fresh_process(function, *arguments):
    """function(*arguments) in a Python that has done nothing else."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        return executor.submit(function, *arguments).result()


def rows(name):
    """The rows of the benchmark `name`, measured here on one thread."""
    import torch

    torch.set_num_threads(1)
    return list(importlib.import_module(f"benchmarks.{name}").run())


def _peak(function, arguments):
    return held_at_peak(function(*arguments))


def held_at_peak(call):
    """(MiB above what was held before, MiB in all) that this process holds beyond the page cache at
    the peak of call().
    """
    before, peak, stop = _status("RssAnon"), [0.0], threading.Event()

    def watch():
        while not stop.wait(0.002):
            peak[0] = max(peak[0], _status("RssAnon"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        call()
    finally:
        stop.set()
        thread.join()
    return max(peak[0], _status("RssAnon")) - before, max(peak[0], _status("RssAnon"))


def counting_arrivals(rank, arrived):
    """From here on, the bytes that each meeting of several processes (activedpo_lib.shards) brings
    to this one are added to `arrived`.
    """
    import torch.distributed as dist

    gather, broadcast = dist.all_gather, dist.broadcast

    def counted_gather(everyones, own, group):
        gather(everyones, own, group=group)
        arrived.extend(one.nbytes for at, one in enumerate(everyones) if at != rank)

    def counted_broadcast(held, group, group_src):
        broadcast(held, group=group, group_src=group_src)
        arrived.append(held.nbytes * (group_src != rank))

    dist.all_gather, dist.broadcast = counted_gather, counted_broadcast


def save(path, results):
    """The rows of {bench: [Row]} as JSON; what could not be measured (NaN) is null."""
    rows = [
        {"bench": bench}
        | asdict(row)
        | {"value": None if row.value != row.value else float(row.value), "held": row.held}
        for bench, found in results.items()
        for row in found
    ]
    Path(path).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def markdown(results):
    """The table of {bench: [Row]}."""
    lines = ["| bench | measured | value | bar | |", "|---|---|---|---|---|"]
    lines += [
        f"| {bench} | " + " | ".join(row.cells()) + " |"
        for bench, rows in results.items()
        for row in rows
    ]
    return "\n".join(lines) + "\n"
