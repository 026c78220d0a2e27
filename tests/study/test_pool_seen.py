"""A pool to be looked at: its map, its picks and its uncertainties are those of the run, and the
controls move them.
"""

import json

import numpy as np
import pytest

from activedpo_lib import load_params, open_run, run_rounds
from activedpo_lib.study.drawing import pool_plots
from activedpo_lib.study.live.explorer import Explorer
from activedpo_lib.study.live.pool_seen import PoolSeen, principal
from activedpo_lib.study.probing.picks import picks_of
from activedpo_lib.study.probing.probes import rounds_again


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("pool")
    params = load_params("smoke", strategy="activedpo")
    run_rounds(params, 0, root, log=lambda line: None)
    return open_run(params, 0, root)


@pytest.fixture(scope="module")
def seen(run):
    return PoolSeen.of_round(run, 2)


def test_the_picks_at_the_runs_own_ridge_are_the_runs_own(run, seen):
    picks = seen.pick("activedpo", run.params.batch_size)
    (again,) = rounds_again(run, {2})
    assert picks.indices.tolist() == picks_of(run, again).tolist()


@pytest.mark.parametrize("ridge", [0.01, 1.0, 100.0])
def test_uncertainty_equals_an_explicit_inverse_with_the_picks_in_v(seen, ridge):
    picked = seen.pick("activedpo", 3, ridge).indices
    phi = seen.candidates.phi.astype(np.float64)
    known = np.concatenate([seen.candidates.past_phi, phi[picked]]).astype(np.float64)
    inverse = np.linalg.inv(ridge * seen.candidates.ridge * np.eye(phi.shape[1]) + known.T @ known)
    wanted = np.sqrt(np.einsum("nd,de,ne->n", phi, inverse, phi))
    assert np.allclose(seen.uncertainty(picked, ridge), wanted, rtol=1e-4)


def test_the_map_keeps_what_two_directions_can_keep():
    phi = np.random.default_rng(0).normal(size=(30, 8)) * np.arange(1, 9)
    points, shares = principal(phi)
    values, vectors = np.linalg.eigh(np.cov(phi.T))
    assert np.allclose(shares, values[:-3:-1] / values.sum())
    assert np.allclose(np.abs(points), np.abs((phi - phi.mean(0)) @ vectors[:, :-3:-1]))
    assert np.array_equal(principal(np.ones((3, 4)))[0], np.zeros((3, 2)))  # all alike
    assert principal(np.ones((1, 4)))[0].shape == (1, 2)


def test_the_runs_own_numbers_reach_its_strategies(tmp_path):
    once = {"selection.repeat_prompts": False, "batch_size": 4}
    params = load_params("smoke", strategy="gradient_norm", overrides=once)
    run_rounds(params, 0, tmp_path, log=lambda line: None)
    seen = PoolSeen.of_round(open_run(params, 0, tmp_path), 2)
    rows = seen.pick("activedpo", 4, ridge=1e6).indices  # without V's help
    assert len(set(seen.candidates.prompt[rows])) == 4
    assert seen.pick("transductive", 4, 1e-3).indices.tolist() != (
        seen.pick("transductive", 4, 1e3).indices.tolist()
    )


def test_every_strategy_that_is_offered_picks(seen):
    assert {"random", "activedpo", "apo", "aplp", "bald", "bal_pm"} <= set(seen.strategies())
    assert "epig" not in seen.strategies()  # it asks about held-out prompts
    for name in seen.strategies():
        assert len(set(seen.pick(name, 4).indices.tolist())) == 4


def test_the_controls_move_picks_and_colours(seen):
    explorer = Explorer(seen)
    every, picked = explorer.figure.data
    own = explorer.picked
    assert list(picked.text) == [str(at + 1) for at in range(len(own))]
    assert np.allclose(picked.x, seen.points[own, 0])
    explorer.known.value = 0
    assert len(explorer.figure.data[1].x) == 0
    assert np.allclose(every.marker.color, seen.uncertainty())
    explorer.strategy.value = "random"
    assert explorer.picked != own
    assert explorer.known.value == explorer.batch.value == len(own)
    explorer.batch.value = 3
    assert len(explorer.picked) == explorer.known.max == len(explorer.figure.data[1].x) == 3
    before = np.array(every.marker.color)
    explorer.ridge.value = 100.0
    assert not np.allclose(every.marker.color, before)


def test_without_a_kernel_the_figure_stands_alone_and_hovers(seen):
    bundle = Explorer(seen, live=False)._repr_mimebundle_()
    figure = bundle[pool_plots.PLOTLY]
    assert json.dumps(figure)
    assert len(figure["data"][0]["text"]) == len(seen.pool.pairs)
    assert len(figure["data"][1]["text"]) == seen.run.params.batch_size


def test_markup_in_a_text_stays_text_and_long_texts_are_cut():
    hover = pool_plots._hover("<b>x</b>", "<script>y</script>", "word " * 4000)
    assert "<b>" not in hover
    assert "&lt;script&gt;" in hover
    assert len(hover) < 1000
    assert pool_plots._hover('say "hi"', "it's", "a").startswith('say "hi"<br>1: it\'s')
    whole = pool_plots._hover("<" * 200, "a", "b").replace("<br>", "")
    assert whole.startswith("&lt;" * 200)  # no entity is cut


def test_first_picks_are_texts_of_the_pool(seen):
    table = seen.first_picks({"activedpo": [3, 1, 0]})
    assert table["prompt"].tolist() == [seen.pool.pair(row).prompt.text for row in (3, 1)]


@pytest.mark.parametrize("t", [0, 3])
def test_a_round_that_there_is_not_is_an_error(run, t):
    with pytest.raises(ValueError, match=f"expected a round from 1 to 2, got {t}"):
        PoolSeen.of_round(run, t)
