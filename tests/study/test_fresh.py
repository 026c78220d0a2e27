"""What led is run once more on fresh seeds: chosen by a rule, judged on other seeds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from activedpo_lib.method.formulas import interval
from activedpo_lib.study.comparisons import fresh
from activedpo_lib.study.comparisons.pooled import over_cells, pooled_verdicts
from activedpo_lib.study.studies import Study

EFFECTS = {"random": 0.0, "k_center": 0.3, "margin": -0.2, "apo": 0.1}


def results(seeds=range(4), noise=0.0, shift=0.0):
    """Rounds 0 and 1 of four strategies in two cells; each ends at its effect, plus its noise."""
    random = np.random.default_rng(0)
    rows = [
        {"task": task, "model": "llama", "strategy": name, "seed": seed, "round": t,
         "labels": 10 * t, "reward": t * (effect + noise * random.normal() + shift * seed),
         "utility": 2 * t * effect}
        for task in ("tldr", "webgpt") for name, effect in EFFECTS.items()
        for seed in seeds for t in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_leaders_are_those_of_the_highest_mean_difference():
    assert fresh.leaders(results(), 2) == ["k_center", "apo"]
    assert fresh.leaders(results(shift=5.0), 3) == ["k_center", "apo", "margin"]  # paired by seed


def test_only_the_leaders_are_run_once_more():
    study = Study.open("strategies", "smoke", [0, 1])
    again = fresh.on_fresh_seeds(study, ["k_center"], [2, 3])
    assert again.seeds == (2, 3)
    assert {cell[3] for cell in again.cells} == {"random", "k_center"}
    for cell, params in again.cells.items():
        assert params == study.cells[cell]  # nothing else differs


def test_a_seed_that_chose_is_refused():
    study = replace(Study.open("strategies", "smoke", [0, 1]), seeds=(0, 1, 5))
    with pytest.raises(ValueError, match=r"fresh seeds, got \[1, 5\]"):
        fresh.on_fresh_seeds(study, ["k_center"], [1, 5, 8])


def test_the_mean_over_cells_has_one_number_a_seed():
    table = results(noise=0.05)
    found = over_cells(table, "reward", "random")
    last = table[table["round"] == 1].pivot_table(
        index="seed", columns=["task", "strategy"], values="reward"
    )
    apart = [last[task, "apo"] - last[task, "random"] for task in ("tldr", "webgpt")]
    assert np.allclose(found["apo"], np.mean(apart, axis=0))
    assert set(found) == {"k_center", "margin", "apo"}


def test_the_pooled_verdicts_are_corrected_for_all_of_them():
    table = results(noise=0.1)
    found = pooled_verdicts(table, ["reward"]).set_index("strategy")
    p = [ttest_1samp(values, 0).pvalue for values in over_cells(table, "reward", "random").values()]
    assert np.allclose(found["p corrected"], holm_written_out(p))
    assert found.loc["k_center", "verdict"] == "above Random"


def holm_written_out(p):
    """Holm's correction, written out."""
    order, worst, found = np.argsort(p), 0.0, np.empty(len(p))
    for rank, at in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[at]))
        found[at] = worst
    return found


def test_the_finding_says_what_was_established_and_of_what_kind(tmp_path):
    table = results(noise=0.02)
    table.to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    text = fresh.sentence(tmp_path)
    assert "corrected: k-center and APO above Random in reward and true utility.**" in text
    assert "k-center: 2 of 2 in reward and 2 of 2 in true utility" in text
    mean, half = interval(over_cells(table, "reward", "random")["apo"])
    assert f"APO ({mean:+.2f} ± {half:.2f})" in text
    one = results(seeds=[0])
    one.to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    assert fresh.sentence(tmp_path) == "**One fresh seed: nothing is judged.**"


def test_a_table_of_text_without_a_known_truth_is_judged_by_reward_alone(tmp_path):
    table = results(noise=0.02)
    table["utility"] = np.nan
    table.to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    assert "utility" not in fresh.sentence(tmp_path).lower()


def test_what_was_run_after_the_verdict_was_fixed_is_judged_alone_as_well(tmp_path):
    table = results(seeds=range(6), noise=0.02)
    late = (table["seed"] > 2) & (table["strategy"] == "k_center")
    table.loc[late, ["reward", "utility"]] = 0.0
    table["looked_at"] = table["seed"] <= 2
    table.to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    first, second = fresh.sentence(tmp_path).split("\n\n")[0].split(". On the ")
    assert first.startswith("**On 6 fresh seeds, corrected: ")
    assert second.startswith("3 run after the verdict was fixed: APO above Random in reward")
    assert "k-center" not in second
