"""Corrected verdicts and power against slower truths."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from activedpo_lib.study.comparisons.corrected import (
    above_everywhere,
    corrected_verdicts,
    holm,
    paired_p,
    simultaneous,
)
from activedpo_lib.study.comparisons.power import (
    detectable,
    pooled_deviation,
    power_line,
    power_of,
)


def test_holm_is_its_sequential_definition():
    rng = np.random.default_rng(0)
    for count in (1, 2, 7, 24):
        p = rng.uniform(0, 0.1, count) ** 2
        for level in (0.01, 0.05, 0.2):
            rejected, left = set(), sorted(range(count), key=lambda i: p[i])
            while left and p[left[0]] <= level / len(left):  # step down until one stays
                rejected.add(left.pop(0))
            assert set(np.flatnonzero(holm(p) <= level)) == rejected
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, np.nan]), [0.03, 0.06, 0.06, np.nan])


def test_p_of_a_paired_difference_is_the_t_tests():
    values = np.array([0.1, 0.4, 0.3, -0.1])
    statistic = values.mean() / (values.std(ddof=1) / 2)
    assert paired_p(values) == pytest.approx(2 * t.sf(statistic, 3))
    assert np.isnan(paired_p([1.0]))
    assert (paired_p([0.0, 0.0]), paired_p([1.0, 1.0])) == (1.0, 0.0)
    half = t.ppf(1 - 0.05 / 2 / 5, 3) * values.std(ddof=1) / 2
    assert simultaneous(values, 5) == pytest.approx(half)


def table(seeds=6, utility=True):
    rng, rows = np.random.default_rng(1), []
    for model in ("a", "b"):
        for seed in range(seeds):
            for name, gain in {"random": 0.0, "good": 2.0, "bad": -2.0, "same": 0.0}.items():
                for at in range(3):
                    reward = seed + gain * at + rng.normal(0, 0.3)
                    row = {"task": "x", "model": model, "strategy": name, "seed": seed}
                    row |= {"round": at, "labels": 5 * at, "reward": reward}
                    rows.append(row | {"utility": 2 * reward if utility else np.nan})
    return pd.DataFrame(rows)


def test_verdicts_are_corrected_over_all_cells_of_a_measure_and_a_time():
    results = table()
    found = corrected_verdicts(results, ("reward", "utility"), room={("x", "a"): 8.0})
    assert len(found) == 2 * 2 * 2 * 3
    last = found[(found["measure"] == "reward") & (found["when"] == "last round")]
    np.testing.assert_allclose(last["p corrected"], holm(last["p"]))
    one = last[(last["model"] == "a") & (last["strategy"] == "good")].iloc[0]
    own = results[(results["model"] == "a") & (results["round"] == 2)].pivot(
        index="seed", columns="strategy", values="reward"
    )
    values = (own["good"] - own["random"]).to_numpy()
    assert one["difference"] == pytest.approx(values.mean())
    assert one["value"] == pytest.approx(own["good"].mean())
    assert one["of the room"] == pytest.approx(values.mean() / 8)
    assert one["p"] == pytest.approx(paired_p(values))
    assert one["± corrected"] > one["±"]
    said = dict(zip(last["strategy"], last["verdict"], strict=True))
    assert said == {"good": "above Random", "same": "level", "bad": "below Random"}
    assert last["strategy"].tolist() == ["good", "same", "bad"] * 2
    assert above_everywhere(found) == ["good"]
    utility = found[found["measure"] == "utility"]
    assert utility["of the room"].isna().all()  # the room is one of reward


def test_one_seed_and_an_unknown_truth_establish_nothing():
    found = corrected_verdicts(table(1, utility=False), ("reward", "utility"))
    assert set(found["measure"]) == {"reward"}
    assert set(found["verdict"]) == {"one seed"}
    with pytest.raises(ValueError, match=r"none of .*utility.* is known"):
        corrected_verdicts(table(2, utility=False), ("utility",))


def test_power_is_the_share_of_simulated_tests_that_see_the_difference():
    rng = np.random.default_rng(2)
    for seeds, difference in ((5, 0.5), (10, 0.3), (20, 0.1)):
        drawn = rng.normal(difference, 0.4, (20000, seeds))
        statistic = drawn.mean(1) / (drawn.std(1, ddof=1) / np.sqrt(seeds))
        seen = np.mean(np.abs(statistic) > t.ppf(0.975, seeds - 1))
        assert power_of(difference, 0.4, seeds) == pytest.approx(seen, abs=0.012)


def test_the_detectable_difference_has_the_power_asked_for():
    for seeds in (2, 3, 10, 20):
        assert power_of(detectable(0.7, seeds), 0.7, seeds) == pytest.approx(0.8, abs=1e-6)
    assert np.isnan(detectable(0.7, 1))
    assert detectable(0.0, 4) == 0.0
    groups = [np.array([1.0, 3.0]), np.array([0.0, 0.0, 6.0])]
    assert pooled_deviation(groups) == pytest.approx(np.sqrt((2 + 24) / 3))
    least = detectable(pooled_deviation([groups[0]] * 2), 2)
    line = power_line([groups[0]] * 2, "reward")
    assert f"With 2 seeds a true difference of {least:.2g} in reward" in line
    assert "established in 80 % of repeats" in line
    assert "one seed" in power_line([np.array([1.0])])


def test_a_corrected_line_has_the_power_at_the_corrected_level():
    groups = [np.array([0.1, 0.2, 0.6]), np.array([0.0, 0.3, 0.1])]
    line = power_line(groups, "reward", 88)
    least = float(line.split("difference of ")[1].split()[0])
    found = power_of(least, pooled_deviation(groups), 3, 0.05 / 88)
    assert found == pytest.approx(0.8, abs=0.03)  # two digits are printed
    assert "88 comparisons" in line
