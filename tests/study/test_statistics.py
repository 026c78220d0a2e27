"""Statistics of the studies against slower truths and worked examples."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.study import statistics
from activedpo_lib.study.statistics import interaction
from activedpo_lib.study.tables import verdict


def contrasts(values):
    left = values - values.mean(2, keepdims=True) - values.mean(1, keepdims=True)
    return left + values.mean((1, 2), keepdims=True)


def test_no_interaction_has_zero_contrasts_and_a_strong_one_the_smallest_p():
    rng = np.random.default_rng(0)
    additive = rng.normal(size=(6, 2, 1)) + rng.normal(size=(6, 1, 3))
    found, _ = interaction(additive)
    np.testing.assert_allclose(found, 0, atol=1e-12)
    crossed = additive + 5 * np.array([[1, -1, 0], [-1, 1, 0]]) + 0.01 * rng.normal(size=(6, 2, 3))
    assert interaction(crossed)[1] == 2**-5


@pytest.mark.parametrize("seeds", [5, 14])
def test_the_interactions_p_is_that_of_all_sign_patterns(seeds):
    """14 seeds too: more than the twelve whose signs alone were once turned."""
    values = np.random.default_rng(1).normal(size=(seeds, 2, 3))
    left = contrasts(values)
    signs = np.array(list(itertools.product([1, -1], repeat=seeds)))
    found = np.square(np.einsum("ps,sij->pij", signs / seeds, left)).sum((1, 2))
    assert interaction(values)[1] == pytest.approx(np.mean(found >= found[0] - 1e-12))
    assert np.isnan(interaction(values[:1])[1])


def test_every_seed_counts_whatever_their_order():
    values = np.random.default_rng(3).normal(size=(15, 2, 3)) + np.array([[0.3, 0, 0], [0, 0.3, 0]])
    assert interaction(values)[1] == interaction(values[::-1])[1]


def test_random_signs_agree_with_all_of_them(monkeypatch):
    values = np.random.default_rng(4).normal(size=(12, 2, 3)) + np.array([[0.2, 0, 0], [0, 0.2, 0]])
    exact = interaction(values)[1]
    monkeypatch.setattr(statistics, "EXACT", 4)
    drawn = interaction(values)[1]
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(0.25 / statistics.DRAWN))
    assert drawn == interaction(values)[1]  # a named stream: the same again


def test_under_no_interaction_p_is_rarely_small():
    rng = np.random.default_rng(2)
    small = [interaction(rng.normal(size=(8, 2, 3)))[1] <= 0.05 for _ in range(400)]
    assert np.mean(small) < 0.09


def test_a_table_of_another_shape_is_named():
    with pytest.raises(ValueError, match=r"\(seeds, rows, columns\), got shape \(4, 3\)"):
        interaction(np.zeros((4, 3)))


def test_the_seed_that_carries_an_interaction_is_found():
    rng = np.random.default_rng(0)
    rows = []
    for seed, m, s in itertools.product(range(3, 9), range(2), range(3)):
        odd = 5.0 * (seed == 7) * (m == s)
        value = 0.1 * rng.normal() + odd + (0.3 if m == s else 0.0)
        rows.append({"seed": seed, "model_name": m, "subset": s, "reward": value})
    final = pd.DataFrame(rows)
    found = statistics.interactions(final, ("reward",)).iloc[0]
    values = statistics.cross_table(final, "reward")
    assert values.shape == (6, 2, 3)
    without = [interaction(np.delete(values, at, 0))[1] for at in range(6)]
    assert found["p"] == interaction(values)[1]
    assert found["highest without one"] == max(without)
    assert found["carried by"] == 3 + int(np.argmax(without))
    assert math.isnan(statistics.interactions(final[final["seed"] == 3], ("reward",))["p"].iloc[0])


def test_a_sign_and_a_verdict_are_the_same_rule():
    rng = np.random.default_rng(0)
    words = {1: "above Random", -1: "below Random", 0: "level"}
    seen = set()
    for shift in np.linspace(-2, 2, 60):
        values = shift + rng.normal(size=6)
        found = statistics.sign(values)
        assert verdict(*statistics.interval(values)) == words[found]
        seen.add(found)
    assert seen == {-1, 0, 1}
    assert statistics.sign(np.array([3.0])) == 0


def runs(**curves):
    """{strategy: [agreement of each round]} as a table of one seed, ten labels a round."""
    return pd.DataFrame(
        [
            {"strategy": name, "seed": 0, "round": t, "labels": 10 * t, "agreement": value}
            for name, own in curves.items()
            for t, value in enumerate(own)
        ]
    )


def test_labels_needed_are_linear_between_rounds_and_inf_where_never_reached():
    table = runs(random=[0.5, 0.6, 0.7], margin=[0.5, 0.8, 0.8], entropy=[0.5, 0.6, 0.6])
    found = statistics.labels_to_reach_random(table)
    assert found["random"].tolist() == [20.0]
    assert found["margin"][0] == pytest.approx(10 * 0.2 / 0.3)
    assert np.isinf(found["entropy"][0])
    assert statistics.at_most_a_round_more(table, found)["entropy"].tolist() == [30.0]
    never = statistics.needed_table(table, found).set_index("strategy")["never reached"]
    assert never.to_dict() == {"random": 0.0, "margin": 0.0, "entropy": 1.0}


def test_labels_saved_are_randoms_own_first_time_less_the_strategys_mean_over_cells():
    one = runs(random=[0.5, 0.8, 0.7], margin=[0.5, 0.8, 0.8], entropy=[0.5, 0.6, 0.6])
    two = runs(random=[0.5, 0.6, 0.7], margin=[0.5, 0.8, 0.8], entropy=[0.5, 0.6, 0.6])
    table = pd.concat([one.assign(task="a", model="m"), two.assign(task="b", model="m")])
    found = statistics.labels_saved(table.rename(columns={"agreement": "reward"}), "reward")
    assert found["margin"][0] == pytest.approx((0.0 + 20 - 20 / 3) / 2)  # Random wavered in a
    assert found["entropy"][0] == pytest.approx((20 / 3 - 30 + 20 - 30) / 2)
    assert set(found) == {"margin", "entropy"}


def test_a_level_that_is_there_before_any_label_needs_none():
    assert statistics.labels_needed(runs(random=[0.5, 0.4, 0.7]), 0.45) == 0.0


def test_costs_add_up_over_rounds_and_a_bill_counts_labels_and_hours():
    rows = [
        {"task": "t", "strategy": name, "seed": 0, "round": t, "labels": 10 * t, "reward": 0.0,
         "seconds_train": 2.0 * t, "seconds_evaluate": 99.0}
        for name in ("random", "activedpo") for t in range(3)
    ]  # fmt: skip
    flops = {("t", "random"): [1.0, 1.0], ("t", "activedpo"): [3.0, 5.0]}
    found = statistics.with_costs(pd.DataFrame(rows), flops)
    assert found["wall"].tolist() == [0.0, 2.0, 6.0] * 2
    assert found["flops"].tolist() == [0.0, 1.0, 2.0, 0.0, 3.0, 8.0]
    bill = statistics.bill(found, cents_per_label=50, cents_per_hour=360000)
    assert bill.loc["activedpo", "labels, dollars"] == 10.0
    assert bill.loc["activedpo", "machine, dollars"] == pytest.approx(6.0)
    assert bill.loc["activedpo", "FLOP / Random's"] == 4.0


def test_repeats_count_prompts_asked_again():
    picks = pd.DataFrame({"strategy": "random", "seed": 0, "prompt": ["a", "a", "b", "c"]})
    found = statistics.repeats(picks).loc["random"]
    assert found["most"] == 2
    assert found["share of picks on a prompt asked before"] == 0.25


def test_a_condition_is_judged_after_its_own_last_round():
    rows = [
        {"task": "t", "model": "m", "variant": variant, "strategy": name, "seed": seed, "round": t,
         "reward": t * (name == "activedpo") + seed}
        for variant, last in (("usual", 2), ("more rounds", 4))
        for name in ("random", "activedpo") for seed in range(3) for t in range(last + 1)
    ]  # fmt: skip
    found = statistics.conditions(pd.DataFrame(rows))
    assert {name: last.tolist() for name, (last, _) in found.items()} == {
        "usual": [2.0] * 3,
        "more rounds": [4.0] * 3,
    }
