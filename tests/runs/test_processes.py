"""Two processes inside one run, started by torchrun on the CPU: the picks and, to float tolerance,
the tables of one.
"""

import numpy as np
import pytest

from activedpo_lib.params import load_params
from activedpo_lib.runs import checkpoints, launch
from activedpo_lib.runs.rounds import run_folder, run_rounds
from activedpo_lib.study.tables import split_times

SAME = {
    "oracle.kind": "utility",
    "task.sft_rows": 32,
    "batch_size": 8,
    "dpo.batch_size": 4,
    "rounds": 2,
}


def silent(_):
    pass


def of(processes, strategy, **more):
    return load_params("smoke", strategy=strategy, overrides=SAME | {"processes": processes} | more)


@pytest.mark.parametrize("strategy", ["activedpo", pytest.param("aplp", marks=pytest.mark.slow),
                                      pytest.param("apo", marks=pytest.mark.slow)])  # fmt: skip
def test_two_processes_pick_and_train_as_one(strategy, tmp_path):
    tables, picks, phi = [], [], []
    for processes in (1, 2):
        params = of(processes, strategy)
        tables.append(split_times(run_rounds(params, 0, tmp_path, log=silent))[0])
        folder = run_folder(params, 0, tmp_path)
        picks.append([(folder / f"round{t}" / "labelled.json").read_text() for t in (1, 2)])
        if strategy == "activedpo":
            phi.append(checkpoints.load_array(folder, 2, "phi"))
    assert picks[0] == picks[1]
    numbers = [table.select_dtypes("number").to_numpy() for table in tables]
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-2, atol=1e-2)
    if phi:
        np.testing.assert_allclose(phi[0], phi[1], atol=2e-2 * np.abs(phi[0]).max())


def test_a_process_that_fails_is_told_with_its_own_error(tmp_path):
    params = of(2, "activedpo", **{"lora.targets": ["no_such_module"]})
    with pytest.raises(
        launch.ProcessesFailed, match=r"(?s)a run in 2 processes ended with 1.*no_such_module"
    ):
        run_rounds(params, 0, tmp_path, log=silent)


def test_own_strategies_and_several_processes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="strategies of your own run in one process"):
        run_rounds(of(2, "mine"), 0, tmp_path, {"mine": lambda settings: None}, silent)
