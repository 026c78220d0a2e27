"""Who answers after the first round: the controls that ask whether labels teach."""

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.method.strategies.posterior import reward_posterior
from activedpo_lib.params import ParamsError, load_params
from activedpo_lib.runs import checkpoints, steps
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.run import open_run
from activedpo_lib.study.probing import probes
from activedpo_lib.study.probing.picks import picks_of

SETTINGS = {
    "oracle.kind": "utility", "task.sft_rows": 32, "rounds": 3, "dpo.learning_rate": 5.0e-3,
}  # fmt: skip
CONTROLS = ("policy", "posterior", "coin")
STRATEGIES = ("random", "activedpo")


def silent(_):
    pass


def params(who, strategy="random", **more):
    overrides = SETTINGS | {"oracle.after_first": who} | more
    return load_params("smoke", strategy=strategy, overrides=overrides)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("after_first")


def finished(root, who, strategy="random"):
    table = run_rounds(params(who, strategy), 0, root, log=silent)
    return open_run(params(who, strategy), 0, root, log=silent), table


def answers(run, found):
    """(rows picked, whether the first response was chosen) of a round that is made again."""
    rows = picks_of(run, found)
    labelled = {
        (pair.prompt.id, frozenset([pair.chosen, pair.rejected])): pair.chosen
        for pair in steps.past_of(run, found.t).labelled
        if pair.round == found.t
    }
    pairs = [found.pool.pair(row) for row in rows]
    chosen = [labelled[pair.prompt.id, frozenset([pair.first, pair.second])] for pair in pairs]
    return rows, np.array([pair.first == c for pair, c in zip(pairs, chosen, strict=True)])


def rounds_of(root, who, strategy):
    """(Run, its rounds 1..3 again, each with its rows and answers)."""
    run, _ = finished(root, who, strategy)
    for found in probes.rounds_again(run, needs=frozenset({"phi", "margin"})):
        yield run, found, *answers(run, found)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("who", CONTROLS)
def test_the_first_round_is_the_same_whoever_answers_afterwards(who, strategy, root):
    """Rounds 0 and 1 to the last digit, and the second round's pool with them."""
    usual, control = finished(root, "oracle", strategy), finished(root, who, strategy)
    columns = ["round", "labels", "reward", "win_rate", "utility", "pool"]
    tables = [table[columns].iloc[:2] for _, table in (usual, control)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    first = [steps.past_of(run, 1).labelled for run in (usual[0], control[0])]
    assert first[0] == first[1]
    assert control[1]["pool"].iloc[2] == usual[1]["pool"].iloc[2]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("who", ["oracle", *CONTROLS])
def test_the_first_rounds_answers_are_the_oracles(who, strategy, root):
    run, found, rows, first = next(rounds_of(root, who, strategy))
    gaps = steps.true_gaps(run, found.pool)[rows]
    assert found.t == 1
    np.testing.assert_array_equal(first[gaps != 0], (gaps > 0)[gaps != 0])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_policy_answers_by_its_own_implicit_reward(strategy, root):
    for _, found, rows, first in rounds_of(root, "policy", strategy):
        if found.t > 1:
            np.testing.assert_array_equal(first, found.candidates.margin[rows] > 0)


@pytest.mark.parametrize("strategy", [*STRATEGIES, "predicted_improvement"])
def test_the_posterior_answers_by_its_mean_from_the_answers_so_far(strategy, root):
    """A direct maximum of the logistic likelihood in the weights themselves, not in dual form."""
    from scipy.optimize import minimize

    for run, found, rows, first in rounds_of(root, "posterior", strategy):
        if found.t == 1:
            continue
        phi, past = (
            x.astype(np.float64) for x in (found.candidates.phi, found.candidates.past_phi)
        )
        unit = np.sqrt(np.square(phi).sum(1).mean())
        prior, z = run.params.selection.prior, past / unit
        assert len(z) == len(found.labelled)

        def loss(w, z=z, prior=prior):
            gaps = z @ w
            slope = -(z.T @ (1 / (1 + np.exp(gaps)))) + prior * w
            return np.logaddexp(0, -gaps).sum() + prior / 2 * w @ w, slope

        best = minimize(loss, np.zeros(z.shape[1]), jac=True, method="L-BFGS-B", tol=1e-14).x
        mean = (phi / unit @ best)[rows]
        sure = np.abs(mean) > 1e-3
        assert sure.sum() > len(rows) / 2
        np.testing.assert_array_equal(first[sure], (mean > 0)[sure])
        again = reward_posterior(found.candidates, prior).mean[rows]
        np.testing.assert_allclose(again, mean, atol=1e-3)


def test_the_coin_is_fair_named_and_blind():
    """Many draws of the stream that a run's coin comes from; another seed, another coin."""
    from activedpo_lib.streams import stream

    names = [(f"p{i}", 0, 1) for i in range(4000)]
    coins = [stream(seed, "label", 2).child("coin").uniforms(names) < 0.5 for seed in (0, 1)]
    assert abs(coins[0].mean() - 0.5) < 0.03
    assert abs((coins[0] == coins[1]).mean() - 0.5) < 0.03


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_coin_answers_by_the_pairs_names_alone(strategy, root):
    for run, found, rows, first in rounds_of(root, "coin", strategy):
        if found.t > 1:
            names = [found.candidates.ids[row] for row in rows]
            tosses = run.stream("label", found.t).child("coin").uniforms(names)
            np.testing.assert_array_equal(first, tosses < 0.5)


def test_the_oracle_is_asked_in_the_first_round_only(root, tmp_path, monkeypatch):
    asked = []
    real = steps.label_pairs

    def counted(run, pairs, t):
        asked.append((t, len(pairs)))
        return real(run, pairs, t)

    monkeypatch.setattr(steps, "label_pairs", counted)
    for who in CONTROLS:
        asked.clear()
        table = run_rounds(params(who), 1, tmp_path, log=silent)
        assert asked == [(1, 6)]
        assert table["labels"].tolist() == [0, 6, 12, 18]  # answers, whoever gave them


def test_the_controls_differ_from_the_oracle_and_from_each_other(root):
    runs = [finished(root, who)[0] for who in ("oracle", *CONTROLS)]
    labels = [
        tuple((pair.chosen, pair.rejected) for pair in steps.past_of(run, 3).labelled)
        for run in runs
    ]
    assert len(set(labels)) == len({run.folder for run in runs}) == 4


@pytest.mark.parametrize("who", CONTROLS)
def test_runs_that_differ_in_who_answers_share_pi_sft_and_the_reward_model(who):
    from activedpo_lib.runs.artifacts import _neutral

    usual, control = params("oracle"), params(who)
    assert _neutral(usual) == _neutral(control)
    assert checkpoints.run_folder(usual, 0, "r") != checkpoints.run_folder(control, 0, "r")


def test_measures_only_what_the_control_asks_for(root):
    needs = {who: steps.needs(finished(root, who)[0]) for who in ("oracle", *CONTROLS)}
    assert needs == {
        "oracle": frozenset(),  # a control nobody asked for costs nothing
        "policy": {"margin"},
        "posterior": {"phi"},
        "coin": frozenset(),
    }


@pytest.mark.parametrize("who", CONTROLS)
def test_in_a_replay_humans_have_answered(who):
    with pytest.raises(ParamsError, match=f"oracle.after_first {who} with replay is impossible"):
        params(who, **{"replay": True})
