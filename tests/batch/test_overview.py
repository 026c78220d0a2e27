"""Plan, status, report and verify, on a grid that is only planned, and on runs of the smoke
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

from activedpo_lib.batch import overview, report, verify
from activedpo_lib.batch.execute import main as execute
from activedpo_lib.params import load_params
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.store import HOME, write_table
from activedpo_lib.study.tables import split_times


def test_the_plan_counts_labels_and_compute_before_anything_is_spent():
    lines = list(overview.plan("tiny", 3))
    assert any("48 runs of 6 rounds; 11,520 labels by the oracle" in line for line in lines)
    assert any("FLOP" in line for line in lines)
    assert lines[-1].startswith("disk: ")


def test_the_papers_plan_needs_neither_data_nor_models():
    lines = list(overview.plan("paper", 3, studies=True))
    assert any("runs of 10 rounds or as the studies say" in line for line in lines)
    assert any("H100" in line for line in lines)


@pytest.mark.parametrize(("model", "share"), [("gemma", 0.0118), ("llama", 0.0199)])
def test_d6_gives_the_papers_share_of_the_weights(model, share):
    """ "1-2 %" (Sec. 3.3): q, k, v, o at rank 128."""
    size = overview.sizes(load_params("paper", "tldr", model))
    embeddings = size.head if model == "gemma" else 2 * size.head  # Gemma's are tied
    assert size.adapter / (size.weights + embeddings) == pytest.approx(share, rel=0.01)


def test_the_plans_sizes_are_the_models_own():
    from activedpo_lib.method import adapters, models

    params = load_params("tiny", "tldr", "llama")
    base = models.load_policy(HOME / "activedpo_lib/assets/llama-0")
    size = overview.sizes(params)
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
    monkeypatch.setattr(overview, "HOME", tmp_path)
    assert overview._state("a.ipynb", "update pending") == "waiting"
    book = {"cells": [{"outputs": [{"output_type": "error"}]}]}
    (tmp_path / "a.ipynb").write_text(json.dumps(book))
    assert overview._state("a.ipynb", "update pending") == "failed"
    assert overview._state("a.ipynb", "no update") == "done"
    with open(tmp_path / "a.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert overview._state("a.ipynb", "update pending") == "running"


@pytest.mark.parametrize("what", ["plan", "status"])
def test_an_unknown_profile_is_named(what, capsys):
    assert overview.main([what, "tinny"]) == 2
    assert "no profile 'tinny'" in capsys.readouterr().err


def test_a_report_without_runs_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "HOME", tmp_path)
    assert report.main(["smoke"]) == 2
    assert "run `make figures PROFILE=smoke` first" in capsys.readouterr().err


def test_the_report_escapes_what_a_model_wrote(tmp_path, monkeypatch):
    from nbformat import write
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    monkeypatch.setattr(report, "HOME", tmp_path)
    folder = tmp_path / "runs/smoke/notebooks"
    folder.mkdir(parents=True)
    evil = "<script>steal()</script><img src=x onerror=steal()>"
    outputs = [new_output("display_data", {"text/html": evil}), new_output("stream", text=evil)]
    write(new_notebook(cells=[new_code_cell("show()", outputs=outputs)]), folder / "x.ipynb")
    page = report.report("smoke").with_name("x.html").read_text()
    assert "steal()</script>" not in page.replace("&lt;/script&gt;", "")
    assert "onerror=steal" not in page.replace("&lt;img src=x onerror=steal", "")
    assert "x.html" in (tmp_path / "runs/smoke/report/index.html").read_text()


def test_verify_finds_equal_numbers_equal_and_a_changed_one_changed(tmp_path, monkeypatch):
    changes = {"oracle.kind": "utility", "task.sft_rows": 32}
    monkeypatch.setattr(verify, "load_params", lambda *cell: load_params(*cell, overrides=changes))
    monkeypatch.setattr(verify, "HOME", tmp_path)
    params = load_params("smoke", strategy="random", overrides=changes)
    table, _ = split_times(run_rounds(params, 0, tmp_path / "runs", log=lambda _: None))
    path = tmp_path / "figures/smoke/fig1_reward.csv"
    write_table(path, table)
    assert verify.differences("smoke", None, None, "random", 0) == []
    table = pd.read_csv(path)
    table.loc[1, "reward"] += 0.01
    write_table(path, table)
    assert [found[:2] for found in verify.differences("smoke", None, None, "random", 0)] == [
        (1, "reward")
    ]


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
    found = overview.jobs(str(profile), 3)
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
    assert overview._has_error(tmp_path / "out.ipynb")


def test_python_starts_the_overview_without_torch():
    code = "import sys, activedpo_lib.batch.overview; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
