"""Every argument of every command: a bad one is one line and status 2, and nothing starts."""

import importlib
import os
import subprocess
import sys

import pytest

from activedpo_lib.batch import arguments, batch
from activedpo_lib.store import HOME

BATCH = [
    (["tinny"], "no profile 'tinny'"),
    (["no/where.yaml"], "no profile 'no/where.yaml'"),
    (["smoke", "--seeds", "-1"], "expected a whole number of at least 1, got '-1'; leave it out"),
    (["smoke", "--seeds", "0"], "expected a whole number of at least 1, got '0'"),
    (["smoke", "--seeds", "x"], "expected a whole number of at least 1, got 'x'"),
    (["smoke", "--sedes", "1"], "unrecognized arguments: --sedes"),
]
REFUSED = [
    *(("batch", given, said) for given, said in BATCH),
    *(("plan", given, said) for given, said in BATCH),
    *(("status", given, said) for given, said in BATCH),
    ("batch", ["smoke", "--cores", "0"], "at least 1, got '0'; or `all` for every core"),
    ("batch", ["smoke", "--cores", "-2"], "at least 1, got '-2'"),
    ("batch", ["smoke", "--cores", "x"], "at least 1, got 'x'"),
    ("batch", ["smoke", "--cluster", "no/folder"], "got 'no/folder'; leave it out"),
    ("batch", ["smoke", "--cluster", "params"], "with Snakemake's config.yaml"),
    ("execute", [], "required: notebook, output"),
    ("execute", ["none.ipynb", "o.ipynb"], "none.ipynb is not a file; the notebooks are in"),
    ("execute", ["TOUR", "o.ipynb", "--gpus", "-1"], "at least 0, got '-1'; 0 where it needs none"),
    ("execute", ["TOUR", "o.ipynb", "--jobs-per-gpu", "0"], "at least 1, got '0'"),
    ("execute", ["TOUR", "o.ipynb", "-p", "profile", "7"], "profile must be str, got int 7"),
    ("execute", ["TOUR", "o.ipynb", "-p", "profil", "x"], "did you mean profile?"),
    ("execute", ["TOUR", "o.ipynb", "-p", "profile", "["], "-p profile: expected a value in YAML"),
    ("execute", ["TOUR", "TOUR"], "expected another .ipynb for the executed copy"),
    ("execute", ["TOUR", "out.txt"], "expected another .ipynb for the executed copy"),
    ("verify", ["smoke"], "the committed figures are of profile tiny, got smoke"),
    ("verify", ["--task", "x"], "--task: expected one of the committed table's (tldr, webgpt)"),
    ("verify", ["--model", "x"], "--model: expected one of the committed table's (gemma, llama)"),
    ("verify", ["--strategy", "x"], "--strategy: expected one of the committed table's (activedpo"),
    ("verify", ["--seed", "99"], "--seed: expected one of the committed table's (0, 1, 2"),
    ("verify", ["--seed", "-1"], "expected a whole number of at least 0, got '-1'"),
    ("reference", ["sell"], "invalid choice: 'sell'"),
    ("reference", ["renew", "--seeds", "0"], "expected a whole number of at least 1, got '0'"),
    ("bases", ["llama-7"], "expected names of llama-0, gemma-0, llama-1, got 'llama-7'"),
]


@pytest.mark.parametrize(
    ("command", "given"),
    [("batch", []), ("plan", []), ("status", []), ("verify", []), ("reference", ["compare"])],
)
def test_an_installed_library_without_its_repository_is_told_so(
    command, given, monkeypatch, tmp_path, capsys
):
    module = importlib.import_module(f"activedpo_lib.batch.{command}")
    monkeypatch.setattr(arguments, "HOME", tmp_path)
    assert module.main(given) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(
        f"error: expected a checkout, with Snakefile and notebooks/, at {tmp_path}"
    )
    assert "call run_rounds from Python" in told.err


@pytest.mark.parametrize(("command", "given", "said"), REFUSED)
def test_a_bad_argument_is_one_line_and_nothing_starts(command, given, said, monkeypatch, capsys):
    module = importlib.import_module(f"activedpo_lib.batch.{command}")
    tour = str(batch.HOME / "notebooks" / "01_tour.ipynb")

    def started(*_args, **_more):
        raise AssertionError("work started")

    for name in ("follow_engine", "batch_jobs", "differences", "make_bases"):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, started)
    monkeypatch.setattr("papermill.execute_notebook", started)
    assert module.main([tour if text == "TOUR" else text for text in given]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert said in told.err
    assert told.err.count("\n") == 1


def run_with_a_closed_pipe(body):
    """A command that does `body`, its stdout a pipe whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    code = "from activedpo_lib.batch.arguments import command\nimport sys\n"
    code += f"def main(_):\n    {body}\n    return 0\nsys.exit(command(main)())"
    found = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, cwd=HOME, check=False
    )
    os.close(writing)
    return found


def test_a_reader_that_has_seen_enough_is_no_traceback():
    found = run_with_a_closed_pipe("print('a line')")
    assert (found.returncode, found.stderr) == (128 + 13, b"")


def test_another_pipe_that_breaks_is_told():
    def main(_):
        raise BrokenPipeError("a worker died")

    with pytest.raises(BrokenPipeError, match="a worker died"):
        arguments.command(main)([])
