"""Per-response LoRA gradients at the price of one training step.

Everything is frozen, so autograd forms no weight gradients; hooks on the adapter's linears form
each response's own from the module's input and the gradient of its output, project it at once, and
drop it. grad r = beta grad log pi: the reference has no gradient, and beta is the caller's.
"""

import contextlib
import hashlib
import time

import numpy as np
import torch

from activedpo_lib.method.logps import batch_logps, batches
from activedpo_lib.method.memmap import MemmapRows
from activedpo_lib.records import Features


def adapter_modules(model):
    """{name: linear} of the active adapter's lora_A and lora_B.

    Raises ValueError where there are none, or where the adapter has parameters of another kind
    (DoRA's magnitudes, biases, embeddings, modules_to_save): a gradient without them would not be
    the model's own.
    """
    active = getattr(model, "active_adapter", None)
    endings = (f"lora_A.{active}", f"lora_B.{active}")
    found = {
        name: module
        for name, module in model.named_modules()
        if name.endswith(endings) and isinstance(module, torch.nn.Linear)
    }
    if not found:
        raise ValueError(
            "gradients are taken of a LoRA adapter: the model has none; wrap it with "
            "models.with_adapter"
        )
    known = {f"{name}.weight" for name in found}
    others = [
        name
        for name, _ in model.named_parameters()
        if active in name.split(".") and name not in known
    ]
    if others:
        raise ValueError(
            "gradients are taken of the weights of lora_A and lora_B; the adapter also trains "
            f"{others[0]} "
            f"({len(others)} such): use LoRA on linear layers, without DoRA, bias, embeddings or "
            "modules_to_save"
        )
    return found


def gradient_shapes(model):
    """{module name: (rows, columns) of its weight}, what `make_projection` wants to know."""
    return {name: tuple(module.weight.shape) for name, module in adapter_modules(model).items()}


@contextlib.contextmanager
def _frozen(model):
    """No parameter requires a gradient, the embeddings' output does, dropout is off; everything
    restored after.
    """
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    training = model.training
    model.requires_grad_(False).eval()
    handle = model.get_input_embeddings().register_forward_hook(
        lambda _m, _i, output: output.requires_grad_(True)
    )
    try:
        yield
    finally:
        handle.remove()
        model.train(training)
        for parameter, required in before.items():
            parameter.requires_grad_(required)


@contextlib.contextmanager
def _collecting(modules, take):
    """Inside, every backward pass calls take(name, gradient (b, parameters)) once for each of
    `modules`.
    """

    def watch(name):
        def forward_hook(_module, inputs, output):
            seen = [
                inputs[0].detach()
            ]  # let go as the backward pass goes, as autograd does with its own

            def backward_hook(gradient):
                # Float32 from here on: in bfloat16 the sum over positions alone loses 0.8 %.
                each = torch.bmm(gradient.float().transpose(1, 2), seen.pop().float())
                take(name, each.flatten(1))

            output.register_hook(backward_hook)

        return forward_hook

    handles = [module.register_forward_hook(watch(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def response_features(
    model, prompts, responses, projection, token_budget=4096, folder=None, limit_mib=64, log=print
):
    """grad log pi(y|x) with respect to the adapter, projected, for each response.

    model: a PeftModel with an active LoRA adapter; prompts, responses: n token id sequences each
    (responses not empty); projection: from `make_projection`; token_budget: padded tokens of one
    batch; folder: features of more than `limit_mib` MiB go to a file there, and a pass that was
    stopped goes on from it; log: called with lines of progress. Returns Features(phi (n,
    projection.dim), norm (n,): the l2 norm before projection, tokens (n,): the response's length),
    float32, in the caller's order. Raises ValueError where the model is not of that kind, or a
    module of the adapter takes no part in log pi.
    """
    device, modules = next(model.parameters()).device, adapter_modules(model)
    made_from = _digest(modules, prompts, responses, projection, token_budget) if folder else ""
    rows = MemmapRows(
        len(prompts), projection.dim + 1, device, folder, "features", made_from, limit_mib
    )
    progress = Progress("gradients of responses", len(prompts), log)
    with _frozen(model):
        for batch in batches(prompts, responses, token_budget, device):
            progress(rows.count())
            if not rows.has(list(batch.rows)):
                rows.put(list(batch.rows), _batch_features(model, modules, projection, batch))
    found = rows.numpy()
    return Features(
        found[:, :-1],
        found[:, -1],
        np.array([len(response) for response in responses], dtype=np.float32),
    )


def _batch_features(model, modules, projection, batch):
    """(b, d + 1): projected gradients, and in the last column their norms before projection."""
    out = torch.zeros(len(batch.rows), projection.dim + 1, device=batch.input_ids.device)
    squares, missing = torch.zeros(len(out), device=out.device), set(modules)

    def take(name, gradient):
        projection.add(out[:, :-1], name, gradient)
        squares.add_(gradient.square().sum(1))
        missing.discard(name)

    with _collecting(modules, take):
        batch_logps(model, batch).sum().backward()
    if missing:
        raise ValueError(
            f"no gradient came from {sorted(missing)[0]} ({len(missing)} such): drop them from "
            "lora.targets"
        )
    out[:, -1] = squares.sqrt()
    return out


def _digest(modules, prompts, responses, projection, token_budget):
    """Names all that features are computed from: the policy's adapter, the sequences, the
    projection, the batches.
    """
    digest = hashlib.sha256(
        repr((projection.kind, projection.dim, projection.seed, token_budget)).encode()
    )
    for module in modules.values():
        digest.update(module.weight.detach().float().cpu().numpy().tobytes())
    for sequences in (prompts, responses):
        digest.update(repr(sequences).encode())
    return digest.hexdigest()[:16]


class Progress:
    """Called with the number done so far, says a line every `every` seconds: share, rate, and the
    time left.
    """

    def __init__(self, what, total, log=print, every=15.0, clock=time.monotonic):
        self._what, self._total, self._say, self._every, self._clock = (
            what,
            total,
            log,
            every,
            clock,
        )
        self._start = self._last = clock()
        self._first = None

    def __call__(self, done):
        now = self._clock()
        if self._first is None:  # where a resumed pass began: its rate is that of this process
            self._first, self._start = done, now
        if now - self._last < self._every or done <= self._first:
            return
        self._last = now
        rate = (done - self._first) / (now - self._start)
        left = (self._total - done) / rate
        self._say(f"{self._what}: {done:,}/{self._total:,}, {rate:.1f}/s, {left / 60:.1f} min left")
