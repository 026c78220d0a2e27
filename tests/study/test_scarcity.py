"""Figures 15 to 17: shares, rooms and power against numbers written out by hand."""

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.params import load_params
from activedpo_lib.study.drawing import plots, scarcity_plots
from activedpo_lib.study.scarcity import controls, numbers, sentences
from activedpo_lib.study.studies import load_study


def table(ends, by="variant", measure="reward", start=0.1):
    """Two rounds a run: `start`, then what `ends` {name: (seeds,)} says."""
    rows = [
        {"task": "tldr", "model": "llama", "variant": "usual", "strategy": "random"}
        | {by: name, "seed": seed, "round": t, "labels": 10 * t, measure: start if t == 0 else end}
        for name, values in ends.items()
        for seed, end in enumerate(values)
        for t in (0, 1)
    ]
    return pd.DataFrame(rows)


ENDS = {"usual": (0.5, 0.7), "half the labels": (0.3, 0.5), "its own labels": (0.1, 0.1)}
CELL = ("tldr", "llama")


def test_what_is_lost_is_paired_by_seed_and_a_share_of_the_gain():
    found = numbers.gains(table(ENDS), "variant")
    np.testing.assert_allclose(found[(*CELL, "usual")], [0.4, 0.6])
    np.testing.assert_allclose(numbers.lost(found, "half the labels", "usual")[CELL], 0.2)
    assert numbers.share_lost(found, "half the labels", "usual")[CELL] == pytest.approx(0.4)
    assert numbers.share_lost(found, "its own labels", "usual")[CELL] == pytest.approx(1.0)


def test_nothing_gained_has_no_share():
    found = numbers.gains(table({"usual": (0.1, 0.1), "half the labels": (0.1, 0.0)}), "variant")
    assert np.isnan(numbers.share_lost(found, "half the labels", "usual")[CELL])


def test_half_the_labels_take_equally_many_steps():
    for profile in ("tiny", "paper"):
        steps = {
            variant: numbers.optimiser_steps(params)
            for (_, _, variant, _), params in load_study("elasticity", profile).cells.items()
        }
        assert steps["half the labels"] == steps["usual"] == steps["twice the labels"]


def test_steps_are_those_of_the_trainer():
    params = load_params("tiny", overrides={"batch_size": 10, "dpo.epochs": 8, "dpo.batch_size": 8})
    assert numbers.optimiser_steps(params) == 16  # two batches an epoch, the second one smaller


def test_the_room_is_the_better_ceilings_difference_to_random():
    ends = {
        "random": (0.2, 0.4),
        "full knowledge: matching": (0.9, 0.9),
        "full knowledge: largest_gap": (0.5, 0.9),
    }
    np.testing.assert_allclose(numbers.room(table(ends, "strategy"))[CELL], [0.7, 0.5])


def test_the_rooms_of_a_folder_are_its_tables_and_none_where_it_has_none(tmp_path):
    assert numbers.rooms_in(tmp_path) == numbers.rooms_in("") == {}
    ends = {"random": (0.2, 0.4), "full knowledge: matching": (0.9, 0.9)}
    table(ends, "strategy").to_csv(tmp_path / "fig16_room.csv")
    assert numbers.rooms_in(tmp_path) == {CELL: pytest.approx(0.6)}


def test_sentences_hold_the_numbers(tmp_path):
    table(ENDS | {"step x1/2": (0.2, 0.2), "step x2": (0.9, 0.9)}).to_csv(
        tmp_path / "fig15_label_elasticity.csv"
    )
    said = sentences.elasticity(tmp_path)
    assert (
        "With half the labels, at equal steps, Random lost 40 % (tldr, llama) of its gain" in said
    )
    assert "tldr, llama: step x2" in said
    ends = {"random": (0.2, 0.4), "full knowledge: matching": (0.9, 0.9)}
    table(ends, "strategy").to_csv(tmp_path / "fig16_room.csv")
    assert "The mean room, in logits: 0.60 (tldr, llama).**" in sentences.the_room(tmp_path)
    ends = {"oracle": (0.5, 0.7), "own prediction": (0.3, 0.4), "coin": (0.1, 0.1)}
    table(ends).to_csv(tmp_path / "fig17_controls.csv")
    said = controls.is_it_the_labels(tmp_path)
    assert "Random labelled by a predictor after the first round" in said


def controlled(ends):
    """A table of controls in two tasks; ends: {(strategy, variant): reward at the end}."""
    rows = [
        {"task": task, "model": "llama", "variant": variant, "strategy": strategy, "seed": seed,
         "round": t, "labels": 10 * t, "reward": t * (end + noise), "utility": 2.0 * t * end}
        for (strategy, variant), end in ends.items() for task in ("tldr", "webgpt")
        for seed, noise in enumerate((0.01, 0.0, -0.01)) for t in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_what_others_answers_leave_of_the_gain_over_random_is_told(tmp_path):
    ends = {
        ("random", "oracle"): 0.5, ("random", "own prediction"): 0.3, ("random", "coin"): 0.1,
        ("activedpo", "oracle"): 0.7, ("activedpo", "own prediction"): 0.4,
        ("activedpo", "coin"): 0.1, ("k_center", "oracle"): 0.5, ("k_center", "coin"): 0.3,
        ("k_center", "own prediction"): 0.3, ("random", "step x2"): 0.8,
        ("activedpo", "step x2"): 0.9, ("k_center", "step x2"): 0.6,
    }  # fmt: skip
    controlled(ends).to_csv(tmp_path / "fig17_controls.csv")
    said = controls.is_it_the_labels(tmp_path)
    assert "above Random: k-center in reward and true utility." in said
    assert "larger, established only for: ActiveDPO in reward and true utility." in said
    assert "Above that with a coin's: ActiveDPO (+0.20 ± 0.00)." in said
    alike, unlike, larger = (
        said.split(f"Reward after the last round, mean over tasks and models, uncorrected{what}")[1]
        for what in (", both labelled alike", ", difference to Random with", ", both at twice")
    )
    assert "ActiveDPO, a predictor's labels (+0.10 ± 0.00)" in alike
    assert "ActiveDPO, a predictor's labels (-0.10 ± 0.00)" in unlike
    assert "Above Random: ActiveDPO (+0.10 ± 0.00)" in larger
    assert "Below Random: k-center (-0.20 ± 0.00)" in larger


def test_where_a_coin_leaves_no_gain_nobody_is_named(tmp_path):
    ends = {("random", v): 0.5 for v in ("oracle", "own prediction", "coin")}
    ends |= {("activedpo", v): 0.5 for v in ("oracle", "own prediction", "coin")}
    controlled(ends).to_csv(tmp_path / "fig17_controls.csv")
    said = controls.is_it_the_labels(tmp_path)
    assert "above Random: none." in said
    assert "larger, established only for: none.**" in said


def test_the_figures_show_every_variant():
    plots.style()
    names = ("usual", "half the labels", "twice the labels", "its own labels", "step x1/2")
    found = table(dict.fromkeys((*names, "step x2"), (0.3, 0.5)))
    figure = scarcity_plots.elasticity(found.assign(steps=16 * found["round"]), "a title")
    said = {text.get_text() for text in figure.legends[0].get_texts()}
    assert said == {*names, "step x2"}
    drawn = scarcity_plots.controls(table({"oracle": (0.3, 0.5), "coin": (0.1, 0.2)}), "a title")
    assert len(drawn.axes) == 1


def moved():
    """Update sizes, two seeds: ActiveDPO moved as far as Random with its larger step."""
    rows = []
    for strategy, variant, kl, reward in (
        ("random", "oracle", 1.0, 0.2),
        ("activedpo", "oracle", 2.0, 0.3),
        ("random", "step x2", 2.0, 0.3),
        ("random", "coin", 9.0, 9.0),
    ):
        for seed, noise in ((0, 0.01), (1, -0.01)):
            rows.append(
                {"task": "tldr", "model": "llama", "variant": variant, "strategy": strategy,
                 "seed": seed, "round": 2, "kl": kl + noise * kl, "change_norm": kl,
                 "reward": reward + noise * kl, "utility": np.nan}
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_how_far_a_policy_moved_is_said_beside_randoms_larger_step(tmp_path):
    ends = {"oracle": (0.5, 0.7), "own prediction": (0.3, 0.4), "coin": (0.1, 0.1)}
    table(ends).to_csv(tmp_path / "fig17_controls.csv")
    assert "KL" not in controls.is_it_the_labels(tmp_path)
    moved().to_csv(tmp_path / "fig17_controls_update_size.csv")
    said = controls.is_it_the_labels(tmp_path)
    assert "ActiveDPO, tldr, llama (+1.00 ± 0.13)" in said
    assert "Random, step x2, tldr, llama (+1.00 ± 0.13)" in said
    assert "True utility" not in said  # it is not known in this table


def equal_kl(levels):
    """Differences at equal KL of three seeds in two cells, by strategy."""
    return pd.DataFrame(
        {"task": "tldr", "model": model, "strategy": strategy, "variant": "oracle", "seed": seed,
         "kl": 0.3, "reward": level + noise, "utility": 2 * level + noise,
         "reward_at_step": level, "utility_at_step": level}
        for strategy, level in levels.items()
        for model in ("llama", "gemma")
        for seed, noise in enumerate((0.01, 0.0, -0.01))
    )  # fmt: skip


def test_what_is_gained_at_equal_kl_is_counted_with_its_correction(tmp_path):
    ends = {"oracle": (0.5, 0.7), "own prediction": (0.3, 0.4), "coin": (0.1, 0.1)}
    table(ends).to_csv(tmp_path / "fig17_controls.csv")
    found = equal_kl({"activedpo": 0.5, "upper_confidence_gap": 0.0, "k_center": -0.5})
    found.to_csv(tmp_path / "fig17_controls_equal_kl.csv")
    said = controls.is_it_the_labels(tmp_path).split("\n\n")
    assert said[1] == (
        "**At equal KL (3 seeds, corrected), "
        "ActiveDPO ended above Random in 2 of 2 cells in reward and 2 of 2 cells in true utility.\n"
        "Upper-confidence gap ended above Random in 0 of 2 cells in reward and 0 of 2 cells in "
        "true utility.\nK-center ended above Random in 0 of 2 cells in reward (below in 2) and "
        "0 of 2 cells in true utility (below in 2).**"
    )
    label = "at equal KL, true utility, difference to Random, verdict corrected, ± not:"
    at = said.index(f"ActiveDPO {label}")
    assert "Above Random: tldr, llama (+1.00 ± 0.02)" in said[at + 1]
    at = said.index(f"upper-confidence gap {label}")
    assert "Not established: tldr, llama (+0.00 ± 0.02)" in said[at + 1]


def test_a_share_of_the_room_is_of_means_over_cells(tmp_path):
    ends = {"random": (0.2, 0.4), "full knowledge: matching": (0.7, 0.9)}
    table(ends, "strategy").to_csv(tmp_path / "fig16_room.csv")
    assert numbers.share_of_room(tmp_path, {CELL: np.array([0.1, 0.2])}) == pytest.approx(0.3)
    unknown = {CELL: np.array([0.1]), ("webgpt", "llama"): np.array([0.1])}
    assert np.isnan(numbers.share_of_room(tmp_path, unknown))
    assert np.isnan(numbers.share_of_room("", {CELL: np.array([0.1])}))
