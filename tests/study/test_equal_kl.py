"""Equal KL: against made-up laws of what a policy gains for its distance, known in closed form."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.study.drawing import kl_plots, plots
from activedpo_lib.study.scarcity import kl_sentences
from activedpo_lib.study.scarcity.equal_kl import (
    AT_STEP,
    PLACEBO,
    beyond_random,
    by_cell,
    less_placebo,
    over_cells,
    random_reaches,
)
from activedpo_lib.study.statistics import sign
from activedpo_lib.study.studies import Study

STEPS = {"step x1/2": 0.5, "usual": 1.0, "step x1.4": 1.4, "step x2": 2.0}
START, CELL = 0.2, ("tldr", "llama")


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


def apart(*rows):
    return beyond_random(pd.DataFrame([*rows]), randoms(), starts(), ["reward"])


def test_between_two_runs_the_law_is_found_again():
    kl, reached = np.array([0.64, 0.04, 0.16]), np.array([1.0, 0.4, 0.6])
    assert random_reaches(kl, reached, START, 0.36) == pytest.approx(0.8)
    assert random_reaches(kl, reached, START, 0.01) == pytest.approx(0.3)  # from pi_SFT on
    assert random_reaches(kl, reached, START, -0.001) == pytest.approx(START)  # KL is an estimate
    assert np.isnan(random_reaches(kl, reached, START, 0.65))


def test_a_strategy_that_only_moves_further_is_level_and_a_better_one_is_not():
    sizes = [*strategy("k_center", 0.4, 0.0), *strategy("activedpo", 0.1, 0.07)]
    found = beyond_random(
        pd.concat([pd.DataFrame(sizes), randoms()]), randoms(), starts(), ["reward"]
    )
    assert set(found["strategy"]) == {"k_center", "activedpo", PLACEBO}  # Random is no strategy
    np.testing.assert_allclose(by_cell(found, "k_center", "reward")[CELL], 0.0, atol=1e-12)
    np.testing.assert_allclose(by_cell(found, "activedpo", "reward")[CELL], 0.07)
    # At equal steps the one that moves further would have looked the better one.
    means = found.groupby("strategy")["reward" + AT_STEP].mean()
    assert means["k_center"] > 0 > means["activedpo"]
    usual = worth(0.16, np.arange(3)).mean()
    assert means["k_center"] == pytest.approx(worth(0.4, np.arange(3)).mean() - usual)


def test_the_placebo_is_nothing_on_a_straight_law_and_the_bend_on_a_curved_one():
    found = apart(*strategy("activedpo", 0.1, 0.07))
    np.testing.assert_allclose(by_cell(found, PLACEBO, "reward")[CELL], 0.0, atol=1e-12)
    root = np.sqrt(randoms()["kl"])
    bent = randoms().assign(reward=START + root - 0.5 * root**2)
    sizes = pd.DataFrame(strategy("activedpo", 0.25, 0.0))
    sizes["reward"] = START + 0.5 - 0.5 * 0.25  # on Random's curve: no merit at all
    found = beyond_random(sizes, bent, starts(), ["reward"])
    placebo = by_cell(found, PLACEBO, "reward")[CELL]
    gained = by_cell(found, "activedpo", "reward")[CELL]
    # The usual root KL is 0.4; held out, its neighbours are 0.2 and 0.56: (b - x)(x - a) / 2.
    np.testing.assert_allclose(placebo, 0.5 * (0.56 - 0.4) * (0.4 - 0.2))
    assert (gained > 0).all()
    assert (gained < placebo).all()


def test_noise_alone_is_not_above_random():
    """Runs and KLs with noise, every strategy as good as Random: few intervals miss zero."""
    rng, missed, draws = np.random.default_rng(0), 0, 200
    for _ in range(draws):
        noisy = randoms(range(10))
        noisy["kl"] *= rng.lognormal(0, 0.3, len(noisy))
        noisy["reward"] += rng.normal(0, 0.05, len(noisy))
        same = [row("apo", "oracle", s, 0.16, worth(0.16, s)) for s in range(10)]
        same = pd.DataFrame(same)
        same["kl"] *= rng.lognormal(0, 0.3, len(same))
        same["reward"] += rng.normal(0, 0.05, len(same))
        found = beyond_random(same, noisy, starts(range(10)), ["reward"])
        missed += sign(by_cell(found, "apo", "reward")[CELL]) == 1
    assert missed / draws < 0.06  # 2.5 % would be exact


def test_where_random_did_not_go_nothing_is_said_and_the_comparison_still_counts():
    far = [*strategy("k_center", 0.9, 0.0, (0, 1)), *strategy("k_center", 0.3, 0.1, (2,))]
    found = apart(*far)
    own = found[found["strategy"] == "k_center"]
    assert own["reward"].isna().tolist() == [True, True, False]
    assert len(by_cell(found, "k_center", "reward")[CELL]) == 0
    compared = kl_sentences.compared(found, "oracle")
    assert set(kl_sentences.judged(compared).values()) == {kl_sentences.NOT_JUDGED}
    near = [*strategy("k_center", 0.9, 0.0, (0,)), *strategy("k_center", 0.3, 0.1, (1, 2))]
    np.testing.assert_allclose(by_cell(apart(*near), "k_center", "reward")[CELL], [0.1, 0.1])


def test_a_table_in_which_nothing_is_judged_is_told_as_that(tmp_path):
    found = apart(*strategy("k_center", 0.9, 0.0))
    found.to_csv(tmp_path / "fig17_controls_equal_kl.csv", index=False)
    head, told, *_ = kl_sentences.at_equal_kl(tmp_path)
    assert "k-center ended above Random in 0 of 1 cells in reward.**" in head
    assert told.endswith("- Not judged: Random did not go so far: tldr, llama.")


def test_what_cannot_be_judged_makes_the_others_stricter():
    values = np.array([0.05, 0.09, 0.02, 0.06])
    alone = {("apo", "reward", "tldr", "llama"): values}
    assert set(kl_sentences.judged(alone).values()) == {"above Random"}
    many = alone | {("apo", "reward", "tldr", str(at)): values[:0] for at in range(9)}
    assert kl_sentences.judged(many)["apo", "reward", "tldr", "llama"] == "level"


def test_a_seed_that_random_was_not_run_with_is_an_error():
    with pytest.raises(ValueError, match=r"\('tldr', 'llama', 7\).*give its seeds"):
        apart(*strategy("activedpo", 0.1, 0.07, (7,)))


def test_the_third_look_is_the_one_that_was_announced():
    third = Study.open("confirm_equal_kl", "tiny", range(20))
    assert third.seeds == tuple(range(170, 190))
    assert {cell[3] for cell in third.cells} == {"activedpo"}
    every = Study.open("strategies", "tiny")
    assert {cell[:2] for cell in third.cells} == {cell[:2] for cell in every.cells}
    for cell, params in third.cells.items():
        assert params == every.cells[cell]


def test_the_mean_over_cells_is_one_number_a_seed_of_the_cells_that_are_known():
    gains = {("tldr", 0): 0.2, ("webgpt", 0): 0.4, ("tldr", 1): 0.2, ("webgpt", 1): np.nan}
    rows = [
        {"task": task, "model": model, "strategy": "apo", "variant": "oracle", "seed": seed,
         "reward": gain + (model == "gemma") * 0.1, "reward_at_step": 1.0 + (task == "tldr")}
        for (task, seed), gain in gains.items() for model in ("llama", "gemma")
    ]  # fmt: skip
    found = pd.DataFrame(rows)
    step, kl = over_cells(found, "reward")["apo"]
    np.testing.assert_allclose(kl, [0.35])  # of seed 1 two of four: too few
    np.testing.assert_allclose(step, [1.5])
    found.loc[(found["seed"] == 1) & (found["model"] == "llama"), "reward"] = 0.2
    step, kl = over_cells(found, "reward")["apo"]
    np.testing.assert_allclose(kl, [0.35, 0.7 / 3])
    np.testing.assert_allclose(step, [1.5, 5 / 3])  # of the same three runs
    assert over_cells(found, "reward", "step x2") == {}


def test_the_picture_has_a_line_for_random_and_only_the_oracles_labels():
    plots.style()
    sizes = pd.DataFrame(strategy("activedpo", 0.1, 0.07))
    sizes = pd.concat([sizes, sizes.assign(variant="coin"), sizes.assign(variant="step x2")])
    figure = kl_plots.reward_by_kl(sizes, randoms(), "a title")
    said = {text.get_text() for text in figure.legends[0].get_texts()}
    line = "Random, at several step sizes"
    assert said == {line, "ActiveDPO, usual step", "ActiveDPO, step x2"}
    assert len(figure.axes) == 1  # the truth is not known


def test_a_replays_agreement_is_drawn_and_told_too():
    names = {"reward": "agreement"}
    sizes = pd.DataFrame(strategy("activedpo", 0.1, 0.07)).drop(columns="utility")
    curve, start = (t.drop(columns="utility").rename(columns=names) for t in (randoms(), starts()))
    sizes = sizes.rename(columns=names)
    assert len(kl_plots.reward_by_kl(sizes, curve, "a title").axes) == 1
    found = beyond_random(sizes, curve, start, ["agreement"])
    keys = kl_sentences.compared(found, "oracle")
    assert set(keys) == {("activedpo", "agreement", *CELL)}


def test_the_picture_of_all_strategies_is_sorted_by_the_gain_at_equal_kl():
    plots.style()
    gains = {
        "activedpo": (np.array([0.1, 0.1]), np.array([0.1, 0.2])),
        "k_center": (np.array([0.3]), np.array([0.05])),
    }
    first, second = kl_plots.at_equal_kl({"reward": gains, "utility": gains}, "a title").axes
    told = [text.get_text() for text in first.get_yticklabels()]
    assert told == ["ActiveDPO", "k-center (1 of 2 seeds)"]
    assert second.get_xlabel() != first.get_xlabel()
    with pytest.raises(ValueError, match="nothing can be compared"):
        kl_plots.at_equal_kl({"reward": {}}, "a title")


@pytest.mark.parametrize(
    ("truth", "who"), [({"apo": 2.0, "margin": 0.0}, "APO"), ({"apo": 0.0, "margin": 2.0}, "no")]
)
def test_who_is_above_random_over_all_cells_is_so_in_every_measure(truth, who, tmp_path):
    """In reward APO alone is above."""
    noise = np.array([0.01, 0.0, -0.01])
    rows = [
        {"task": "tldr", "model": "llama", "strategy": name, "variant": "usual", "seed": seed,
         "reward": reward + noise[seed], "utility": truth[name] + noise[seed]}
        | {"reward_at_step": 0.0, "utility_at_step": 0.0}
        for name, reward in (("apo", 1.0), ("margin", 0.0))
        for seed in range(3)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "fig20_equal_kl.csv", index=False)
    said = kl_sentences.strategies_at_equal_kl(tmp_path)
    assert said.startswith(
        "**At equal KL, over all cells, 3 seeds, above Random in reward and true utility, "
        "corrected: " + who
    )


def with_placebo(tmp_path, models=("llama", "gemma")):
    """APO +0.3 and margin +0.1 where the placebo is +0.1; noise that all share."""
    levels, rows = {"apo": 0.3, "margin": 0.1, PLACEBO: 0.1}, []
    for (name, level), model, seed in product(levels.items(), models, range(4)):
        value = level + 0.1 * seed + (0.01 * seed if name == "apo" else 0.0)
        row = {"task": "tldr", "model": model, "strategy": name, "variant": "usual", "seed": seed}
        rows.append(row | {"reward": value, "reward_at_step": 0.0})
    pd.DataFrame(rows).to_csv(tmp_path / "fig20_equal_kl.csv", index=False)
    return pd.DataFrame(rows)


def test_less_the_placebo_is_paired_by_seed_over_cells(tmp_path):
    found = less_placebo(with_placebo(tmp_path), "reward", "usual")
    np.testing.assert_allclose(found["apo"], 0.2 + 0.01 * np.arange(4))
    np.testing.assert_allclose(found["margin"], 0.0, atol=1e-12)
    np.testing.assert_allclose(found[PLACEBO], 0.1 + 0.1 * np.arange(4))


@pytest.mark.parametrize(
    ("models", "seeds"), [(("llama", "gemma"), 3), (("llama", "gemma", "x"), 4)]
)
def test_a_run_without_a_placebo_is_compared_with_none(models, seeds, tmp_path):
    """Half of seed 2's runs are too few to judge it; two of three are enough, and the 9 is none."""
    table = with_placebo(tmp_path, models)
    there = (table["model"] == "gemma") & (table["seed"] == 2)
    table.loc[there, "reward"] = np.where(table.loc[there, "strategy"] == PLACEBO, np.nan, 9.0)
    expected = 0.2 + 0.01 * np.array([0, 1, 2, 3] if seeds == 4 else [0, 1, 3])
    np.testing.assert_allclose(less_placebo(table, "reward", "usual")["apo"], expected)


def test_what_does_not_exceed_the_placebo_is_told_beside_the_verdicts(tmp_path):
    with_placebo(tmp_path)
    head = kl_sentences.strategies_at_equal_kl(tmp_path)
    assert "corrected: APO and margin.\nAbove the placebo too, uncorrected: APO.**" in head
    head = kl_sentences.at_equal_kl(tmp_path, "fig20_equal_kl", "usual")[0]
    assert "Margin, over all cells, uncorrected, ended level with the placebo in reward" in head
    assert "APO, over all cells, uncorrected, ended above the placebo in reward" in head
