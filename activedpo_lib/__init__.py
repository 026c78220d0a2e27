"""A companion to *ActiveDPO: Active Direct Preference Optimization for Sample-Efficient Alignment*."""

import importlib

_HOMES = {
    "load_params": "params",
    "run_rounds": "rounds",
    "STRATEGIES": "strategies",
    "select_greedy": "design",
    "response_features": "gradients",
    "make_projection": "projection",
    "implicit_reward": "formulas",
    "win_rate": "formulas",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    """Public names are imported when first used: torch and TRL take seconds, and `load_params` needs neither."""
    if name not in _HOMES:
        raise AttributeError(f"activedpo_lib has no {name!r}; its public names are {__all__}")
    return getattr(importlib.import_module(f"activedpo_lib.{_HOMES[name]}"), name)


def __dir__():
    return __all__
