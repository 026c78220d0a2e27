"""What the screen shows of an engine's log, and how numbers are said."""

import io

import pytest

from activedpo_lib.batch import progress
from activedpo_lib.batch.quantities import byte_size, duration, two_digits

PLANNED = """Job stats:
job        count
-------  -------
sft            2
world          1
all            1
total          4

[Wed Nov 25 02:00:00 2026]
rule sft:
    log: runs/x/notebooks/02_sft_a.ipynb
    jobid: 1

rule world:
    log: runs/x/notebooks/00_world.ipynb
    jobid: 2
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def told():
    class Told:
        now = 0.0
        out = io.StringIO()

    found = Told()
    found.screen = progress.Screen(found.out, lambda: found.now)
    found.progress = progress.Progress(found.screen)
    return found


def test_a_finished_job_is_one_line_with_share_and_time_left(told):
    told.progress.read(PLANNED)
    told.now = 10.0
    told.progress.read("Finished jobid: 2 (Ru")
    told.progress.read("le: world)\n1 of 4 steps (25%) done\n")
    # two of 10 s each are missing, 10 s of the first are spent, two at a time
    assert told.out.getvalue() == "00_world: 10 s; 1 of 3 done, about 5 s left\n"


def test_a_failed_job_is_told_once_with_where_its_traceback_is(told):
    told.progress.read(PLANNED)
    told.now = 4.0
    failure = "Error in rule sft:\n    message: None\n    jobid: 1\n"
    told.progress.read(failure + failure)
    lines = told.out.getvalue().splitlines()
    assert lines[0].startswith("FAILED 02_sft_a after 4 s: ")
    assert lines[1] == "  the traceback is in runs/x/notebooks/02_sft_a.ipynb"
    assert len(lines) == 2
    assert told.progress.failed == ["runs/x/notebooks/02_sft_a.ipynb"]


def test_a_pipe_sees_a_line_every_half_minute_and_no_more(told):
    told.progress.read(PLANNED)
    for told.now in range(1, 62):
        told.progress.read("")
    assert told.out.getvalue().splitlines() == [
        "2 running: 02_sft_a 30 s, 00_world 30 s; 0 of 3 done",
        "2 running: 02_sft_a 60 s, 00_world 60 s; 0 of 3 done",
    ]


def test_a_terminal_sees_one_line_that_moves(told):
    told.screen.out = Terminal()
    told.progress.read(PLANNED)
    for told.now in range(1, 5):
        told.progress.read("")
    shown = told.screen.out.getvalue()
    assert "\n" not in shown
    assert shown.count("\r\x1b[K2 running") == 4


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.1, "under 1 s"),
        (1, "1 s"),
        (90, "90 s"),
        (125, "2.1 min"),
        (5400, "1.5 hours"),
        (86400 * 3, "3 days"),
        (494_592.4764 * 3600, "56 years"),
    ],
)
def test_a_time_is_said_in_two_digits_of_the_unit_that_fits(seconds, said):
    assert duration(seconds) == said


def test_bytes_and_counts_have_two_digits():
    assert [byte_size(n) for n in (12, 2048, 1.5 * 2**30, 420 * 2**30)] == [
        "12 bytes",
        "2 KiB",
        "1.5 GiB",
        "420 GiB",
    ]
    assert [two_digits(n) for n in (1.0, 12345, 2e10)] == ["1", "12,000", "2.0e10"]
