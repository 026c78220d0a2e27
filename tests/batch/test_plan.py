"""Plan, status, reference and verify, on a grid that is only planned, and on runs of the smoke
profile.
"""

import fcntl
import json
import os
import subprocess
import sys
import time

import pandas as pd
import pytest

from activedpo_lib.batch import jobs, plan, reference, verify
from activedpo_lib.batch.batch import check
from activedpo_lib.batch.engine import engine_command
from activedpo_lib.batch.execute import main as execute
from activedpo_lib.batch.progress import error_of
from activedpo_lib.params import ParamsError, load_params
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.store import HOME, write_json, write_table
from activedpo_lib.study import run_costs
from activedpo_lib.study.notebooks import ALL
from activedpo_lib.study.tables import split_times


def test_the_plan_counts_labels_and_compute_before_anything_is_spent():
    lines = list(plan.plan("tiny", 3))
    assert any("48 runs of 6 rounds; 2,880 labels by the oracle" in line for line in lines)
    assert any("FLOP" in line for line in lines)
    assert any(line.startswith("disk: ") for line in lines)


def test_a_run_that_answers_itself_asks_the_oracle_once():
    usual = load_params("tiny")
    control = load_params("tiny", overrides={"oracle.after_first": "coin"})
    assert plan.oracle_labels(usual) == usual.rounds * usual.batch_size
    assert plan.oracle_labels(control) == usual.batch_size


def test_the_plan_warns_once_of_a_batch_that_leaves_little_to_choose_from():
    found = [line for line in plan.plan("smoke", 1, ALL) if "warning" in line]
    assert len(found) == 1
    assert "labels a round are" in found[0]
    assert not plan.scarcity_warning(load_params("paper"))


def test_a_study_with_seeds_of_its_own_is_planned_with_them():
    planned = plan.planned_runs("smoke", 2, "parts")
    grid = plan.planned_runs("smoke", 2, "all")
    random = {seed for params, seed in planned if params.digest() == grid[0][0].digest()}
    assert random == {0, 1, 10, 11}  # the grid's, and those of params/studies/more_controls.yaml


def test_a_batch_of_a_replay_is_an_error_that_names_the_notebooks_that_take_it(tmp_path):
    profile = tmp_path / "replayed.yaml"
    profile.write_text((HOME / "params" / "smoke.yaml").read_text() + "\nreplay: true\n")
    with pytest.raises(ParamsError, match="run notebooks 06, 07 and 21 with this profile"):
        check(str(profile))


def test_the_papers_plan_needs_neither_data_nor_models():
    lines = list(plan.plan("paper", 3, ALL))
    assert any("runs of 10 rounds or as the studies say" in line for line in lines)
    assert any("H100" in line for line in lines)
    told = next(line for line in lines if "assumed, not read: " in line)
    assert "116,722 rows of trl-lib/tldr, 3e8 weights of OpenAssistant/" in told
    assert told.count("trl-lib/tldr") == 1


@pytest.mark.parametrize(
    ("dataset", "most", "rows", "said"),
    [
        ("trl-lib/tldr", 0, 116_722, "116,722 rows of trl-lib/tldr"),
        ("trl-lib/tldr", 500, 500, "500 rows of trl-lib/tldr"),
        ("mine/posts", 300, 300, "300 rows of mine/posts"),
        ("mine/posts", 0, 0, "no rows of mine/posts, whose number is not known (task.most_rows"),
    ],
)
def test_the_plan_says_how_many_rows_of_the_hub_it_assumes(dataset, most, rows, said):
    changes = {"task.sft": dataset, "task.most_rows": most}
    params = load_params("paper", "tldr", "gemma", overrides=changes)
    assert run_costs.rows(params) == (rows, 0)
    assert run_costs.assumptions(params)[0].startswith(said)


def test_a_plan_of_the_built_in_world_assumes_no_rows():
    assert run_costs.assumptions(load_params("tiny")) == []


@pytest.mark.parametrize(("model", "share"), [("gemma", 0.0118), ("llama", 0.0199)])
def test_d6_gives_the_papers_share_of_the_weights(model, share):
    """ "1-2 %" (Sec. 3.3): q, k, v, o at rank 128."""
    size = run_costs.sizes(load_params("paper", "tldr", model))
    embeddings = size.head if model == "gemma" else 2 * size.head  # Gemma's are tied
    assert size.adapter / (size.weights + embeddings) == pytest.approx(share, rel=0.01)


def test_the_plans_sizes_are_the_models_own():
    from activedpo_lib.method import adapters, models

    params = load_params("tiny", "tldr", "llama")
    base = models.load_policy(HOME / "activedpo_lib/assets/llama-0")
    size = run_costs.sizes(params)
    linear = sum(p.numel() for n, p in base.named_parameters() if "proj" in n)
    policy = adapters.with_adapter(
        base, adapters.lora_config(params.lora.rank, 32, params.lora.targets), stream=stream()
    )
    assert size.weights == linear
    assert size.head == base.lm_head.weight.numel()
    assert size.adapter == sum(p.numel() for n, p in policy.named_parameters() if "lora_" in n)


def stream():
    from activedpo_lib.streams import stream

    return stream(0, "adapter")


def test_a_job_is_running_failed_waiting_or_done(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "HOME", tmp_path)
    assert jobs.job_state("a.ipynb", "update pending") == "waiting"
    book = {"cells": [{"outputs": [{"output_type": "error"}]}]}
    (tmp_path / "a.ipynb").write_text(json.dumps(book))
    assert jobs.job_state("a.ipynb", "update pending") == "failed"
    assert jobs.job_state("a.ipynb", "no update") == "done"
    with open(tmp_path / "a.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert jobs.job_state("a.ipynb", "update pending") == "running"


def committed_copy(tmp_path, monkeypatch, table, code="abc"):
    """A repository whose committed figures are of profile smoke."""
    for module in (verify, reference):
        monkeypatch.setattr(module, "HOME", tmp_path)
    write_table(tmp_path / "figures/fig1_reward.csv", table)
    record = {"profile": "smoke", "commit": "1234", "code": code, "seed": [0]}
    write_json(tmp_path / "figures/provenance.json", record)
    return tmp_path / "figures/fig1_reward.csv"


def test_verify_finds_equal_numbers_equal_and_a_changed_one_changed(tmp_path, monkeypatch, capsys):
    changes = {"oracle.kind": "utility", "task.sft_rows": 32}
    monkeypatch.setattr(verify, "load_params", lambda *cell: load_params(*cell, overrides=changes))
    params = load_params("smoke", strategy="random", overrides=changes)
    table, _ = split_times(run_rounds(params, 0, tmp_path / "runs", log=lambda _: None))
    path = committed_copy(tmp_path, monkeypatch, table)
    assert verify.main(["smoke", "--strategy", "random"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("the committed figures: commit 1234, code abc; here: code ")
    assert "other code, so numbers may differ" in said.splitlines()[0]
    table = pd.read_csv(path)
    table.loc[1, "reward"] += 0.01
    write_table(path, table)
    assert verify.main(["smoke", "--strategy", "random"]) == 1
    assert "round 1, reward: committed" in capsys.readouterr().out


def rewards(seeds):
    cell = {"task": "t", "model": "m", "strategy": "random"}
    return pd.DataFrame(
        [
            cell | {"seed": s, "round": t, "labels": t, "reward": s + t}
            for s in seeds
            for t in (0, 1)
        ]
    )


def test_a_users_last_round_stands_beside_the_committed_one():
    row = reference.beside(rewards([0, 2]), rewards([1, 2, 3])).iloc[0]
    assert row[["reward", "seeds", "committed reward", "committed seeds"]].tolist() == [2, 2, 3, 3]
    assert row["committed reward ±"] == pytest.approx(4.303 * 1 / 3**0.5, rel=1e-3)  # t, 2 df


def test_the_reference_is_renewed_only_from_a_finished_batch(tmp_path, monkeypatch, capsys):
    committed_copy(tmp_path, monkeypatch, rewards([0]))
    alone = ("fig18_fresh_seeds_second_look", "fig20_equal_kl_random_steps")
    for name in ("fig1_reward", *alone):
        write_table(tmp_path / f"runs/smoke/figures/{name}.csv", rewards([0, 1]))
    found = [jobs.Job("costs", "x.ipynb", "waiting")]
    monkeypatch.setattr(reference, "batch_jobs", lambda *_: found)
    assert reference.main(["renew", "--seeds", "2"]) == 2
    assert "run `make all-figures SEEDS=2` first" in capsys.readouterr().err
    assert len(pd.read_csv(tmp_path / "figures/fig1_reward.csv")) == 2
    found[0] = found[0]._replace(state="done")
    assert reference.main(["renew", "--seeds", "2"]) == 0
    assert len(pd.read_csv(tmp_path / "figures/fig1_reward.csv")) == 4
    assert not (tmp_path / "figures/fig18_fresh_seeds_second_look.csv").exists()  # tried, not asked
    assert not (tmp_path / "figures/fig20_equal_kl_random_steps.csv").exists()


@pytest.mark.parametrize("keep", ["all", "last"])
def test_the_plan_says_which_adapters_are_dropped(keep):
    params = load_params("tiny", overrides={"adapters": keep})
    runs = plan.sized([(params, 0), (params, 1)])
    size = runs[0][2]
    kept = plan.adapter_bytes(runs)
    stays = {"all": params.rounds + 1, "last": 1}[keep]
    assert kept == (
        2 * 4 * size.adapter * stays,
        2 * 4 * size.adapter * (params.rounds + 1 - stays),
    )


def test_a_plan_of_150_jobs_is_made_in_seconds(tmp_path):
    tasks, models = (
        {f"{kind}{i}": {"source": "world"} if kind == "t" else {} for i in range(n)}
        for kind, n in (("t", 6), ("m", 8))
    )
    profile = tmp_path / "many.yaml"
    profile.write_text(
        json.dumps(
            {"tasks": tasks, "models": models, "strategies": ["random", "activedpo"], "seeds": 3}
        )
    )
    start = time.process_time()
    children = os.times().children_user
    found = jobs.batch_jobs(str(profile), 3)
    assert len(found) >= 150
    assert (
        time.process_time() - start + os.times().children_user - children < 60
    )  # some 2 s; a bound against blow-up only


def test_a_failed_jobs_copy_is_where_status_looks(tmp_path, monkeypatch):
    from nbformat import write
    from nbformat.v4 import new_code_cell, new_notebook

    cells = [new_code_cell("x = 1", metadata={"tags": ["parameters"]}), new_code_cell("1 / 0")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    write(new_notebook(cells=cells, metadata=kernel), tmp_path / "a.ipynb")
    assert execute([str(tmp_path / "a.ipynb"), str(tmp_path / "out.ipynb")]) == 1
    assert error_of(tmp_path / "out.ipynb") == "ZeroDivisionError: division by zero"
    (tmp_path / "none.ipynb").touch()  # the engine's, of a job that ended before it started
    assert "before its notebook started" in error_of(tmp_path / "none.ipynb")


def test_python_starts_the_status_without_torch():
    code = "import sys, activedpo_lib.batch.status; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_figures_job_reads_the_study_room_and_its_cost_model():
    """The engine reruns a job where an input's content changes: every study module is one."""
    command = [*engine_command("smoke", 2, "1", target="all_figures"), "--dry-run", "--forceall"]
    command[command.index("--quiet") : command.index("--quiet") + 3] = []
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    blocks = {block.split(":")[0]: block for block in told.split("rule ")[1:]}
    for rule in ("costs", "main_results", "over_optimisation", "world"):
        assert "activedpo_lib/study/costs.py" in blocks[rule]
        assert "activedpo_lib/study/drawing/plots.py" in blocks[rule]
    for rule in ("tour", "sft", "oracle", "activedpo", "baselines"):  # results of runs
        assert "activedpo_lib/study/" not in blocks[rule]
