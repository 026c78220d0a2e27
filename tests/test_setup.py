"""What the set-up promises: ranges in pyproject.toml, an exact pin of every package in the lock, no
registry host, no machine path; conda's file names the same lock; an installed copy runs alone.
"""

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

HOME = Path(__file__).parent.parent
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
RANGES = [
    Requirement(line) for line in [*PROJECT["dependencies"], *itertools.chain(*EXTRAS.values())]
]
LOCK = [Requirement(line) for line in (HOME / "requirements.lock").read_text().splitlines()]
IMPORT_NAMES = {"pyyaml": "yaml", "scikit-learn": "sklearn"}


def exact(requirement):
    (pin,) = requirement.specifier
    assert pin.operator == "==", f"{requirement} is no exact pin"
    return pin.version


def test_the_lock_pins_every_package_exactly_and_names_no_place():
    assert all(exact(pin) for pin in LOCK)
    assert not any(pin.url for pin in LOCK)
    assert len({pin.name for pin in LOCK}) == len(LOCK)


def test_the_lock_holds_a_version_within_every_range():
    pins = {pin.name: exact(pin) for pin in LOCK}
    assert len(RANGES) > 20
    for wanted in RANGES:
        assert wanted.specifier.contains(pins[wanted.name]), f"{wanted}: {pins[wanted.name]}"
    assert pins["torch"] == "2.13.0"


def test_every_range_has_both_ends():
    for wanted in RANGES:
        assert sorted(part.operator for part in wanted.specifier) == ["<", ">="], wanted


def packages_imported(files):
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"activedpo_lib"}


def import_names(lines):
    names = {Requirement(line).name for line in lines}
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


def test_the_dependencies_are_what_the_library_imports():
    files = set(HOME.glob("activedpo_lib/**/*.py"))
    site = set(HOME.glob("activedpo_lib/site/*.py"))
    widgets = ("people/widget.py", "study/live/explorer.py", "study/drawing/pool_plots.py")
    notebooks = {*HOME.glob("activedpo_lib/batch/*.py")}
    notebooks |= {HOME / "activedpo_lib" / name for name in widgets}
    core = import_names(PROJECT["dependencies"])
    assert packages_imported(files - notebooks - site) == core
    shown = core | import_names(EXTRAS["notebooks"])
    assert packages_imported(notebooks) <= shown
    assert packages_imported(site) <= shown | import_names(EXTRAS["site"])


def test_environment_yml_is_condas_and_uses_the_lock():
    environment = yaml.safe_load((HOME / "environment.yml").read_text())
    assert set(environment) == {"name", "channels", "dependencies"}
    python = next(
        d for d in environment["dependencies"] if isinstance(d, str) and d.startswith("python=")
    )
    assert python == "python=3.11"
    assert PROJECT["requires-python"] == ">=3.11,<3.12"
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["-c requirements.lock", "-e .[notebooks,site,dev,sbert]"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """(python, folder): a plain virtual environment with the library, and a folder that is no
    checkout.
    """
    folder = tmp_path_factory.mktemp("installed")
    source, plain = folder / "source", folder / "work"
    plain.mkdir()
    listed = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=HOME, capture_output=True, check=True).stdout.split(b"\0")
    for name in map(os.fsdecode, names):
        if name and (HOME / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((HOME / name).read_bytes())
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "-c", "requirements.lock", "."]
    subprocess.run(install, cwd=source, check=True)
    return python, plain


def in_plain_folder(installed, code):
    python, folder = installed
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-c", code], cwd=folder, env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_installed_library_runs_the_readmes_strategy(installed):
    _, section = (HOME / "README.md").read_text().split("## A strategy of your own")
    block = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    code, runs = re.subn(r"^run_rounds\(", "table = run_rounds(", block, flags=re.MULTILINE)
    code, profiles = re.subn(r'load_params\("tiny"', 'load_params("smoke"', code)
    assert (runs, profiles) == (1, 1)
    code += "import activedpo_lib\nprint(activedpo_lib.__file__)\nprint(table.to_csv())"
    printed = in_plain_folder(installed, code)
    assert "site-packages" in printed
    assert re.search(r"^0,.*widest", printed, re.MULTILINE)
    assert len(re.findall(r"^\d+,", printed, re.MULTILINE)) == 3  # rounds 0, 1 and 2


@pytest.mark.slow
def test_an_installed_library_has_every_profile_and_starts_at_the_current_folder(installed):
    code = (
        "from activedpo_lib.params import PROFILES, load_params\n"
        "from activedpo_lib.store import locate\n"
        "print(sorted(p.relative_to(PROFILES).as_posix() for p in PROFILES.rglob('*.yaml')))\n"
        "print(load_params('tiny').batch_size, locate('mine.jsonl'))"
    )
    profiles, told = in_plain_folder(installed, code).splitlines()
    params = HOME / "params"
    assert profiles == str(sorted(p.relative_to(params).as_posix() for p in params.rglob("*.yaml")))
    batch = yaml.safe_load((params / "tiny.yaml").read_text("utf-8"))["batch_size"]
    assert told == f"{batch} {installed[1] / 'mine.jsonl'}"


def test_no_committed_file_names_a_registry_host_or_a_machine_path():
    files = subprocess.run(
        ["git", "ls-files"], cwd=HOME, capture_output=True, text=True, check=True
    ).stdout.split()
    forbidden = re.compile(r"pypi\.org|pythonhosted|/(root|home|work|opt|tmp)/[a-z]")
    for name in files:
        path = HOME / name
        if path.suffix in {
            ".py",
            ".md",
            ".yaml",
            ".yml",
            ".toml",
            ".lock",
            ".ipynb",
            ".json",
            ".cff",
            ".csv",
            "",
        } and path != Path(__file__):
            assert not forbidden.search(path.read_text(encoding="utf-8", errors="replace")), name


def test_the_table_names_every_decision():
    text = (HOME / "docs" / "decisions.md").read_text()
    assert all(f"| D{n} |" in text for n in range(1, 17))
    code = "".join(
        path.read_text()
        for path in [*HOME.glob("activedpo_lib/**/*.py"), *HOME.glob("params/*.yaml")]
    )
    assert all(re.search(rf"\bD{n}\b", code) for n in range(1, 17)), (
        "each decision is named where it is made"
    )
