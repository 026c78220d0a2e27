"""A person's keys: what each does, twice, in two tabs, after a kill, with texts of any kind."""

import numpy as np
import pytest
from people_cases import ask, questions

from activedpo_lib.people.answers import Answers, Question
from activedpo_lib.people.labelling import Labelling
from activedpo_lib.streams import stream


def start(path, labeller="ada", asked=None, clock=None):
    more = {"clock": clock} if clock else {}
    return Labelling(
        Answers(path), asked or questions(), labeller, stream=stream(0, "label"), **more
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.sqlite"


def test_left_and_right_mean_the_response_that_stood_there(path):
    work = start(path)
    for _ in range(len(questions())):
        shown = work.shown()
        question = next(q for q in questions() if q.pair == shown.pair)
        assert {shown.left, shown.right} == {question.first, question.second}
        work.press("left", shown.pair)
        stored = work.answers.by("ada")[shown.pair]
        assert getattr(question, stored.answer) == shown.left
        assert getattr(question, stored.shown_left) == shown.left
    assert work.done()
    assert work.shown().pair == ""


def test_sides_are_drawn_evenly_and_differ_between_labellers(path):
    many = questions(400)
    sides = [[*start(path, who, many)._left.values()] for who in ("ada", "bob")]
    for side in sides:
        assert abs(np.mean([one == "first" for one in side]) - 0.5) < 0.1
    assert 0.3 < np.mean([a == b for a, b in zip(*sides, strict=True)]) < 0.7


def test_tie_skip_and_undo(path):
    work = start(path)
    first = work.shown()
    second = work.press("tie", first.pair)
    work.press("skip", second.pair)
    given = work.answers.by("ada")
    assert [given[p].answer for p in (first.pair, second.pair)] == ["tie", "skip"]
    back = work.press("undo", "")
    assert back.pair == second.pair
    assert work.press("undo", "").pair == first.pair
    assert "nothing to undo" in work.press("undo", "").note


def test_why_a_pair_was_picked_is_hidden_until_it_is_answered(path):
    work = start(path)
    shown = work.shown()
    assert not any("because" in str(value) for value in shown)
    assert work.press("right", shown.pair).note == "Stored: right is better. because 0"


def test_a_key_pressed_twice_or_in_another_tab_changes_nothing(path):
    here, there = start(path), start(path)
    pair = here.shown().pair
    here.press("left", pair)
    stored = here.answers.by("ada")[pair]
    assert "answered before" in there.press("right", pair).note
    assert here.answers.by("ada")[pair] == stored
    assert there.shown().pair == here.shown().pair != pair


def test_a_new_start_goes_on_where_the_last_one_was(path):
    work = start(path)
    for _ in range(3):
        shown = work.press("left", work.shown().pair)
    again = start(path)
    assert again.shown().pair == shown.pair
    assert again.shown().answered == 3
    assert {again.shown().left, again.shown().right} == {shown.left, shown.right}
    assert again.shown().left == shown.left


def test_time_a_label_is_between_showing_and_key(path):
    now = iter(range(0, 100, 7))
    work = start(path, clock=lambda: next(now))
    shown = work.press("left", work.shown().pair)
    assert work.answers.by("ada")["pair0"].seconds == 7
    assert shown.seconds_a_label == 7


def test_bad_keys_pairs_and_an_empty_round_are_errors(path):
    work = start(path)
    with pytest.raises(ValueError, match="a key is one of left, right, tie, skip, undo"):
        work.press("up", "pair0")
    with pytest.raises(ValueError, match="none of this round's"):
        work.press("left", "another")
    with pytest.raises(ValueError, match="nothing to label"):
        Labelling(Answers(path), [], "ada", stream=stream(0, "label"))
    assert not work.answers.by("ada")


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "مرحبا بالعالم", "x" * 20_000, "'; DROP TABLE answers;"]
)
def test_any_text_comes_back_as_it_was(path, text):
    question = Question("p", text, text + "1", text + "2")
    answers = Answers(path)
    answers.ask("run", 1, [question])
    work = Labelling(answers, answers.asked("run", 1), "ada", stream=stream(0, "label"))
    assert work.shown().prompt == text
    assert {work.shown().left, work.shown().right} == {text + "1", text + "2"}
    work.press("left", "p")
    assert len(answers.table()) == 1


def test_a_stand_in_answers_as_it_prefers(path):
    work = start(path)
    ask(work)
    assert {one.answer for one in work.answers.by("ada").values()} == {"second"}
