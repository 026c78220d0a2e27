"""Runs of the smoke profile, with the true utility as oracle: real generation, gradients, DPO and
checkpoints.
"""

import gc
import shutil
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_policy
from trl import DPOConfig

from activedpo_lib.method import adapters, training
from activedpo_lib.method.logps import response_logps
from activedpo_lib.method.oracles import answered
from activedpo_lib.method.strategies import STRATEGIES
from activedpo_lib.params import load_params
from activedpo_lib.records import Candidates, Pair, Past, Prompt, Response
from activedpo_lib.runs import checkpoints, rounds, steps
from activedpo_lib.runs.checkpoints import run_folder
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.meetings import next_past
from activedpo_lib.runs.run import labelled_pairs, open_run
from activedpo_lib.runs.saved import policy_after
from activedpo_lib.runs.steps import pool_of_round, sample_prompts

SETTINGS = {"oracle.kind": "utility", "task.sft_rows": 32, "rounds": 3}
TIMES = [
    "seconds",
    "cpu_seconds",
    *(f"seconds_{p}" for p in ("generate", "measure", "select", "label", "train", "evaluate")),
]


def params(strategy="activedpo", **more):
    return load_params("smoke", strategy=strategy, overrides=SETTINGS | more)


def silent(_):
    pass


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def results(table):
    return table.drop(columns=TIMES, errors="ignore")


@pytest.mark.parametrize("strategy", ["activedpo", "apo"])
@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_a_killed_and_resumed_run_gives_the_same_table_and_labels(
    strategy, killed_after, root, tmp_path, monkeypatch
):
    unbroken = run_rounds(params(strategy), 0, root, log=silent)
    shutil.copytree(root / "sft", tmp_path / "sft")
    real = checkpoints.save_round

    def killed(run, t, *rest):
        if t > killed_after:
            raise KeyboardInterrupt
        real(run, t, *rest)

    monkeypatch.setattr(checkpoints, "save_round", killed)
    with pytest.raises(KeyboardInterrupt):
        run_rounds(params(strategy), 0, tmp_path, log=silent)
    monkeypatch.undo()
    resumed = run_rounds(params(strategy), 0, tmp_path, log=silent)
    pd.testing.assert_frame_equal(results(resumed), results(unbroken), check_exact=True)
    for t in range(1, 4):
        files = [
            run_folder(params(strategy), 0, r) / f"round{t}" / "labelled.json"
            for r in (root, tmp_path)
        ]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_features_in_files_give_the_same_table_and_leave_none_behind(root):
    in_memory = run_rounds(params(), 0, root, log=silent)
    on_disk = params(**{"selection.memory_mib": 0})
    pd.testing.assert_frame_equal(
        results(run_rounds(on_disk, 0, root, log=silent)), results(in_memory)
    )
    folder = run_folder(on_disk, 0, root)
    assert sorted(path.name for path in folder.iterdir()) == [f"round{t}" for t in range(4)]


def test_a_finished_run_is_read_and_not_run_again(root, monkeypatch):
    first = run_rounds(params(), 0, root, log=silent)
    monkeypatch.setattr(rounds, "active_round", None)
    pd.testing.assert_frame_equal(run_rounds(params(), 0, root, log=silent), first)


def test_all_strategies_share_prompts_seeds_and_the_first_pool(root):
    pools, prompts, evaluations = [], [], []
    for strategy in STRATEGIES:
        run = open_run(params(strategy), 0, root, log=silent)
        policy = adapters.with_adapter(run.base, run.lora, stream=run.stream("adapter"))
        drawn = sample_prompts(run, 1)
        prompts.append([p.id for p in drawn])
        pool = pool_of_round(run, policy, drawn, (), 1)
        pools.append([r.tokens for r in pool.responses])
        evaluations.append([p.id for p in run.task.evaluation])
    assert all(other == pools[0] for other in pools)
    assert all(other == prompts[0] for other in prompts)
    assert all(other == evaluations[0] for other in evaluations)
    one = [params(s, rounds=1) for s in STRATEGIES]
    rows = [run_rounds(p, 0, root, log=silent).iloc[0] for p in one]
    assert len({row["reward"] for row in rows}) == 1


def test_apo_never_regenerates_responses(root):
    run = open_run(params("apo"), 0, root, log=silent)
    policy = adapters.with_adapter(run.base, run.lora, stream=run.stream("adapter"))
    drawn = run.task.prompts[:5]
    before = pool_of_round(run, policy, drawn, (), 1)
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    after = pool_of_round(run, policy, drawn, (), 3)
    assert [r.tokens for r in before.responses] == [r.tokens for r in after.responses]


def test_evaluation_prompts_are_in_no_pool(root):
    task = open_run(params(), 0, root, log=silent).task
    assert not {p.text for p in task.evaluation} & {p.text for p in task.prompts}


def test_picked_pairs_leave_the_pool(root):
    run_rounds(params("apo"), 0, root, log=silent)
    run = open_run(params("apo"), 0, root, log=silent)
    policy = adapters.with_adapter(run.base, run.lora, stream=run.stream("adapter"))
    labelled = labelled_pairs(params("apo"), 0, root)
    prompts = list({p.prompt.id: p.prompt for p in labelled if p.round == 1}.values())
    pool = pool_of_round(run, policy, prompts, labelled, 2)
    left = {frozenset((pool.responses[a].tokens, pool.responses[b].tokens)) for a, b in pool.pairs}
    assert not left & {frozenset((p.chosen.tokens, p.rejected.tokens)) for p in labelled}


def test_labels_follow_the_oracle(root):
    run_rounds(params(), 0, root, log=silent)
    utility = open_run(params(), 0, root, log=silent).task.utility
    labelled = labelled_pairs(params(), 0, root)
    assert len(labelled) == 3 * params().batch_size
    assert all(
        utility(p.prompt, p.chosen.text) >= utility(p.prompt, p.rejected.text) for p in labelled
    )


def test_reference_of_round_two_is_pi_sft(root, tmp_path):
    """The reference trap: TRL must compare with pi_SFT, not with a copy of the last round's
    adapter.
    """
    run_rounds(params("random"), 0, root, log=silent)
    run = open_run(params("random"), 0, root, log=silent)
    labelled = labelled_pairs(params("random"), 0, root)
    sequences = [p.prompt_tokens for p in labelled], [p.chosen.tokens for p in labelled]
    truth = response_logps(run.base, *sequences)
    policy = adapters.with_adapter(run.base, run.lora, stream=run.stream("adapter"))
    adapters.set_adapter_state(policy, checkpoints.load_adapter(run.folder, 1))
    moved = response_logps(policy, *sequences)
    arguments = DPOConfig(str(tmp_path), bf16=False, report_to="none")
    trainer = training.dpo_trainer(policy, run.tokenizer, labelled, run.lora, arguments)
    found = np.array(trainer.train_dataset["ref_chosen_logps"])
    np.testing.assert_allclose(found, truth, atol=1e-3)
    assert np.abs(moved - truth).max() > 0.01
    started = response_logps(trainer.model, *sequences)
    np.testing.assert_allclose(started, moved, atol=1e-3)


@pytest.mark.parametrize("train_on", ["new", "all", "all_from_sft"])
def test_d5_trains_on_what_it_says(train_on, root, monkeypatch):
    seen = []
    monkeypatch.setattr(
        steps,
        "dpo",
        lambda policy, _tok, data, *_, **__: (seen.append((policy, len(data))) or policy, 0.0),
    )
    run = open_run(params(**{"dpo.train_on": train_on}), 0, root, log=silent)
    policy = make_policy()
    result, _ = steps.train(run, policy, (1, 2, 3), (4, 5), 2)
    assert seen[0][1] == {"new": 2, "all": 5, "all_from_sft": 5}[train_on]
    is_fresh = all(not p.any() for n, p in result.named_parameters() if "lora_B" in n)
    assert is_fresh == (train_on == "all_from_sft")


def test_d3_keeps_or_re_embeds_the_past(root, monkeypatch):
    seen = {}
    real = rounds.measure

    def spy(pool, needs, past, reader):
        columns = real(pool, needs, past, reader)
        seen[reader.rule.past] = columns.past_phi
        return columns

    monkeypatch.setattr(rounds, "measure", spy)
    for past in ("keep", "reembed"):
        run_rounds(params(**{"selection.past": past, "rounds": 2}), 1, root, log=silent)
    kept = saved_past(1, 1, root, **{"selection.past": "keep", "rounds": 2}).phi
    np.testing.assert_array_equal(seen["keep"], kept)
    assert seen["reembed"].shape == kept.shape
    assert np.abs(seen["reembed"] - kept).max() > 1e-3
    assert saved_past(1, 1, root, **{"rounds": 2}).phi is None


def test_kept_features_are_chosen_minus_rejected_whichever_was_shown_first():
    both = [Response("p", (at,), str(at)) for at in range(2)]
    prompt, phi = Prompt("p", "x"), np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    pairs = [Pair(prompt, (0,), *both)] * 2
    labelled = tuple(
        answered(pair, wins, 1) for pair, wins in zip(pairs, (True, False), strict=True)
    )
    found = Candidates((("p", 0, 1),) * 2, np.zeros(2, int), ("p",), phi=phi, ridge=1.0)
    past = next_past(Past(), labelled, found, np.arange(2), pairs)
    np.testing.assert_array_equal(past.phi, [[1.0, 2.0], [-3.0, -4.0]])


def saved_past(t, seed, root, **more):
    run = open_run(params(**more), seed, root, log=silent)
    return steps.past_of(run, t)


def test_the_ridge_is_set_once_from_the_first_pool(root):
    run_rounds(params(), 0, root, log=silent)
    ridges = [saved_past(t, 0, root).ridge for t in (0, 1, 2, 3)]
    assert ridges[0] is None
    assert ridges[1] == ridges[2] == ridges[3] > 0


def test_a_dropped_adapter_is_trained_again_to_the_same_policy(root, tmp_path):
    kept, dropped = params(), params(adapters="last")
    assert kept.digest() == dropped.digest()  # no result depends on it
    shutil.copytree(root / "sft", tmp_path / "sft", dirs_exist_ok=True)
    table = run_rounds(dropped, 0, tmp_path, log=silent)
    pd.testing.assert_frame_equal(
        results(table), results(run_rounds(kept, 0, root, log=silent)), check_exact=True
    )
    runs = [open_run(p, 0, r, log=silent) for p, r in ((kept, root), (dropped, tmp_path))]
    folders = [sorted(path.parent.name for path in run.folder.glob("*/adapter.*")) for run in runs]
    assert folders == [["round0", "round1", "round2", "round3"], ["round3"]]
    read = [[(5, 6, 7)], [(8, 9, 1)]]
    for t in range(4):
        ours, again = (response_logps(policy_after(run, t), *read) for run in runs)
        np.testing.assert_array_equal(ours, again)


def test_the_policy_before_the_first_round_is_pi_sft_under_a_live_adapter(root):
    run = open_run(params(), 0, root, log=silent)
    policy = policy_after(run, -1)
    assert [n for n, _ in policy.named_parameters() if "lora_A" in n]
    read = [[(5, 6, 7)], [(8, 9, 1)]]
    before = response_logps(policy, *read)
    weight = next(p for n, p in policy.named_parameters() if "lora_B" in n)
    weight.data += 1.0
    assert response_logps(policy, *read) != before, "the adapter that it has takes part"


def test_a_saved_round_carries_its_provenance(root):
    run_rounds(params(), 0, root, log=silent)
    found = rounds.checkpoints.read_json(
        run_folder(params(), 0, root) / "round1" / "provenance.json"
    )
    assert found["params"] == params().digest()
    assert found["seed"] == 0
    assert {"torch", "trl", "peft"} <= set(found["packages"])


def test_a_strategy_of_your_own_runs_without_touching_the_library(root):
    from activedpo_lib.method.design import largest
    from activedpo_lib.records import Strategy

    def widest():
        def select(candidates, batch_size, *, stream):
            return largest(abs(candidates.margin), batch_size, stream.uniforms(candidates.ids))

        return Strategy(frozenset({"margin"}), select)

    table = run_rounds(
        params("widest", rounds=1), 0, root, strategies={"widest": widest}, log=silent
    )
    assert table["labels"].tolist() == [0, 6]
    with pytest.raises(ValueError, match="no strategy 'widest'; known are"):
        run_rounds(params("widest", rounds=1), 0, root, log=silent)


def test_what_a_run_loaded_can_be_collected_once_it_is_gone(root):
    run = open_run(params(), 0, root, log=silent)
    policy = policy_after(run, 1)
    held = weakref.ref(run.base)
    del run, policy
    gc.collect()
    assert held() is None
