"""What a user would take instead of this library, written as it would be: each a faithful,
independent implementation.
"""

import numpy as np
import torch
from scipy.linalg import solve_triangular

from activedpo_lib.method.logps import batch_logps, batches
from benchmarks.measure import once


def lora_parameters(model):
    """{name: parameter} of the adapter."""
    return {name: p for name, p in model.named_parameters() if "lora_" in name}


def plain_step(model, prompts, responses, token_budget):
    """The limit: forward and backward of LoRA training over the same tokens, in the same
    batches.
    """
    model.zero_grad(set_to_none=True)
    for batch in batches(prompts, responses, token_budget, next(model.parameters()).device):
        batch_logps(model, batch).sum().backward()


def one_backward_each(model, prompts, responses):
    """The LESS pattern, first half: one backward pass a response; the flat gradients, (n, P)."""
    parameters = list(lora_parameters(model).values())
    rows = []
    for prompt, response in zip(prompts, responses, strict=True):
        logp = batch_logps(model, next(batches([prompt], [response], 10**9)))
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(logp.sum(), parameters)]))
    return torch.stack(rows)


def dense_projection(gradients, dim, seed=0, block=1024):
    """The LESS pattern, second half: 16 rows at a time times a dense Rademacher matrix, drawn anew
    for every call.
    """
    out = torch.zeros(len(gradients), dim)
    for start in range(0, len(gradients), 16):
        generator = torch.Generator().manual_seed(seed)
        for at in range(0, gradients.shape[1], block):
            part = gradients[start : start + 16, at : at + block]
            signs = torch.randint(0, 2, (part.shape[1], dim), generator=generator, dtype=torch.int8)
            out[start : start + 16] += part @ (signs.float() * 2 - 1)
    return out / dim**0.5


def dense_seconds(gradients, dim, share=8):
    """CPU seconds of `dense_projection`, measured on one part in `share` of the parameters: it is
    linear in them.
    """
    part = gradients[:, : gradients.shape[1] // share]
    return once(lambda: dense_projection(part, dim))[0] * gradients.shape[1] / part.shape[1]


def vmapped_gradients(model, prompts, responses):
    """torch.func's vmap over grad: {name: (n, ...)}. Sequences of one length each, since it knows
    no padding.
    """
    adapter = {name: p.detach() for name, p in lora_parameters(model).items()}
    rest = {name: p.detach() for name, p in model.named_parameters() if name not in adapter}
    rest |= dict(model.named_buffers())

    def logp(parameters, ids):
        state = {**rest, **parameters}
        logits = torch.func.functional_call(
            model,
            state,
            (),
            {"input_ids": ids[None], "use_cache": False, "logits_to_keep": len(responses[0]) + 1},
        ).logits[0, :-1]
        labels = ids[-len(responses[0]) :]
        return torch.log_softmax(logits.float(), -1).gather(-1, labels[:, None]).sum()

    ids = torch.tensor(
        [prompt + response for prompt, response in zip(prompts, responses, strict=True)]
    )
    return torch.func.vmap(torch.func.grad(logp), in_dims=(None, 0))(adapter, ids)


def full_dual(phi, batch_size, ridge, past=None):
    """Greedy in the dual form, every residual updated for every pick, float64: nothing lazy."""
    phi = np.asarray(phi, dtype=np.float64)
    filled = 0 if past is None else len(past)
    rows = np.empty((filled + batch_size, phi.shape[1]))
    residual = np.einsum("nd,nd->n", phi, phi)
    if past is not None:
        past = np.asarray(past, dtype=np.float64)
        factor = np.linalg.cholesky(past @ past.T + ridge * np.eye(filled))
        rows[:filled] = solve_triangular(factor, past, lower=True)
        residual -= np.square(phi @ rows[:filled].T).sum(1)
    picks = []
    for _ in range(batch_size):
        left = residual.copy()
        left[picks] = -1.0
        best = left.max()
        at = int(np.flatnonzero(left >= best * (1 - 1e-9))[0])
        picks.append(at)
        known = rows[:filled]
        q = (phi[at] - known.T @ (known @ phi[at])) / np.sqrt(ridge + max(residual[at], 0.0))
        rows[filled] = q
        filled += 1
        residual -= np.square(phi @ q)
    return picks


def sherman_morrison(phi, batch_size, ridge):
    """V^-1 (d x d, float32) updated by Sherman and Morrison after each pick, the scores with it."""
    inverse = np.eye(phi.shape[1], dtype=np.float32) / np.float32(ridge)
    scores = np.square(phi).sum(1) / ridge
    picks = []
    for _ in range(batch_size):
        left = scores.copy()
        left[picks] = -1.0
        picks.append(int(np.argmax(left)))
        x = phi[picks[-1]]
        u = inverse @ x
        scale = 1.0 + x @ u
        inverse -= np.outer(u, u) / scale
        scores -= np.square(phi @ u) / scale
    return picks


def explicit_inverse(phi, batch_size, ridge):
    """V formed and inverted anew for each pick, as Eq. 3 and Eq. 4 are written."""
    V = ridge * np.eye(phi.shape[1])
    picks = []
    for _ in range(batch_size):
        scores = np.einsum("nd,nd->n", phi @ np.linalg.inv(V), phi)
        scores[picks] = -1.0
        picks.append(int(np.argmax(scores)))
        V += np.outer(phi[picks[-1]], phi[picks[-1]])
    return picks


def hand_written_dpo(policy, pairs, beta, epochs, learning_rate, batch_size):
    """DPO as a short loop: the reference once, then AdamW over (b, prompt, chosen | rejected)
    batches.
    """
    prompts = [p.prompt_tokens for p in pairs] * 2
    responses = [p.chosen.tokens for p in pairs] + [p.rejected.tokens for p in pairs]
    with torch.no_grad(), policy.disable_adapter():
        reference = _logps(policy, prompts, responses)
    optimiser = torch.optim.AdamW(
        lora_parameters(policy).values(), lr=learning_rate, weight_decay=0.0
    )
    count = len(pairs)
    for _ in range(epochs):
        for start in range(0, count, batch_size):
            rows = list(range(start, min(start + batch_size, count)))
            both = rows + [count + row for row in rows]
            logps = (
                _logps(policy, [prompts[i] for i in both], [responses[i] for i in both])
                - reference[both]
            )
            margin = beta * (logps[: len(rows)] - logps[len(rows) :])
            (-torch.nn.functional.logsigmoid(margin).mean()).backward()
            torch.nn.utils.clip_grad_norm_(lora_parameters(policy).values(), 1.0)
            optimiser.step()
            optimiser.zero_grad()


def _logps(policy, prompts, responses):
    batch = next(batches(prompts, responses, 10**9))
    logps = batch_logps(policy, batch)
    return torch.zeros_like(logps).index_copy(0, torch.tensor(batch.rows), logps)
