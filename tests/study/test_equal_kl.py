"""Equal KL: against a made-up law of what a policy gains for its distance, known in closed form."""

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.study.drawing import kl_plots, plots
from activedpo_lib.study.scarcity.equal_kl import beyond_random, by_cell, over_cells, random_reaches

STEPS = {"step x1/2": 0.5, "usual": 1.0, "step x2": 2.0}
START = 0.2


def row(strategy, variant, seed, kl, reward):
    cell = {"task": "tldr", "model": "llama", "strategy": strategy, "variant": variant}
    return cell | {"seed": seed, "round": 6, "kl": kl, "reward": reward, "utility": np.nan}


def worth(kl, seed):
    """What Random gains: proportional to sqrt(KL), every seed by its own rate."""
    return START + (1.0 + 0.1 * seed) * np.sqrt(kl)


def randoms(seeds=(0, 1, 2)):
    every = [(seed, v, 0.16 * s**2) for seed in seeds for v, s in STEPS.items()]
    return pd.DataFrame([row("random", v, seed, kl, worth(kl, seed)) for seed, v, kl in every])


def starts(seeds=(0, 1, 2)):
    return pd.DataFrame([row("random", "usual", s, 0.0, START) | {"round": 0} for s in seeds])


def strategy(name, kl, more, seeds=(0, 1, 2)):
    return [row(name, "oracle", s, kl, worth(kl, s) + more) for s in seeds]


def test_between_two_runs_the_law_is_found_again():
    kl, reached = np.array([0.64, 0.04, 0.16]), np.array([1.0, 0.4, 0.6])
    assert random_reaches(kl, reached, START, 0.36) == pytest.approx(0.8)
    assert random_reaches(kl, reached, START, 0.01) == pytest.approx(0.3)  # from pi_SFT on
    assert random_reaches(kl, reached, START, -0.001) == pytest.approx(START)  # KL is an estimate
    assert np.isnan(random_reaches(kl, reached, START, 0.65))


def test_a_strategy_that_only_moves_further_is_level_and_a_better_one_is_not():
    sizes = pd.DataFrame([*strategy("k_center", 0.4, 0.0), *strategy("activedpo", 0.1, 0.07)])
    sizes = pd.concat([sizes, randoms()])  # Random's own rows are no strategy's
    apart = beyond_random(sizes, randoms(), starts(), ["reward"])
    assert set(apart["strategy"]) == {"k_center", "activedpo"}
    cell = ("tldr", "llama")
    np.testing.assert_allclose(by_cell(apart, "k_center", "reward")[cell], 0.0, atol=1e-12)
    np.testing.assert_allclose(by_cell(apart, "activedpo", "reward")[cell], 0.07)
    # At equal steps the one that moves further would have looked the better one.
    usual = randoms().query("variant == 'usual'")["reward"].mean()
    means = sizes.groupby("strategy")["reward"].mean()
    assert means["k_center"] - usual > means["activedpo"] - usual


def test_where_random_did_not_go_nothing_is_said():
    far = [*strategy("k_center", 0.9, 0.0, (0, 1)), *strategy("k_center", 0.3, 0.1, (2,))]
    apart = beyond_random(pd.DataFrame(far), randoms(), starts(), ["reward"])
    assert apart["reward"].isna().tolist() == [True, True, False]
    assert by_cell(apart, "k_center", "reward") == {}
    near = [*strategy("k_center", 0.9, 0.0, (0,)), *strategy("k_center", 0.3, 0.1, (1, 2))]
    apart = beyond_random(pd.DataFrame(near), randoms(), starts(), ["reward"])
    found = by_cell(apart, "k_center", "reward")[("tldr", "llama")]
    np.testing.assert_allclose(found, [0.1, 0.1])


def test_a_seed_that_random_was_not_run_with_is_an_error():
    sizes = pd.DataFrame(strategy("activedpo", 0.1, 0.07, (7,)))
    with pytest.raises(ValueError, match=r"\('tldr', 'llama', 7\).*give its seeds"):
        beyond_random(sizes, randoms(), starts(), ["reward"])


def test_the_picture_has_a_line_for_random_and_only_the_oracles_labels():
    plots.style()
    sizes = pd.DataFrame(strategy("activedpo", 0.1, 0.07))
    sizes = pd.concat([sizes, sizes.assign(variant="coin"), sizes.assign(variant="step x2")])
    figure = kl_plots.reward_by_kl(sizes, randoms(), "a title")
    said = {text.get_text() for text in figure.legends[0].get_texts()}
    line = "Random, steps from a half to twice the usual"
    assert said == {line, "ActiveDPO, usual step", "ActiveDPO, step x2"}
    assert len(figure.axes) == 1  # the truth is not known


def test_the_mean_over_cells_is_one_number_a_seed_of_the_cells_that_are_known():
    gains = {("tldr", 0): 0.2, ("webgpt", 0): 0.4, ("tldr", 1): 0.2, ("webgpt", 1): np.nan}
    rows = [
        {"task": task, "model": model, "strategy": "apo", "variant": "oracle", "seed": seed,
         "reward": gain + (model == "gemma") * 0.1}
        for (task, seed), gain in gains.items() for model in ("llama", "gemma")
    ]  # fmt: skip
    apart = pd.DataFrame(rows)
    np.testing.assert_allclose(over_cells(apart, "reward")["apo"], [0.35])  # two of four: too few
    apart.loc[(apart["seed"] == 1) & (apart["model"] == "llama"), "reward"] = 0.2
    np.testing.assert_allclose(over_cells(apart, "reward")["apo"], [0.35, 0.7 / 3])
    assert over_cells(apart, "reward", "step x2") == {}


def test_the_picture_of_all_strategies_is_sorted_by_the_gain_at_equal_kl():
    plots.style()
    step = {"activedpo": np.array([0.1, 0.1]), "k_center": np.array([0.3, 0.3])}
    equal = {"activedpo": np.array([0.1, 0.2]), "k_center": np.array([0.0, 0.1])}
    figure = kl_plots.at_equal_kl({"reward": (step, equal), "utility": (step, equal)}, "a title")
    first, second = figure.axes
    assert [text.get_text() for text in first.get_yticklabels()] == ["ActiveDPO", "k-center"]
    assert second.get_xlabel() != first.get_xlabel()
