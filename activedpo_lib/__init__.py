"""A companion to *ActiveDPO: Active Direct Preference Optimization for Sample-Efficient Alignment*.

The names below are what notebooks and scripts use: `from activedpo_lib import load_params,
run_rounds`. The library has rooms, and a room imports only rooms to its left:

    root <- {method, tasks, people, course} <- runs <- study <- batch <- site

root     records, parameters, named randomness, files: what every room speaks
method   the paper: Algorithm 1's steps, Eqs. 1 to 4, the decisions D1 to D16, as functions
tasks    where prompts and human answers come from: the built-in world, your files, the hub
people   a person as the oracle: what is asked, what was answered, the widget, in and out
course   exercises: what is right or wrong with a student's answer
runs     Algorithm 1 over rounds, saved whole and resumed; the models that runs share
study    what is read out of finished runs: tables, figures, findings
batch    all notebooks under one command: papermill, Snakemake, GPUs, plan and status
site     notebooks, course and reference as pages for a browser
"""
# ruff: noqa: F401 - the imports for type checkers name what `__getattr__` finds

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activedpo_lib.method.candidates import measure
    from activedpo_lib.method.design import largest, select_greedy, uncertainty
    from activedpo_lib.method.formulas import (
        implicit_reward,
        interval,
        preference_probability,
        win_rate,
    )
    from activedpo_lib.method.generation import generate
    from activedpo_lib.method.gradients import response_features
    from activedpo_lib.method.logps import implicit_rewards
    from activedpo_lib.method.projection import make_projection
    from activedpo_lib.method.strategies import STRATEGIES
    from activedpo_lib.params import load_params
    from activedpo_lib.records import Candidates, Selection, Strategy
    from activedpo_lib.runs.launch import run_rounds
    from activedpo_lib.runs.run import labelled_pairs, open_run
    from activedpo_lib.store import write_table
    from activedpo_lib.streams import stream
    from activedpo_lib.study import tables
    from activedpo_lib.study.drawing import plots, study_plots
    from activedpo_lib.study.findings import finding
    from activedpo_lib.study.studies import Study
    from activedpo_lib.tasks import load_task

_HOMES = {
    # what a notebook starts with
    "load_params": "params",
    "load_task": "tasks",
    "stream": "streams",
    "run_rounds": "runs.launch",
    "open_run": "runs.run",
    "labelled_pairs": "runs.run",
    "write_table": "store",
    # a strategy of your own
    "Strategy": "records",
    "Candidates": "records",
    "Selection": "records",
    "STRATEGIES": "method.strategies",
    "largest": "method.design",
    # the method's steps, in the order of Algorithm 1
    "generate": "method.generation",
    "measure": "method.candidates",
    "response_features": "method.gradients",
    "make_projection": "method.projection",
    "uncertainty": "method.design",
    "select_greedy": "method.design",
    "implicit_reward": "method.formulas",
    "implicit_rewards": "method.logps",
    "preference_probability": "method.formulas",
    "win_rate": "method.formulas",
    # what is read out of runs; the last three are modules
    "interval": "method.formulas",
    "finding": "study.findings",
    "Study": "study.studies",
    "plots": "study.drawing.plots",
    "study_plots": "study.drawing.study_plots",
    "tables": "study.tables",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    """A public name, imported when first used: torch and TRL take seconds, and `load_params` needs
    neither. Raises AttributeError for any other name.
    """
    if name not in _HOMES:
        raise AttributeError(f"activedpo_lib has no {name!r}; its public names are {__all__}")
    home = _HOMES[name]
    module = importlib.import_module(f"activedpo_lib.{home}")
    return module if home.endswith(f".{name}") else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
