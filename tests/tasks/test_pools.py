"""Pools unlike the usual one: copies, junk, skews."""

from collections import Counter

import numpy as np
import pytest

from activedpo_lib.method.oracles import label
from activedpo_lib.params import ParamsError, load_params
from activedpo_lib.records import Pair, Prompt, Response
from activedpo_lib.runs.artifacts import oracle_folder, sft_folder
from activedpo_lib.streams import stream
from activedpo_lib.tasks import load_task
from activedpo_lib.tasks.pools import copies_of, draw, with_junk

PROMPTS = [Prompt(f"p{i}", f"text {i}", {"at": i}) for i in range(50)]


def drawn(count, copies, share):
    return draw(PROMPTS, count, copies, share, stream(0, "pools").numpy())


def test_without_copies_the_draw_is_the_usual_one():
    rows = stream(0, "pools").numpy().choice(50, 20, replace=False)
    assert drawn(20, 1, 1.0) == drawn(20, 1, 0.3) == [PROMPTS[row] for row in rows]


@pytest.mark.parametrize("count, copies, share", [(20, 10, 1.0), (23, 10, 1.0), (20, 5, 0.75)])
def test_copies_stand_as_often_as_said_and_have_ids_of_their_own(count, copies, share):
    found = drawn(count, copies, share)
    assert len(found) == count == len({prompt.id for prompt in found})
    once = count - round(share * count)
    times = Counter(prompt.text for prompt in found)
    full, rest = divmod(count - once, copies)
    assert Counter(times.values()) == Counter([1] * once + [copies] * full + [rest] * (rest > 0))
    assert {p.id for p in found} <= {c.id for p in PROMPTS for c in copies_of(p, copies)}
    assert all(prompt.facts["at"] == int(prompt.text.split()[1]) for prompt in found)


def test_junk_is_marked_by_name_and_answered_by_a_coin_whatever_the_rewards():
    marked = with_junk(PROMPTS, 0.6, stream=stream(0, "junk"))
    first = with_junk(PROMPTS[::-1], 0.6, stream=stream(0, "junk"))[::-1]
    assert [p.facts for p in marked] == [p.facts for p in first]  # whatever the order
    assert [p.text for p in marked] == [p.text for p in PROMPTS]
    many = [Prompt(f"n{i}", "x", {"junk": i % 2 == 0}) for i in range(2000)]
    good, bad = (Response("r", (at,), text) for at, text in enumerate(("good", "bad")))
    pairs = [Pair(prompt, (1,), good, bad) for prompt in many]

    def score(_, texts):
        return np.array([float(text == "good") for text in texts])

    found = label(score, pairs, stream=stream(0, "label"))
    right = np.array([pair.chosen.text == "good" for pair in found])
    assert right[1::2].all()
    assert right[::2].mean() == pytest.approx(0.5, abs=0.05)
    again = label(score, pairs[::-1], stream=stream(0, "label"))[::-1]
    assert again == found


def test_the_world_marks_its_pool_and_never_its_evaluation():
    plain, junk, tail = (
        load_task(load_params("smoke", overrides=more).task, 40, comparisons=False)
        for more in ({}, {"task.junk": 0.6}, {"task.skew": 2.0})
    )
    share = np.mean([bool(prompt.facts.get("junk")) for prompt in junk.prompts])
    assert share == pytest.approx(0.6, abs=0.1)
    assert not any(prompt.facts.get("junk") for prompt in junk.evaluation)
    assert junk.prompts == plain.prompts  # the same texts
    assert tail.evaluation == plain.evaluation  # a long tail, evaluated evenly
    assert tail.prompts != plain.prompts


def test_conditions_share_sft_and_reward_models(tmp_path):
    usual = load_params("smoke")

    def folder(params, make):
        with pytest.MonkeyPatch.context() as patch:  # as if all had been trained before
            patch.setattr("pathlib.Path.is_file", lambda _: True)
            return make(params)

    for changed in (
        {"task.copies": 10, "task.duplicated": 0.5},
        {"task.junk": 0.6},
        {"task.skew": 2.0, "task.evaluation_skew": 1.0},
        {"oracle.flip": 0.2},
    ):
        params = load_params("smoke", overrides=changed)
        assert params.digest() != usual.digest()
        for make in (lambda p: sft_folder(p, 0, tmp_path), lambda p: oracle_folder(p, tmp_path)):
            assert folder(params, make) == folder(usual, make)


@pytest.mark.parametrize(("profile", "overrides", "message"), [
    ("files", {"task.junk": 0.6}, r"task.junk 0.6 is of the built-in world alone.*files.*set task"),
    ("files", {"task.skew": 2.0}, "task.skew 2.0 is of the built-in world alone"),
    ("files", {"task.evaluation_skew": 2.0}, "task.evaluation_skew 2.0 is of the built-in world"),
    ("smoke", {"task.copies": 2, "replay": True}, "task.copies 2 with replay is impossible"),
    ("smoke", {"task.junk": 0.5, "replay": True}, "task.junk 0.5 with replay is impossible"),
    ("smoke", {"task.copies": 0}, "task.copies must be at least 1"),
    ("smoke", {"task.duplicated": 1.5}, "task.duplicated must be at most 1"),
])  # fmt: skip
def test_pools_that_are_impossible_are_named(profile, overrides, message):
    with pytest.raises(ParamsError, match=message):
        load_params(profile, overrides=overrides)


def test_copies_are_possible_with_files():
    assert load_params("files", overrides={"task.copies": 10}).task.copies == 10
