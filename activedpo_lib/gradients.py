"""Per-response LoRA gradients at the price of one training step (floor 3).

Everything is frozen, so autograd forms no weight gradients; hooks on the adapter's linears form each response's own from
the module's input and the gradient of its output, project it at once, and drop it. grad r = beta grad log pi: the
reference has no gradient, and beta is the caller's.
"""

import contextlib

import numpy as np
import torch

from activedpo_lib.logps import batch_logps, batches
from activedpo_lib.records import Features


def adapter_modules(model):
    """{name: linear} of the active adapter's lora_A and lora_B. Raises ValueError where there are none."""
    active = getattr(model, "active_adapter", None)
    endings = (f"lora_A.{active}", f"lora_B.{active}")
    found = {name: module for name, module in model.named_modules() if name.endswith(endings)}
    if not found:
        raise ValueError("gradients are taken of a LoRA adapter: the model has none; wrap it with models.with_adapter")
    return found


def gradient_shapes(model):
    """{module name: (rows, columns) of its weight}, what `make_projection` wants to know."""
    return {name: tuple(module.weight.shape) for name, module in adapter_modules(model).items()}


@contextlib.contextmanager
def _frozen(model):
    """No parameter requires a gradient, the embeddings' output does, dropout is off; everything restored after."""
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    training = model.training
    model.requires_grad_(False).eval()
    handle = model.get_input_embeddings().register_forward_hook(lambda _m, _i, output: output.requires_grad_(True))
    try:
        yield
    finally:
        handle.remove()
        model.train(training)
        for parameter, required in before.items():
            parameter.requires_grad_(required)


@contextlib.contextmanager
def _collecting(modules, take):
    """Inside, every backward pass calls take(name, gradient (b, parameters)) once for each of `modules`."""

    def watch(name):
        def forward_hook(_module, inputs, output):
            seen = inputs[0].detach()

            def backward_hook(gradient):
                # Float32 from here on: in bfloat16 the sum over positions alone loses 0.8 %.
                each = torch.bmm(gradient.float().transpose(1, 2), seen.float())
                take(name, each.flatten(1))

            output.register_hook(backward_hook)

        return forward_hook

    handles = [module.register_forward_hook(watch(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def response_features(model, prompts, responses, projection, token_budget=4096):
    """grad log pi(y|x) with respect to the adapter, projected, for each response.

    model: a PeftModel with an active LoRA adapter; prompts, responses: n token id sequences each (responses not empty);
    projection: from `make_projection`; token_budget: padded tokens of one batch.
    Returns Features(phi (n, projection.dim), norm (n,): the l2 norm before projection), float32, in the caller's order.
    """
    device, modules = next(model.parameters()).device, adapter_modules(model)
    phi = np.zeros((len(prompts), projection.dim), dtype=np.float32)
    norm = np.zeros(len(prompts), dtype=np.float32)
    with _frozen(model):
        for batch in batches(prompts, responses, token_budget, device):
            rows = list(batch.rows)
            out = torch.zeros(len(rows), projection.dim, device=device)
            squares = torch.zeros(len(rows), device=device)

            def take(name, gradient, out=out, squares=squares):
                projection.add(out, name, gradient)
                squares += gradient.square().sum(1)

            with _collecting(modules, take):
                batch_logps(model, batch).sum().backward()
            phi[rows], norm[rows] = out.cpu().numpy(), squares.sqrt().cpu().numpy()
    return Features(phi, norm)
