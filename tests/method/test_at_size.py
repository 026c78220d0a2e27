"""What a quarter of a million float32 parameters and short prompts hide, and a card will show:
bfloat16 weights, gradient checkpointing, long prompts, and what is left of one part in the next.
"""

import gc
import weakref

import numpy as np
import pytest
import torch
from conftest import TARGETS, make_policy, make_sequences
from test_gradients import exact, one_by_one
from transformers import DynamicCache

from activedpo_lib.method import adapters, generation, training
from activedpo_lib.method.candidates import sequences
from activedpo_lib.method.decoding import growing
from activedpo_lib.method.design import select_greedy
from activedpo_lib.method.features import pair_features
from activedpo_lib.method.formulas import dpo_loss
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.logps import implicit_rewards, response_logps
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import Budget, Fit, LabelledPair, Prompt, Response, Sampling
from activedpo_lib.streams import stream
from benchmarks import precision

PICKS, CLOSE = 30, 0.05  # picks; scores nearer than this, relative to the best, may change places


@pytest.fixture(scope="module", params=["llama", "gemma"])
def two_precisions(request):
    return precision.two_precisions(request.param)


def scores(phi, labelled, ridge):
    """Eq. 4 for every row by the explicit inverse, float64; -1 for what is labelled."""
    phi = phi.astype(np.float64)
    V = ridge * np.eye(phi.shape[1]) + phi[labelled].T @ phi[labelled]
    found = np.einsum("nd,nd->n", phi @ np.linalg.inv(V), phi)
    found[labelled] = -1.0
    return found


@pytest.mark.parametrize("normalise", ["response", "none"])
def test_bfloat16_picks_what_float32_picks_where_the_margins_allow(
    two_precisions, normalise, record_property
):
    both, pairs = precision.features_of_both(*two_precisions, 40, 256)
    phi_low, phi = (pair_features(each, pairs, normalise, "after") for each in both)
    ridge = float(np.square(phi).sum(1).mean())
    picks = select_greedy(phi_low, PICKS, ridge).indices.tolist()
    clear = 0
    for at, pick in enumerate(picks):
        true = scores(phi, picks[:at], ridge)
        best, second = np.sort(true)[[-1, -2]]
        assert true[pick] > (1 - CLOSE) * best
        if second < (1 - CLOSE) * best:
            clear += 1
            assert pick == true.argmax()
    assert clear or normalise == "response"  # unit gradients: 120 pairs lie close to each other
    theirs = select_greedy(phi, PICKS, ridge).indices
    share = len(set(picks) & set(theirs)) / PICKS
    record_property("share of equal picks", share)
    assert share >= 0.8


def test_hooks_take_each_gradient_once_where_layers_are_computed_twice(policy, monkeypatch):
    """Features are taken in eval mode, where transformers checkpoints nothing; should a model
    checkpoint there too, they are the same.
    """
    read = make_sequences(7)
    truth = response_features(policy, *read, exact(policy)).phi
    policy.gradient_checkpointing_enable()
    computed = []
    layer = policy.get_base_model().get_decoder().layers[0].self_attn
    layer.register_forward_hook(lambda *_: computed.append(1))
    assert np.array_equal(response_features(policy, *read, exact(policy)).phi, truth)
    assert len(computed) == 1
    monkeypatch.setattr(policy, "eval", policy.train)
    found = response_features(policy, *read, exact(policy)).phi
    assert len(computed) == 3
    np.testing.assert_allclose(found, truth, atol=1e-6 * np.abs(truth).max())


def labelled(count, prompts, chosen, rejected):
    return [
        LabelledPair(Prompt(f"p{i}", ""), x, Response("", y, ""), Response("", z, ""), 1)
        for i, (x, y, z) in enumerate(zip(prompts[:count], chosen, rejected, strict=False))
    ]


def trained(tokenizer, checkpointing, policy=None, pairs=None):
    if pairs is None:
        prompts, responses = make_sequences(9)
        pairs = labelled(8, prompts, responses, responses[1:])
    fit = Fit(2, 1e-3, 4, gradient_checkpointing=checkpointing)
    config = adapters.lora_config(4, 16, TARGETS)
    return training.dpo(
        policy or make_policy(), tokenizer, pairs, config, fit, 0.1, stream=stream(0, "train")
    )


def test_a_round_trained_under_checkpointing_goes_on_as_one_without(tokenizer, prompts):
    """Checkpointing stays on the model after training: neither the weights, nor the gradients, nor
    what is sampled next may show it.
    """
    found = []
    for checkpointing in (False, True):
        policy, loss = trained(tokenizer, checkpointing)
        drawn = generation.generate(
            policy, tokenizer, prompts, Sampling(3, 10), stream=stream(0, "g")
        )
        phi = response_features(policy, *make_sequences(7), exact(policy)).phi
        found.append((loss, phi, [response.tokens for response in drawn.responses]))
    (loss, phi, tokens), (other_loss, other_phi, other_tokens) = found
    assert other_loss == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(other_phi, phi, atol=1e-4 * np.abs(phi).max())
    assert other_tokens == tokens


def test_nothing_of_one_part_lives_in_the_next(tokenizer, prompts, monkeypatch):
    """Generation's cache, the gradients' activations and the optimiser's moments: gone when their
    part is, without waiting for the garbage collector.
    """
    alive = {"caches": [], "trainers": []}

    def cache(**given):
        made = DynamicCache(**given)
        alive["caches"].append(weakref.ref(made))
        return made

    train = training._train

    def watched(trainer, what):
        loss = train(trainer, what)
        alive["trainers"] += [weakref.ref(trainer), weakref.ref(trainer.optimizer)]
        return loss

    monkeypatch.setattr(growing, "DynamicCache", cache)
    monkeypatch.setattr(training, "_train", watched)
    trained(tokenizer, False)  # what the libraries keep for good is made here
    policy = make_policy()
    gc.collect()
    gc.disable()
    try:
        before = tensors()
        pool = generation.generate(
            policy, tokenizer, prompts, Sampling(3, 10), stream=stream(0, "g")
        )
        assert alive["caches"]
        assert not living(alive["caches"])
        assert not tensors() - before
        shapes = gradient_shapes(policy)
        response_features(
            policy, *sequences(pool), make_projection("fold", 64, 0, shapes), Budget(100)
        )
        assert not tensors() - before
        policy, _ = trained(tokenizer, False, policy)
    finally:
        gc.enable()
    own = {id(tensor) for tensor in (*policy.parameters(), *policy.buffers())}
    assert not tensors() - before - own
    assert len(alive["trainers"]) == 4
    assert not living(alive["trainers"])
    assert all(parameter.grad is None for parameter in policy.parameters())


def living(references):
    return [found for found in (reference() for reference in references) if found is not None]


def tensors():
    return {id(found) for found in gc.get_objects() if isinstance(found, torch.Tensor)}


@pytest.mark.parametrize("length", [512, 1100])  # TL;DR's posts; WebGPT's questions with quotes
def test_prompts_of_the_papers_lengths_go_through_a_round(length, tokenizer):
    policy, rng = make_policy(), stream(0, "long").numpy()
    prompts = [tuple(map(int, rng.integers(3, 338, length - at))) for at in range(3)]
    noise = [rng.random((2, 6)) for _ in prompts]
    drawn = generation.sample(policy, prompts, noise, Sampling(2, 6, top_k=1), [1])
    for prompt, group in zip(prompts, drawn, strict=True):
        ids = torch.tensor([prompt])
        truth = policy.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
            max_new_tokens=6, eos_token_id=1, pad_token_id=0,
        )  # fmt: skip
        assert group == [tuple(truth[0, len(prompt) :].tolist())] * 2
    chosen = [group[0] for group in drawn]
    rejected = [(*tokens[:2], 7, 1) for tokens in chosen]
    features = response_features(policy, prompts, chosen, exact(policy), Budget(1500))
    truth = one_by_one(policy, prompts, chosen)
    assert np.abs(features.phi - truth).max() < 1e-5 * np.abs(truth).max()
    pairs = labelled(3, prompts, chosen, rejected)
    rewards = [implicit_rewards(policy, prompts, each, 0.1) for each in (chosen, rejected)]
    expected = dpo_loss(*(torch.as_tensor(each) for each in rewards)).mean().item()
    config = adapters.lora_config(4, 16, TARGETS)
    before = response_logps(policy, prompts, chosen)
    policy, loss = training.dpo(
        policy, tokenizer, pairs, config, Fit(1, 1e-3, 4, 0.0), 0.1, stream=stream(0, "train")
    )
    assert loss == pytest.approx(expected, rel=1e-4)  # one step: no token was cut
    assert not np.allclose(response_logps(policy, prompts, chosen), before, atol=1e-4)
