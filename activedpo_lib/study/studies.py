"""Studies: params/studies/*.yaml under a profile, as the Params of every run that a study needs."""

import re
from dataclasses import dataclass
from types import MappingProxyType

from activedpo_lib.params import PROFILES, ParamsError, load_grid, load_params, read_profile

STUDIES = PROFILES / "studies"
KEYS = {"tasks", "variants", "strategies"}
FACTOR = re.compile(r"x(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Study:
    """A study under one profile: `cells` maps (task, variant, strategy) to the Params of its runs,
    whatever the seed.
    """

    name: str
    cells: MappingProxyType

    def digests(self):
        """{"task/variant/strategy": the params' hash}, for provenance."""
        return {"/".join(cell): params.digest() for cell, params in self.cells.items()}


def study_names():
    """The studies of params/studies/."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def load_study(name, profile="tiny", more=None):
    """The Study `name` under a profile; `more`: {variant: overrides} beside the file's (Fig. 2's
    subsets).

    Every value is checked before any run starts. Raises ParamsError for an unknown study, key or
    impossible value.
    """
    if name not in study_names():
        raise ParamsError(f"no study {name!r} in {STUDIES}; it has {study_names()}")
    said = read_profile(STUDIES / f"{name}.yaml")
    if unknown := set(said) - KEYS:
        raise ParamsError(
            f"{name}.yaml: unknown key {sorted(unknown)[0]!r}; known keys are {sorted(KEYS)}"
        )
    grid = load_grid(profile)
    tasks, model = {"every": grid.tasks, "last": grid.tasks[-1:]}[said["tasks"]], grid.models[-1]
    cells = {}
    for task in tasks:
        for variant, overrides in (said["variants"] | (more or {})).items():
            overrides = _scaled(overrides, load_params(profile, task, model))
            for strategy in said.get("strategies") or [overrides.get("strategy", "activedpo")]:
                found = load_params(
                    profile, task, model, overrides=overrides | {"strategy": strategy}
                )
                cells[task, variant, strategy] = found
    return Study(name, MappingProxyType(cells))


def _scaled(overrides, params):
    """`overrides` with "x0.5" replaced by half of what the profile says, whole where that is whole,
    and at least 1.
    """
    found = {}
    for dotted, value in overrides.items():
        factor = FACTOR.fullmatch(value) if isinstance(value, str) else None
        if factor:
            usual = params
            for part in dotted.split("."):
                usual = getattr(usual, part)
            value = usual * float(factor[1])
            value = max(1, round(value)) if isinstance(usual, int) else value
        found[dotted] = value
    return found
