"""Runs that are killed, interrupted, run twice or out of disk end in the same results, with nothing
half-written.
"""

import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from activedpo_lib import store
from activedpo_lib.params import load_params
from activedpo_lib.runs.checkpoints import run_folder
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.study.tables import split_times

OVERRIDES = {"oracle.kind": "utility", "task.sft_rows": 32, "rounds": 3}
KILLS = {"kernel": 20, "papermill": 20, "engine": 10}
if "ACTIVEDPO_KILLS" in os.environ:  # fewer of each, where time is short
    KILLS = dict.fromkeys(KILLS, int(os.environ["ACTIVEDPO_KILLS"]))


def smoke(**more):
    return load_params("smoke", strategy="activedpo", overrides=OVERRIDES | more)


def silent(_):
    pass


def results(root):
    """All that a profile's runs say, without times: {file: text}."""
    found = {}
    for path in sorted(Path(root).glob("rounds/*/*/*/seed*/round*/*.json")):
        if path.name in ("row.json", "labelled.json"):
            value = json.loads(path.read_text())
            if path.name == "row.json":
                value = {k: v for k, v in value.items() if "seconds" not in k}
            found[str(path.relative_to(root))] = json.dumps(value)
    return found


# --- one run


def test_the_same_params_write_the_same_bytes(tmp_path):
    texts = []
    for root in ("a", "b"):
        table, _ = split_times(run_rounds(smoke(), 0, tmp_path / root, log=silent))
        store.write_table(tmp_path / f"{root}.csv", table)
        texts.append((tmp_path / f"{root}.csv").read_bytes())
    assert texts[0] == texts[1]
    assert results(tmp_path / "a") == results(tmp_path / "b") != {}


def test_a_second_process_on_a_run_is_told_who_holds_it(tmp_path):
    place = tmp_path / "run"
    held = f"""
import time
from activedpo_lib.store import locked
with locked({str(place)!r}):
    print("up", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", held], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "up\n"
        message = f"is held by process {holder.pid} on .* since .*: wait for it, or stop it"
        with pytest.raises(store.RunHeld, match=message), store.locked(place, patience=0.3):
            pass
        holder.kill()
    with store.locked(tmp_path / "run", patience=5):  # the lock died with its holder
        pass


def test_a_full_disk_is_named_and_earlier_rounds_stay(tmp_path, monkeypatch):
    real, calls = store._sync, []

    def full(path):
        calls.append(path)
        if "round2" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path)

    monkeypatch.setattr(store, "_sync", full)
    with pytest.raises(
        store.DiskFull,
        match=r"no space left on the disk of .*: free some, or name another folder as root",
    ):
        run_rounds(smoke(), 0, tmp_path, log=silent)
    folder = run_folder(smoke(), 0, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["round0", "round1"]
    monkeypatch.undo()
    assert len(run_rounds(smoke(), 0, tmp_path, log=silent)) == 4


def test_leftovers_of_a_kill_are_swept(tmp_path):
    run_rounds(smoke(), 0, tmp_path, log=silent)
    folder = run_folder(smoke(), 0, tmp_path)
    (folder / ".round2.abcd1234").mkdir()
    (folder / ".round2.abcd1234" / "row.json").write_text("half")
    run_rounds(smoke(), 0, tmp_path, log=silent)
    assert sorted(path.name for path in folder.iterdir()) == [f"round{t}" for t in range(4)]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1e6])
def test_a_loss_that_explodes_stops_the_run_with_its_rounds_kept(loss, tmp_path, monkeypatch):
    from activedpo_lib.method import training

    real, calls = training._train, []

    def exploding(trainer, what):
        calls.append(what)
        if calls.count("DPO") == 2:
            monkeypatch.setattr(
                type(trainer), "train", lambda *_: type("R", (), {"training_loss": loss})
            )
        return real(trainer, what)

    monkeypatch.setattr(training, "_train", exploding)
    with pytest.raises(
        training.TrainingDiverged,
        match=r"DPO: the loss became (nan|inf|1000000.0); lower the learning rate",
    ):
        run_rounds(smoke(), 0, tmp_path, log=silent)
    folder = run_folder(smoke(), 0, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["round0", "round1"]


# --- whole batches, killed (slow)


def notebook_command(root):
    return [
        sys.executable,
        "-m",
        "activedpo_lib.batch.execute",
        "notebooks/04_activedpo_rounds.ipynb",
        f"{root}/out.ipynb",
        "-p",
        "profile",
        "smoke",
        "-p",
        "root",
        str(root),
        "-p",
        "seeds",
        "[0, 1]",
        "-p",
        "table",
        f"{root}/table.csv",
    ]


def children(pid):
    """The process ids of all descendants."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(path.parent.name)
            found += [child, *children(child)]
    return found


def kill(process, target):
    """SIGKILL the notebook's kernel, or the process that was started (papermill, the engine)."""
    if target != "kernel":
        os.kill(process.pid, signal.SIGKILL)
        return True
    for pid in children(process.pid):
        try:
            if "ipykernel_launcher" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
                return True
        except OSError:
            continue
    return False


def killed_until_done(command, folder, environment, target, wanted, draw):
    """Start `command`, kill it at random moments, start it again; returns the kills once it ends by
    itself.
    """
    kills = 0
    while True:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(draw.uniform(2, 14) if kills < wanted else None)
        except subprocess.TimeoutExpired:
            kills += kill(process, target)
            process.wait()
            continue
        if process.returncode == 0:
            return kills


@pytest.mark.slow
@pytest.mark.parametrize("target", ["kernel", "papermill"])
def test_notebooks_killed_again_and_again_end_as_unbroken_ones(target, copy_of_project, tmp_path):
    folder, environment = copy_of_project
    whole = tmp_path / "whole"
    assert killed_until_done(notebook_command(whole), folder, environment, target, 0, None) == 0
    draw, kills, attempt = random.Random(target), 0, 0
    while kills < KILLS[target]:
        root = tmp_path / f"killed{attempt}"
        kills += killed_until_done(
            notebook_command(root), folder, environment, target, KILLS[target] - kills, draw
        )
        assert results(root) == results(whole) != {}
        tables = [split_times(pd.read_csv(place / "table.csv"))[0] for place in (root, whole)]
        pd.testing.assert_frame_equal(*tables, check_exact=True)
        attempt += 1
    print(f"{kills} kills of the {target} survived, {attempt} whole runs")


def batch_command(*more):
    return [sys.executable, "-m", "activedpo_lib.batch.batch", "smoke", *more]


@pytest.mark.slow
def test_an_engine_killed_again_and_again_ends_as_an_unbroken_one(copy_of_project):
    folder, environment = copy_of_project
    subprocess.run(
        batch_command("--cores", "1"), cwd=folder, env=environment, check=True, capture_output=True
    )
    whole = results(folder / "runs/smoke")
    table = (folder / "runs/smoke/figures/fig1_reward.csv").read_bytes()
    os.rename(folder / "runs", folder / "runs-one-worker")
    kills = killed_until_done(
        batch_command("--cores", "2"),
        folder,
        environment,
        "engine",
        KILLS["engine"],
        random.Random(0),
    )
    assert kills > 0
    assert results(folder / "runs/smoke") == whole
    assert (
        folder / "runs/smoke/figures/fig1_reward.csv"
    ).read_bytes() == table  # and one worker's bytes are two workers'
    print(f"{kills} kills of the engine survived")
    check_what_reruns(folder, environment)


def states(folder, environment):
    """The first line of `make status` in the copy."""
    command = [sys.executable, "-m", "activedpo_lib.batch.status", "smoke"]
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.split("\n")[0]


def check_what_reruns(folder, environment):
    """A touch reruns nothing; a notebook reruns itself and what reads its table; params and library
    code what they touch.
    """
    assert states(folder, environment).startswith("10 done, 0 running, 0 failed, 0 waiting")
    for path in [
        *folder.glob("notebooks/*.ipynb"),
        *folder.glob("activedpo_lib/*.py"),
        *folder.glob("params/*.yaml"),
    ]:
        path.touch()
    assert states(folder, environment).startswith("10 done")
    original = {}
    for name, old, new, expected in (
        (
            "notebooks/09_over_optimisation.ipynb",
            '"cells": [',
            '"cells":  [',
            "9 done, 0 running, 0 failed, 1 waiting",
        ),
        (
            "params/smoke.yaml",
            "rounds: 2",
            "rounds: 3",
            "3 done",
        ),  # the world, pi_SFT and the oracle stay
        ("activedpo_lib/method/gradients.py", "import numpy", "import numpy ", "0 done"),
        (
            "activedpo_lib/study/drawing/plots.py",
            "import numpy",
            "import numpy ",
            "5 done, 0 running, 0 failed, 5 waiting",
        ),  # the figures, over-optimisation, the world, the person, the pool seen
    ):
        original[name] = (folder / name).read_text()
        assert old in original[name]
        (folder / name).write_text(original[name].replace(old, new, 1))
        assert states(folder, environment).startswith(expected), (name, states(folder, environment))
        (folder / name).write_text(original[name])


@pytest.mark.slow
def test_ctrl_c_stops_a_batch_within_seconds_and_says_how_to_go_on(copy_of_project):
    folder, environment = copy_of_project
    process = subprocess.Popen(
        batch_command(),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    time.sleep(25)
    below = children(process.pid)
    assert below
    os.killpg(process.pid, signal.SIGINT)
    start = time.monotonic()
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - start < 15
    assert process.returncode == 130
    assert "stopped; finished rounds are kept: the same command goes on" in said
    time.sleep(5)
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]
    with open(folder / "runs/smoke/.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], check=False
    ).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        with pytest.raises(store.DiskFull, match="no space left"):
            run_rounds(smoke(rounds=40), 0, disk, log=silent)
        folder = run_folder(smoke(rounds=40), 0, disk)
        saved = [json.loads(path.read_text()) for path in folder.glob("round*/row.json")]
        assert sorted(row["round"] for row in saved) == list(range(len(saved)))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
