"""Per-response gradients, 15M parameters, r 16, 16 responses a batch: against one training step
over the same tokens.
"""

from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import Budget
from benchmarks.measure import Row, interleaved, peak_mib, ratio
from benchmarks.references import dense_seconds, one_backward_each, plain_step, vmapped_gradients
from benchmarks.subjects import llama, sequences

BUDGET = 16 * 64
REPEATS = 5


def calls():
    """{name: call} on 16 responses of 32 tokens to prompts of 32."""
    policy, (prompts, responses) = llama("15M"), sequences(16, (32, 32), (32, 32), 4000)
    fold = make_projection("fold", 8192, 0, gradient_shapes(policy))
    return {
        "plain": lambda: plain_step(policy, prompts, responses, BUDGET),
        "ours": lambda: response_features(policy, prompts, responses, fold, Budget(BUDGET)),
        "each": lambda: one_backward_each(policy, prompts, responses),
        "vmap": lambda: vmapped_gradients(policy, prompts, responses),
    }


def call(name):
    """One of `calls`, for a fresh process that measures its memory."""
    return calls()[name]


def run():
    """The rows of this benchmark."""
    variants = calls()
    seconds = interleaved(variants, REPEATS)
    less = float(seconds["each"].mean()) + dense_seconds(variants["each"](), 8192)
    peaks = {name: peak_mib(call, name)[0] for name in ("plain", "ours")}
    plain = "plain forward+backward"
    yield Row(
        f"features with projection to 8192 / {plain}", ratio(seconds, "ours", "plain"), at_most=1.15
    )
    yield Row(f"one backward a response, no projection / {plain}", ratio(seconds, "each", "plain"))
    yield Row(f"torch.func vmap(grad), no projection / {plain}", ratio(seconds, "vmap", "plain"))
    yield Row(
        f"LESS: one backward each + dense projection / {plain}",
        less / float(seconds["plain"].mean()),
    )
    yield Row(
        "peak memory of features / of a plain step", peaks["ours"] / peaks["plain"], at_most=1.05
    )
