"""Per-response LoRA gradients at the price of one training step.

Everything is frozen, so autograd forms no weight gradients; hooks on the adapter's linears form
each response's own from the module's input and the gradient of its output, project it at once, and
drop it. grad r = beta grad log pi: the reference has no gradient, and beta is the caller's.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from activedpo_lib.method.features import MemmapRows, fits
from activedpo_lib.method.logps import Batch, batch_logps, each_batch
from activedpo_lib.method.models import weights_digest
from activedpo_lib.method.projection import Projection
from activedpo_lib.records import Budget, Features, Log, Tokens


def adapter_modules(model: torch.nn.Module) -> dict[str, torch.nn.Linear]:
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
            "adapters.with_adapter"
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


def gradient_shapes(model: torch.nn.Module) -> dict[str, tuple[int, int]]:
    """{module name: (rows, columns) of its weight}, what `make_projection` wants to know."""
    modules = adapter_modules(model)
    return {name: (len(m.weight), m.weight.shape[1]) for name, m in modules.items()}


@contextlib.contextmanager
def _frozen(model: torch.nn.Module) -> Iterator[None]:
    """No parameter requires a gradient, the embeddings' output does, dropout is off; everything
    restored after.
    """
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    training = model.training
    model.requires_grad_(False).eval()
    embeddings: Any = model.get_input_embeddings
    handle = embeddings().register_forward_hook(lambda _m, _i, output: output.requires_grad_(True))
    try:
        yield
    finally:
        handle.remove()
        model.train(training)
        for parameter, required in before.items():
            parameter.requires_grad_(required)


@contextlib.contextmanager
def _collecting(
    modules: Mapping[str, torch.nn.Linear], take: Callable[[str, torch.Tensor], None]
) -> Iterator[None]:
    """Inside, every backward pass calls take(name, gradient (b, parameters)) once for each of
    `modules`.
    """

    def watch(name: str) -> Callable[..., None]:
        def forward_hook(_module: Any, inputs: Any, output: torch.Tensor) -> None:
            # Let go as the backward pass goes, as autograd does with its own.
            seen = [inputs[0].detach()]

            def backward_hook(gradient: torch.Tensor) -> None:
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
    policy: torch.nn.Module,
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    projection: Projection,
    budget: Budget = Budget(),  # noqa: B008 - it is immutable
    log: Log = print,
) -> Features:
    """grad log pi(y|x) with respect to the adapter, projected, for each response.

    policy: a PeftModel with an active LoRA adapter; prompts, responses: n token id sequences each
    (responses not empty); projection: from `make_projection`; budget: tokens of one batch, and the
    folder where large features go, from which a stopped pass goes on.
    Returns Features(phi (n, projection.dim), norm (n,): the l2 norm before projection, tokens (n,):
    the response's length), float32, in the caller's order. Raises ValueError where the model is not
    of that kind, or a module of the adapter takes no part in log pi.
    """
    device, modules = next(policy.parameters()).device, adapter_modules(policy)
    file, shape = "features", (len(prompts), projection.dim + 1)
    if not fits(shape, budget):
        file += f"-{_digest(policy, prompts, responses, projection, budget.tokens)}"
    rows = MemmapRows(shape, file, budget, device)
    progress = Progress("gradients of responses", len(prompts), log)

    def take(batch: Batch) -> None:
        progress(rows.count())
        if not rows.has(list(batch.rows)):
            rows.put(list(batch.rows), _batch_features(policy, modules, projection, batch))

    with _frozen(policy):
        each_batch(take, prompts, responses, budget.tokens, device)
    found = rows.numpy()
    lengths = np.array([len(response) for response in responses], dtype=np.float32)
    return Features(found[:, :-1], found[:, -1], lengths)


def _batch_features(
    model: torch.nn.Module,
    modules: Mapping[str, torch.nn.Linear],
    projection: Projection,
    batch: Batch,
) -> torch.Tensor:
    """(b, d + 1): projected gradients, and in the last column their norms before projection."""
    out = torch.zeros(len(batch.rows), projection.dim + 1, device=batch.input_ids.device)
    squares, missing = torch.zeros(len(out), device=out.device), set(modules)

    def take(name: str, gradient: torch.Tensor) -> None:
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


def _digest(
    policy: torch.nn.Module,
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    projection: Projection,
    token_budget: int,
) -> str:
    """Names all that features are computed from: the policy's weights, base and adapter, and their
    types; the sequences; the projection; the batches.
    """
    how = (projection.kind, projection.dim, projection.seed, token_budget)
    digest = hashlib.sha256(repr((weights_digest(policy), how)).encode())
    for sequences in (prompts, responses):
        digest.update(repr(sequences).encode())
    return digest.hexdigest()[:16]


class Progress:
    """Called with the number done so far, says a line every `every` seconds: share, rate, and the
    time left.
    """

    def __init__(
        self,
        what: str,
        total: int,
        log: Log = print,
        every: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._total, self._log = what, total, log
        self._every, self._clock = every, clock
        self._start = self._last = clock()
        self._first: int | None = None

    def __call__(self, done: int) -> None:
        now = self._clock()
        if self._first is None:  # where a resumed pass began: its rate is that of this process
            self._first, self._start = done, now
        if now - self._last < self._every or done <= self._first:
            return
        self._last = now
        rate = (done - self._first) / (now - self._start)
        left = (self._total - done) / rate
        self._log(f"{self._what}: {done:,}/{self._total:,}, {rate:.1f}/s, {left / 60:.1f} min left")
