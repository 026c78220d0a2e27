"""The cost model against torch's own count of operations."""

import pytest
import torch
from conftest import make_policy
from torch.utils.flop_counter import FlopCounterMode

from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.logps import last_hidden_states, response_logps
from activedpo_lib.method.projection import make_projection
from activedpo_lib.study.costs import Sizes, round_flops

PROMPT, RESPONSE = 12, 5


def sizes(policy):
    head = policy.get_base_model().lm_head.weight.numel()
    adapter = sum(p.numel() for n, p in policy.named_parameters() if "lora_" in n)
    linear = sum(p.numel() for n, p in policy.named_parameters() if n.endswith("base_layer.weight"))
    return Sizes(linear, head, adapter, PROMPT, RESPONSE)


@pytest.mark.parametrize("what", ["features", "logps", "hidden"])
def test_a_pass_costs_what_torch_counts(what):
    policy = make_policy()
    prompts, responses = [tuple(range(3, 3 + PROMPT))] * 4, [tuple(range(20, 20 + RESPONSE))] * 4
    fold = make_projection("fold", 64, 0, gradient_shapes(policy))
    with FlopCounterMode(display=False) as counter, torch.inference_mode(False):
        if what == "features":
            response_features(policy, prompts, responses, fold)
        elif what == "hidden":
            last_hidden_states(policy, prompts, responses)
        else:
            response_logps(policy, prompts, responses)
    counted = counter.get_total_flops()
    assert getattr(sizes(policy), what)() * 4 == pytest.approx(counted, rel=0.10)


def test_a_round_counts_what_its_strategy_needs():
    size = Sizes(weights=1000, head=100, adapter=10, prompt=8, response=4)
    generated, nothing = round_flops(size, frozenset(), 5, 3, 7)
    assert (generated, nothing) == (5 * size.generation(3), 0)
    assert round_flops(size, {"phi"}, 5, 3, 7)[1] == (15 + 14) * size.features()
    assert round_flops(size, {"margin", "entropy"}, 5, 3, 7)[1] == 30 * size.logps()
    assert round_flops(size, {"entropy"}, 5, 3, 7, 2)[1] == 15 * size.logps() + 5 * (
        size.generation(2) + 2 * size.logps()
    )
    assert round_flops(size, {"hidden"}, 5, 3, 7)[1] == 29 * size.hidden()
