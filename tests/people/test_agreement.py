"""Agreement between people, against counts by hand."""

import numpy as np
import pytest

from activedpo_lib.people.agreement import agreement, agreement_table
from activedpo_lib.people.answers import Answers, Given


def test_agreement_and_kappa_are_those_counted_by_hand():
    ours = dict(zip("abcdefgh", ["first"] * 4 + ["second"] * 3 + ["skip"], strict=True))
    theirs = dict(zip("bcdefgh", ["first"] * 2 + ["second"] * 3 + ["tie", "first"], strict=True))
    found = agreement(ours, theirs)  # b to g: 4 of 6 the same
    chance = (3 / 6) * (2 / 6) + (3 / 6) * (3 / 6)
    assert found.pairs == 6
    assert found.share == pytest.approx(4 / 6)
    assert found.kappa == pytest.approx((4 / 6 - chance) / (1 - chance))


def test_nothing_shared_or_one_answer_only_has_no_kappa():
    assert agreement({"a": "first"}, {"b": "first"}).pairs == 0
    assert agreement({"a": "first"}, {"a": "first"})[:2] == (1, 1.0)
    assert np.isnan(agreement({"a": "first"}, {"a": "first"}).kappa)


def test_the_table_has_every_two_labellers_and_the_oracle(tmp_path):
    answers = Answers(tmp_path / "a.sqlite")
    for who, says in (("ada", "first"), ("bob", "second")):
        answers.enter(who)
        answers.give(Given("p", who, says, "first", 1.0))
    table = agreement_table(answers, {"p": "first"})
    assert table[["first", "second"]].values.tolist() == [
        ["ada", "bob"], ["ada", "the oracle"], ["bob", "the oracle"],
    ]  # fmt: skip
    assert table["share"].tolist() == [0.0, 1.0, 0.0]
