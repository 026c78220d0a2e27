"""Helpers take a study's runs from the end: to the same tables, and in nobody's way."""

import dataclasses
import os
import signal
import time

import pandas as pd
import pytest
import torch

from activedpo_lib import Study
from activedpo_lib.params import load_params
from activedpo_lib.runs.checkpoints import run_folder
from activedpo_lib.runs.saved import unfinished
from activedpo_lib.store import locked
from activedpo_lib.study.helpers import AT_ONCE, helpers, main, write_job

SMOKE = load_params("smoke", "tldr", "llama", "random")
CHEAP = dataclasses.replace(
    SMOKE,
    task=dataclasses.replace(SMOKE.task, sft_rows=32),
    oracle=dataclasses.replace(SMOKE.oracle, kind="utility"),
)
RUNS = [(dataclasses.replace(CHEAP, rounds=rounds), 0) for rounds in (1, 2, 3)]
SECONDS = 300  # a process starts with torch, and the machine may be busy; a test waits no longer


def done(root):
    return [not unfinished(params, seed, root) for params, seed in RUNS]


def study_of(root):
    cells = {("tldr", "llama", str(params.rounds), "random"): params for params, _ in RUNS}
    return Study("cheap", "smoke", cells, (0,), root)


def wait_for(happened):
    end = time.monotonic() + SECONDS
    while not happened() and time.monotonic() < end:
        time.sleep(0.05)
    assert happened()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process makes of these runs."""
    return study_of(tmp_path_factory.mktemp("alone")).run(log=lambda _: None)


def test_a_run_that_another_is_at_is_passed_over(tmp_path):
    root = tmp_path / "runs"
    with locked(run_folder(*RUNS[2], root)):
        main(write_job(tmp_path, RUNS, root, os.getppid()))
    assert done(root) == [True, True, False]


def test_nothing_is_begun_where_the_study_is_gone(tmp_path):
    main(write_job(tmp_path, RUNS, tmp_path / "runs", parent=0))
    assert done(tmp_path / "runs") == [False] * 3


def test_a_helper_begins_at_the_end_and_ends_with_the_study(tmp_path, monkeypatch):
    monkeypatch.setenv(AT_ONCE, "2")
    said, threads = [], torch.get_num_threads()
    with helpers(RUNS, tmp_path, said.append) as started:
        assert torch.get_num_threads() == 1  # two processes of two threads each stall each other
        wait_for(lambda: done(tmp_path)[2] or started[0].poll() is not None)
        assert done(tmp_path)[2]
    assert [helper.returncode is not None for helper in started] == [True]
    assert not said
    assert torch.get_num_threads() == threads


def test_a_study_with_helpers_makes_the_table_of_one_process(tmp_path, monkeypatch, alone):
    monkeypatch.setenv(AT_ONCE, "2")
    with helpers(RUNS, tmp_path):  # begun before the study, or it would have little to do
        wait_for(lambda: done(tmp_path)[2])
        theirs = study_of(tmp_path).run(log=lambda _: None)
    kept = [name for name in alone if "seconds" not in name]
    pd.testing.assert_frame_equal(theirs[kept], alone[kept], check_exact=True)


def test_the_study_calls_helpers_with_its_runs(tmp_path, monkeypatch):
    monkeypatch.setenv(AT_ONCE, "nobody")
    with pytest.raises(ValueError, match="at least 1, got 'nobody'; unset it"):
        study_of(tmp_path).run()


@pytest.mark.parametrize("how", ["its own error", "a kill"])
def test_a_helper_that_fails_is_told_of_and_fails_nobody(tmp_path, monkeypatch, how):
    monkeypatch.setenv(AT_ONCE, "2")
    said, unknown = [], (dataclasses.replace(CHEAP, strategy="nobody's"), 0)
    with helpers([*RUNS, unknown], tmp_path, said.append) as started:
        if how == "a kill":
            started[0].send_signal(signal.SIGKILL)
        started[0].wait(timeout=SECONDS)
    assert len(said) == 1
    assert ("nobody's" if how == "its own error" else "killed") in said[0]


@pytest.mark.parametrize("at_once", ["1", None])
def test_one_at_a_time_unless_somebody_says_more(tmp_path, monkeypatch, at_once):
    monkeypatch.delenv(AT_ONCE, raising=False)
    if at_once:
        monkeypatch.setenv(AT_ONCE, at_once)
    with helpers(RUNS, tmp_path) as started:
        assert started == []


@pytest.mark.parametrize("said", ["two", "0", "²", ""])
def test_what_is_no_number_of_runs_is_refused(monkeypatch, said):
    monkeypatch.setenv(AT_ONCE, said)
    with pytest.raises(ValueError, match="must be a whole number of at least 1"), helpers([], "."):
        pass
