"""What the baselines read of a pool: margins, entropies, hidden states."""

import contextlib

import numpy as np
import torch

from activedpo_lib.method.formulas import implicit_reward
from activedpo_lib.method.logps import batches, response_logps
from activedpo_lib.method.models import sft_weights


@contextlib.contextmanager
def reference(policy):
    """Inside, the policy is pi_SFT: its adapter is off, and what was folded into its base taken out
    (D12).
    """
    with policy.disable_adapter(), sft_weights(policy.get_base_model()):
        yield policy


def reference_logps(policy, prompts, responses, token_budget=4096):
    """log pi_ref(y|x), (n,) float32 nats; token ids in."""
    with reference(policy):
        return response_logps(policy, prompts, responses, token_budget)


def implicit_rewards(policy, prompts, responses, beta, token_budget=4096):
    """r(x, y) under the policy, its reference pi_SFT (the adapter off), (n,) float32 nats; token
    ids in.
    """
    ours = response_logps(policy, prompts, responses, token_budget)
    return implicit_reward(ours, reference_logps(policy, prompts, responses, token_budget), beta)


def predictive_entropy(logps, prompt_index, prompts):
    """H(x) = -(1/N) sum_n log pi(y_n | x) over each prompt's own samples, (prompts,) nats (Muldrew
    et al. 2024).

    logps: (n,) sums over tokens, not length-normalised; prompt_index: (n,) each sample's prompt.
    """
    counts = np.bincount(prompt_index, minlength=prompts)
    return -np.bincount(prompt_index, weights=logps, minlength=prompts) / counts


@torch.inference_mode()
def last_hidden_states(policy, prompts, responses, token_budget=4096):
    """pi_SFT's last hidden state at the last response token, (n, h) float32: APO's features."""
    hidden = None
    with reference(policy):
        decoder = policy.get_base_model().get_decoder()
        for batch in batches(prompts, responses, token_budget, next(policy.parameters()).device):
            states = decoder(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                position_ids=batch.position_ids,
                use_cache=False,
            ).last_hidden_state
            lengths = (batch.labels != -100).sum(1)
            last = batch.input_ids.shape[1] - batch.labels.shape[1] + lengths - 1
            found = states[torch.arange(len(last), device=last.device), last].float().cpu().numpy()
            if hidden is None:
                hidden = np.zeros((len(prompts), found.shape[1]), dtype=np.float32)
            hidden[list(batch.rows)] = found
    return hidden
