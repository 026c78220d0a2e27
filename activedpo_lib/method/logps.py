"""What a policy says of given responses: log-probabilities, implicit rewards, entropies, and
pi_SFT's hidden states; in batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from peft import PeftModel

from activedpo_lib.memory import Part, in_batches
from activedpo_lib.method.adapters import sft_weights
from activedpo_lib.method.formulas import implicit_reward, sequence_logp
from activedpo_lib.records import Budget, Tokens

USUAL = Budget().tokens


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


def batches(
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    token_budget: int,
    device: torch.device | str = "cpu",
    done: int = 0,
) -> Iterator[Batch]:
    """Yield Batches of at most `token_budget` padded tokens (or one sequence), sorted by length.

    prompts, responses: equally many sequences of token ids; responses must not be empty; done: how
    many of them, in that order, to leave out. Raises ValueError where there are not as many prompts
    as responses.
    """
    if len(prompts) != len(responses):
        raise ValueError(
            f"each response needs its prompt: got {len(prompts)} prompts, {len(responses)} "
            "responses"
        )
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), len(responses[i]), i))
    rows: list[int] = []
    width = depth = 0
    for i in order[done:]:
        wider, deeper = max(width, len(prompts[i])), max(depth, len(responses[i]))
        if rows and (len(rows) + 1) * (wider + deeper) > token_budget:
            yield _batch(rows, prompts, responses, device)
            rows, wider, deeper = [], len(prompts[i]), len(responses[i])
        rows.append(i)
        width, depth = wider, deeper
    if rows:
        yield _batch(rows, prompts, responses, device)


def _batch(
    rows: list[int],
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    device: torch.device | str,
) -> Batch:
    width = max(len(prompts[i]) for i in rows)
    depth = max(len(responses[i]) for i in rows)
    ids = torch.zeros(len(rows), width + depth, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full((len(rows), depth), -100)
    for at, i in enumerate(rows):
        prompt, response = (torch.tensor(part[i]) for part in (prompts, responses))
        ids[at, width - len(prompt) : width] = prompt
        ids[at, width : width + len(response)] = response
        mask[at, width - len(prompt) : width + len(response)] = 1
        labels[at, : len(response)] = response
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return Batch(tuple(rows), *(tensor.to(device) for tensor in (ids, mask, positions, labels)))


def each_batch(
    work: Callable[[Batch], None],
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    token_budget: int,
    device: torch.device,
) -> None:
    """Call `work` with every Batch of `batches`: as many tokens as fit where `token_budget` is 0,
    half as many after an out-of-memory error (`memory.in_batches`).
    """

    def split(tokens: int, done: int) -> Iterator[Part]:
        for batch in batches(prompts, responses, tokens, device, done):
            yield Part(batch, len(batch.rows), batch.input_ids.numel())

    in_batches(split, work, token_budget, USUAL, device)


def batch_logps(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
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
def response_logps(
    model: torch.nn.Module,
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    token_budget: int = 4096,
) -> np.ndarray:
    """log pi(y|x), (n,) float32 nats, on the CPU: prompts and responses as token ids, sums over
    response tokens (D1).
    """
    logps = torch.zeros(len(prompts))

    def read(batch: Batch) -> None:
        logps[list(batch.rows)] = batch_logps(model, batch).float().cpu()

    each_batch(read, prompts, responses, token_budget, next(model.parameters()).device)
    return logps.numpy()


@contextlib.contextmanager
def reference(policy: PeftModel) -> Iterator[PeftModel]:
    """Inside, the policy is pi_SFT: its adapter is off, and what was folded into its base taken out
    (D12).
    """
    base: Any = policy.get_base_model()
    with policy.disable_adapter(), sft_weights(base):
        yield policy


def reference_logps(
    policy: PeftModel,
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    token_budget: int = 4096,
) -> np.ndarray:
    """log pi_ref(y|x), (n,) float32 nats; token ids in."""
    with reference(policy):
        return response_logps(policy, prompts, responses, token_budget)


def implicit_rewards(
    policy: PeftModel,
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    beta: float,
    token_budget: int = 4096,
) -> np.ndarray:
    """r(x, y) under the policy, its reference pi_SFT (the adapter off), (n,) float32 nats; token
    ids in.
    """
    ours = response_logps(policy, prompts, responses, token_budget)
    return implicit_reward(ours, reference_logps(policy, prompts, responses, token_budget), beta)


def predictive_entropy(logps: np.ndarray, prompt_index: np.ndarray, prompts: int) -> np.ndarray:
    """H(x) = -(1/N) sum_n log pi(y_n | x) over each prompt's own samples, (prompts,) nats (Muldrew
    et al. 2024).

    logps: (n,) sums over tokens, not length-normalised; prompt_index: (n,) each sample's prompt.
    """
    counts = np.bincount(prompt_index, minlength=prompts)
    return -np.bincount(prompt_index, weights=logps, minlength=prompts) / counts


@torch.inference_mode()
def last_hidden_states(
    policy: PeftModel,
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    token_budget: int = 4096,
) -> np.ndarray:
    """pi_SFT's last hidden state at the last response token, (n, h) float32: APO's features."""
    hidden = np.zeros((len(prompts), policy.config.hidden_size), dtype=np.float32)
    base: Any = policy.get_base_model()
    decoder = base.get_decoder()

    def read(batch: Batch) -> None:
        states = decoder(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
        ).last_hidden_state
        lengths = (batch.labels != -100).sum(1)
        last = batch.input_ids.shape[1] - batch.labels.shape[1] + lengths - 1
        found = states[torch.arange(len(last), device=last.device), last].float().cpu().numpy()
        hidden[list(batch.rows)] = found

    with reference(policy):
        each_batch(read, prompts, responses, token_budget, next(policy.parameters()).device)
    return hidden
