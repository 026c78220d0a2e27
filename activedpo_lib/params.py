"""Parameters: a profile's YAML becomes frozen, typed values; unknown keys and impossible values are
errors.
"""

import contextlib
import copy
import dataclasses
import difflib
import functools
import importlib.metadata
import math
import types
import typing
from pathlib import Path
from typing import Literal

import yaml

from activedpo_lib.schema import Grid, Params
from activedpo_lib.store import HOME, IN_CHECKOUT


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


class ParamsError(ValueError):
    """A parameter is unknown, of the wrong type, or impossible. The message names the key, what was
    expected, and the remedy.
    """


def read_profile(profile):
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
def _parsed(text):
    """A YAML text's values; a study asks for its profile some hundred times."""
    return yaml.safe_load(text)


def load_grid(profile):
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


def load_params(profile="tiny", task=None, model=None, strategy="activedpo", overrides=None):
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
    return _possible(build(Params, cell, ""))


def _possible(params):
    """`params`, or ParamsError where values that are each in range cannot go together."""
    generation, selection = params.generation, params.selection
    pairs = generation.prompts * generation.responses * (generation.responses - 1) // 2
    if params.replay and params.batch_size > generation.prompts:
        raise ParamsError(
            f"batch_size {params.batch_size} is more than a round's pool of {generation.prompts} "
            "comparisons; lower batch_size "
            "or raise generation.prompts"
        )
    if params.batch_size > pairs:
        raise ParamsError(
            f"batch_size {params.batch_size} is more than a round's pool: {generation.prompts} "
            "prompts with "
            f"{generation.responses} responses each make {pairs} pairs; lower batch_size or raise "
            "generation.prompts"
        )
    if params.task.source == "world" and generation.prompts > params.task.prompt_rows:
        raise ParamsError(
            f"generation.prompts {generation.prompts} is more than task.prompt_rows "
            f"{params.task.prompt_rows}"
        )
    if selection.normalise == "pair" and selection.normalise_when == "before":
        raise ParamsError(
            "selection.normalise pair with normalise_when before is impossible: the pair's exact "
            "norm is not known after "
            "the projection; use normalise_when after, or projection none"
        )
    if params.dpo.batch_size % params.processes:
        raise ParamsError(
            f"dpo.batch_size {params.dpo.batch_size} must be a multiple of processes "
            f"{params.processes}: each takes its share"
        )
    if params.model.hidden_size % params.model.heads:
        raise ParamsError(
            f"model.hidden_size {params.model.hidden_size} must be a multiple of heads "
            f"{params.model.heads}"
        )
    return params


def _entry(entries, name, what):
    if name not in entries:
        raise ParamsError(f"no {what} {name!r} in the profile; it has {sorted(entries)}")
    return {"name": name, **(entries[name] or {})}


def _override(cell, dotted, value):
    *sections, key = dotted.split(".")
    target = cell
    for section in sections:
        if not isinstance(target.setdefault(section, {}), dict):
            raise ParamsError(f"{dotted}: {section} is a value, not a section")
        target = target[section]
    target[key] = value


def build(kind, values, where):
    """`values` as the dataclass `kind`; every key known, every type right, every number in
    range.
    """
    if not isinstance(values, dict):
        raise ParamsError(f"{where or 'the parameters'}: expected a mapping, got {values!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1)
            hint = (
                f"; did you mean {where}{near[0]}?"
                if near
                else f"; known keys are {sorted(fields)}"
            )
            raise ParamsError(f"unknown parameter {where}{key}{hint}")
    missing = [n for n, f in fields.items() if n not in values and f.default is dataclasses.MISSING]
    if missing:
        raise ParamsError(f"missing parameter {where}{missing[0]}: it has no default")
    return kind(
        **{
            key: _typed(hints[key], fields[key], value, where + key)
            for key, value in values.items()
        }
    )


def _typed(hint, spec, value, where):
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where + ".")
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise ParamsError(
                f"{where} must be one of {list(typing.get_args(hint))}, got {value!r}"
            )
        return value
    if typing.get_origin(hint) is tuple:
        if (
            not isinstance(value, list | tuple)
            or not value
            or not all(isinstance(item, str) for item in value)
        ):
            raise ParamsError(f"{where} must be a list of names, got {value!r}")
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        remedy = (
            " (YAML reads 1e-5 as text: write 1.0e-5)"
            if hint is float and isinstance(value, str)
            else ""
        )
        name = hint.__name__ if isinstance(hint, type | types.UnionType) else hint
        raise ParamsError(f"{where} must be {name}, got {type(value).__name__} {value!r}{remedy}")
    return _in_range(spec, value, where)


def _in_range(spec, value, where):
    low, high, unit = (spec.metadata.get(key) for key in ("low", "high", "unit"))
    unit = f" {unit}" if unit else ""
    if isinstance(value, float) and value != value:
        raise ParamsError(f"{where} is not a number (NaN)")
    above = spec.metadata.get("above")
    if above is not None and value <= above:
        raise ParamsError(f"{where} must be above {above:g}{unit}, got {value}")
    if low is not None and value < low:
        raise ParamsError(f"{where} must be at least {low}{unit}, got {value}")
    if high is not None and value > high:
        raise ParamsError(f"{where} must be at most {high}{unit}, got {value}")
    if isinstance(value, float) and math.isinf(value):
        raise ParamsError(f"{where} is infinite; give a number")
    return value
