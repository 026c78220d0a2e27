"""Every exercise: its solution in the notebook is right, its known mistakes are not, and what is
wrong with an answer is said.
"""

import ast
import json
import re

import nbformat
import numpy as np
import pytest
import torch

from activedpo_lib.course import EXERCISES, check
from activedpo_lib.course.kinds import Choice, Function, Number
from activedpo_lib.store import HOME

NOTEBOOKS = sorted((HOME / "notebooks").glob("*.ipynb"))
IN_NOTEBOOKS = [name for name in EXERCISES if name[0].isdigit()]


def tagged(path, tag):
    cells = nbformat.read(path, 4).cells
    return [cell for cell in cells if tag in cell.metadata.get("tags", [])]


def exercises_of(path):
    return [name for name in EXERCISES if name.startswith(f"{path.stem[:2]}.")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_two_exercises_and_their_folded_solutions_are_right(path):
    solved = []
    for cell in tagged(path, "solution"):
        assert cell.metadata["jupyter"] == {"source_hidden": True, "outputs_hidden": True}
        assert isinstance(ast.parse(cell.source).body[-1], ast.Assert)  # it shows nothing
        exec(cell.source, {})
        solved += re.findall(r'check\(\s*"([\d.]+)"', cell.source)
    assert solved == exercises_of(path)
    assert len(solved) >= 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_exercise_is_asked_in_the_text_and_waits_in_a_cell_of_its_own(path):
    cells = nbformat.read(path, 4).cells
    (text,) = [cell.source for cell in cells if "## Exercises" in cell.source]
    for name in exercises_of(path):
        assert f"**{name} " in text
        (waits,) = [c.source for c in cells if f'check("{name}", ...)' in c.source]
        exercise = EXERCISES[name]
        if isinstance(exercise, Choice):
            words = " ".join(text.split()).lower()
            assert all(f'"{option}"' in words for option in exercise.options)
        assert waits.splitlines()[-1].startswith("check(")


@pytest.mark.parametrize("name", EXERCISES)
def test_no_answer_yet_and_answers_of_another_kind_are_told_what_is_wanted(name):
    assert "Not answered yet" in check(name).text
    for odd in (None, object(), "nonsense"):
        verdict = check(name, odd)
        assert not verdict
        assert verdict.text.startswith("Expected ")


@pytest.mark.parametrize("name", EXERCISES)
def test_every_known_mistake_is_wrong_and_is_told_its_own_reason(name):
    exercise = EXERCISES[name]
    if isinstance(exercise, Choice):
        assert exercise.right in exercise.options
        reasons = {word: check(name, word.upper()) for word in exercise.options}
        assert [word for word, verdict in reasons.items() if verdict] == [exercise.right]
        assert len({verdict.text for verdict in reasons.values()}) == len(exercise.options) > 1
    elif isinstance(exercise, Number):
        assert check(name, exercise.value).text == exercise.because
        for wrong, why in exercise.mistakes.items():
            assert (bool(check(name, wrong)), check(name, wrong).text) == (False, why)
    else:
        assert isinstance(exercise, Function)
        assert check(name, exercise.like).text == exercise.because
        assert exercise.mistakes
        for why, wrong in exercise.mistakes.items():
            assert (bool(check(name, wrong)), check(name, wrong).text) == (False, why)


def test_a_wrong_function_is_shown_its_first_wrong_case():
    assert re.match(r"For \(`\[.*\]`, `.*`\) expected `.*`, got `7`", check("14.2", seven).text)
    assert "raised ZeroDivisionError" in check("14.2", lambda phi, ridge: 1 / 0).text
    assert not check("10.2", lambda table: table[0])  # another shape
    assert not check("09.2", lambda reward, utility: 2)  # None wanted in some cases


def seven(phi, ridge):
    return 7


def sorted_in_place(strategy, baseline):
    strategy.sort()
    baseline.sort()
    return strategy - baseline


def test_a_function_that_changes_its_arguments_is_judged_by_what_it_was_given():
    verdict = check("08.3", sorted_in_place)
    assert not verdict
    assert "Sorted" in verdict.text


@pytest.mark.parametrize("odd", [[1, [2, 3]], "a word", torch.ones(1, requires_grad=True)])
def test_a_function_that_returns_something_odd_is_told_so(odd):
    assert check("14.2", lambda phi, ridge: odd).text.startswith("For (")


def test_truth_is_no_number():
    assert check("11.1", True).text.startswith("Expected a number")


def test_a_wrong_number_is_told_its_side():
    assert check("12.2", 500).text == "500 is too large."
    assert check("12.2", 300).text == "300 is too small."
    assert check("12.2", -400).text == "-400 has the right size and the wrong sign."
    assert check("12.2", 40_000).text == "40000 is too large."  # no share: not "percent"
    assert check("23.2", 60).text == "60 is right in percent: give it as a share of 1."
    assert "near, but too small: keep three digits" in check("17.2", 0.02).text


def test_a_missing_return_and_a_wrong_sign_are_told():
    assert "end it with `return`" in check("14.2", lambda phi, ridge: None).text
    right = EXERCISES["08.3"].like
    assert check("08.3", lambda one, other: -right(one, other)).text.startswith("Right but for its")
    assert not check("08.3", lambda one, other: -right(one, other))
    assert "finite" in check("12.2", float("nan")).text


def test_a_planted_bug_is_really_there_and_three_notebooks_have_one():
    found = []
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, 4).cells:
            if "mended, in the place of" in cell.source:
                names = {"np": np, "check": check}
                exec(cell.source, names)
                (name,) = re.findall(r'check\("([\d.]+)"', cell.source)
                (planted,) = re.findall(r"^def (\w+)", cell.source, re.M)
                verdict = check(name, names[planted])
                assert not verdict
                assert verdict.text in EXERCISES[name].mistakes
                found.append(name)
    assert len({name.partition(".")[0] for name in found}) >= 3


def test_an_exercise_that_there_is_not_names_those_near_it():
    with pytest.raises(ValueError, match=r"'12.9'.*'12.1', '12.2'"):
        check("12.9", 1)
    with pytest.raises(ValueError, match=r"numbers are as in 12\.2"):
        check("projection", 1)


def test_numbers_of_the_cost_model_and_of_the_world_are_what_the_code_says():
    from activedpo_lib import load_params
    from activedpo_lib.study.run_costs import sizes

    size = sizes(load_params("tiny"))
    assert check("15.2", size.features() / size.logps())
    world = json.dumps(nbformat.read(HOME / "notebooks" / "00_world.ipynb", 4))
    assert "0.6^{w}" in world  # 00.2's formula, as the notebook gives it
