"""A companion to *ActiveDPO: Active Direct Preference Optimization for Sample-Efficient
Alignment*.
"""

import importlib

_HOMES = {
    "load_params": "params",
    "run_rounds": "runs.rounds",
    "STRATEGIES": "method.strategies",
    "select_greedy": "method.design",
    "response_features": "method.gradients",
    "make_projection": "method.projection",
    "implicit_reward": "method.formulas",
    "win_rate": "method.formulas",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    """Public names are imported when first used: torch and TRL take seconds, and `load_params`
    needs neither.
    """
    if name not in _HOMES:
        raise AttributeError(f"activedpo_lib has no {name!r}; its public names are {__all__}")
    return getattr(importlib.import_module(f"activedpo_lib.{_HOMES[name]}"), name)


def __dir__():
    return __all__
