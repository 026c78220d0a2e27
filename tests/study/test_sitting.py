"""A sitting at the method, with the built-in human in the person's place and with nobody there."""

import re

import numpy as np
import pytest

from activedpo_lib.people.answers import AnswersError
from activedpo_lib.people.widget import LabelWidget
from activedpo_lib.study.live.sitting import BUILT_IN, Sitting, _agreement


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("sitting")


def opened(root, labeller=BUILT_IN):
    return Sitting.open(labeller, str(root / "answers.sqlite"), "smoke", root)


def test_held_out_pairs_then_rounds_then_whose_taste_was_learned(root):
    sitting = opened(root)
    assert sitting.label_held_out() == f"The {BUILT_IN} answered 6 pairs."
    held_out = set(sitting.answers.by(BUILT_IN))
    assert sitting.learn().startswith("Nobody was asked for round 1")
    for t in (1, 2):
        assert sitting.label(t) == f"The {BUILT_IN} answered 6 pairs."
        assert re.match(rf"Round {t} of 2: the policy learned from \d answers", sitting.learn())
        assert sitting.label(t).startswith(f"Round {t} is finished")
    assert sitting.learn() == "All rounds are finished."
    asked = set(sitting.answers.by(BUILT_IN)) - held_out
    assert len(held_out) == 6
    assert len(asked) == 12  # no held-out pair was ever asked about
    taste = sitting.taste()
    assert taste["round"].tolist() == [0, 1, 2]
    assert taste["agreement"].iloc[0] == 0.5  # pi_SFT has no opinion
    assert (taste["low"] <= taste["agreement"]).all()
    wrote = sitting.before_and_after(2)
    assert wrote.shape == (2, 3)
    assert opened(root).before_and_after(2).equals(wrote)
    assert (
        opened(root).random_would_ask(2)["asked by"].tolist() == ["activedpo"] * 2 + ["random"] * 2
    )


def test_the_built_in_human_prefers_the_higher_utility(root):
    sitting = opened(root)
    prefers, task = sitting.built_in_human(), sitting.run.task
    known = {prompt.text: prompt for prompt in task.evaluation}
    sitting.label_held_out()
    for question in sitting.answers.asked("/".join(sitting.run.folder.parts[-4:]), 0):
        prompt = known[question.prompt]
        gap = task.utility(prompt, question.first) - task.utility(prompt, question.second)
        expected = "tie" if gap == 0 else "first" if gap > 0 else "second"
        assert prefers(question) == expected


def test_a_person_gets_the_widget_and_learning_waits_for_the_answers(root):
    sitting = opened(root, "ada")
    widget = sitting.label(1)
    assert isinstance(widget, LabelWidget)
    assert sitting.learn().startswith("6 of 6 pairs wait for your answer")
    assert sitting.label(2).startswith("Round 2 comes after round 1")
    press_left(widget, 4)
    again = opened(root, "ada")  # a new kernel: the same cells, from the top
    assert again.learn().startswith("2 of 6 pairs wait for your answer")
    widget = again.label(1)
    assert (widget.shown["answered"], widget.shown["questions"]) == (4, 6)
    press_left(widget, 1)
    widget._pressed(widget, {"key": "skip", "pair": widget.shown["pair"]}, [])
    assert widget.shown["pair"] == ""
    third = opened(root, "ada")  # all answered, nothing learned yet: it can still be undone
    assert third.label(1).shown["answered"] == 6
    learned = third.learn()
    assert learned.startswith("Round 1 of 2: the policy learned from 5 answers; 1 said nothing")
    assert third.label(1).startswith("Round 1 is finished")
    assert third.label(2).shown["answered"] == 0


def press_left(widget, count):
    for _ in range(count):
        widget._pressed(widget, {"key": "left", "pair": widget.shown["pair"]}, [])


def test_the_widget_says_what_could_not_be_stored_and_keeps_the_pair(root, tmp_path):
    sitting = Sitting.open("bob", str(tmp_path / "b.sqlite"), "smoke", root)
    widget = sitting.label(1)
    before, turn = widget.shown["pair"], widget.shown["turn"]

    def full(given):
        raise AnswersError("the disk is full")

    widget.labelling.answers.give = full
    widget._pressed(widget, {"key": "left", "pair": before}, [])
    assert widget.shown["trouble"] == "Not stored: the disk is full"
    assert widget.shown["pair"] == before
    assert widget.shown["turn"] > turn
    del widget.labelling.answers.give
    widget._pressed(widget, {"key": "left", "pair": before}, [])
    assert widget.shown["trouble"] == ""
    assert widget.shown["pair"] != before


def test_agreement_counts_sides_and_leaves_ties_and_skips_out():
    margins, names = np.array([2.0, -1.0, 3.0, -4.0, 0.0]), list("abcde")
    said = {"a": "first", "b": "first", "c": "tie", "d": "second", "e": "second"}
    found = _agreement(margins, said, names)
    assert found["pairs"] == 4
    assert found["agreement"] == pytest.approx(2.5 / 4)
    assert _agreement(margins, {}, names)["pairs"] == 0
