"""Batches of prompts with their responses, and the responses' log-probabilities."""

from typing import NamedTuple

import numpy as np
import torch

from activedpo_lib.method.formulas import sequence_logp
from activedpo_lib.shards import shards


class Batch(NamedTuple):
    """Prompts padded on the left and responses on the right, so that all responses start at one
    column.

    rows: the sequences' places in the caller's order; input_ids, attention_mask, position_ids: (b,
    p + t); labels: (b, t), the response's tokens, -100 where padded.
    """

    rows: tuple[int, ...]
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor


def batches(prompts, responses, token_budget, device="cpu"):
    """Yield Batches of at most `token_budget` padded tokens (or one sequence), sorted by length.

    prompts, responses: equally many sequences of token ids; responses must not be empty.
    """
    if len(prompts) != len(responses):
        raise ValueError(
            f"each response needs its prompt: got {len(prompts)} prompts, {len(responses)} "
            "responses"
        )
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), len(responses[i]), i))
    rows, width, depth = [], 0, 0
    for i in order:
        wider, deeper = max(width, len(prompts[i])), max(depth, len(responses[i]))
        if rows and (len(rows) + 1) * (wider + deeper) > token_budget:
            yield _batch(rows, prompts, responses, device)
            rows, wider, deeper = [], len(prompts[i]), len(responses[i])
        rows.append(i)
        width, depth = wider, deeper
    if rows:
        yield _batch(rows, prompts, responses, device)


def _batch(rows, prompts, responses, device):
    width = max(len(prompts[i]) for i in rows)
    depth = max(len(responses[i]) for i in rows)
    ids = torch.zeros(len(rows), width + depth, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full((len(rows), depth), -100)
    for at, i in enumerate(rows):
        prompt, response = (
            torch.tensor(prompts[i], dtype=torch.long),
            torch.tensor(responses[i], dtype=torch.long),
        )
        ids[at, width - len(prompt) : width] = prompt
        ids[at, width : width + len(response)] = response
        mask[at, width - len(prompt) : width + len(response)] = 1
        labels[at, : len(response)] = response
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return Batch(tuple(rows), *(tensor.to(device) for tensor in (ids, mask, positions, labels)))


def batch_logps(model, batch):
    """log pi(y|x) of a batch, (b,) nats; only the response's positions reach `lm_head`."""
    logits = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        use_cache=False,
        logits_to_keep=batch.labels.shape[1] + 1,
    ).logits
    return sequence_logp(logits[:, :-1], batch.labels)


@torch.inference_mode()
def response_logps(model, prompts, responses, token_budget=4096):
    """log pi(y|x), (n,) float32 nats, on the CPU: prompts and responses as token ids, sums over
    response tokens (D1).
    """
    group = shards()
    mine = group.share(len(prompts))
    logps = torch.zeros(mine.stop - mine.start)
    for batch in batches(
        prompts[mine], responses[mine], token_budget, next(model.parameters()).device
    ):
        logps[list(batch.rows)] = batch_logps(model, batch).float().cpu()
    return np.concatenate(group.collect([logps.numpy()]))
