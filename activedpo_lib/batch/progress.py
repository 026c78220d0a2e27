"""What a user sees of a batch: a line a finished job, with the share done and the time left."""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from activedpo_lib.batch.quantities import duration
from activedpo_lib.store import HOME
from activedpo_lib.study.notebooks import ALL, ALONE

HEARTBEAT = 30.0  # seconds: a pipe sees a line at least this often
# Rows of the engine's table of jobs that are no job.
TARGETS = {"all", ALL, *ALONE, "total"}
COUNT = re.compile(r"(\w+) +(\d+)$")
RULE = re.compile(r"(?:local)?rule (\w+):$")
LOG = re.compile(r" {4}log: (\S+\.ipynb)")
NUMBER = re.compile(r" {4}jobid: (\d+)$")
FINISHED = re.compile(r"Finished jobid: (\d+)")
FAILED = re.compile(r"Error in rule (\w+):$")


class Screen:
    """Lines for people: on a terminal the last one is a status that moves, on a pipe a line now and
    then.
    """

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic):
        self.out, self.clock = out or sys.stdout, clock
        self.said = clock()

    def line(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        print(text, file=self.out, flush=True)
        self.said = self.clock()

    def status(self, text: str) -> None:
        """What goes on right now: replaced every second on a terminal, else a line a heartbeat."""
        silent = self.clock() - self.said
        if self.out.isatty() and silent >= 1:
            self.out.write(f"\r\x1b[K{text[:118]}")
            self.out.flush()
            self.said = self.clock()
        elif not self.out.isatty() and silent >= HEARTBEAT:
            self.line(text)

    def clear(self) -> None:
        """Take the moving status away."""
        if self.out.isatty():
            self.out.write("\r\x1b[K")


class Progress:
    """The state of a batch, as the engine's log tells it: feed it text with `read`."""

    def __init__(self, screen: Screen):
        self.screen, self.clock = screen, screen.clock
        self.due: Counter[str] = Counter()  # {rule: jobs that are not finished}
        self.total = 0
        self.running: dict[str, tuple[str, str, float]] = {}  # {job: (rule, notebook, start)}
        self.seconds: dict[str, list[float]] = {}  # {rule: of each finished job}
        self.failed: list[str] = []
        self.most = 1  # jobs at a time, so far
        self._rest, self._rule, self._log, self._failing = "", "", "", False

    def read(self, text: str) -> None:
        """Take what the engine wrote since the last call, then tell how far it is."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take(line)
        if self.running:
            self.screen.status(self.summary())

    def _take(self, line: str) -> None:
        if (found := COUNT.match(line)) and not self.seconds and found[1] not in TARGETS:
            self.due[found[1]] = int(found[2])
            self.total = self.due.total()
        elif found := RULE.match(line):
            self._rule, self._log, self._failing = found[1], "", False
        elif found := FAILED.match(line):
            self._rule, self._failing = found[1], True
        elif found := LOG.match(line):
            self._log = found[1]
        elif (found := NUMBER.match(line)) and self._rule:
            self._fail(found[1]) if self._failing else self._start(found[1])
        elif found := FINISHED.search(line):
            self._finish(found[1])

    def _start(self, job: str) -> None:
        if self._log:  # the target itself has none
            self.running[job] = (self._rule, self._log, self.clock())
            self.most = max(self.most, len(self.running))

    def _finish(self, job: str) -> None:
        if job in self.running:
            rule, log, start = self.running.pop(job)
            self.seconds.setdefault(rule, []).append(self.clock() - start)
            self.due[rule] -= 1
            self.screen.line(f"{Path(log).stem}: {duration(self.clock() - start)}; {self.share()}")

    def _fail(self, job: str) -> None:
        if job in self.running:  # told once, at the time; the engine says it again at its end
            _, log, start = self.running.pop(job)
            self.failed.append(log)
            why = error_of(HOME / log) or "its process ended; see the engine's log"
            self.screen.line(
                f"FAILED {Path(log).stem} after {duration(self.clock() - start)}: {why}\n"
                f"  the traceback is in {log}"
            )

    def share(self) -> str:
        """ "14 of 25 done, about 6 min left"."""
        done = sum(map(len, self.seconds.values()))
        left = self.left()
        rest = f", about {duration(left)} left" if left else ""
        return f"{done} of {self.total} done{rest}"

    def left(self) -> float:
        """Seconds left: what is missing by its rule's mean so far, else the mean of all, over the
        jobs at a time; 0 before a job is finished.
        """
        every = [spent for found in self.seconds.values() for spent in found]
        if not every:
            return 0.0
        usual = {rule: sum(found) / len(found) for rule, found in self.seconds.items()}
        mean = sum(every) / len(every)
        now = self.clock()
        spent = sum(
            min(now - start, usual.get(rule, mean)) for rule, _, start in self.running.values()
        )
        missing = sum(count * usual.get(rule, mean) for rule, count in self.due.items())
        return max(0.0, missing - spent) / self.most

    def summary(self) -> str:
        """ "2 running: 02_sft_tldr_llama 3 min, ...; 14 of 25 done, about 6 min left"."""
        now = self.clock()
        jobs = ", ".join(
            f"{Path(log).stem} {duration(now - start)}" for _, log, start in self.running.values()
        )
        return f"{len(self.running)} running: {jobs}; {self.share()}"


def error_of(notebook: Path) -> str:
    """The name and message of the error that stopped an executed notebook; "" where none did.

    A job that ends before its notebook starts leaves what the engine made: an empty file.
    """
    if not notebook.is_file():
        return ""
    text = notebook.read_text(encoding="utf-8")
    if not text:
        return "it ended before its notebook started; see the engine's log"
    for cell in json.loads(text)["cells"]:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                told = f"{output.get('ename', 'error')}: {output.get('evalue', '')}"
                return told.split("\n")[0][:300]
    return ""
