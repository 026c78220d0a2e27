"""Projecting 16 responses' gradients (15M parameters, r 16) to 8192 numbers: against the training
step that made them.
"""

import torch

from activedpo_lib.method.gradients import gradient_shapes
from activedpo_lib.method.projection import make_projection
from benchmarks.measure import Row, interleaved, ratio
from benchmarks.references import dense_seconds, plain_step
from benchmarks.subjects import llama, sequences

KINDS = ("fold", "countsketch", "kronecker", "srht")


def run():
    """The rows of this benchmark."""
    policy, (prompts, responses) = llama("15M"), sequences(16, (32, 32), (32, 32), 4000)
    shapes = gradient_shapes(policy)
    gradients = {name: torch.randn(16, rows * columns) for name, (rows, columns) in shapes.items()}

    def projecting(kind):
        projection, out = make_projection(kind, 8192, 0, shapes), torch.zeros(16, 8192)
        return lambda: [projection.add(out, name, part) for name, part in gradients.items()]

    variants = {"plain": lambda: plain_step(policy, prompts, responses, 16 * 64)}
    seconds = interleaved(variants | {kind: projecting(kind) for kind in KINDS}, 7)
    yield Row("fold / plain forward+backward", ratio(seconds, "fold", "plain"), at_most=0.10)
    for kind in KINDS[1:]:
        yield Row(f"{kind} / plain forward+backward", ratio(seconds, kind, "plain"))
    dense = dense_seconds(torch.cat(list(gradients.values()), 1), 8192)
    yield Row(
        "dense Rademacher on the same 16 rows / fold",
        dense / float(seconds["fold"].mean()),
        at_least=50,
    )
