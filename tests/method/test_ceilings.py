"""Full knowledge against a brute force over the definition, on pools and on runs."""

import numpy as np
import pandas as pd
import pytest

from activedpo_lib.method.ceilings import CEILINGS, Ceiling
from activedpo_lib.method.strategies import STRATEGIES, make_strategy
from activedpo_lib.params import ParamsError, load_params
from activedpo_lib.records import Candidates, Strategy
from activedpo_lib.runs import checkpoints
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.run import labelled_pairs, open_run
from activedpo_lib.runs.steps import pool_of_round, sample_prompts, true_gaps
from activedpo_lib.streams import stream

SMALL = {"oracle.kind": "utility", "task.sft_rows": 32}
REPLAY = {
    "replay": True, "task.comparison_rows": 120, "task.sft_rows": 32, "generation.prompts": 30,
}  # fmt: skip


def silent(_):
    pass


def pool_of(count=14, dimensions=5, seed=0):
    """(Candidates with phi, gaps) of a pool in which no gap is 0."""
    rng = np.random.default_rng(seed)
    ids = tuple((f"p{i}", 0, 1) for i in range(count))
    phi = rng.normal(size=(count, dimensions)).astype(np.float32)
    return Candidates(ids, np.arange(count), tuple(f"p{i}" for i in range(count)), phi), rng.normal(
        size=count
    )


def picked(name, found, gaps, size):
    return CEILINGS[name].select(found, gaps, size, stream=stream(0, "select"))


def cosine_to_goal(rows, phi, gaps):
    """The cosine that the definition names, of the batch `rows` as a whole, pair by pair."""
    goal = sum(gap * row for gap, row in zip(gaps, phi, strict=True))
    total = sum(np.sign(gaps[row]) * phi[row] for row in rows)
    return total @ goal / (np.linalg.norm(total) * np.linalg.norm(goal))


@pytest.mark.parametrize("seed", range(5))
def test_matching_adds_the_pair_that_brings_the_batch_nearest_to_the_goal(seed):
    found, gaps = pool_of(seed=seed)
    phi, rows = found.phi.astype(np.float64), []
    for _ in range(6):
        left = [row for row in range(len(gaps)) if row not in rows]
        rows.append(max(left, key=lambda row: cosine_to_goal([*rows, row], phi, gaps)))
    assert picked("matching", found, gaps, 6).indices.tolist() == rows


def test_matching_does_not_ask_which_response_comes_first():
    found, gaps = pool_of()
    turned = np.where(np.arange(len(gaps)) % 3 == 0, -1.0, 1.0)
    again = found._replace(phi=found.phi * turned[:, None].astype(np.float32))
    ours, theirs = picked("matching", found, gaps, 5), picked("matching", again, gaps * turned, 5)
    np.testing.assert_array_equal(ours.indices, theirs.indices)


def test_matching_leaves_pairs_without_a_gap_or_a_gradient_to_the_end():
    found, gaps = pool_of(count=8)
    gaps[2], found.phi[5] = 0.0, 0.0
    assert set(picked("matching", found, gaps, 6).indices) == {0, 1, 3, 4, 6, 7}


def test_the_largest_gap_is_the_largest_gap_of_either_sign():
    found, gaps = pool_of(count=20)
    wanted = sorted(range(20), key=lambda row: -abs(gaps[row]))[:6]
    assert picked("largest_gap", found, gaps, 6).indices.tolist() == wanted


@pytest.mark.parametrize("name", sorted(CEILINGS))
def test_the_pools_order_does_not_matter(name):
    found, gaps = pool_of(count=20)
    order = np.random.default_rng(1).permutation(20)
    moved = found._replace(ids=tuple(found.ids[at] for at in order), phi=found.phi[order])
    ours, theirs = picked(name, found, gaps, 7), picked(name, moved, gaps[order], 7)
    assert [found.ids[at] for at in ours.indices] == [moved.ids[at] for at in theirs.indices]


# --- on runs


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("ceilings")


def ran(root, ceiling, **more):
    """(Run, its table) of a ceiling, finished."""
    overrides = SMALL | {"ceiling": ceiling} | more
    params = load_params("smoke", strategy="random", overrides=overrides)
    table = run_rounds(params, 0, root, log=silent)
    return open_run(params, 0, root, log=silent), table


def first_pool(run):
    from activedpo_lib.runs.saved import initial_policy

    return pool_of_round(run, initial_policy(run), sample_prompts(run, 1), (), 1)


def test_the_gaps_are_the_oracles_own_rewards_of_each_pair(root):
    run, _ = ran(root, "largest_gap")
    pool = first_pool(run)
    pairs = [pool.pair(row) for row in range(len(pool.pairs))]
    wanted = [
        run.task.utility(p.prompt, p.first.text) - run.task.utility(p.prompt, p.second.text)
        for p in pairs
    ]
    np.testing.assert_allclose(true_gaps(run, pool), wanted)


def test_a_run_labels_the_largest_gaps_of_its_first_pool(root):
    run, _ = ran(root, "largest_gap")
    gaps = np.sort(np.abs(true_gaps(run, first_pool(run))))[::-1]
    size = run.params.batch_size
    np.testing.assert_allclose(checkpoints.load_array(run.folder, 1, "scores"), gaps[:size])
    labelled = labelled_pairs(run.params, 0, root)[:size]
    found = [
        run.task.utility(p.prompt, p.chosen.text) - run.task.utility(p.prompt, p.rejected.text)
        for p in labelled
    ]
    np.testing.assert_allclose(found, gaps[:size])


@pytest.mark.parametrize("ceiling", sorted(CEILINGS))
def test_tables_never_call_full_knowledge_by_a_strategys_name(ceiling, root):
    run, table = ran(root, ceiling)
    assert table["strategy"].unique().tolist() == [f"full knowledge: {ceiling}"]
    assert run.params.chooser not in STRATEGIES
    assert not {ceiling, run.params.chooser} & STRATEGIES.keys()


def test_a_ceiling_shares_pi_sft_and_the_first_pool_with_random_and_nothing_else(root):
    _, table = ran(root, "matching")
    params = load_params("smoke", strategy="random", overrides=SMALL)
    random = run_rounds(params, 0, root, log=silent)
    assert random["strategy"].unique().tolist() == ["random"]
    columns = ["reward", "win_rate", "labels"]
    pd.testing.assert_series_equal(table[columns].iloc[0], random[columns].iloc[0])
    assert table["pool"].iloc[1] == random["pool"].iloc[1]
    assert labelled_pairs(params, 0, root)[:6] != labelled_pairs(ran(root, "matching")[0].params, 0,
                                                                 root)[:6]  # fmt: skip


@pytest.mark.parametrize("ceiling", sorted(CEILINGS))
def test_in_a_replay_the_humans_label_stands_for_the_sign_of_the_gap(ceiling, root):
    run, table = ran(root, ceiling, **REPLAY | {"oracle.kind": "reward_model"})
    pool = first_pool(run)
    gaps = true_gaps(run, pool)
    for row, gap in enumerate(gaps):
        pair = pool.pair(row)
        better, worse = (pair.first, pair.second) if gap > 0 else (pair.second, pair.first)
        assert abs(gap) == 1
        assert pair.prompt.facts["chosen"] == better.text
        assert pair.prompt.facts["rejected"] == worse.text
    assert set(gaps) == {-1.0, 1.0}
    assert table["labels"].tolist() == [0, 6, 12]


# --- it is no strategy


def test_full_knowledge_is_another_type_than_a_strategy():
    found, _ = pool_of()
    for ceiling in CEILINGS.values():
        assert isinstance(ceiling, Ceiling)
        assert not isinstance(ceiling, Strategy)
        with pytest.raises(TypeError):  # a run's pick hands over no gaps
            ceiling.select(found, 3, stream=stream(0, "select"))


@pytest.mark.parametrize("ceiling", sorted(CEILINGS))
def test_a_ceiling_asked_for_as_a_strategy_is_refused_and_says_where_it_runs(ceiling, tmp_path):
    params = load_params("smoke", strategy=ceiling)
    message = rf"{ceiling} is no strategy: it reads the oracle's rewards.*`ceiling: {ceiling}`.* 07"
    with pytest.raises(ValueError, match=message):
        run_rounds(params, 0, tmp_path, log=silent)
    assert not list(tmp_path.rglob("*.json"))
    with pytest.raises(ValueError, match=f"no strategy '{ceiling}'"):
        make_strategy(ceiling, {})


def test_a_ceiling_picks_in_randoms_place_alone():
    with pytest.raises(ParamsError, match="the strategy must be random, got activedpo"):
        load_params("smoke", strategy="activedpo", overrides={"ceiling": "matching"})
