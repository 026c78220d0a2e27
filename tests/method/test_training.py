"""What training minimises, held to TRL's own trainer."""

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import TARGETS, make_policy, make_sequences
from trl import DPOConfig

from activedpo_lib.method import adapters, training
from activedpo_lib.method.formulas import dpo_loss, implicit_reward
from activedpo_lib.method.logps import response_logps
from activedpo_lib.records import LabelledPair, Prompt, Response
from activedpo_lib.shards import SingleProcess, share_of_step
from activedpo_lib.streams import stream


@pytest.mark.parametrize("beta", [0.02, 0.1, 1.5])
def test_equation_2_is_trls_loss_on_random_log_probabilities(beta, tokenizer, tmp_path):
    prompts, responses = make_sequences(12)
    chosen, rejected = responses[1:], [*responses[2:], responses[1]]
    pairs = [
        LabelledPair(Prompt(str(i), ""), x, Response("", y, ""), Response("", z, ""), 1)
        for i, (x, y, z) in enumerate(zip(prompts, chosen, rejected, strict=False))
    ]
    arguments = DPOConfig(str(tmp_path), beta=beta, bf16=False, report_to="none")
    adapter = adapters.lora_config(4, 16, TARGETS)
    trainer = training.dpo_trainer(make_policy(), tokenizer, pairs, adapter, arguments)
    policy = trainer.model.eval()
    ours = [
        response_logps(policy, [p.prompt_tokens for p in pairs], [y.tokens for y in side])
        for side in ([p.chosen for p in pairs], [p.rejected for p in pairs])
    ]
    reference = stream(0, "reference").numpy().normal(-40, 20, (2, len(pairs))).astype(np.float32)
    expected = dpo_loss(
        *(
            implicit_reward(torch.as_tensor(logp), torch.as_tensor(ref), beta)
            for logp, ref in zip(ours, reference, strict=True)
        )
    ).numpy()
    found = []
    for row, first, second in zip(trainer.train_dataset, *reference.tolist(), strict=True):
        given = row | {"ref_chosen_logps": first, "ref_rejected_logps": second}
        with torch.no_grad():
            found.append(trainer.compute_loss(policy, trainer.data_collator([given])).item())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert max(found) > 2 * min(found)  # no constant would do


def test_the_shares_of_a_step_are_as_large_and_their_mean_is_the_steps():
    """Whatever the numbers of pairs and processes; and no share is more than the whole step."""
    for count, pairs in itertools.product(range(1, 10), range(1, 13)):
        values = stream(0, "step", count, pairs).numpy().standard_normal(pairs).tolist()
        shares = []
        for rank in range(count):
            process = SingleProcess()
            process.rank, process.count = rank, count
            shares.append(share_of_step(values, process))
        assert {len(share) for share in shares} == {pairs // math.gcd(pairs, count)}
        of_shares = np.mean([np.mean(share) for share in shares])
        np.testing.assert_allclose(of_shares, np.mean(values), rtol=1e-12)
