import numpy as np
import torch
from conftest import make_policy

from activedpo_lib.method.candidates import pair_ids
from activedpo_lib.method.generation import generate, sample
from activedpo_lib.method.models import encode_prompt
from activedpo_lib.records import Sampling
from activedpo_lib.streams import stream

# As many as the noise has, five prompts at a time, so cold that the likeliest token is drawn.
GREEDY = Sampling(3, 8, 1e-4, batch_sequences=15)


def greedy_noise(count, steps):
    """Uniforms that make the inverse CDF take the most likely token at a tiny temperature."""
    return [np.full((3, steps), 0.5) for _ in range(count)]


def test_shared_prefill_gives_the_librarys_own_greedy_tokens(policy, tokenizer, prompts):
    encoded = [encode_prompt(tokenizer, p.text) for p in prompts]
    found = sample(policy, encoded, greedy_noise(len(prompts), 8), GREEDY, [tokenizer.eos_token_id])
    for prompt, group in zip(encoded, found, strict=True):
        ids = torch.tensor([prompt])
        truth = policy.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=8,
            eos_token_id=1,
            pad_token_id=0,
        )
        truth = tuple(truth[0, len(prompt) :].tolist())
        assert all(response == truth for response in group)


def test_responses_do_not_depend_on_batch_size_or_order(tokenizer, prompts):
    policy = make_policy()
    texts = {}
    for batch, order in ((3, 1), (12, 1), (100, -1)):
        pool = generate(
            policy,
            tokenizer,
            prompts[::order],
            Sampling(3, 10, batch_sequences=batch),
            stream=stream(0, "g"),
        )
        found = {
            (p.id, i): pool.responses[3 * at + i].tokens
            for at, p in enumerate(pool.prompts)
            for i in range(3)
        }
        texts[batch] = found
        assert found == texts[3]
        named = dict(
            zip(
                pair_ids(pool),
                [tuple(pool.responses[i].tokens for i in pair) for pair in pool.pairs],
                strict=True,
            )
        )
        assert all(named[(name, a, b)] == (found[name, a], found[name, b]) for name, a, b in named)


def test_sampling_follows_the_models_probabilities(tokenizer, prompts):
    policy, prompt = make_policy(), prompts[0]
    draws = 4000
    noise = [stream(0, "noise").numpy().random((draws, 1))]
    found = sample(
        policy,
        [encode_prompt(tokenizer, prompt.text)],
        noise,
        Sampling(draws, 1, batch_sequences=draws),
        [tokenizer.eos_token_id],
    )[0]
    logits = policy(input_ids=torch.tensor([encode_prompt(tokenizer, prompt.text)])).logits[0, -1]
    truth = torch.softmax(logits, -1).detach().numpy()
    seen = np.bincount([tokens[0] for tokens in found], minlength=len(truth)) / draws
    likely = np.argsort(-truth)[:8]
    assert np.abs(seen[likely] - truth[likely]).max() < 4 * np.sqrt(truth.max() / draws)


def test_the_same_response_twice_is_no_pair(tokenizer, prompts):
    pool = generate(make_policy(), tokenizer, prompts, Sampling(3, 6, 1e-4), stream=stream(0, "g"))
    assert pool.pairs.shape == (0, 2)
    assert len(pool.responses) == 36


def test_a_response_ends_with_eos_or_is_cut_at_the_limit(tokenizer, prompts):
    pool = generate(make_policy(), tokenizer, prompts, Sampling(3, 6), stream=stream(0, "g"))
    for response in pool.responses:
        assert 1 <= len(response.tokens) <= 6
        assert tokenizer.eos_token_id not in response.tokens[:-1]
        assert response.tokens[-1] == tokenizer.eos_token_id or len(response.tokens) == 6


def test_strategies_survive_an_empty_response(tokenizer, prompts):
    """A lone EOS is a response: it has a log-probability, a gradient and a text, the empty one."""
    from activedpo_lib.method.gradients import gradient_shapes, response_features
    from activedpo_lib.method.projection import make_projection

    policy = make_policy()
    projection = make_projection("fold", 32, 0, gradient_shapes(policy))
    features = response_features(
        policy, [encode_prompt(tokenizer, prompts[0].text)], [(1,)], projection
    )
    assert np.isfinite(features.phi).all()
    assert features.norm[0] > 0
