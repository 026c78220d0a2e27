"""The cost model against torch's own count of operations."""

import numpy as np
import pytest
import torch
from conftest import TARGETS, make_policy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from activedpo_lib.method import adapters, generation, training
from activedpo_lib.method.design import select_greedy
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.logps import last_hidden_states, response_logps
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import Fit, LabelledPair, Prompt, Response, Sampling
from activedpo_lib.streams import stream
from activedpo_lib.study.costs import Sizes, round_flops, selection_flops

PROMPT, RESPONSE, LONG = 12, 5, 24


def sizes(policy, response=RESPONSE):
    head = policy.get_base_model().lm_head.weight.numel()
    adapter = sum(p.numel() for n, p in policy.named_parameters() if "lora_" in n)
    linear = sum(p.numel() for n, p in policy.named_parameters() if n.endswith("base_layer.weight"))
    return Sizes(linear, head, adapter, PROMPT, response)


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


def written(policy, length, copies):
    """Torch's count of `copies` responses of that length to one prompt."""
    noise = [np.full((copies, length), 0.5)]
    how = Sampling(copies, length)
    with FlopCounterMode(display=False) as counter:
        ((*drawn,),) = generation.sample(policy, [tuple(range(3, 3 + PROMPT))], noise, how, [1])
    assert {len(response) for response in drawn} == {length}
    return counter.get_total_flops()


def test_writing_costs_what_torch_counts():
    policy = make_policy()
    size = sizes(policy, LONG)
    assert size.generation(3) == pytest.approx(written(policy, LONG, 3), rel=0.10)


def test_what_writing_is_counted_too_much_is_the_last_token_and_the_first_logits():
    """Of short responses that is more than a tenth; nothing else is."""
    policy = make_policy()
    size, done = sizes(policy), written(policy, RESPONSE, 3)
    last, first = 2 * 3 * (size.weights + size.adapter), 2 * 2 * size.head
    assert size.generation(3) - last - first == pytest.approx(done, rel=0.01)


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_training_costs_what_torch_counts(family, tokenizer):
    policy, prompt = make_policy(family), tuple(range(3, 3 + PROMPT))
    first, second = (Response("", tuple(range(at, at + LONG)), "") for at in (20, 120))
    pairs = [LabelledPair(Prompt(f"p{at}", ""), prompt, first, second, 1) for at in range(4)]
    fit, config = Fit(2, 1e-3, 4), adapters.lora_config(4, 16, TARGETS)
    model = sizes(policy, LONG).dpo(fit.epochs)  # the policy is taken apart
    with FlopCounterMode(display=False) as counter:
        training.dpo(policy, tokenizer, pairs, config, fit, 0.1, stream=stream(0, "train"))
    assert len(pairs) * model == pytest.approx(counter.get_total_flops(), rel=0.10)


class Elementwise(TorchDispatchMode):
    """Counts products and sums of numbers, which torch's own count leaves out."""

    def __init__(self):
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, function, types, given=(), named=None):
        found = function(*given, **(named or {}))
        if function in (torch.ops.aten.mul.Tensor, torch.ops.aten.add_.Tensor):
            self.flops += found.numel()
        return found


def test_the_fold_costs_a_sign_and_a_sum_for_each_parameter():
    policy = make_policy()
    shapes = gradient_shapes(policy)
    fold, out = make_projection("fold", 64, 0, shapes), torch.zeros(5, 64)
    with Elementwise() as counter:
        for name, (rows, columns) in shapes.items():
            fold.add(out, name, torch.ones(5, rows * columns))
    assert counter.flops == 5 * sizes(policy).fold()


@pytest.mark.parametrize("labelled", [0, 50])
def test_selection_costs_what_torch_counts(labelled):
    """The pass is what the model says; what follows is as much, or up to twice that."""
    pairs, dimensions, picks = 3000, 128, 20
    rng = stream(0, "pool").numpy()
    spread = np.arange(1, dimensions + 1) ** -0.5
    phi = (spread * rng.standard_normal((labelled + pairs, dimensions))).astype(np.float32)
    past, rest = (phi[:labelled], phi[labelled:]) if labelled else (None, phi)
    with FlopCounterMode(display=False) as counter:
        select_greedy(rest, picks, float(np.square(phi).sum(1).mean()), past)
    model = selection_flops(pairs, dimensions, labelled, picks)
    norms = 2 * pairs * dimensions  # which torch's count leaves out
    follows = model - norms * (1 + labelled)
    assert 0.9 < (counter.get_total_flops() - norms * labelled) / follows < 2.1
    assert not labelled or model == pytest.approx(counter.get_total_flops() + norms, rel=0.10)


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
    prompts = (5 + 7) * 2 * size.weights * size.prompt
    assert round_flops(size, {"prompt_hidden"}, 5, 3, 7)[1] == prompts
    targets = 4 * (size.generation(3) + 3 * size.features())
    assert round_flops(size, {"target_phi"}, 5, 3, 7, targets=4)[1] == targets
