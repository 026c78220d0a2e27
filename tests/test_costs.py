"""The cost model against torch's own count of operations."""

import pytest
import torch
from conftest import make_policy
from torch.utils.flop_counter import FlopCounterMode

from activedpo_lib.costs import Sizes
from activedpo_lib.gradients import gradient_shapes, response_features
from activedpo_lib.logps import response_logps
from activedpo_lib.projection import make_projection

PROMPT, RESPONSE = 12, 5


def sizes(policy):
    head = policy.get_base_model().lm_head.weight.numel()
    adapter = sum(p.numel() for n, p in policy.named_parameters() if "lora_" in n)
    linear = sum(p.numel() for n, p in policy.named_parameters() if n.endswith("base_layer.weight"))
    return Sizes(linear, head, adapter, PROMPT, RESPONSE)


@pytest.mark.parametrize("what", ["features", "logps"])
def test_a_pass_costs_what_torch_counts(what):
    policy = make_policy()
    prompts, responses = [tuple(range(3, 3 + PROMPT))] * 4, [tuple(range(20, 20 + RESPONSE))] * 4
    fold = make_projection("fold", 64, 0, gradient_shapes(policy))
    with FlopCounterMode(display=False) as counter, torch.inference_mode(False):
        if what == "features":
            response_features(policy, prompts, responses, fold)
        else:
            response_logps(policy, prompts, responses)
    counted = counter.get_total_flops()
    assert getattr(sizes(policy), what)() * 4 == pytest.approx(counted, rel=0.10)
