"""The house's floors: a module imports lower floors only, siblings never."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parent.parent / "activedpo_lib"
FLOORS = (
    {"schema", "streams", "records", "locks", "shards", "rows", "progress", "clock"},
    {"params", "formulas", "projection", "design", "store", "runtime", "costs", "slots"},
    {"tasks", "models", "reward_models", "logps", "plots", "tables", "hub", "theory", "distortion"},
    {"generation", "gradients", "measures", "oracles", "training", "evaluation", "criteria", "clusters", "study_plots"},
    {"strategies", "candidates", "checkpoints", "artifacts", "launch", "replay", "studies"},
    {"runs"},
    {"rounds", "execute", "batch", "bases"},
    {"worker", "overview", "verify", "report", "reproduce", "probes", "claims"},
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
FILES = [path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py"]


def room(path):
    return path.relative_to(LIBRARY).with_suffix("").parts[0]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("activedpo_lib"):
            parts = node.module.split(".")[1:]
            yield from parts[:1] or [alias.name for alias in node.names]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_modules_import_lower_floors_only(path):
    own = room(path)
    for other in imported(path):
        assert FLOOR[other] < FLOOR[own] or (other == own == "tasks"), f"{own} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_bodies_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno + 1 <= 35, node.name


def test_configuration_stops_at_the_upper_floors():
    """Leaves take scalars and records; only artifacts and floor 5 see the whole Params."""
    for path in FILES:
        if FLOOR[room(path)] < 4 and room(path) != "params":
            assert not any(name in {"params", "schema"} for name in imported(path)), path
