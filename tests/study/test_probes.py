"""Probes into a finished run, against what the run itself recorded and against direct formulas."""

import dataclasses
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.method.projection import make_projection
from activedpo_lib.params import load_params
from activedpo_lib.runs import artifacts, checkpoints
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.run import open_run
from activedpo_lib.study.comparisons import calibration
from activedpo_lib.study.probing import picks, probes
from activedpo_lib.study.probing.distortion import cosine_error, log_det, project, quality_table
from activedpo_lib.study.studies import Study

SETTINGS = {"oracle.kind": "utility", "task.sft_rows": 32, "rounds": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("probes")


def finished(root, strategy="activedpo", **more):
    params = load_params("smoke", strategy=strategy, overrides=SETTINGS | more)
    table = run_rounds(params, 0, root, log=lambda _: None)
    return open_run(params, 0, root, log=lambda _: None), table


@pytest.mark.parametrize("strategy", ["activedpo", "apo", "aplp", "random"])
def test_a_rounds_pool_holds_the_pairs_it_picked(strategy, root):
    run, table = finished(root, strategy)
    for found in probes.rounds_again(run):
        rows = picks.picks_of(run, found)
        assert len(set(rows)) == run.params.batch_size
        assert len(found.pool.pairs) == table["pool"].iloc[found.t]
        assert len(found.labelled) == table["labels"].iloc[found.t - 1]


def test_the_first_pick_was_the_most_uncertain_pair(root):
    run, _ = finished(root)
    for found in probes.rounds_again(run):
        values = picks.criteria(found.candidates, 1e-5)["uncertainty (ActiveDPO)"]
        saved = checkpoints.load_array(run.folder, found.t, "scores")
        assert values[picks.picks_of(run, found)[0]] == pytest.approx(values.max(), rel=1e-6)
        assert saved[0] == pytest.approx(values.max(), rel=1e-4)


def test_forgetting_starts_at_zero_and_gives_the_rewards_of_the_run(root):
    run, table = finished(root, "random", **{"dpo.learning_rate": 5.0e-3})
    judged = dataclasses.replace(
        run.params, evaluation=dataclasses.replace(run.params.evaluation, evaluator="trained")
    )
    run = dataclasses.replace(run, evaluator=artifacts.load_evaluator(judged, root))
    rows = probes.forgetting(run)
    assert [row["round"] for row in rows] == [0, 1, 2, 3]
    np.testing.assert_allclose([row["oracle_reward"] for row in rows], table["reward"], atol=1e-4)
    np.testing.assert_allclose([row["utility"] for row in rows], table["utility"], atol=1e-4)
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert rows[-1]["kl"] > 0.01
    assert rows[-1]["sft_loss"] != rows[0]["sft_loss"]
    assert all(np.isfinite(row["evaluator_reward"]) for row in rows)


def test_kl_is_not_that_of_the_references_samples(root):
    """The estimate is of KL(pi_t || pi_ref): positive, as a mean over pi_ref's samples would not
    be.
    """
    run, _ = finished(root, "random", **{"dpo.learning_rate": 5.0e-3})
    policy = [policy for _, policy in probes.saved_policies(run, 3)][-1]
    from activedpo_lib.method.candidates import sequences
    from activedpo_lib.method.logps import reference, reference_logps, response_logps
    from activedpo_lib.runs.steps import evaluation_responses

    with reference(policy):
        theirs = sequences(evaluation_responses(run, policy))
    assert (response_logps(policy, *theirs) - reference_logps(policy, *theirs)).mean() < 0


def test_ranks_are_shares_of_what_lies_below():
    np.testing.assert_allclose(picks.ranks([3.0, 1.0, 2.0]), [1, 0, 0.5])
    np.testing.assert_allclose(picks.ranks([2.0, 2.0, 2.0]), 0.5)
    values = np.random.default_rng(0).normal(size=101)
    np.testing.assert_allclose(picks.ranks(values)[np.argsort(values)], np.linspace(0, 1, 101))


def test_before_the_first_label_the_error_is_the_true_gap(root):
    run, _ = finished(root)
    first, *_, last = calibration.uncertainty_and_error(run)
    np.testing.assert_allclose(first["error"], first["true gap"], atol=1e-4)
    assert not np.allclose(last["error"], last["true gap"], atol=1e-3)


def test_labels_teach_pairs_that_were_not_asked_about(root):
    run, _ = finished(root, "random", **{"dpo.learning_rate": 5.0e-3})
    taken = []

    def choose(pool, size, rng):
        taken.append(rng.choice(len(pool.pairs), size, replace=False))
        return taken[-1]

    first, again = probes.taught(run, choose), probes.taught(run, choose)
    assert first == again
    assert 0 <= first["agreement"] <= 1
    np.testing.assert_array_equal(*taken)


def test_overlap_is_one_for_the_same_words():
    from activedpo_lib.records import Pool, Prompt, Response

    texts = [Response("p", tokens, "") for tokens in ((5, 6, 1), (6, 5, 1), (7, 1))]
    pool = Pool(
        (Prompt("p", ""),), ((3,),), tuple(texts), np.zeros(3, int), np.array([[0, 1], [0, 2]])
    )
    np.testing.assert_allclose(probes.overlaps(pool), [1.0, 0.25])
    np.testing.assert_allclose(probes.pair_lengths(pool), [3.0, 2.5])


def test_a_projection_that_keeps_all_has_no_error():
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((12, 40)).astype(np.float32)
    whole = make_projection("none", 1, 0, {"a": (4, 5), "b": (2, 10)})
    np.testing.assert_allclose(project(exact, whole), exact)
    assert cosine_error(exact, project(exact, whole)) == 0
    fold = make_projection("fold", 8, 0, {"a": (4, 5), "b": (2, 10)})
    assert 0.05 < cosine_error(exact, project(exact, fold)) < 1
    assert log_det(np.eye(3), [0, 2], 0.5) == pytest.approx(2 * np.log(3))


def test_without_projecting_the_picks_are_the_exact_ones(root):
    run, _ = finished(root)
    found = quality_table(run, ["none", "fold"], [8], 2).set_index("kind")
    assert found.loc["none", "error"].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(found.loc["none", "share"], 1, rtol=1e-6)
    assert (found.loc["fold", "share"] < 1).all()
    assert (found["chance"] < 1).all()


def test_a_norm_that_grows_with_length_ranks_by_it_and_its_mean_against_it():
    tokens = np.arange(1, 20)
    gradients = pd.DataFrame({"task": "t", "tokens": tokens, "norm": np.sqrt(tokens)})
    found = picks.length_correlations(gradients).iloc[0]
    assert found["sum"] == pytest.approx(1)
    assert found["mean over tokens"] == pytest.approx(-1)


def test_ways_to_pick_differ_in_overlap(root):
    run, _ = finished(root)
    pool, rng = probes.pool_gradients(run)[0], np.random.default_rng(0)
    shared = probes.overlaps(pool)
    apart, near, _ = (shared[way(pool, 4, rng)] for way in picks.WAYS.values())
    assert apart.max() == np.sort(shared)[3]
    assert near.min() == np.sort(shared)[-4]


def test_tables_of_a_study_have_a_row_for_each_run_and_criterion(root):
    cells = {("tldr", "llama", "response", "activedpo"): finished(root)[0].params}
    study = Study("mine", "smoke", MappingProxyType(cells), (0,), root)
    ranked, scatter, beyond, deciles = calibration.correlation_table(study)
    assert len(beyond) == 3 * len(calibration.MEASURES)
    assert beyond["beyond the gap"].abs().max() <= 1
    assert deciles.groupby("round")["decile"].nunique().tolist() == [10] * 3
    assert len(ranked) == 3 * 5
    assert ranked["correlation"].abs().max() <= 1
    first = ranked[(ranked["round"] == 1)].set_index("criterion")["correlation"]
    assert first["true gap"] == pytest.approx(1)  # before the first label the error is the gap
    assert first["|r1 - r2|"] == 0
    assert len(scatter) > 10
    batch = cells["tldr", "llama", "response", "activedpo"].batch_size
    assert len(picks.picks_table(study, {1, 3})) == 2 * batch
    lengths = picks.lengths_table(study)
    assert lengths[["task", "variant", "seed"]].to_numpy().tolist() == [["tldr", "response", 0]]
    assert picks.taught_table(study)["labels on"].tolist() == list(picks.WAYS)
    assert len(picks.gradient_table(study)) > 10
    assert picks.topic_shares(finished(root)[0]).sum() == pytest.approx(1)
    results = study.run(lambda _: None)
    assert len(probes.forgetting_table(study, results, "trained")) == len(results)
    with pytest.raises(ValueError, match="not those of the curves"):
        probes.forgetting_table(study, results.assign(reward=9.0), "trained")


def test_every_strategy_is_measured_with_the_v_0_of_the_first_pool(root):
    """Random's run has no V of its own; the first pool, which all share, sets V_0 (D2)."""
    active, random = (finished(root, strategy)[0] for strategy in ("activedpo", "random"))
    wanted = [found.candidates.ridge for found in probes.rounds_again(active)]
    assert len(set(wanted)) == 1
    needs = frozenset({"phi"})
    late = [found.candidates.ridge for found in probes.rounds_again(random, {2, 3}, needs)]
    assert late == pytest.approx(wanted[1:], rel=1e-6)
