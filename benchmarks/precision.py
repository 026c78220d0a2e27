"""bfloat16 weights beside float32, of both shipped models: how many picks are the same, and the
log-det that bfloat16's reach.
"""

import numpy as np
import torch

from activedpo_lib.method import adapters, generation, models
from activedpo_lib.method.candidates import sequences
from activedpo_lib.method.design import select_greedy
from activedpo_lib.method.features import pair_features
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.projection import make_projection
from activedpo_lib.params import load_params
from activedpo_lib.records import Sampling
from activedpo_lib.store import HOME
from activedpo_lib.streams import stream
from activedpo_lib.study.probing.distortion import log_det
from activedpo_lib.tasks import load_task
from benchmarks.measure import Row
from benchmarks.subjects import LINEARS

PROMPTS, PICKS = 120, 50


def two_precisions(family):
    """(the shipped model in bfloat16, the same weights in float32, their tokenizer), both with one
    adapter whose B is not zero.
    """
    folder = HOME / "activedpo_lib/assets" / f"{family}-0"
    found = []
    for _ in range(2):
        base = models.load_policy(folder, "bfloat16")
        config = adapters.lora_config(8, 32, LINEARS)
        policy = adapters.with_adapter(base, config, stream=stream(0, "adapter"))
        generator = torch.Generator().manual_seed(0)
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.data = 0.02 * torch.randn(parameter.shape, generator=generator)
        found.append(policy)
    return found[0], found[1].float(), models.load_tokenizer(folder)


def features_of_both(low, full, tokenizer, prompts, dimensions):
    """((Features of the bfloat16 model, of the float32 one), pairs): of the same responses, three
    to each of so many WebGPT prompts, which the float32 model writes.
    """
    task = load_task(load_params("tiny", "webgpt").task, 10, comparisons=False)
    asked = task.prompts[:prompts]
    pool = generation.generate(full, tokenizer, asked, Sampling(3, 24), stream=stream(0, "g"))
    fold = make_projection("fold", dimensions, 0, gradient_shapes(full))
    both = tuple(response_features(policy, *sequences(pool), fold) for policy in (low, full))
    return both, pool.pairs


def run():
    """The rows of this benchmark."""
    for family in ("llama", "gemma"):
        both, pairs = features_of_both(*two_precisions(family), PROMPTS, 8192)
        for normalise in ("response", "none"):
            low, phi = (pair_features(each, pairs, normalise, "after") for each in both)
            ridge = float(np.square(phi).sum(1).mean())
            ours, theirs = (select_greedy(each, PICKS, ridge).indices for each in (low, phi))
            short = 1 - log_det(phi, ours, ridge) / log_det(phi, theirs, ridge)
            same = float(np.isin(ours, theirs).mean())
            name = f"{family}, {len(phi)} pairs, {PICKS} picks, normalise {normalise}"
            yield Row(f"{name}: share that float32 picks too", same, "")
            yield Row(f"{name}: log-det short of float32's picks", short, "", at_most=0.005)
