"""What the set-up promises: one source of pins, no registry host, no machine path; conda's file
names the same lock.
"""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml

HOME = Path(__file__).parent.parent
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
LOCK = (HOME / "requirements.lock").read_text().split()


def test_the_lock_holds_every_direct_pin():
    pins = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", pin) for pin in pins)
    assert set(pins) <= set(LOCK)
    assert "torch==2.13.0" in pins


def test_the_lock_pins_every_package_and_names_no_place():
    lines = (HOME / "requirements.lock").read_text().splitlines()
    assert all(re.match(r"[A-Za-z0-9._-]+==\S+( ; .+)?$", line) for line in lines)


def test_environment_yml_is_condas_and_uses_the_lock():
    environment = yaml.safe_load((HOME / "environment.yml").read_text())
    assert set(environment) == {"name", "channels", "dependencies"}
    python = next(
        d for d in environment["dependencies"] if isinstance(d, str) and d.startswith("python=")
    )
    assert python == "python=3.11"
    assert PROJECT["requires-python"] == ">=3.11,<3.12"
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert pip == ["-c requirements.lock", "-e .[dev,sbert]"]


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


def test_the_readmes_table_names_every_decision():
    text = (HOME / "README.md").read_text()
    assert all(f"| D{n} |" in text for n in range(1, 17))
    code = "".join(
        path.read_text()
        for path in [*HOME.glob("activedpo_lib/**/*.py"), *HOME.glob("params/*.yaml")]
    )
    assert all(re.search(rf"\bD{n}\b", code) for n in range(1, 17)), (
        "each decision is named where it is made"
    )
