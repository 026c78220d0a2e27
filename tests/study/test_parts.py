"""Which part of a criterion earns its gain: differences by hand, on tables made up here."""

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.method.strategies import ABLATIONS, STRATEGIES
from activedpo_lib.study.scarcity import parts
from activedpo_lib.study.studies import load_study

ENDS = {
    "upper_confidence_gap": 1.2, "predicted_gap": 0.9, "uncertainty_alone": 1.2,
    "predicted_improvement": 1.0, "improvement_own_gaps": 1.0, "improvement_random_signs": 0.4,
    "improvement_last_labels": 1.0, "improvement_random_start": 1.3, "random": 0.5,
}  # fmt: skip
NOISE = 0.01 * np.random.default_rng(0).normal(size=(len(ENDS), 4))


def table(ends=ENDS, seeds=4, measures=("reward", "utility"), turned="utility"):
    """Runs of two tasks and two rounds; each task's and seed's own level is shared, so that it
    cancels in a paired difference. The `turned` measure's differences have the other sign.
    """
    rows = []
    for task, level in (("a", 0.0), ("b", 5.0)):
        for seed in range(seeds):
            for at in (1, 2):
                for strategy, end in ends.items():
                    own = end + NOISE[list(ENDS).index(strategy), seed]
                    row = {"task": task, "model": "m", "strategy": strategy, "seed": seed}
                    row |= {"round": at, "labels": 10 * at}
                    for name in measures:
                        row[name] = level + seed + (-own if name == turned else own) * (at == 2)
                    rows.append(row)
    return pd.DataFrame(rows)


def test_a_part_is_worth_the_whole_less_what_is_left_paired_by_seed_over_the_tasks():
    found = parts.without(table(), "predicted_improvement", "reward")
    assert list(found) == [
        "without the sum over the pool",
        "without the predicted signs",
        "without the earlier batches' labels",
        "without the transductive start",
        "Random",
    ]
    whole, signs = ("predicted_improvement", "improvement_random_signs")
    one, other = (NOISE[list(ENDS).index(name), :4] for name in (signs, whole))
    np.testing.assert_allclose(found["without the predicted signs"], -0.6 + one - other)


def test_the_distance_stands_beside_the_measures_of_each_criterion():
    sizes = table(measures=("kl",))
    found = parts.taken_apart(table(), sizes[sizes["round"] == 2])
    assert list(found) == list(parts.PARTS)
    for own in found.values():
        signs = {measure: np.sign(cells["Random"].mean()) for measure, cells in own.items()}
        assert signs == {"reward": -1, "utility": 1, "kl": -1}


def saved(folder, results):
    controls = pd.concat(
        results[results["strategy"].isin(["random", "predicted_gap"])].assign(variant=variant)
        for variant in ("oracle", "own prediction", "coin")
    )
    before = controls[controls["round"] == 1].assign(round=0, labels=0)
    pd.concat([before, controls]).to_csv(folder / "fig24_more_controls.csv", index=False)
    results.to_csv(folder / "fig23_parts.csv", index=False)
    sizes = table(measures=("kl",), seeds=results["seed"].nunique())
    sizes[sizes["round"] == 2].to_csv(folder / "fig23_parts_update_size.csv", index=False)


def test_the_finding_names_the_parts_whose_absence_lowers_each_measure(tmp_path):
    saved(tmp_path, table())
    first, second = parts.sentence(tmp_path).split("**")[1:4:2]
    assert first.splitlines() + second.splitlines() == [
        "Upper-confidence gap ended above Random in reward, over all cells, corrected.",
        "Its reward ended lower without the uncertainty.",
        "Its true utility was not shown to need any of its parts.",
        "Predicted improvement ended above Random in reward, over all cells, corrected.",
        "Its reward ended lower without the predicted signs.",
        "Its true utility ended lower without the transductive start.",
    ]
    saved(tmp_path, table(ends=dict.fromkeys(ENDS, 1.0), turned=""))
    head = parts.sentence(tmp_path).split("**")[1]
    assert "Upper-confidence gap ended above Random in no measure" in head
    assert "Its reward was not shown to need any of its parts." in head


def test_one_seed_is_not_judged(tmp_path):
    saved(tmp_path, table(seeds=1))
    assert parts.sentence(tmp_path).startswith("**One seed: nothing is judged.**")


@pytest.mark.parametrize("whole", parts.PARTS)
def test_every_part_is_a_strategy_that_can_be_run(whole):
    assert whole in STRATEGIES
    assert set(parts.PARTS[whole]) <= set(STRATEGIES | ABLATIONS)


def test_the_study_runs_the_whole_and_each_of_its_parts():
    run = {strategy for *_, strategy in load_study("parts").cells}
    assert run == {"random", *parts.PARTS, *(s for own in parts.PARTS.values() for s in own)}
    assert set(ABLATIONS) < run
