"""D1 to D16: each is a parameter, and changes what it says; those with tests of their own elsewhere
are named here.
"""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from conftest import TARGETS, make_policy

from activedpo_lib.method import adapters
from activedpo_lib.method.candidates import measure, pair_features
from activedpo_lib.method.generation import _draw
from activedpo_lib.method.logps import reference_logps, response_logps
from activedpo_lib.params import load_params
from activedpo_lib.records import Features, Sampling
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.run import labelled_pairs, open_run
from activedpo_lib.runs.saved import policy_after, with_next_adapter
from activedpo_lib.runs.steps import past_of, pool_of_round, reader_of, sample_prompts
from activedpo_lib.store import HOME
from activedpo_lib.streams import stream
from activedpo_lib.tasks import load_task

SETTINGS = {"oracle.kind": "utility", "task.sft_rows": 32, "rounds": 3}
# Where the others are tested: D1 test_formulas, D2 and D3 test_candidates, D5 and D14 test_rounds,
# D7 test_projection, D10 test_oracles, D13 test_strategies, D16 test_plots.


def params(**more):
    return load_params("smoke", overrides=SETTINGS | more)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("decisions")


def silent(_):
    pass


def test_every_decision_stands_in_its_table_and_those_with_a_parameter_in_the_schema():
    table = (HOME / "docs" / "decisions.md").read_text()
    schema = (HOME / "activedpo_lib" / "schema.py").read_text()
    for number in range(1, 17):
        assert re.search(rf"\| D{number} \|", table), number
        if number not in (
            1,
            6,
            14,
            16,
        ):  # no parameter; in a docstring; the held-out prompts; SEEDS=
            assert re.search(rf"D{number}\b", schema), number


def test_d3_none_starts_v_anew(root):
    run_rounds(params(**{"selection.past": "none"}), 0, root, log=silent)
    run = open_run(params(**{"selection.past": "none"}), 0, root, log=silent)
    policy, past = policy_after(run, 1), past_of(run, 1)
    pool = pool_of_round(run, policy, sample_prompts(run, 2), past.labelled, 2)
    found = measure(pool, frozenset({"phi"}), past, reader_of(run, policy, 2))
    assert len(past.labelled) == run.params.batch_size
    assert found.past_phi is None


def test_d4_token_divides_by_the_responses_length():
    features = Features(
        np.eye(4, dtype=np.float32), np.ones(4), np.array([1.0, 2.0, 4.0, 8.0], dtype=np.float32)
    )
    found = pair_features(features, np.array([[0, 1], [2, 3]]), "token", "after")
    np.testing.assert_allclose(found, [[1, -0.5, 0, 0], [0, 0, 0.25, -0.125]])


def test_d6_adapts_the_modules_that_are_named():
    base = make_policy().unload()
    policy = adapters.with_adapter(
        base, adapters.lora_config(4, 16, ("q_proj", "v_proj")), stream=stream(0, "a")
    )
    adapted = {
        name.split(".lora_A")[0].split(".")[-1]
        for name, _ in policy.named_parameters()
        if "lora_A" in name
    }
    assert adapted == {"q_proj", "v_proj"} != set(TARGETS)


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"), [(0, 1.0, 4), (2, 1.0, 2), (0, 0.75, 2), (0, 0.71, 2), (1, 0.75, 1)]
)
def test_d9_draws_only_from_the_tokens_that_are_kept(top_k, top_p, kept):
    probability = torch.tensor([0.05, 0.7, 0.05, 0.2])
    uniforms = torch.linspace(0, 1, 2001)[:-1].double()
    drawn = _draw(
        probability.log().expand(len(uniforms), 4), uniforms, Sampling(1, 1, 1.0, top_k, top_p)
    )
    order = torch.argsort(probability, descending=True, stable=True)[:kept]
    assert set(drawn.tolist()) == set(order.tolist())
    shares = torch.bincount(drawn, minlength=4)[order] / len(drawn)
    torch.testing.assert_close(
        shares, probability[order] / probability[order].sum(), atol=2e-3, rtol=0
    )


def test_d11_rounds_and_beta_reach_the_run(root):
    table = run_rounds(params(rounds=2, **{"dpo.beta": 0.3}), 0, root, log=silent)
    usual = run_rounds(params(rounds=2), 0, root, log=silent)
    assert table["round"].max() == 2
    assert table["dpo_loss"].iloc[1] != usual["dpo_loss"].iloc[1]


def test_d12_fresh_adapters_start_each_round_at_zero_over_the_last_policy_with_pi_sft_as_reference(
    root,
):
    fresh = params(**{"lora.fresh": True})
    run_rounds(fresh, 0, root, log=silent)
    run = open_run(fresh, 0, root, log=silent)
    labelled = labelled_pairs(fresh, 0, root)
    read = [p.prompt_tokens for p in labelled], [p.chosen.tokens for p in labelled]
    truth = response_logps(run.base, *read)
    last = policy_after(run, 2)
    before, reference = response_logps(last, *read), reference_logps(last, *read)
    np.testing.assert_allclose(reference, truth, atol=1e-4)
    third = with_next_adapter(run, last, 3)
    np.testing.assert_allclose(response_logps(third, *read), before, atol=1e-4)
    np.testing.assert_allclose(reference_logps(third, *read), truth, atol=1e-4)
    assert all(not p.any() for n, p in third.named_parameters() if "lora_B" in n)
    assert np.abs(before - truth).max() > 1e-3


def test_d12_dpo_compares_with_pi_sft_after_a_merge(root):
    from activedpo_lib.method import training

    fresh = params(**{"lora.fresh": True})
    run_rounds(fresh, 0, root, log=silent)
    run = open_run(fresh, 0, root, log=silent)
    labelled = labelled_pairs(fresh, 0, root)
    truth = response_logps(
        run.base, [p.prompt_tokens for p in labelled], [p.chosen.tokens for p in labelled]
    )
    policy = with_next_adapter(run, policy_after(run, 1), 2)
    rows = training.preference_rows(policy, labelled)
    np.testing.assert_allclose([row["ref_chosen_logps"] for row in rows], truth, atol=1e-3)


def test_d12_a_stopped_run_with_fresh_adapters_goes_on_to_the_same_table(
    root, tmp_path, monkeypatch
):
    import pandas as pd

    from activedpo_lib.runs import checkpoints

    fresh = params(**{"lora.fresh": True})
    unbroken = run_rounds(fresh, 0, root, log=silent)
    real = checkpoints.save_round

    def killed(run, t, *rest):
        if t > 1:
            raise KeyboardInterrupt
        real(run, t, *rest)

    monkeypatch.setattr(checkpoints, "save_round", killed)
    with pytest.raises(KeyboardInterrupt):
        run_rounds(fresh, 0, tmp_path, log=silent)
    monkeypatch.undo()
    resumed = run_rounds(fresh, 0, tmp_path, log=silent)
    same = [column for column in unbroken if "seconds" not in column]
    pd.testing.assert_frame_equal(resumed[same], unbroken[same], check_exact=True)


def test_a_probe_of_saved_policies_can_be_repeated(root):
    run_rounds(params(), 0, root, log=silent)
    run = open_run(params(), 0, root, log=silent)
    labelled = labelled_pairs(params(), 0, root)
    read = [p.prompt_tokens for p in labelled], [p.chosen.tokens for p in labelled]
    first, second = (response_logps(policy_after(run, 2), *read) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    fresh = open_run(params(), 0, root, log=silent)
    np.testing.assert_array_equal(response_logps(policy_after(fresh, 2), *read), first)


def test_d15_demonstrations_can_be_any_rows(tmp_path):
    keep = tmp_path / "keep.json"
    keep.write_text(json.dumps([5, 2]))
    usual = load_task(params().task, 4, comparisons=False)
    subset = load_task(
        dataclasses.replace(params().task, sft_subset=str(keep), pool_subset=str(keep)),
        4,
        comparisons=False,
    )
    assert subset.sft == (usual.sft[5], usual.sft[2])
    assert subset.prompts == (usual.prompts[5], usual.prompts[2])
    assert subset.evaluation == usual.evaluation


@pytest.mark.parametrize("text", ["[1, 1]", "[]", "[99999]", '["a"]', "{}"])
def test_a_bad_list_of_rows_is_named(text, tmp_path):
    from activedpo_lib.tasks.files import DataError

    (tmp_path / "keep.json").write_text(text)
    with pytest.raises(DataError, match=re.escape(str(tmp_path))):
        load_task(
            dataclasses.replace(params().task, sft_subset=str(tmp_path / "keep.json")),
            4,
            comparisons=False,
        )
