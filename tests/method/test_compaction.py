"""A batch that shrinks as its sequences end gives the tokens that each would have had alone."""

import numpy as np
import pytest
import torch
from test_families import FAMILIES
from transformers import AutoModelForCausalLM

from activedpo_lib.method import generation, models
from activedpo_lib.method.decoding import growing
from activedpo_lib.params import load_params
from activedpo_lib.records import Sampling
from activedpo_lib.store import HOME
from activedpo_lib.streams import stream
from activedpo_lib.tasks import load_task

STEPS, COPIES = 20, 3


def one_by_one(model, prompts, noise, sampling, eos):
    """The slower truth: no batch, no padding, no cache; each token from a forward pass over all
    before it, drawn by a loop over the vocabulary in numpy.
    """
    found = []
    for prompt, each in zip(prompts, noise, strict=True):
        found.append([])
        for uniforms in each:
            tokens = []
            for uniform in uniforms:
                with torch.no_grad():
                    logits = model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0, -1]
                tokens.append(drawn(logits.double().numpy(), uniform, sampling))
                if tokens[-1] == eos:
                    break
            found[-1].append(tuple(tokens))
    return found


def drawn(logits, uniform, sampling):
    """The inverse CDF among the `top_k` likeliest tokens that hold `top_p` of all."""
    likelihood = np.exp((logits - logits.max()) / sampling.temperature)
    likelihood /= likelihood.sum()
    kept, held = [], 0.0
    for token in np.argsort(-likelihood, kind="stable"):
        if held >= sampling.top_p or (sampling.top_k and len(kept) == sampling.top_k):
            break
        kept.append(token)
        held += likelihood[token]
    level, passed = uniform * held, 0.0
    for token in sorted(kept):
        passed += likelihood[token]
        if passed > level:
            return int(token)
    raise AssertionError("a uniform is below 1")


@pytest.fixture
def batch_sizes(monkeypatch):
    """The sizes of the batches that the model was given, step by step."""
    seen, step = [], growing.step

    def watched(model, ids, *rest):
        seen.append(len(ids))
        return step(model, ids, *rest)

    monkeypatch.setattr(growing, "step", watched)
    return seen


@pytest.fixture(scope="module")
def asked():
    """Prompts of the built-in world: the shipped models end their answers to these."""
    return load_task(load_params("tiny", "webgpt").task, 10, comparisons=False).prompts[:8]


def shrank(sizes, rows):
    """Whether one batch of `rows` sequences became smaller, step by step."""
    steps = sizes[1:]  # the first is the prefill, before the copies
    return steps[0] == rows and steps == sorted(steps, reverse=True) and steps[-1] <= rows * 3 / 4


@pytest.mark.parametrize("how", [
    {}, {"temperature": 0.7}, {"top_k": 7, "top_p": 0.9},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_a_shrinking_batch_gives_each_sequences_own_tokens(family, how, asked, batch_sizes):
    folder = HOME / "activedpo_lib/assets" / f"{family}-0"
    model, tokenizer = models.load_policy(folder), models.load_tokenizer(folder)
    encoded = [models.encode_prompt(tokenizer, prompt.text) for prompt in asked]
    noise = [stream(0, prompt.id).numpy().random((COPIES, STEPS)) for prompt in asked]
    sampling, end = Sampling(COPIES, STEPS, **how), tokenizer.eos_token_id
    found = generation.sample(model, encoded, noise, sampling, [end])
    assert shrank(batch_sizes, COPIES * len(asked))
    assert found == one_by_one(model, encoded, noise, sampling, end)


@pytest.mark.parametrize("family", ["gemma 3", "mistral"])
def test_a_sliding_window_survives_the_shrinking(family, batch_sizes):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES[family]).float().eval()
    rng = stream(0, "windows").numpy()
    prompts = [tuple(map(int, rng.integers(3, 338, rng.integers(2, 15)))) for _ in range(8)]
    noise = [rng.uniform(0.02, 1, (COPIES, STEPS)) for _ in prompts]
    for each in noise:  # token 0 ends, and a uniform of 0 draws it: the lengths are the test's
        for uniforms in each:
            uniforms[rng.integers(1, STEPS)] = 0.0
    sampling = Sampling(COPIES, STEPS)
    found = generation.sample(model, prompts, noise, sampling, [0])
    assert shrank(batch_sizes, COPIES * len(prompts))
    assert found == one_by_one(model, prompts, noise, sampling, 0)


def test_a_batch_of_few_sequences_keeps_its_size(batch_sizes):
    """Products of very few rows round otherwise: what ran in such batches before still does."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES["mistral"]).float().eval()
    noise = [np.full((COPIES, STEPS), 0.5) for _ in range(3)]
    noise[0][0, 0] = noise[1][1, 2] = noise[2][:, 5] = 0.0
    generation.sample(model, [(5, 6)] * 3, noise, Sampling(COPIES, STEPS), [0])
    assert set(batch_sizes[1:]) == {9}
