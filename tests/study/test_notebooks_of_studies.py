"""Every notebook that runs studies is asked for by one target, and what it names is there."""

import re

import pytest

from activedpo_lib.store import HOME
from activedpo_lib.study.notebooks import (
    ALL,
    ALONE,
    FIGURES,
    NOTEBOOKS,
    figures_of,
    studies_of,
)
from activedpo_lib.study.studies import study_names


def test_each_figure_belongs_to_one_target():
    asked = [figure for target in (ALL, *ALONE) for figure in figures_of(target)]
    grid = set(FIGURES["08_main_results"])
    assert len(asked) == len(set(asked))
    assert set(asked) == {name for names in FIGURES.values() for name in names} - grid


def test_each_study_file_is_run_by_a_target():
    assert set().union(*map(studies_of, (ALL, *ALONE))) == set(study_names())


def test_a_figure_that_another_notebook_reads_is_one_that_some_notebook_makes():
    known = {name for names in FIGURES.values() for name in names}
    assert {figure for notebook in NOTEBOOKS.values() for figure in notebook.reads} <= known


def test_what_needs_the_truth_is_left_out_where_none_is_known():
    left = set(figures_of(ALL)) - set(figures_of(ALL, known=False))
    assert left == set(FIGURES["13_proposition_1"])


@pytest.mark.parametrize("target", ALONE)
def test_a_target_of_its_own_is_a_command_and_the_readme_names_it(target):
    rules = (HOME / "Makefile").read_text()
    assert re.search(rf"^[a-z ]*\b{target}\b[a-z ]*:", rules, re.MULTILINE)
    assert f"`make {target}`" in (HOME / "README.md").read_text()
