"""The house's rooms: a room imports the rooms to its left, no circles inside; files and signatures
are small, and every public function says its types.
"""

import ast
import re

import pytest

from activedpo_lib.store import HOME

LIBRARY = HOME / "activedpo_lib"
FILES = sorted(path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py")
# root <- {method, tasks, people, course} <- runs <- study <- batch <- site
LEFT = {
    "root": set(),
    "method": {"root"},
    "tasks": {"root"},
    "people": {"root"},
    "course": {"root"},
    "runs": {"root", "method", "tasks", "people"},
    "study": {"root", "method", "tasks", "people", "runs"},
    "batch": {"root", "method", "tasks", "people", "course", "runs", "study"},
    "site": {"root", "method", "tasks", "people", "course", "runs", "study", "batch"},
}
MOST_PARAMETERS, MOST_FILES, MOST_LINES, MOST_BODY = 7, 16, 250, 35


def module(path):
    parts = path.relative_to(HOME).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path) for path in FILES}


def room(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LEFT else "root"


def read(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path):
    """Every module of the library that a file imports, or names in a string that is no docstring
    and not in backticks (a command; a remedy in an error's text is in backticks).
    """
    tree = read(path)
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("activedpo_lib"))
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("activedpo_lib"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module
        elif isinstance(node, ast.Constant) and id(node) not in documented:
            named = re.sub(r"`[^`]*`", "", str(node.value))
            yield from MODULES & set(re.findall(r"activedpo_lib(?:\.\w+)+", named))


def functions(path):
    return [n for n in ast.walk(read(path)) if isinstance(n, ast.FunctionDef)]


def parameters(function):
    given = function.args
    names = (*given.posonlyargs, *given.args, *given.kwonlyargs)
    return [a for a in names if a.arg not in ("self", "cls")]


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_room_imports_rooms_to_its_left(path):
    own = room(module(path))
    for other in imported(path):
        assert room(other) in LEFT[own] | {own}, f"{module(path)} imports {other}"


def test_no_room_has_a_circle():
    arrows = {module(path): {o for o in imported(path) if o != module(path)} for path in FILES}
    assert not circle_in(arrows)
    assert circle_in(arrows | {"a": {"b"}, "b": {"a"}}) == {"a": ["b"], "b": ["a"]}


def circle_in(arrows):
    """{module: what it waits for} of those that import each other in a circle."""
    done = set()
    while ready := {name for name, others in arrows.items() if others <= done} - done:
        done |= ready
    return {name: sorted(arrows[name] - done) for name in sorted(arrows.keys() - done)}


def test_a_wrong_arrow_would_be_found(tmp_path):
    source = (
        "import activedpo_lib.study.tables\n"
        'COMMAND = "python -m activedpo_lib.runs.worker JOB"\n'
        'REMEDY = "run `python -m activedpo_lib.batch.batch`"\n'
    )
    (tmp_path / "wrong.py").write_text(source)
    found = set(imported(tmp_path / "wrong.py"))
    assert found == {"activedpo_lib.study.tables", "activedpo_lib.runs.worker"}
    assert {room(name) for name in found} - LEFT["method"]


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=str)
def test_a_room_can_be_looked_over(folder):
    files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(files) <= MOST_FILES


@pytest.mark.parametrize("path", FILES, ids=module)
def test_files_bodies_and_signatures_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    for function in functions(path):
        first = function.body[0]
        if ast.get_docstring(function) and len(function.body) > 1:
            first = function.body[1]
        assert function.end_lineno - first.lineno + 1 <= MOST_BODY, function.name
        assert len(parameters(function)) <= MOST_PARAMETERS, function.name


@pytest.mark.parametrize("path", FILES, ids=module)
def test_public_functions_say_their_types_and_what_they_do(path):
    for function in functions(path):
        if function.name.startswith("_"):
            continue
        bare = [a.arg for a in parameters(function) if a.annotation is None]
        assert not bare, f"{function.name}: {bare}"
        assert function.returns is not None, function.name
    tree = read(path)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


def test_streams_are_given_by_name():
    """Randomness arrives by name: `stream` is a keyword of every function that takes one."""
    for path in FILES:
        for function in functions(path):
            assert "stream" not in [a.arg for a in function.args.args], function.name


def test_configuration_stops_at_the_runs():
    """Leaves take scalars, records and Protocols; only runs and what is right of them see Params.

    The tasks read TaskParams: which data there are is their configuration.
    """
    for path in FILES:
        if room(module(path)) == "method":
            assert not {"activedpo_lib.params", "activedpo_lib.schema"} & set(imported(path)), path


def test_docstrings_and_messages_name_only_pages_and_modules_that_are_here():
    for path in [*FILES, HOME / "README.md", HOME / "CONTRIBUTING.md", HOME / "SECURITY.md"]:
        text = path.read_text(encoding="utf-8")
        for page in re.findall(r"[\w/]+\.md\b", text):
            assert (HOME / page).is_file() or list(HOME.glob(f"*/{page}")), f"{path}: {page}"
        for name in re.findall(r"-m (activedpo_lib[\w.]*\w)", text):
            assert name in MODULES or name == "activedpo_lib", f"{path}: {name}"


def test_there_is_no_room_for_leftovers():
    assert not list(LIBRARY.rglob("util*.py"))
