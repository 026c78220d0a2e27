"""Figure 21: what the second half of the labels adds, against numbers written out by hand."""

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.study.drawing import plots, scarcity_plots
from activedpo_lib.study.scarcity import longer
from activedpo_lib.study.studies import load_study

# A round's truth in the second half: Random rises by .2 a round, ActiveDPO falls by .1.
SLOPES = {"random": 0.2, "activedpo": -0.1}


def table(seeds=3, evaluator=True):
    """Four rounds; up to the second all rise by .1 a round. A task and a seed have levels of their
    own, and what ActiveDPO's later rounds add wobbles with the seed.
    """
    rows = []
    for task, level in (("tldr", 1.0), ("webgpt", 2.0)):
        for name, slope in SLOPES.items():
            for seed in range(seeds):
                for t in range(5):
                    later = (slope + 0.01 * seed * (level - 1.5)) * max(0, t - 2)
                    truth = level + seed + 0.1 * min(t, 2) + later
                    row = {"task": task, "model": "gemma", "strategy": name, "seed": seed}
                    row |= {"round": t, "labels": 30 * t, "utility": truth, "reward": 0.1 * t}
                    rows.append(row | ({"evaluator_reward": -truth} if evaluator else {}))
    return pd.DataFrame(rows)


def test_the_second_half_is_the_mean_over_tasks_of_each_seed():
    found = longer.second_half(table(), "utility")
    np.testing.assert_allclose(found["random"], [0.4] * 3)  # two rounds; the wobble cancels
    np.testing.assert_allclose(found["activedpo"], [-0.2] * 3, atol=1e-12)
    np.testing.assert_allclose(
        longer.second_half(table(), "evaluator_reward")["random"], [-0.4] * 3
    )


def test_its_sentence_counts_who_rises_and_who_falls(tmp_path):
    table().to_csv(tmp_path / f"{longer.NAME}.csv", index=False)
    text = longer.sentence(tmp_path)
    assert text.startswith(
        "**From 60 to 120 labels, true utility rose for 1 of 2 strategies. It fell for 1 of 2 "
        "strategies.\nActiveDPO then ended below Random (-0.60 ± 0.00) in it, over 2 cells.**"
    )
    assert "ActiveDPO (-0.20 ± 0.00)" in text
    assert text.count("difference to Random") == 6  # three measures, over 2 cells and by cell


def test_where_no_truth_is_known_the_second_model_judges(tmp_path):
    table().drop(columns="utility").to_csv(tmp_path / f"{longer.NAME}.csv", index=False)
    text = longer.sentence(tmp_path)
    assert "second model's reward rose for 1 of 2" in text  # minus the truth
    assert "True utility" not in text


def test_what_was_not_run_is_not_told(tmp_path):
    assert longer.sentence(tmp_path) == ""


def test_a_panel_a_measure_and_task_with_the_usual_end_marked():
    figure = scarcity_plots.longer(table(), "Figure 21")
    assert len(figure.axes) == 6
    for ax in figure.axes:
        assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"] == [60.0]
    plots.plt.close(figure)


@pytest.mark.parametrize("profile", ["tiny", "smoke"])
def test_the_first_half_is_the_usual_run_but_for_the_second_model(profile):
    cells, controls = (load_study(name, profile).cells for name in ("longer", "controls"))
    usual = {(t, m, s): params for (t, m, v, s), params in controls.items() if v == "oracle"}
    for (task, model, _, strategy), params in cells.items():
        known = usual[task, model, strategy]
        assert params.rounds == 2 * known.rounds
        assert params.evaluation.evaluator == "trained"
        assert params.digest("task", "model", "dpo", "generation", "selection", "batch_size") == (
            known.digest("task", "model", "dpo", "generation", "selection", "batch_size")
        )
