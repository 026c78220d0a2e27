"""Several processes inside one run, started by torchrun on the CPU: the picks and, to float
tolerance, the tables of one.
"""

import dataclasses
import subprocess

import numpy as np
import pytest

from activedpo_lib import store
from activedpo_lib.method import models
from activedpo_lib.params import load_params
from activedpo_lib.records import Strategy
from activedpo_lib.runs import checkpoints, launch
from activedpo_lib.runs.checkpoints import run_folder
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.run import task_of
from activedpo_lib.schema import GenerationParams
from activedpo_lib.study.tables import split_times

SAME = {
    "oracle.kind": "utility",
    "task.sft_rows": 32,
    "batch_size": 12,
    "dpo.batch_size": 5,  # steps of 5, 5 and 2 pairs: no number of processes divides them
    "rounds": 2,
}


def silent(_):
    pass


def of(processes, strategy, **more):
    return load_params("smoke", strategy=strategy, overrides=SAME | {"processes": processes} | more)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("strategy", "processes", "more"),
    [
        ("activedpo", 2, {}),
        slow("activedpo", 3, {}),
        slow("activedpo", 4, {"dpo.batch_size": 8}),  # the usual: full steps divide, not the last
        slow("activedpo", 8, {}),
        slow("activedpo", 2, {"dpo.batch_size": 6}),
        slow("activedpo", 2, {"selection.past": "keep"}),
        slow("aplp", 2, {}),
        slow("apo", 2, {}),
        slow("activedpo", 2, {"replay": True, "batch_size": 7}),
    ],
)
def test_several_processes_pick_and_train_as_one(strategy, processes, more, root, monkeypatch):
    """And the process that starts them opens no model of the run: the card is theirs."""
    tables, picks, remembered = [], [], []
    for count in (1, processes):
        params = of(count, strategy, **more)
        tables.append(split_times(run_rounds(params, 0, root, log=silent))[0])
        monkeypatch.setattr(models, "load_policy", None)  # pi_SFT is there: no need to open it
        folder = run_folder(params, 0, root)
        picks.append([(folder / f"round{t}" / "labelled.json").read_text() for t in (1, 2)])
        remembered.append(
            checkpoints.load_past(folder, 2, {p.id: p for p in task_of(params).prompts})
        )
    assert picks[0] == picks[1]
    numbers = [table.select_dtypes("number").to_numpy() for table in tables]
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-4, atol=1e-6)
    alone, shared = remembered
    if strategy == "activedpo":
        assert shared.ridge == pytest.approx(alone.ridge, rel=1e-5)
    if "selection.past" in more:
        np.testing.assert_allclose(alone.phi, shared.phi, atol=2e-2 * np.abs(alone.phi).max())


def test_a_process_that_fails_is_told_with_its_own_error(tmp_path):
    params = of(2, "activedpo", **{"task.max_new_tokens": 3000})  # seen where the model is opened
    with pytest.raises(
        launch.ProcessesFailed, match=r"(?s)a run in 2 processes ended with 1.*context of 2048"
    ):
        run_rounds(params, 0, tmp_path, log=silent)


def test_a_pool_larger_than_the_task_is_refused_before_any_training(tmp_path):
    params = of(2, "random", **{"generation.prompts": 240, "task.prompt_rows": 240})
    params = dataclasses.replace(params, generation=GenerationParams(prompts=300))
    with pytest.raises(ValueError, match=r"has 240 pool prompts, generation\.prompts asks for 300"):
        run_rounds(params, 0, tmp_path, log=silent)
    assert not list(tmp_path.glob("sft/*"))


def test_the_processes_hold_the_lock_when_their_starter_is_gone(tmp_path):
    """The lock's open file is theirs too: only with the last of them does it go."""
    with store.locked(tmp_path / "run") as lock:
        child = subprocess.Popen(["sleep", "30"], pass_fds=[lock.fileno()])
    try:
        with pytest.raises(store.RunHeld), store.locked(tmp_path / "run", patience=0.3):
            pass
    finally:
        child.kill()
        child.wait()
    with store.locked(tmp_path / "run", patience=5):
        pass


def test_own_strategies_and_several_processes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="strategies of your own run in one process"):
        run_rounds(
            of(2, "mine"), 0, tmp_path, {"mine": lambda: Strategy(frozenset(), None)}, silent
        )
