"""What a study's file says of its runs, as parameters: factors of the profile's values, who picks,
and which tasks and models.
"""

import re
from collections.abc import Sequence
from functools import reduce

from activedpo_lib.params import ParamsError
from activedpo_lib.schema import KNOWING, Params

FACTOR = re.compile(r"x(\d+(?:\.\d+)?)")


def chosen_by(chooser: str) -> dict[str, str]:
    """A strategy's name, or a ceiling's as tables write it, as parameters."""
    if chooser.startswith(KNOWING):
        return {"strategy": "random", "ceiling": chooser.removeprefix(KNOWING)}
    return {"strategy": chooser}


def asked(name: str, read: dict, key: str, every: Sequence[str]) -> Sequence[str]:
    """Those of the profile's tasks or models that a study asks for: all, the first or the last."""
    chosen = {"every": every, "first": every[:1], "last": every[-1:]}
    if (which := read.get(key, "last")) not in chosen:
        raise ParamsError(f"{name}.yaml: {key} is {which!r}; write every, first or last")
    return chosen[which]


def scaled(overrides: dict, params: Params) -> dict:
    """`overrides` with "x0.5" made half of what the profile says; whole numbers stay so, from 1."""
    found = {}
    for dotted, value in overrides.items():
        factor = FACTOR.fullmatch(value) if isinstance(value, str) else None
        if factor:
            usual = reduce(getattr, dotted.split("."), params)
            value = usual * float(factor[1])
            value = max(1, round(value)) if isinstance(usual, int) else value
        found[dotted] = value
    return found
