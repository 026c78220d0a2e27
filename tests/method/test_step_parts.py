"""A step of DPO that a card cannot hold is taken in parts, to the same result."""

import pytest
import torch
from conftest import TARGETS, make_policy, make_sequences
from test_budgets import Card

from activedpo_lib import memory
from activedpo_lib.method import adapters, training
from activedpo_lib.records import Fit, LabelledPair, Prompt, Response
from activedpo_lib.streams import stream


def trained(tokenizer, most=None):
    """(Adapter, loss, the Card's batches) of two epochs of DPO on eight pairs in steps of five, of
    a card that holds `most` padded tokens.
    """
    policy, (prompts, responses) = make_policy(), make_sequences(8)
    pairs = [
        LabelledPair(Prompt(str(i), ""), x, Response("", y, ""), Response("", (*y[::-1], 5), ""), 1)
        for i, (x, y) in enumerate(zip(prompts, responses, strict=True))
    ]
    card = Card(policy, most or 10_000)
    config, fit = adapters.lora_config(4, 16, TARGETS), Fit(2, 1e-2, 5, token_budget=40)
    policy, loss = training.dpo(policy, tokenizer, pairs, config, fit, 0.1, stream=stream(0, "t"))
    return adapters.adapter_state(policy), loss, card.tried


@pytest.mark.parametrize("most", [60, 120])
def test_a_training_step_that_does_not_fit_is_taken_in_parts_to_the_same_result(tokenizer, most):
    truth, loss, whole = trained(tokenizer)
    with pytest.warns(RuntimeWarning, match="step did not fit"):
        found, same, tried = trained(tokenizer, most)
    assert max(whole) >= max(tried) > most  # the first try was a whole step
    assert len(tried) > len(whole)
    assert same == pytest.approx(loss, rel=1e-6)
    for name, value in truth.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_parts_that_did_fit_leave_nothing_where_a_later_one_did_not(tokenizer, monkeypatch):
    """The second part fails once, after the first has left its gradient."""
    truth, _, _ = trained(tokenizer)
    take, calls = Card._take, []

    def failing(card, *given):
        take(card, *given)
        rows = given[-1]["attention_mask"].shape[0]
        calls.append(rows)
        if rows == 10 or (rows == 4 and calls.count(4) == 1):
            raise torch.OutOfMemoryError("CUDA out of memory. (the test's own)")

    monkeypatch.setattr(Card, "_take", failing)
    with pytest.warns(RuntimeWarning, match="step did not fit"):
        found, _, _ = trained(tokenizer)
    assert calls.index(6) < calls.index(4)  # of five pairs: three fitted, then two did not
    for name, value in truth.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_a_pair_that_does_not_fit_alone_is_an_error_with_a_remedy(tokenizer):
    with (
        pytest.warns(RuntimeWarning, match="step did not fit"),
        pytest.raises(MemoryError, match=r"of 5 examples, in 5 parts, .*gradient_checkpointing"),
    ):
        trained(tokenizer, 38)  # a response fits


def test_processes_that_share_a_step_do_not_part_ways_in_it(tokenizer, monkeypatch):
    class Two:
        count = 2

    monkeypatch.setattr(memory, "processes", Two)
    with pytest.raises(MemoryError, match=r"of 5 examples, in 1 parts, .*gradient_checkpointing"):
        trained(tokenizer, 60)
