"""What was chosen elsewhere is judged cell by cell, and over all cells at once."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from activedpo_lib.method.formulas import interval
from activedpo_lib.store import read_json
from activedpo_lib.study.comparisons import fresh, own_step
from activedpo_lib.study.comparisons.pooled import over_cells, pooled_verdicts
from activedpo_lib.study.drawing import plots
from activedpo_lib.study.studies import Study
from activedpo_lib.study.wording import number

LOOKS = ("confirm", "confirm_truth", "confirm_equal_kl", "confirm_own_step")

TASKS = ("tldr", "webgpt")
VARIANTS = {
    "usual step": "random", "own step": "activedpo", "own step, Random": "random",
    "own step, own prediction": "activedpo", "usual step, coin": "random",
    "own step, coin": "activedpo", "own step, Random, coin": "random",
}  # fmt: skip
EFFECTS = {"random": 0.0, "k_center": 0.3, "margin": -0.2, "apo": 0.1}


def results(seeds=range(4), noise=0.0):
    """Rounds 0 and 1 of four strategies in two cells; each ends at its effect, plus its noise."""
    random = np.random.default_rng(0)
    rows = [
        {"task": task, "model": "llama", "strategy": name, "seed": seed, "round": t,
         "labels": 10 * t, "reward": t * (effect + noise * random.normal()),
         "utility": 2 * t * effect}
        for task in ("tldr", "webgpt") for name, effect in EFFECTS.items()
        for seed in seeds for t in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_what_is_judged_has_the_settings_of_the_other_figures_and_seeds_of_its_own():
    confirm, every = Study.open("confirm", "tiny", range(2)), Study.open("strategies", "tiny")
    assert {cell[3] for cell in confirm.cells} == {"random", "upper_confidence_gap"}
    for cell, params in confirm.cells.items():
        assert params == every.cells[cell]
    assert confirm.seeds == (40, 41)


def test_the_second_look_is_the_one_open_comparison_on_seeds_that_the_first_had_not():
    first, second = (Study.open(name, "tiny", range(100)) for name in ("confirm", "confirm_truth"))
    assert {cell[:2] for cell in second.cells} == {("webgpt", "llama")}
    for cell, params in second.cells.items():
        assert params == first.cells[cell]
    assert second.seeds == tuple(range(70, 170))


def test_looks_that_share_a_seed_are_refused():
    first, second = (Study.open(name, "tiny", range(30)) for name in ("confirm", "confirm_truth"))
    fresh.check_apart(first, second)
    longer = Study.open("confirm", "tiny", range(31))
    with pytest.raises(ValueError, match=r"confirm and confirm_truth both have the seeds \[70\]"):
        fresh.check_apart(longer, second)


def test_the_second_look_is_told_without_the_seeds_that_had_a_part_in_tuning(tmp_path):
    results().to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    second = results(seeds=range(97, 103)).query("strategy in ('random', 'apo')")
    tuned = (second["seed"] >= 100) & (second["strategy"] == "apo") & (second["round"] == 1)
    second.loc[tuned, "utility"] += 10.0
    second.to_csv(tmp_path / "fig18_fresh_seeds_second_look.csv", index=False)
    said = fresh.sentence(tmp_path)
    assert "llama, without seeds that had a part in tuning (+0.20 ± 0.00)" in said


def test_the_second_look_is_told_where_it_was_run(tmp_path):
    results().to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    assert "second look" not in fresh.sentence(tmp_path)
    second = results(seeds=range(4, 9)).query("task == 'webgpt' and strategy in ('random', 'apo')")
    second.to_csv(tmp_path / "fig18_fresh_seeds_second_look.csv", index=False)
    said = fresh.sentence(tmp_path)
    assert "A second look on 5 seeds of its own, true utility, difference to Random:" in said
    assert "Above Random: APO, webgpt, llama (+0.20 ± 0.00)" in said


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


def test_the_finding_counts_corrected_verdicts_cell_by_cell(tmp_path):
    table = results(seeds=range(6), noise=0.02)
    one = (table["task"] == "tldr") & (table["strategy"] == "k_center")
    table.loc[one, ["reward", "utility"]] = 0.0
    table.to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    text = fresh.sentence(tmp_path)
    head, over = text.split("\n\n")[:2]
    assert head.startswith("**On 6 seeds, corrected: ")
    assert "k-center ended above Random in 1 of 2 cells in reward and 1 of 2 cells in true" in head
    assert "APO ended above Random in 2 of 2 cells in reward and 2 of 2 cells in true" in head
    assert "margin ended above Random in 0 of 2 cells in reward (below in 2)" in head
    assert over.startswith("Mean over tasks and models, difference to Random, verdict corrected")
    mean, half = interval(over_cells(table, "reward", "random")["apo"])
    assert f"APO, reward: {mean:+.2f} ± {half:.2f}, above Random" in text


def test_every_cell_and_measure_is_one_comparison():
    table = results(seeds=range(5), noise=0.1)
    table["utility"] = np.random.default_rng(1).normal(size=len(table))
    found = fresh.judged(table, ("reward", "utility"))
    assert len(found) == 3 * 2 * 2
    np.testing.assert_allclose(found["p corrected"], holm_written_out(found["p"].to_numpy()))
    alone = fresh.judged(table, ("reward",)).set_index(["strategy", "task"])["p corrected"]
    both = found[found["measure"] == "reward"].set_index(["strategy", "task"])["p corrected"]
    assert (both >= alone - 1e-12).all()
    assert (both > alone).any()


def own_steps(seeds):
    """A table of confirm_own_step.yaml: ActiveDPO gains in TL;DR alone; Random's larger step, far
    more in both, is no part of what is judged.
    """
    random = np.random.default_rng(2)
    gains = {"own step": {"tldr": 0.3, "webgpt": 0.0}, "own step, Random": dict.fromkeys(TASKS, 9)}
    gains["own step, own prediction"] = {"tldr": -0.5}
    gains["own step, coin"] = {"tldr": 0.1, "webgpt": 0.1}  # 0.2 of the gain is the oracle's
    rows = [
        {"task": task, "model": "llama", "variant": variant, "strategy": strategy, "seed": seed,
         "round": t, "labels": 10 * t, "reward": t * (gain + 0.1 * random.normal()),
         "utility": 2 * t * (gain + 0.1 * random.normal())}
        for variant, strategy in VARIANTS.items() for task in TASKS
        for gain in [gains.get(variant, {}).get(task, 0.0)] for seed in seeds for t in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_own_step_is_judged_against_randoms_usual_one_and_nothing_else_is_in_the_family():
    table = own_steps(range(8))
    found = own_step.judged(table, ["reward", "utility"])
    last = table[table["round"] == 1].set_index(["variant", "task", "seed"]).sort_index()
    keys = list(zip(found["measure"], found["task"], strict=True))
    p = [
        ttest_1samp(last.loc[("own step", t), m] - last.loc[("usual step", t), m], 0).pvalue
        for m, t in keys
    ]
    assert sorted(keys) == [(m, t) for m in ("reward", "utility") for t in TASKS]
    np.testing.assert_allclose(found["p corrected"], holm_written_out(p))
    verdicts = dict(zip(keys, found["verdict"], strict=True))
    assert verdicts["reward", "tldr"] == "above Random"
    assert verdicts["reward", "webgpt"] == "level"


def test_the_own_step_is_told_with_what_is_not_judged_beside_it(tmp_path):
    results().to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    table = own_steps(range(8))
    table.to_csv(tmp_path / "fig22_own_step.csv", index=False)
    said = fresh.sentence(tmp_path)
    head = "**Each at its own step size (8 seeds, corrected), ActiveDPO ended above Random in 1 of"
    assert head in said
    assert "in 1 of 2 cells in reward and 1 of 2 cells in true utility.\nBoth at" in said
    assert "'s step, uncorrected, it ended above Random in none of 2 cells in reward" in said
    unjudged = said.split("Not judged, uncorrected, reward: ")[1:]
    assert "Below Random at that step: tldr, llama (-8." in unjudged[0]
    assert "Above Random at its own: tldr, llama (+8." in unjudged[1]
    assert "Above ActiveDPO with a predictor's labels: tldr, llama (+0." in unjudged[2]
    assert (
        "uncorrected, it ended below Random in reward and below Random in true utility.\n" in said
    )
    assert "Below Random with the oracle's labels: tldr, llama (-0." in unjudged[3]


def test_what_the_oracle_earns_of_the_own_step_is_the_difference_less_that_with_a_coins_labels(
    tmp_path,
):
    results().to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    table = own_steps(range(8))
    table.to_csv(tmp_path / "fig22_own_step.csv", index=False)
    said = fresh.sentence(tmp_path)
    ends = table[table["round"] == 1].pivot(
        index=["task", "seed"], columns="variant", values="reward"
    )
    coin = ends["own step, coin"] - ends["usual step, coin"]
    earned = ends["own step"] - ends["usual step"] - coin
    assert (
        f"tldr, llama ({number(earned.loc['tldr'].to_numpy())})"
        in said.split("less Random at Random's")[1].split("less")[0]
    )
    assert "uncorrected, it ended above Random in reward and above Random in true utility." in said
    assert "that difference is larger, established in neither measure; both at ActiveDPO's" in said
    table.loc[(table["variant"] == "own step, coin") & (table["round"] == 1), "reward"] -= 9
    table.to_csv(tmp_path / "fig22_own_step.csv", index=False)
    said = fresh.sentence(tmp_path)
    assert "uncorrected, it ended below Random in reward and above Random in true utility." in said
    assert "that difference is larger, established in reward; both at ActiveDPO's step, in" in said


def test_how_far_the_policies_of_the_own_step_went_is_told_where_it_was_measured(tmp_path):
    results().to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    table = own_steps(range(8))
    table.to_csv(tmp_path / "fig22_own_step.csv", index=False)
    assert "KL" not in fresh.sentence(tmp_path)
    last = table[table["round"] == 1].assign(kl=0.5)
    last.loc[last["variant"] == "own step", "kl"] = 0.75
    last.to_csv(tmp_path / "fig22_own_step_update_size.csv", index=False)
    told = fresh.sentence(tmp_path)
    assert "- Random at its own step: 0.50 ± 0.00\n- ActiveDPO at its own: 0.75 ± 0.00" in told


def test_the_own_step_of_one_seed_is_not_told(tmp_path):
    results().to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    own_steps([0]).to_csv(tmp_path / "fig22_own_step.csv", index=False)
    assert "own step" not in fresh.sentence(tmp_path)


def test_the_announced_own_step_is_that_of_notebook_00():
    look, usual = (Study.open(name, "tiny", range(20)) for name in ("confirm_own_step", "confirm"))
    assert look.seeds == tuple(range(190, 210))
    assert len(look.cells) == 28
    for (task, model, variant, strategy), params in look.cells.items():
        assert strategy == VARIANTS[variant]
        rate = 7e-4 if variant.startswith("usual step") else 1e-3
        random = usual.cells[task, model, "usual", "random"]
        expected = replace(random, strategy=strategy, dpo=replace(random.dpo, learning_rate=rate))
        if variant.endswith("own prediction"):
            expected = replace(expected, oracle=replace(random.oracle, after_first="posterior"))
        if variant.endswith("coin"):
            expected = replace(expected, oracle=replace(random.oracle, after_first="coin"))
        assert params == expected


def test_one_seed_judges_nothing(tmp_path):
    results(seeds=[0]).to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    assert fresh.sentence(tmp_path) == "**One seed: nothing is judged.**"


def test_a_table_of_text_without_a_known_truth_is_judged_by_reward_alone(tmp_path):
    table = results(noise=0.02)
    table["utility"] = np.nan
    table.to_csv(tmp_path / "fig18_fresh_seeds.csv", index=False)
    assert "utility" not in fresh.sentence(tmp_path).lower()


def test_the_record_names_the_seeds_of_every_look(tmp_path):
    looks = [Study.open(name, "tiny", range(2), tmp_path) for name in LOOKS]
    figure = plots.plt.figure()
    looks[0].save(tmp_path, "fig18_fresh_seeds", figure, results(), also=tuple(looks[1:]))
    record = read_json(tmp_path / "fig18_fresh_seeds.json")
    assert record["seed"] == [40, 41]
    assert record["other_seeds"] == {
        "confirm_truth": [70, 71],
        "confirm_equal_kl": [170, 171],
        "confirm_own_step": [190, 191],
    }
    assert set(record["params"]) == set(LOOKS)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ({"a": ["above", "level"], "b": ["level", "level"]}, "can help"),
        ({"a": ["level", "level"]}, "was not shown to help"),
        ({"a": ["above", "below"]}, "helps in some places and harms in others"),
        ({"a": ["below", "level"]}, "was not shown to help"),
        ({"a": ["above", "below"], "b": ["above", "level"]}, "can help"),
    ],
)
def test_whether_choosing_helps_is_asked_of_every_strategy(verdicts, said):
    rows = [
        {"strategy": name, "verdict": word if word == "level" else f"{word} Random"}
        for name, words in verdicts.items()
        for word in words
    ]
    assert fresh.helped(pd.DataFrame(rows)) == said
