"""Readable tables: against the objects they are made from, and plain sums."""

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.records import LabelledPair, Pool, Prompt, Response
from activedpo_lib.study import tables
from activedpo_lib.study.drawing import people_plots


def labelled(prompt, round, chosen=3, rejected=5):
    def response(length):
        return Response(prompt, tuple(range(length)), f"{length} tokens")

    asked = Prompt(prompt, f"text of {prompt}")
    return LabelledPair(asked, (1,), response(chosen), response(rejected), round)


@pytest.fixture
def results():
    rows = [
        {"task": "t", "model": "m", "strategy": name, "seed": seed, "round": t, "labels": 5 * t,
         "reward": gain * t + seed, "utility": 0.0, "cpu_seconds": 2.0, "seconds": 1.0,
         "seconds_measure": 0.5, "seconds_select": 0.25 * gain}
        for name, gain in (("random", 0), ("activedpo", 1)) for seed in range(4) for t in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_responses_stand_beside_their_own_prompts():
    prompts = (Prompt("a", "first"), Prompt("b", "second"))
    texts = (("a", "one"), ("a", "two"), ("b", "three"), ("b", "four"))
    responses = tuple(Response(owner, (1,), text) for owner, text in texts)
    pool = Pool(prompts, ((1,), (2,)), responses, np.array([0, 0, 1, 1]), np.array([[0, 1]]))
    found = tables.response_table(pool, 3, lambda prompt, text: len(prompt.text + text))
    assert found["prompt"].tolist() == ["first", "first", "second"]
    assert found["response"].tolist() == ["one", "two", "three"]
    assert found["true utility"].tolist() == [8, 8, 11]
    assert "true utility" not in tables.response_table(pool, 3)


def test_picked_lengths_count_both_responses_of_a_pair():
    found = tables.picked_lengths([labelled("a", 1), labelled("b", 1, 7, 9), labelled("a", 2)])
    assert found["round"].tolist() == [1, 2]
    assert found["length"].tolist() == [(3 + 5 + 7 + 9) / 4, 4]


def test_distinct_prompts_counts_a_prompt_once_a_round():
    picks = {
        "random": [labelled("a", 1), labelled("a", 1), labelled("a", 2), labelled("b", 2)],
        "apo": [labelled("b", 1)],
    }
    found = tables.distinct_prompts(picks).set_index(["strategy", "round"])
    assert found.loc[("random", 1)].tolist() == [2, 1]
    assert found.loc[("random", 2)].tolist() == [2, 2]
    assert found.loc[("apo", 1)].tolist() == [1, 1]


def test_the_truth_is_known_only_where_every_row_has_it(results):
    assert tables.truth_known(results)
    results.loc[3, "utility"] = np.nan
    assert not tables.truth_known(results)


def test_times_are_of_whole_runs(results):
    found = tables.time_table(results)
    assert found.loc["activedpo", "cpu_seconds"] == pytest.approx(6)
    assert found.loc["activedpo", "select_share"] == pytest.approx(0.25)
    assert found.loc["random", "select_share"] == 0


def test_changes_are_last_minus_first(results):
    found = tables.changes(results, ["reward", "utility"])
    assert found.loc["activedpo"].tolist() == [2, 0]
    assert found.loc["random"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("mean", "half", "said"),
    [
        (0.2, 0.1, "above Random"),
        (-0.2, 0.1, "below Random"),
        (0.1, 0.1, "level"),
        (-0.05, 0.1, "level"),
        (0.2, float("nan"), "one seed"),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(mean, half, said):
    assert tables.verdict(mean, half) == said


def test_verdict_counts_add_up_to_the_strategys_cells():
    names = ["activedpo", "activedpo", "activedpo", "apo"]
    last = ["level", "above Random", "level", "below Random"]
    table = pd.DataFrame({"strategy": names, "last round: verdict": last})
    table["mean of rounds: verdict"] = "level"
    assert tables.verdict_counts(table, "activedpo").splitlines() == [
        "activedpo, last round: level in 2 of 3, above Random in 1 of 3",
        "activedpo, mean of rounds: level in 3 of 3",
    ]


def test_a_table_to_be_read_shows_text_as_it_is_and_numbers_short():
    shown = people_plots.texts(pd.DataFrame({"said": ["<b>no"], "mean": [0.5], "n": [3]})).to_html()
    assert all(f">{cell}</td>" in shown for cell in ("&lt;b&gt;no", "0.5", "3"))
    assert "text-align: left" in shown
