"""Parameters: a profile's YAML becomes frozen, typed values; unknown keys and impossible values are
errors.
"""

import contextlib
import copy
import functools
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from activedpo_lib.possible import possible
from activedpo_lib.schema import Grid, Params
from activedpo_lib.store import HOME, IN_CHECKOUT
from activedpo_lib.typed import ParamsError, build


def _profiles() -> Path:
    """The folder of the profiles: the checkout's params/, or the copy that came with an installed
    library (pyproject.toml, data-files).
    """
    if not IN_CHECKOUT:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for file in importlib.metadata.files("activedpo-companion") or ():
                if file.match("params/tiny.yaml"):
                    return Path(str(file.locate())).resolve().parent
    return HOME / "params"


PROFILES = _profiles()
GRID_KEYS = {"tasks", "models", "strategies", "seeds", "jobs_per_gpu", "gpu"}


def read_profile(profile: str | Path) -> dict[str, Any]:
    """A profile's YAML as a dict; `profile` is a name in params/ or a path to a YAML file."""
    path = (
        Path(profile) if str(profile).endswith((".yaml", ".yml")) else PROFILES / f"{profile}.yaml"
    )
    if not path.is_file():
        known = sorted(p.stem for p in PROFILES.glob("*.yaml"))
        raise ParamsError(
            f"no profile {profile!r}: {path} is not a file; profiles are {known}, or give a path "
            "to a YAML file"
        )
    try:
        values = copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ParamsError(f"{path}: expected a mapping of parameters, got {type(values).__name__}")
    return values


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """A YAML text's values; a study asks for its profile some hundred times."""
    return yaml.safe_load(text)


def load_grid(profile: str | Path) -> Grid:
    """The profile's tasks, models, strategies and seeds."""
    values = read_profile(profile)
    wanted = {"tasks": dict, "models": dict, "strategies": list, "seeds": int}
    for key, kind in wanted.items():
        if not isinstance(values.get(key), kind) or isinstance(values.get(key), bool):
            raise ParamsError(
                f"{profile}: {key} must be a {kind.__name__}, got {values.get(key)!r}"
            )
        if not values[key] or (key == "seeds" and values[key] < 1):
            raise ParamsError(f"{profile}: {key} is {values[key]!r}; at least one is needed")
    jobs_per_gpu = values.get("jobs_per_gpu", 1)
    if type(jobs_per_gpu) is not int or jobs_per_gpu < 1:
        raise ParamsError(
            f"{profile}: jobs_per_gpu must be a whole number of at least 1, got {jobs_per_gpu!r}"
        )
    gpu = values.get("gpu", False)
    if type(gpu) is not bool:
        raise ParamsError(
            f"{profile}: gpu must be true or false (whether jobs ask a cluster for cards), got "
            f"{gpu!r}"
        )
    return Grid(
        tuple(values["tasks"]),
        tuple(values["models"]),
        tuple(values["strategies"]),
        tuple(range(values["seeds"])),
        jobs_per_gpu,
        gpu,
    )


def load_params(
    profile: str | Path = "tiny",
    task: str | None = None,
    model: str | None = None,
    strategy: str = "activedpo",
    overrides: Mapping[str, Any] | None = None,
) -> Params:
    """One cell of a profile as frozen, typed parameters.

    task, model: names in the profile (its first by default); overrides: {"dpo.learning_rate":
    1.0e-4, ...}. Raises ParamsError for an unknown profile, task, model or key (with the nearest
    name), a wrong type, or a value out of range.
    """
    values = read_profile(profile)
    grid = load_grid(profile)
    cell = {key: value for key, value in values.items() if key not in GRID_KEYS}
    cell["task"] = _entry(values["tasks"], task or grid.tasks[0], "task")
    cell["model"] = _entry(values["models"], model or grid.models[0], "model")
    cell |= {"profile": values.get("profile", str(profile)), "strategy": strategy}
    for dotted, value in (overrides or {}).items():
        _override(cell, str(dotted), value)
    return possible(build(Params, cell, ""))


def _entry(entries: dict[str, Any], name: str, what: str) -> dict[str, Any]:
    if name not in entries:
        raise ParamsError(f"no {what} {name!r} in the profile; it has {sorted(entries)}")
    return {"name": name, **(entries[name] or {})}


def _override(cell: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, key = dotted.split(".")
    target = cell
    for section in sections:
        if not isinstance(target.setdefault(section, {}), dict):
            raise ParamsError(f"{dotted}: {section} is a value, not a section")
        target = target[section]
    target[key] = value
