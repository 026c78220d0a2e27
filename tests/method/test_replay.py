"""Runs whose pool is comparisons that were labelled before."""

import numpy as np
import pytest

from activedpo_lib.method import replay
from activedpo_lib.method.strategies import STRATEGIES
from activedpo_lib.params import load_params
from activedpo_lib.records import Comparison
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.run import labelled_pairs, open_run
from activedpo_lib.runs.saved import policy_after
from activedpo_lib.runs.steps import pool_of_round, sample_prompts
from activedpo_lib.streams import stream
from activedpo_lib.tasks import load_task


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("replay")


def params(strategy="random", **more):
    small = {
        "replay": True,
        "task.comparison_rows": 120,
        "task.sft_rows": 32,
        "generation.prompts": 30,
    }
    return load_params(
        "smoke", strategy=strategy, overrides=small | {"selection.entropy_samples": 2} | more
    )


def silent(_):
    pass


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_reveals_the_humans_own_answers_each_once(strategy, root):
    table = run_rounds(params(strategy), 0, root, log=silent)
    assert table["labels"].tolist() == [0, 6, 12]
    known = {(c.prompt, c.chosen, c.rejected) for c in load_task(params().task, 8).comparisons}
    found = labelled_pairs(params(strategy), 0, root)
    assert all((p.prompt.text, p.chosen.text, p.rejected.text) in known for p in found)
    assert len({p.prompt.id for p in found}) == 12


def test_all_strategies_share_each_rounds_comparisons(root):
    pools = []
    for strategy in ("random", "activedpo"):
        run_rounds(params(strategy), 0, root, log=silent)
        run = open_run(params(strategy), 0, root, log=silent)
        drawn = sample_prompts(run, 1)
        pools.append(pool_of_round(run, None, drawn, (), 1))
    assert pools[0].responses == pools[1].responses
    assert len(pools[0].pairs) == 30


def test_which_response_comes_first_says_nothing_about_the_answer():
    rows = [Comparison(f"p{i}", f" good {i}", f" bad {i}") for i in range(400)]
    task = load_task(params().task, 8)
    import dataclasses

    made = replay.replay_task(dataclasses.replace(task, comparisons=tuple(rows)))
    pool = replay.comparison_pool(_words(), made.prompts, (), stream=stream(0, "replay"))
    first = np.mean([pool.responses[a].text.startswith(" good") for a, _ in pool.pairs])
    assert abs(first - 0.5) < 0.1
    revealed = replay.reveal([pool.pair(row) for row in range(400)])
    assert all(pair.chosen.text.startswith(" good") for pair in revealed)


def _words():
    from activedpo_lib.method import models

    return models.word_tokenizer(
        ["good", "bad", *(f"p{i}" for i in range(400)), *map(str, range(400))]
    )


def test_agreement_starts_at_a_half_and_follows_the_implicit_reward(root):
    table = run_rounds(params(**{"dpo.learning_rate": 5.0e-3}), 0, root, log=silent)
    assert table["agreement"].iloc[0] == 0.5
    assert table["nll"].iloc[0] == pytest.approx(np.log(2), abs=1e-4)
    run = open_run(params(**{"dpo.learning_rate": 5.0e-3}), 0, root, log=silent)
    held_out = run.task.held_out[:16]
    found = replay.agreement(
        replay.held_out_rewards(policy_after(run, 2), run.tokenizer, held_out, 0.1)
    )
    assert found["agreement"] == table["agreement"].iloc[-1]
    swapped = [Comparison(row.prompt, row.rejected, row.chosen) for row in held_out]
    again = replay.agreement(
        replay.held_out_rewards(policy_after(run, 2), run.tokenizer, swapped, 0.1)
    )
    assert again["agreement"] == pytest.approx(1 - found["agreement"])


def test_no_comparison_that_is_held_out_is_ever_in_the_pool(root):
    run = open_run(params(), 0, root, log=silent)
    assert not {p.text for p in run.task.prompts} & {c.prompt for c in run.task.held_out}
