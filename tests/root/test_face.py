"""The face: the names that `from activedpo_lib import ...` offers."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import jedi
import pytest

import activedpo_lib

FACE = Path(activedpo_lib.__file__)
HOME = FACE.parent.parent


@pytest.mark.parametrize("name", activedpo_lib.__all__)
def test_every_public_name_is_what_its_home_defines(name):
    found, home = getattr(activedpo_lib, name), activedpo_lib._HOMES[name]
    module = importlib.import_module(f"activedpo_lib.{home}")
    assert found is module or found is vars(module)[name]
    if getattr(found, "__module__", "").startswith("activedpo_lib"):
        assert found.__module__ == f"activedpo_lib.{home}", "the name's home is where it is made"


def test_dir_and_completion_list_the_names():
    from IPython.core.completer import Completer

    assert dir(activedpo_lib) == activedpo_lib.__all__ == sorted(activedpo_lib._HOMES)
    offered = Completer(namespace={"a": activedpo_lib}).attr_matches("a.load")
    assert offered == ["a.load_params", "a.load_task"]


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        ('open_run(load_params("tiny"), 0)', {"params", "strategy", "task", "score", "stream"}),
        ("measure(pool, needs, past, reader)", {"phi", "margin", "ridge", "ids", "own"}),
    ],
)
def test_completion_knows_what_a_call_returns(made, wanted):
    """As JupyterLab asks: `run.` and `candidates.`, from the annotations alone."""
    source = f"from activedpo_lib import load_params, measure, open_run\nx = {made}\nx."
    assert wanted <= {found.name for found in jedi.Script(source).complete()}


def test_type_checkers_see_the_names_at_the_same_homes():
    block = next(
        node
        for node in ast.parse(FACE.read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        alias.name: node.module.removeprefix("activedpo_lib.")
        for node in block.body
        for alias in node.names
    }
    modules = {name for name, home in activedpo_lib._HOMES.items() if home.endswith(f".{name}")}
    homes = activedpo_lib._HOMES
    assert seen == homes | {name: homes[name].rpartition(".")[0] for name in modules}


@pytest.mark.parametrize("statement", ["import activedpo_lib", "activedpo_lib.load_params('tiny')"])
def test_the_face_and_params_import_neither_torch_nor_trl(statement):
    code = f"import activedpo_lib, json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True
    )
    assert not {"torch", "trl", "transformers", "pandas"} & set(json.loads(done.stdout))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match=r"no 'run_round'.*run_rounds"):
        activedpo_lib.run_round  # noqa: B018 - looking it up is the test
    with pytest.raises(ImportError):
        importlib.import_module("activedpo_lib.run_round")


def test_the_page_on_strategies_lists_the_public_names():
    page = HOME / "docs" / "how" / "strategy.md"
    readme = page.read_text(encoding="utf-8")
    listed = re.search(r"Public names: (.*?)\.\s", readme, re.S)[1]
    assert set(re.findall(r"`(\w+)`", listed)) == set(activedpo_lib.__all__)
