"""The fast core by itself on a card: gradients against a plain training step over the same tokens,
the projection's share, selection.
"""

import numpy as np

from activedpo_lib.method import adapters
from activedpo_lib.method.design import select_greedy
from activedpo_lib.method.features import pair_features
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import Budget, Features
from benchmarks.cards import TARGETS, peak_flops, policy_of, timed
from benchmarks.measure import Row
from benchmarks.references import plain_step
from benchmarks.subjects import sequences


class Nothing:
    """A projection that projects nothing: what is left of a pass without it."""

    kind, seed, dim = "nothing", 0, 1

    def add(self, out, name, gradient):
        """Leave `out` as it is."""


def rows_of(name, budget, responses=3000, rank=128, dim=8192):
    """The rows for one model; the small one's are few."""
    if name == "small":
        responses, rank, dim = 12, 4, 64
    return list(_rows(name, budget or 8192, responses, rank, dim))


def _rows(name, budget, responses, rank, dim):
    policy = policy_of(name, adapters.lora_config(rank, 4 * rank, TARGETS))
    vocabulary = policy.config.vocab_size
    shapes = gradient_shapes(policy)
    fold = make_projection("fold", dim, 0, shapes)
    asked = sequences(responses, (64, 320), (64, 256) if name != "small" else (4, 16), vocabulary)
    few = [part[: max(3, responses // 20)] for part in asked]
    each = Budget(budget)
    # Compiles kernels, draws signs, fills the allocator.
    response_features(policy, *few, fold, each)
    plain_step(policy, *few, budget)
    policy.zero_grad(set_to_none=True)
    plain, plain_peak, _ = timed(lambda: plain_step(policy, *asked, budget))
    policy.zero_grad(set_to_none=True)
    ours, ours_peak, features = timed(lambda: response_features(policy, *asked, fold, each))
    bare, _, _ = timed(lambda: response_features(policy, *asked, Nothing(), each))
    tokens = sum(len(x) + len(y) for x, y in zip(*asked, strict=True))
    weights = sum(
        p.numel() for n, p in policy.named_parameters() if "lora_" not in n and "embed" not in n
    )
    yield Row(f"{name}: adapter parameters", sum(map(np.prod, shapes.values())) / 1e6, "M")
    yield Row(f"{name}: {responses:,} responses, {tokens:,} tokens: features", ours, "s")
    yield Row(f"{name}: features / plain forward+backward", ours / plain)
    yield Row(f"{name}: share of features that is projection", 1 - bare / ours, "")
    # Forward and the gradient of the inputs: two operations each for a weight and token.
    achieved = 4 * weights * tokens / ours / 1e12
    yield Row(f"{name}: features", achieved, "TFLOP/s")
    yield Row(f"{name}: share of the card's bf16 peak", achieved * 1e12 / peak_flops(), "")
    yield Row(f"{name}: peak memory of features", ours_peak, "MiB")
    yield Row(f"{name}: peak memory of a plain step", plain_peak, "MiB")
    yield from selection_rows(name, features)


def selection_rows(name, features: Features):
    """Picking 50 of the pairs, without and with 500 labelled ones."""
    count = len(features.phi) // 3 * 3
    pairs = np.array([(i, i - i % 3 + (i + 1) % 3) for i in range(count)])
    phi = pair_features(features, pairs, "response", "after")
    labelled, batch = min(500, count // 3), min(50, count // 3)
    for past in (None, phi[:labelled]):
        seconds, _, _ = timed(lambda past=past: select_greedy(phi[labelled:], batch, 2.0, past))
        what = f"{batch} of {count - labelled:,} pairs, {0 if past is None else labelled} labelled"
        yield Row(f"{name}: selection, {what}", seconds, "s")
