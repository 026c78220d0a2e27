"""Parameters: a profile's YAML becomes frozen, typed values; unknown keys and impossible values are
errors.
"""

import contextlib
import copy
import functools
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml

from activedpo_lib.schema import CeilingName, Grid, Params
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
    return _possible(build(Params, cell, ""))


def _possible(params: Params) -> Params:
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
    if selection.normalise == "pair" and selection.normalise_when == "before":
        raise ParamsError(
            "selection.normalise pair with normalise_when before is impossible: the pair's exact "
            "norm is not known after "
            "the projection; use normalise_when after, or projection none"
        )
    _knowing(params)
    _pool_is_possible(params)
    _shareable(params)
    _policies_come_back(params)
    if params.model.hidden_size % params.model.heads:
        raise ParamsError(
            f"model.hidden_size {params.model.hidden_size} must be a multiple of heads "
            f"{params.model.heads}"
        )
    return params


def _pool_is_possible(params: Params) -> None:
    """Pools of Fig. 12: only the world knows its details and which of its prompts are junk, and a
    human's comparison stands there once.
    """
    task, prompts = params.task, params.generation.prompts
    if task.source == "world" and prompts > task.prompt_rows:
        raise ParamsError(
            f"generation.prompts {prompts} is more than task.prompt_rows {task.prompt_rows}"
        )
    for key in ("skew", "evaluation_skew", "junk"):
        if task.source != "world" and getattr(task, key):
            raise ParamsError(
                f"task.{key} {getattr(task, key)} is of the built-in world alone, and task.source "
                f"is {task.source}: real text has its own; set task.{key} to 0"
            )
    for key, usual in (("copies", 1), ("junk", 0.0)):
        if params.replay and getattr(task, key) != usual:
            raise ParamsError(
                f"task.{key} {getattr(task, key)} with replay is impossible: its pool is "
                f"comparisons that humans answered, each once; set task.{key} to {usual:g}"
            )


def _policies_come_back(params: Params) -> None:
    """What a saved run must give back: its policies, to go on from and to look into."""
    if params.lora.fresh and params.dpo.train_on == "all_from_sft":
        raise ParamsError(
            "lora.fresh with dpo.train_on all_from_sft is impossible: the one folds each round's "
            "adapter into the policy (D12), the other starts from pi_SFT each round (D5); drop one"
        )
    if params.adapters == "last" and params.processes > 1:
        raise ParamsError(
            "adapters last with several processes is impossible: what is trained again by one "
            "process is not the same to the last digit; use adapters all, or processes 1"
        )


def _knowing(params: Params) -> None:
    """What a ceiling or a control asks for must be there."""
    if params.strategy and params.strategy in get_args(CeilingName):
        raise ParamsError(
            f"{params.strategy} is no strategy: it reads the oracle's rewards before it picks; it "
            f"runs as `ceiling: {params.strategy}`, with the strategy random (notebook 07)"
        )
    if params.ceiling and params.strategy != "random":
        raise ParamsError(
            f"ceiling {params.ceiling} picks in the strategy's place, so the strategy must be "
            f"random, got {params.strategy}"
        )
    if params.ceiling and params.processes > 1:
        raise ParamsError(f"ceiling {params.ceiling} runs in one process: set processes to 1")
    if params.replay and params.oracle.after_first != "oracle":
        raise ParamsError(
            f"oracle.after_first {params.oracle.after_first} with replay is impossible: there, "
            "humans have answered; use oracle"
        )
    if params.oracle.after_first == "posterior":
        if params.processes > 1:
            raise ParamsError(
                "oracle.after_first posterior runs in one process: set processes to 1"
            )
        if params.selection.past == "none":
            raise ParamsError(
                "oracle.after_first posterior with selection.past none is impossible: it learns "
                "from the labelled pairs; use reembed or keep"
            )


def _shareable(params: Params) -> None:
    """Each of several processes takes a share of the prompts and of a training step."""
    prompts = params.generation.prompts, params.evaluation.prompts
    if min(prompts) < params.processes:
        raise ParamsError(
            f"processes is {params.processes}, but generation.prompts and evaluation.prompts are "
            f"{prompts[0]} and {prompts[1]}: each process takes a share of both; lower processes "
            "or raise them"
        )
    if params.dpo.batch_size % params.processes:
        raise ParamsError(
            f"dpo.batch_size {params.dpo.batch_size} must be a multiple of processes "
            f"{params.processes}: each takes its share"
        )


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
