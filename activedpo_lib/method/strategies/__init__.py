"""The strategies: each is a criterion and the columns of Candidates that it needs.

A factory binds its own numbers, and returns a Strategy; those that a run can set have the names of
SelectionParams. One of your own is a factory too: see the README's ten lines.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from activedpo_lib.method.strategies import (
    ablations,
    classic,
    gradient,
    improvement,
    information,
    reward,
)
from activedpo_lib.records import Strategy

Factory = Callable[..., Strategy]

STRATEGIES: dict[str, Factory] = {
    factory.__name__: factory
    for factory in (
        classic.random, gradient.activedpo, classic.apo, classic.aplp,
        classic.entropy, classic.margin, classic.certainty, classic.d_optimal,
        gradient.gradient_norm, gradient.frozen_v, gradient.k_center, gradient.transductive,
        information.bald, information.epig, information.bal_pm,
        reward.predicted_gap, reward.upper_confidence_gap, reward.max_min_lcb,
        reward.double_thompson, reward.reversed_thompson, reward.novel_gap,
        improvement.predicted_improvement, improvement.improve_and_explore,
        improvement.improvement_thompson,
    )
}  # fmt: skip
# Run by name like the others; they answer a question of notebook 27, and are not compared.
ABLATIONS: dict[str, Factory] = {
    factory.__name__: factory
    for factory in (
        ablations.uncertainty_alone,
        ablations.improvement_own_gaps,
        ablations.improvement_random_signs,
        ablations.improvement_last_labels,
        ablations.improvement_random_start,
    )
}


def make_strategy(
    name: str, numbers: Mapping[str, Any], strategies: Mapping[str, Factory] | None = None
) -> Strategy:
    """The Strategy called `name`; its factory is given those of the `numbers` that it binds.

    strategies: {name: factory} of your own. Raises ValueError naming the known ones.
    """
    known = STRATEGIES | ABLATIONS | dict(strategies or {})
    if name not in known:
        yours = f"pass your own as strategies={{{name!r}: factory}}"
        raise ValueError(f"no strategy {name!r}; known are {sorted(known)}; {yours}")
    bound = inspect.signature(known[name]).parameters
    return known[name](**{key: value for key, value in numbers.items() if key in bound})
