"""The strict wrapper around papermill, and the batch's command line."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook

from activedpo_lib.batch import batch
from activedpo_lib.batch.engine import engine_command
from activedpo_lib.batch.execute import NotebookError, checked, declared, execute, main
from activedpo_lib.store import HOME
from activedpo_lib.study.notebooks import ALONE


def notebook(path, cells, tagged=True):
    book = new_notebook(cells=[new_code_cell(source) for source in cells])
    book.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
    }
    if tagged:
        book.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(book, path)
    return path


PARAMETERS = 'profile = "tiny"\nseeds = [0]\nrate = 0.5\ncount = 3\nflag = True\nfree = None'


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"profil": "x"}, "has no parameter 'profil'; did you mean profile?"),
        ({"zzz": 1}, r"has no parameter 'zzz'; it takes \['count', 'flag'"),
        ({"seeds": 3}, "seeds must be list, got int 3"),
        (
            {"rate": "1e-5"},
            r"rate must be float, got str '1e-5' \(YAML reads 1e-5 as text: write 1.0e-5\)",
        ),
        ({"count": 1.5}, "count must be int, got float 1.5"),
        ({"count": True}, "count must be int, got bool True"),
        ({"profile": 7}, "profile must be str, got int 7"),
        ({"seeds": []}, r"seeds must be a list of at least one int, got \[\]"),
        ({"seeds": [0, "1"]}, r"seeds must be a list of at least one int, got \[0, '1'\]"),
        ({"seeds": [1, 1]}, r"seeds must have each value once and none below 0, got \[1, 1\]"),
        ({"seeds": [-1]}, "seeds must have each value once and none below 0"),
    ],
)
def test_a_bad_parameter_is_named_before_a_kernel_starts(values, message, tmp_path):
    with pytest.raises(NotebookError, match=message):
        execute(notebook(tmp_path / "a.ipynb", [PARAMETERS]), tmp_path / "out.ipynb", values)
    assert not (tmp_path / "out.ipynb").exists()


def test_good_parameters_pass(tmp_path):
    path = notebook(tmp_path / "a.ipynb", [PARAMETERS])
    values = {"seeds": [1, 2], "rate": 1, "free": "anything", "profile": "smoke"}
    assert checked(path, values) == values
    assert declared(path)["seeds"] == [0]


def test_a_notebook_without_parameters_or_that_is_missing_is_named(tmp_path):
    with pytest.raises(NotebookError, match="has no cell tagged `parameters`"):
        declared(notebook(tmp_path / "a.ipynb", ["x = 1"], tagged=False))
    with pytest.raises(NotebookError, match="is not a file; the notebooks are in notebooks/"):
        declared(tmp_path / "none.ipynb")


def test_a_failing_cell_leaves_the_copy_with_its_traceback(tmp_path, capsys):
    path = notebook(tmp_path / "a.ipynb", ["x = 1", "print('before')", "1 / 0"])
    assert main([str(path), str(tmp_path / "out.ipynb"), "-p", "x", "2"]) == 1
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err
    outputs = [
        o
        for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells
        for o in cell.get("outputs", [])
    ]
    assert any(o.output_type == "error" for o in outputs)


def test_refused_parameters_exit_with_two(tmp_path, capsys):
    path = notebook(tmp_path / "a.ipynb", ["x = 1"])
    assert main([str(path), str(tmp_path / "out.ipynb"), "-p", "y", "2"]) == 2
    assert "has no parameter 'y'" in capsys.readouterr().err


def test_two_batches_of_one_profile_do_not_run_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(batch, "HOME", tmp_path)
    waiting = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(30)"]
    monkeypatch.setattr(batch, "engine_command", lambda *_: waiting)
    import fcntl

    (tmp_path / "runs" / "smoke").mkdir(parents=True)
    with open(tmp_path / "runs" / "smoke" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert batch.run_batch("smoke", 1, "1") == 2
    assert "another batch of profile smoke is running" in capsys.readouterr().err


def test_a_second_process_waits_for_the_first_to_finish_a_notebook(tmp_path):
    path = notebook(tmp_path / "a.ipynb", ["x = 1", "import time; time.sleep(3)"])
    command = [
        sys.executable,
        "-m",
        "activedpo_lib.batch.execute",
        str(path),
        str(tmp_path / "out.ipynb"),
    ]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sum("is being written by another process; waiting for it" in text for text in said) == 1


def test_every_jobs_command_is_one_that_its_notebook_takes():
    """The engine's dry run prints what it would start: the studies' commands too."""
    command = [*engine_command("smoke", 2, "1", target="all_figures"), "--dry-run"]
    command += ["--forceall", "--printshellcmds"]
    for alone in ALONE:
        command.insert(command.index("all_figures"), alone)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    started = re.findall(r"-m activedpo_lib\.batch\.execute (.+)", told)
    assert {Path(book) for book in re.findall(r"notebooks/\d\d_\w+\.ipynb", " ".join(started))} >= {
        path.relative_to(HOME) for path in (HOME / "notebooks").glob("*.ipynb")
    }
    for line in started:
        words = shlex.split(line)
        book = next(word for word in words if word.startswith("notebooks/"))
        at = [i for i, word in enumerate(words) if word == "-p"]
        checked(HOME / book, {words[i + 1]: yaml.safe_load(words[i + 2]) for i in at})


def test_a_profile_in_a_folder_with_a_space_stays_one_word(tmp_path):
    profile = tmp_path / "my folder" / "own.yaml"
    profile.parent.mkdir()
    shutil.copyfile(HOME / "params" / "smoke.yaml", profile)
    command = [*engine_command(str(profile), 2, "1"), "--dry-run", "--printshellcmds"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    started = [shlex.split(line) for line in told.splitlines() if "batch.execute" in line]
    asked = [words[words.index("profile") + 1] for words in started if "profile" in words]
    assert len(asked) > 3
    assert set(asked) == {str(profile)}


def test_figure_1_waits_for_the_room_where_the_studies_are_made():
    """Else a clean batch would draw Figure 1 without it, and nothing would draw it again."""
    read = {}
    for target in ("all", "all_figures"):
        command = [*engine_command("smoke", 2, "1", target=target), "--dry-run", "--forceall"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        (job,) = re.findall(r"rule main_results:\n +input: (.+)\n", told)
        read[target] = "fig16_room.csv" in job
    assert read == {"all": False, "all_figures": True}


def test_only_what_is_alone_at_the_end_has_several_runs_at_once():
    """A study of `make all-figures` has other notebooks beside it, a cluster a job a processor."""
    at_once = {}
    for target, cluster in (("all_figures", ""), ("strategies", ""), ("strategies", "none")):
        command = [*engine_command("smoke", 2, "2", cluster, target), "--dry-run", "--forceall"]
        command += ["--printshellcmds"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.findall(r"OMP_NUM_THREADS=1 .*AT_ONCE=(\d+) .+notebooks/(\d\d)_\w+\.ipynb", told)
        at_once[target, cluster] = {number: many for many, number in found}
    assert set(at_once["all_figures", ""].values()) == {"1"}
    assert at_once["strategies", ""]["19"] == "2"
    assert at_once["strategies", ""]["07"] == "1"
    assert at_once["strategies", "none"]["19"] == "1"


def test_a_rules_command_reads_no_name_that_a_loop_moves_on():
    """A job's command is put together when it starts: a loop's variable then has its last value,
    though the dry run shows each its own.
    """
    commands = re.findall(r'shell: f"(.+)"', (HOME / "Snakefile").read_text(encoding="utf-8"))
    assert len(commands) > 5
    for command in commands:
        read = re.findall(r"(?<!{){([^{}]+)}(?!})", command)
        assert read, command
        assert [name for name in read if not name.isupper()] == [], command
