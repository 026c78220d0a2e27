"""Three responses a prompt, the prefill shared: against `generate(num_return_sequences=3)` at equal
batch; and a batch that shrinks as its sequences end, against one kept whole (1M parameters).
"""

import numpy as np
import torch

from activedpo_lib.method.decoding import growing
from activedpo_lib.method.generation import sample
from activedpo_lib.records import Sampling
from benchmarks.measure import Row, interleaved, ratio
from benchmarks.subjects import llama, sequences

PROMPTS, COPIES, NEW = 48, 3, 24
GREEDY = 1e-6  # a temperature so low that sampling takes the likeliest token
NEVER = 1000 - 1  # an end token that the random model does not write: equal work for both
# Token 0 as the end: a uniform of 0 draws it, so that the noise says where a sequence ends.
END, LONGEST = 0, 48
SHARES = (1.0, 0.75, 0.5)  # of the batch that must be left for it to shrink


def padded(prompts):
    """(ids, mask), padded on the left."""
    width = max(map(len, prompts))
    ids, mask = (
        torch.zeros(len(prompts), width, dtype=torch.long),
        torch.zeros(len(prompts), width, dtype=torch.long),
    )
    for at, prompt in enumerate(prompts):
        ids[at, width - len(prompt) :] = torch.tensor(prompt)
        mask[at, width - len(prompt) :] = 1
    return ids, mask


def run():
    """The rows of this benchmark: prompts of 64 to 192 tokens in batches of 16 (48 sequences), 24
    new tokens.

    `generate` takes the prompts in the order they come; ours sorts them by length.
    """
    policy, (prompts, _) = llama("1M"), sequences(PROMPTS, (64, 192), (1, 1), 998)
    noise = [np.random.default_rng(at).random((COPIES, NEW)) for at in range(PROMPTS)]

    def ours(temperature=1.0):
        return sample(
            policy, prompts, noise, Sampling(COPIES, NEW, temperature, batch_sequences=48), [NEVER]
        )

    @torch.inference_mode()
    def theirs(copies=COPIES, **how):
        found = []
        for start in range(0, PROMPTS, 16):
            ids, mask = padded(prompts[start : start + 16])
            out = policy.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=NEW,
                min_new_tokens=NEW,
                num_return_sequences=copies,
                pad_token_id=0,
                eos_token_id=NEVER,
                **how,
            )
            found += [tuple(row) for row in out[:, ids.shape[1] :].tolist()]
        return found

    seconds = interleaved({"ours": ours, "theirs": lambda: theirs(do_sample=True, top_k=0)}, 3)
    yield Row(
        "generate(num_return_sequences=3) / ours, equal batch",
        ratio(seconds, "theirs", "ours"),
        at_least=1.2,
    )
    same = [
        group[0] == row for group, row in zip(ours(GREEDY), theirs(1, do_sample=False), strict=True)
    ]
    yield Row("prompts with equal greedy tokens", float(np.mean(same)), "", at_least=1)
    yield from ending_rows(policy, prompts)


def ending_noise(count, copies, steps, seed=0):
    """Uniforms (copies, steps) for each prompt, with which sequences end anywhere from 1 to `steps`
    tokens, all as often.
    """
    rng = np.random.default_rng(seed)
    noise = [rng.uniform(0.001, 1, (copies, steps)) for _ in range(count)]
    for each in noise:
        each[range(copies), rng.integers(0, steps, copies)] = 0.0
    return noise


def ending_rows(policy, prompts):
    """A batch that shrinks once so much of it has ended, against one that does not."""
    noise = ending_noise(PROMPTS, COPIES, LONGEST)
    how = Sampling(COPIES, LONGEST, batch_sequences=48)

    def ours(share):
        default, growing.COMPACT = growing.COMPACT, share
        try:
            return sample(policy, prompts, noise, how, [END])
        finally:
            growing.COMPACT = default

    variants = {"whole": lambda: ours(0.0)}
    variants |= {share: (lambda share=share: ours(share)) for share in SHARES}
    seconds = interleaved(variants, 3)
    for share in SHARES:
        bar = 1.15 if share == growing.COMPACT else None
        left = "at every end" if share == 1 else f"once {1 - share:.0%} have ended"
        yield Row(
            f"a batch kept whole / one that shrinks {left}, 1 to {LONGEST} tokens",
            ratio(seconds, "whole", share),
            at_least=bar,
        )
    same = [a == b for a, b in zip(ours(0.0), ours(growing.COMPACT), strict=True)]
    yield Row("prompts with equal tokens, shrinking or whole", float(np.mean(same)), "", at_least=1)
