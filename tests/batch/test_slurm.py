"""The batch as jobs of a real Slurm: `make test-slurm`, where there is one to submit to."""

import os
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from activedpo_lib.study.tables import split_times

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        subprocess.run("sinfo -h", shell=True, capture_output=True).returncode != 0,
        reason="no Slurm here: cluster/slurm/single_node.sh FOLDER starts one",
    ),
]


def batch(copy, *arguments):
    """`make figures` in the copy of the project, with these arguments."""
    folder, environment = copy
    command = [sys.executable, "-m", "activedpo_lib.batch.batch", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_batch_on_slurm_gives_this_machines_tables(copy_of_project):
    folder, _ = copy_of_project
    here = batch(copy_of_project, "smoke")
    assert here.returncode == 0, here.stdout + here.stderr
    table = (folder / "runs/smoke/figures/fig1_reward.csv").read_bytes()
    for place in ("runs", ".snakemake"):
        os.rename(folder / place, folder / f"{place}-here")
    done = batch(copy_of_project, "smoke", "--cluster", "cluster/slurm")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "runs/smoke/figures/fig1_reward.csv").read_bytes() == table


# One run of more than a minute on a quiet core: Slurm's shortest limit is one.
LONG = {
    "strategies": ["activedpo"],
    "seeds": 1,
    "rounds": 40,
    "generation": {"prompts": 80},
    "evaluation": {"prompts": 120, "responses": 2},
}
TABLE = "runs/long/tables/activedpo_tldr_llama.csv"


def write_limit(folder, minutes):
    """Settings in which the job of that table may take so many minutes, the others as usual."""
    settings = yaml.safe_load((folder / "cluster/slurm/config.yaml").read_text())
    (folder / "cluster/short").mkdir(exist_ok=True)
    settings |= {"set-resources": [f"activedpo:runtime={minutes}"]}
    (folder / "cluster/short/config.yaml").write_text(yaml.safe_dump(settings))


def make_table(copy, cluster=""):
    """The engine's jobs for one cell's table alone, as a batch runs them."""
    folder, environment = copy
    code = (
        "import sys; from activedpo_lib.batch.batch import run_batch; "
        f"sys.exit(run_batch('long', 1, '2', {cluster!r}, {TABLE!r}))"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_job_that_the_time_limit_kills_goes_on_to_the_same_bytes(copy_of_project):
    folder, _ = copy_of_project
    profile = yaml.safe_load((folder / "params/smoke.yaml").read_text())
    (folder / "params/long.yaml").write_text(yaml.safe_dump(profile | LONG | {"profile": "long"}))
    limit, saved = 1, [0]  # minutes, and finished rounds after each kill
    for _ in range(20):
        write_limit(folder, limit)
        done = make_table(copy_of_project, "cluster/short")
        if done.returncode == 0:
            break
        log = "".join(path.read_text() for path in folder.glob(".snakemake/slurm_logs/**/*.log"))
        assert log.count("DUE TO TIME LIMIT") >= len(saved), done.stdout + done.stderr + log[-2000:]
        saved.append(len(list(folder.glob("runs/long/rounds/*/*/*/*/round*/row.json"))))
        limit *= 1 + (saved[-1] == saved[-2])  # too short for a round: this machine is busy
    print(f"rounds kept after each kill: {saved[1:]}; the last limit: {limit} min")
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(0 < kept <= LONG["rounds"] for kept in saved), "no kill was in the middle of a run"
    assert saved == sorted(saved)  # nothing that was finished is lost

    resumed = results(folder)
    for place in ("runs", ".snakemake"):
        os.rename(folder / place, folder / f"{place}-slurm")
    whole = make_table(copy_of_project)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert len(resumed) == 1 + 2 * (LONG["rounds"] + 1)
    assert results(folder) == resumed


def results(folder):
    """{what: its bytes}: the table without its times, and every round's labels and adapter."""
    table, _ = split_times(pd.read_csv(folder / TABLE))
    files = folder.glob("runs/long/rounds/*/*/*/*/round*/*")
    kept = [path for path in files if path.name in ("labelled.json", "adapter.safetensors")]
    return {TABLE: table.to_csv()} | {
        str(path.relative_to(folder)): path.read_bytes() for path in kept
    }
