"""Batches that do not fit, on cards that the tests make up: the rest goes on in smaller ones, to
the same results.
"""

import copy
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import make_policy, make_sequences
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from activedpo_lib import memory
from activedpo_lib.method import generation, logps, models
from activedpo_lib.method.design import select_greedy
from activedpo_lib.method.features import pair_features
from activedpo_lib.method.generation import generate
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.logps import last_hidden_states, response_logps
from activedpo_lib.method.oracles import classifier_score, reward_model_score
from activedpo_lib.method.projection import make_projection
from activedpo_lib.method.reward_models import new_reward_model
from activedpo_lib.records import Budget, Sampling
from activedpo_lib.streams import stream

READ = make_sequences(41)


def features(policy, tokens):
    fold = make_projection("fold", 256, 0, gradient_shapes(policy))
    return response_features(policy, *READ, fold, Budget(tokens)).phi


PASSES = {
    "gradients": features,
    "log-probabilities": lambda policy, tokens: response_logps(policy, *READ, tokens),
    "hidden states": lambda policy, tokens: last_hidden_states(policy, *READ, tokens),
}


class Card:
    """A card that holds `most` padded tokens at a time, a unit of memory each, and remembers the
    batches that it was given, to a policy or to a reward model.
    """

    def __init__(self, model, most):
        self.most, self.tried, self._peak = most, [], 0
        is_policy = isinstance(model, PeftModel)
        reads = model.get_base_model().get_decoder() if is_policy else model.base_model
        reads.register_forward_pre_hook(self._take, with_kwargs=True)

    def _take(self, _module, _arguments, given):
        size = given["attention_mask"].numel()
        self.tried.append(size)
        if size > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. (the test's own)")
        self._peak = max(self._peak, size)

    def stands_in(self, monkeypatch):
        """From here on, `memory` reads this card."""

        def mark(_):
            self._peak = 0
            return 0

        monkeypatch.setattr(memory, "free_bytes", lambda _: self.most)
        monkeypatch.setattr(memory, "mark", mark)
        monkeypatch.setattr(memory, "peak_bytes", lambda _: self._peak)


@pytest.mark.parametrize("what", PASSES)
@pytest.mark.parametrize("most", [30, 100, 300])
def test_a_batch_that_does_not_fit_is_halved_to_the_same_result(what, most):
    policy = make_policy()
    truth = PASSES[what](policy, 4096)
    card = Card(policy, most)
    with pytest.warns(RuntimeWarning, match=r"half the size.*selection\.token_budget"):
        found = PASSES[what](policy, 4096)
    assert max(card.tried) > most
    np.testing.assert_allclose(found, truth, atol=2e-5 * np.abs(truth).max())
    held = [size for size in card.tried if size <= most]
    assert sum(held) < 1.5 * len(READ[0]) * 30  # what was done before stays done


def test_it_is_said_once_whatever_the_pass(tokenizer, prompts):
    policy, score = make_policy(), scorers(tokenizer)["own"]
    Card(policy, 60)
    Card(score.model, 60)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for run in (*PASSES.values(), *PASSES.values()):
            run(policy, 4096)
        drawn(policy, tokenizer, prompts, 36)
        score.of(prompts, [prompt.text for prompt in prompts])
    assert len(said) == 1


class Scorer(NamedTuple):
    model: torch.nn.Module
    of: Callable


def scorers(tokenizer):
    """{kind: a reward model's Scorer}, of random weights."""
    base = make_policy().unload()
    own = new_reward_model(base, stream=stream(0, "head")).eval()
    config = copy.deepcopy(base.config)
    config.num_labels = 1
    theirs = AutoModelForSequenceClassification.from_config(config).eval()
    return {
        "own": Scorer(own, reward_model_score(own, tokenizer)),
        "classifier": Scorer(theirs, classifier_score(theirs, tokenizer)),
    }


@pytest.mark.parametrize("kind", ["own", "classifier"])
def test_scores_go_on_in_smaller_batches_to_the_same_rewards(kind, tokenizer, prompts):
    score, asked = scorers(tokenizer)[kind], [*prompts, *prompts, *prompts]
    texts = [" ".join(["summary"] * at) for at in range(len(asked))]
    truth = score.of(asked, texts)
    read = zip(asked, texts, strict=True)
    widest = max(len(models.encode_pair(tokenizer, asking.text, text)) for asking, text in read)
    card = Card(score.model, 3 * widest)
    with pytest.warns(RuntimeWarning, match="half the size"):
        found = score.of(asked, texts)
    assert max(card.tried) > card.most
    np.testing.assert_allclose(found, truth, atol=1e-5)
    assert len(set(truth.round(4))) > 1


@pytest.mark.parametrize("what", PASSES)
def test_the_batches_are_found_from_the_free_memory(what, monkeypatch):
    policy = make_policy()
    truth = PASSES[what](policy, 4096)
    card = Card(policy, 500)
    card.stands_in(monkeypatch)
    monkeypatch.setattr(logps, "USUAL", 400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing had to be tried
        found = PASSES[what](policy, 0)
    # 0.8 of 500 is 400, the power of two below it 256; before it, a quarter of the usual tokens.
    assert 128 < max(card.tried) <= 256
    np.testing.assert_allclose(found, truth, atol=2e-5 * np.abs(truth).max())


def test_on_a_cpu_nothing_is_found_and_the_bytes_are_the_usual_ones():
    policy = make_policy()
    for run in PASSES.values():
        assert np.array_equal(run(policy, 0), run(policy, Budget().tokens))


def test_picks_do_not_depend_on_the_budget():
    policy, picks = make_policy(), []
    pairs = np.array([(i, j) for i in range(41) for j in range(i)][::7])
    for tokens in (0, 20, 57, 200, 10_000):
        fold = make_projection("fold", 256, 0, gradient_shapes(policy))
        found = response_features(policy, *READ, fold, Budget(tokens))
        phi = pair_features(found, pairs, "response", "after")
        picks.append(select_greedy(phi, 12, 1.0).indices.tolist())
    assert picks == [picks[0]] * 5


def drawn(policy, tokenizer, prompts, sequences):
    how = Sampling(3, 10, batch_sequences=sequences)
    pool = generate(policy, tokenizer, prompts, how, stream=stream(0, "g"))
    return [response.tokens for response in pool.responses]


@pytest.mark.parametrize("sequences", [36, 0])
def test_generation_goes_on_in_smaller_batches_to_the_same_tokens(tokenizer, prompts, sequences):
    policy = make_policy()
    truth = drawn(policy, tokenizer, prompts, 384)
    card = Card(policy, 120)
    with pytest.warns(RuntimeWarning, match="batch_sequences"):
        assert drawn(policy, tokenizer, prompts, sequences) == truth
    assert max(card.tried) > 120


def test_generations_batches_are_found_from_the_free_memory(tokenizer, prompts, monkeypatch):
    policy = make_policy()
    truth = drawn(policy, tokenizer, prompts, 384)
    card = Card(policy, 400)
    card.stands_in(monkeypatch)
    monkeypatch.setattr(generation, "USUAL", 12)  # the first batch: a quarter, one prompt
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawn(policy, tokenizer, prompts, 0) == truth
    assert 100 < max(card.tried) <= 320


def test_a_sequence_that_does_not_fit_alone_is_an_error_with_a_remedy():
    policy = make_policy()
    Card(policy, 12)
    with pytest.raises(MemoryError, match=r"one item of .* does not fit .*larger"):
        response_logps(policy, *READ, 1)
