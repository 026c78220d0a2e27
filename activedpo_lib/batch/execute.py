"""Run a notebook by papermill, strictly: bad parameters are errors before a kernel starts.

`python -m activedpo_lib.batch.execute NOTEBOOK OUTPUT -p name value ...` writes the executed copy
to OUTPUT, also where it fails.
"""

import ast
import contextlib
import difflib
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from activedpo_lib.batch import arguments
from activedpo_lib.batch.gpus import hold_gpus
from activedpo_lib.store import try_lock

LOCKS = (
    Path(tempfile.gettempdir()) / f"activedpo-gpus-{os.getuid()}"
)  # one folder for all clones: a card has one owner

ENVIRONMENT = {
    # One thread a job: two jobs on two cores beat one job on two, and the sums come out the same.
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",  # a bar is for somebody who looks; a batch has lines
    # glibc keeps a tensor's memory for the next, up to the size that it takes (mallopt's most), not
    # handing it back to be asked for anew: some 5 % of a small run's time.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}  # of every job that does not say otherwise


class NotebookError(arguments.BadArgument):
    """A notebook cannot be run with these parameters. The message names the parameter, what was
    expected, the remedy.
    """


def declared(notebook: Path | str) -> dict[str, Any]:
    """{name: default value} of the notebook's cell tagged `parameters`. Raises NotebookError where
    there is none.
    """
    import papermill

    if not Path(notebook).is_file():
        raise NotebookError(f"{notebook} is not a file; the notebooks are in notebooks/")
    found = papermill.inspect_notebook(str(notebook))
    if not found:
        raise NotebookError(
            f"{notebook} has no cell tagged `parameters`, so it takes none; tag one in JupyterLab"
        )
    return {name: ast.literal_eval(spec["default"]) for name, spec in found.items()}


def checked(notebook: Path | str, values: dict[str, Any]) -> dict[str, Any]:
    """`values`, or NotebookError: every name declared by the notebook, every value of its default's
    type.
    """
    known = declared(notebook)
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; it takes {sorted(known)}"
            raise NotebookError(f"{notebook} has no parameter {name!r}{hint}")
        kind = type(known[name])
        if (
            kind is not type(None)
            and type(value) is not kind
            and not (kind is float and type(value) is int)
        ):
            remedy = (
                " (YAML reads 1e-5 as text: write 1.0e-5)"
                if kind is float and isinstance(value, str)
                else ""
            )
            raise NotebookError(
                f"{notebook}: {name} must be {kind.__name__}, got {type(value).__name__} "
                f"{value!r}{remedy}"
            )
        if kind is list:
            _check_list(f"{notebook}: {name}", known[name], value)
    return values


def _check_list(where: str, default: list, value: list) -> None:
    """As many as one likes, but some, of the default's kind, and none twice; numbers (seeds) from
    0.
    """
    item = type(default[0]) if default else str
    if not value or any(type(v) is not item for v in value):
        raise NotebookError(
            f"{where} must be a list of at least one {item.__name__}, got {value!r}"
        )
    if len(set(value)) < len(value) or (item is int and min(value) < 0):
        raise NotebookError(
            f"{where} must have each value once{' and none below 0' * (item is int)}, got {value!r}"
        )


def execute(
    notebook: Path | str,
    output: Path | str,
    values: dict[str, Any],
    gpus: int = 1,
    jobs_per_gpu: int = 1,
) -> None:
    """Run `notebook` with `values`; the executed copy goes to `output`, with the traceback where a
    cell fails.

    gpus: cards that it holds while it runs, where the machine has any, with at most `jobs_per_gpu`
    notebooks on each. The notebook's printed lines are passed on as they come. Raises NotebookError
    before, PapermillExecutionError after.
    """
    import papermill
    from traitlets.config import Config

    checked(notebook, values)
    if Path(output).suffix != ".ipynb" or Path(output).resolve() == Path(notebook).resolve():
        raise NotebookError(
            f"expected another .ipynb for the executed copy, got {output}; name a file of its own"
        )
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with (
        _locked(output),
        hold_gpus(LOCKS, gpus, jobs_per_gpu),
        tempfile.TemporaryDirectory(prefix="activedpo-") as sockets,
    ):
        # Sockets in a folder of the job's own: no port, and no path, to clash with another job's
        # kernel.
        config = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        papermill.execute_notebook(
            str(notebook),
            str(output),
            values,
            kernel_name="python3",
            progress_bar=False,
            config=config,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            cwd=str(Path(notebook).parent),
        )


@contextlib.contextmanager
def _locked(output: Path | str) -> Iterator[None]:
    """Wait for a process that still writes `output`: an engine that was killed leaves its notebooks
    running.
    """
    with open(Path(output).with_suffix(".lock"), "w") as lock:
        if not try_lock(lock):
            print(f"{output} is being written by another process; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def given_values(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """{name: value} of -p's pairs, each value read as YAML. Raises NotebookError naming the one
    that is not.
    """
    values = {}
    for name, text in pairs:
        try:
            values[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise NotebookError(
                f"-p {name}: expected a value in YAML, got {text!r} ({error}); quote what YAML "
                "reads as its own"
            ) from None
    return values


@arguments.command
def main(given: Sequence[str] | None = None) -> int:
    """The command line. Exit status 0 done, 1 a cell failed, 2 the parameters were refused."""
    parser = arguments.Arguments(
        prog="python -m activedpo_lib.batch.execute", description=__doc__.splitlines()[0]
    )
    parser.add_argument("notebook")
    parser.add_argument("output")
    parser.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="VALUE is read as YAML",
    )
    count = arguments.whole_number
    parser.add_argument(
        "--gpus",
        type=count(0, "0 where it needs none"),
        default=1,
        help="cards that the notebook needs, where there are any",
    )
    parser.add_argument("--jobs-per-gpu", type=count(1, "1 gives each a card"), default=1)
    asked = parser.parse_args(given)
    from papermill.exceptions import PapermillExecutionError

    try:
        execute(asked.notebook, asked.output, given_values(asked.p), asked.gpus, asked.jobs_per_gpu)
    except PapermillExecutionError as error:
        print(
            f"error: {error.ename}: {error.evalue}\n  the executed copy with the traceback: "
            f"{asked.output}",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
