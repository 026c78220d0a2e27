"""How far a run moved, against differences of whole weight matrices and exact divergences."""

import copy
import dataclasses
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TARGETS, make_policy

from activedpo_lib.method import adapters
from activedpo_lib.params import load_params
from activedpo_lib.records import Pool, Prompt, Response
from activedpo_lib.runs import saved
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.run import open_run
from activedpo_lib.runs.saved import policy_after
from activedpo_lib.streams import stream
from activedpo_lib.study.probing import probes
from activedpo_lib.study.scarcity import update_size
from activedpo_lib.study.studies import Study

SETTINGS = {"oracle.kind": "utility", "task.sft_rows": 32, "dpo.learning_rate": 5.0e-3}


def silent(_):
    pass


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("update_size")


def finished(root, **more):
    params = load_params("smoke", strategy="random", overrides=SETTINGS | more)
    table = run_rounds(params, 0, root, log=silent)
    return open_run(params, 0, root, log=silent), table


def whole_weights(policy):
    """The weights as a model without an adapter has them."""
    merged = copy.deepcopy(policy).merge_and_unload()
    return {name: value.double() for name, value in merged.state_dict().items()}


def distance(ours, theirs):
    assert ours.keys() == theirs.keys()
    return np.sqrt(sum(float(torch.sum((ours[name] - theirs[name]) ** 2)) for name in ours))


def test_the_norm_is_that_of_whole_weight_matrices():
    policy, start = make_policy(), make_policy(trained=False)
    assert update_size.change_norm(start) == 0.0
    wanted = distance(whole_weights(policy), whole_weights(start))
    assert update_size.change_norm(policy) == pytest.approx(wanted, rel=1e-4)
    assert wanted > 0.1


def test_what_was_folded_in_counts_with_the_fresh_adapter():
    start, policy = whole_weights(make_policy(trained=False)), make_policy()
    lora = adapters.lora_config(4, 16, TARGETS)
    again = adapters.with_adapter(adapters.merge_adapter(policy), lora, stream=stream(1, "adapter"))
    before = update_size.change_norm(again)
    assert before == pytest.approx(update_size.change_norm(make_policy()), rel=1e-4)
    generator = torch.Generator().manual_seed(7)
    for name, parameter in again.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    wanted = distance(whole_weights(again), start)
    assert update_size.change_norm(again) == pytest.approx(wanted, rel=1e-4)
    assert abs(wanted - before) > 0.05


def sampled(policy, prompts, each):
    """A Pool of one-token responses, drawn from the policy's own next-token distribution, and the
    exact KL to pi_SFT of that token, a prompt.
    """
    with torch.inference_mode():
        ids = torch.tensor(prompts)
        ours = policy(input_ids=ids).logits[:, -1].double().log_softmax(-1)
        with policy.disable_adapter():
            theirs = policy(input_ids=ids).logits[:, -1].double().log_softmax(-1)
    drawn = torch.multinomial(
        ours.exp(), each, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    exact = (ours.exp() * (ours - theirs)).sum(-1).mean()
    asked = tuple(Prompt(f"p{at}", "") for at in range(len(prompts)))
    responses = tuple(
        Response(asked[at].id, (int(token),), "")
        for at in range(len(prompts))
        for token in drawn[at]
    )
    index = np.repeat(np.arange(len(prompts)), each)
    return Pool(asked, tuple(map(tuple, prompts)), responses, index, np.zeros((0, 2), int)), exact


def test_kl_is_the_exact_divergence_within_its_error():
    policy = make_policy()
    for name, parameter in policy.named_parameters():
        if "lora_B" in name:
            parameter.data *= 6
    rng = np.random.default_rng(0)
    prompts = [[int(token) for token in rng.integers(3, 338, 6)] for _ in range(12)]
    pool, exact = sampled(policy, prompts, 600)
    kl, error = update_size.kl_to_sft(policy, pool)
    assert exact > 0.05
    assert kl == pytest.approx(float(exact), rel=0.1)
    assert 0 < error < exact


def test_a_run_starts_at_no_change_and_a_half(root):
    run, _ = finished(root)
    first, *_, last = update_size.update_sizes(run)
    assert first == {
        "round": 0,
        "change_norm": 0.0,
        "kl": pytest.approx(0, abs=1e-4),
        "kl_error": pytest.approx(0, abs=1e-4),
        "accuracy": 0.5,
        "nll": pytest.approx(np.log(2), abs=1e-4),
    }
    assert last["change_norm"] == pytest.approx(update_size.change_norm(policy_after(run, 2)))
    assert last["kl"] > 0.01
    assert last["accuracy"] != 0.5


def test_kl_is_figure_9s_where_sampling_keeps_all(root):
    run, _ = finished(root)
    assert run.params.generation.temperature == 1.0
    wanted = [row["kl"] for row in probes.forgetting(run)]
    found = [row["kl"] for row in update_size.update_sizes(run)]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_kl_does_not_take_the_runs_temperature_for_the_policys(root):
    """A pool sampled colder than the policy would overstate its divergence."""
    run, _ = finished(root)
    colder = dataclasses.replace(run.params.generation, temperature=0.3)
    other = dataclasses.replace(run, params=dataclasses.replace(run.params, generation=colder))
    found = update_size.update_sizes(other, {2})
    assert found == update_size.update_sizes(run, {2})


def test_a_larger_step_moves_the_model_further(root):
    sizes = [
        update_size.update_sizes(finished(root, **{"dpo.learning_rate": rate})[0], {2})[0]
        for rate in (5.0e-4, 5.0e-3)
    ]
    for name in ("change_norm", "kl"):
        assert sizes[0][name] < sizes[1][name]


def test_held_out_comparisons_are_the_reward_models_own_and_of_no_pool(root):
    from activedpo_lib.tasks import load_task

    run, _ = finished(root)
    found = update_size.held_out_comparisons(run)
    whole = load_task(run.params.task, run.params.evaluation.prompts)
    assert found == whole.held_out[: update_size.MOST_COMPARISONS]
    assert len(found) == update_size.MOST_COMPARISONS
    assert not {row.prompt for row in found} & {prompt.text for prompt in run.task.prompts}


def test_accuracy_counts_the_comparisons_that_the_implicit_reward_has_right(root):
    from activedpo_lib.method.logps import reference_logps, response_logps
    from activedpo_lib.method.models import encode_prompt, encode_response

    run, _ = finished(root)
    policy, right = policy_after(run, 2), 0.0
    held_out = update_size.held_out_comparisons(run)
    margins = []
    for texts in ([c.chosen for c in held_out], [c.rejected for c in held_out]):
        read = (
            [encode_prompt(run.tokenizer, c.prompt) for c in held_out],
            [encode_response(run.tokenizer, text) for text in texts],
        )
        margins.append(response_logps(policy, *read) - reference_logps(policy, *read))
    right = np.mean((margins[0] > margins[1]) + 0.5 * (margins[0] == margins[1]))
    assert update_size.update_sizes(run, {2})[0]["accuracy"] == pytest.approx(right, abs=0.01)


def test_a_studys_table_has_the_rewards_beside_and_a_ceiling_by_its_name(root):
    cells, tables = {}, []
    for variant, more in (("usual", {}), ("knowing", {"ceiling": "matching"})):
        run, table = finished(root, **more)
        cells["tldr", "llama", variant, "random"] = run.params
        tables.append(table.assign(variant=variant))
    study = Study("mine", "smoke", MappingProxyType(cells), (0,), root)
    results = study.run(silent)
    found = update_size.update_table(study, results, {0, 2})
    assert found[["variant", "strategy", "round", "labels"]].to_numpy().tolist() == [
        ["usual", "random", 0, 0],
        ["usual", "random", 2, 12],
        ["knowing", "full knowledge: matching", 0, 0],
        ["knowing", "full knowledge: matching", 2, 12],
    ]
    assert found["reward"].tolist() == [t["reward"].iloc[at] for t in tables for at in (0, 2)]
    some = update_size.update_table(study, results, {2}, {"usual"}, held_out=False)
    wanted = found[(found["variant"] == "usual") & (found["round"] == 2)]
    wanted = wanted.drop(columns=["accuracy", "nll"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(some, wanted)


def test_rounds_that_nobody_wants_are_not_trained_again(root, monkeypatch):
    run, _ = finished(root, adapters="last")
    whole = update_size.update_sizes(run)[-1]
    trained = []
    monkeypatch.setattr(saved.steps, "train", lambda *given: trained.append(given))
    assert update_size.update_sizes(run, {run.params.rounds}) == [whole]
    assert trained == []
