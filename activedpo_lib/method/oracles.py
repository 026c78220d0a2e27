"""Who labels: a reward model, the world's true utility, or any `score`; D10 says how scores become
labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from activedpo_lib.memory import Part, in_batches
from activedpo_lib.method.formulas import preference_probability
from activedpo_lib.method.models import encode_pair
from activedpo_lib.records import LabelledPair, Pair, Prompt, Score
from activedpo_lib.streams import Stream


class OracleFailed(RuntimeError):
    """The oracle gave a reward that is not a finite number."""


def reward_model_score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 128
) -> Score:
    """`score(prompts, texts) -> (n,) float64` of a reward model, one logit for each (prompt,
    response).
    """

    @torch.inference_mode()
    def score(prompts: Sequence[Prompt], texts: Sequence[str]) -> np.ndarray:
        encoded = [
            encode_pair(tokenizer, p.text, text) for p, text in zip(prompts, texts, strict=True)
        ]

        def read(rows: Sequence[int]) -> Any:
            ids = {"input_ids": [list(encoded[row]) for row in rows]}
            return tokenizer.pad(ids, padding_side="right", return_tensors="pt")

        return _scored(model, read, [len(each) for each in encoded], batch_size)

    return score


def classifier_score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 32
) -> Score:
    """`score(prompts, texts)` of a sequence classifier that reads (question, answer), as the
    paper's oracles do (footnote 2).

    It reads a Prompt's `question` where it has one, not the policy's own prompt: what it was
    trained on.
    """

    @torch.inference_mode()
    def score(prompts: Sequence[Prompt], texts: Sequence[str]) -> np.ndarray:
        questions = [p.question or p.text for p in prompts]
        answers = [text.strip() for text in texts]

        def read(rows: Sequence[int]) -> Any:
            return tokenizer(
                [questions[row] for row in rows],
                [answers[row] for row in rows],
                truncation="longest_first",
                max_length=min(tokenizer.model_max_length, 2048),
                padding=True,
                return_tensors="pt",
            )

        lengths = [len(q) + len(a) for q, a in zip(questions, answers, strict=True)]
        return _scored(model, read, lengths, batch_size)

    return score


def _scored(
    model: PreTrainedModel,
    read: Callable[[Sequence[int]], Any],
    lengths: Sequence[int],
    batch_size: int,
) -> np.ndarray:
    """The logits (n,) of texts that `read` puts into a batch by their rows: the shortest first, as
    many at a time, or half as many after an out-of-memory error (`memory.in_batches`).
    """
    device = next(model.parameters()).device
    order, rewards = sorted(range(len(lengths)), key=lengths.__getitem__), np.zeros(len(lengths))

    def split(most: int, done: int) -> Iterator[Part]:
        for start in range(done, len(order), most):
            rows = order[start : start + most]
            yield Part(rows, len(rows), len(rows))

    def work(rows: Sequence[int]) -> None:
        rewards[rows] = model(**read(rows).to(device)).logits.squeeze(-1).double().cpu().numpy()

    in_batches(split, work, batch_size, batch_size, device)
    return finite(rewards, "the reward model")


def utility_score(utility: Callable[[Prompt, str], float]) -> Score:
    """`score(prompts, texts)` of the built-in world's known truth."""
    return lambda prompts, texts: finite(
        np.array([utility(p, text) for p, text in zip(prompts, texts, strict=True)]), "the utility"
    )


def finite(rewards: np.ndarray, who: str) -> np.ndarray:
    """`rewards`, or OracleFailed naming how many are NaN or infinite."""
    bad = int((~np.isfinite(rewards)).sum())
    if bad:
        raise OracleFailed(
            f"{who} gave {bad} of {len(rewards)} rewards that are NaN or infinite; nothing was "
            "labelled"
        )
    return rewards


def label(
    score: Score,
    pairs: Sequence[Pair],
    rule: Literal["argmax", "bradley_terry"] = "argmax",
    flip: float = 0.0,
    round: int = 0,
    *,
    stream: Stream,
) -> tuple[LabelledPair, ...]:
    """The oracle's answers to the picked Pairs (Alg. 1 l. 10): LabelledPairs in the same order.

    rule: "argmax" of the reward, or a "bradley_terry" draw (Eq. 1); flip: probability that an
    answer is turned (D10). Each answer's randomness is named by the pair's own texts, so the order
    of the pairs does not matter. A prompt marked as junk is answered by a fair coin.
    """
    if not pairs:
        return ()
    prompts = [pair.prompt for pair in pairs]
    first = score(prompts, [pair.first.text for pair in pairs])
    second = score(prompts, [pair.second.text for pair in pairs])
    names = [(pair.prompt.id, pair.first.tokens, pair.second.tokens) for pair in pairs]
    if rule == "bradley_terry":
        wins = stream.child("draw").uniforms(names) < preference_probability(first, second)
    elif rule == "argmax":
        wins = np.where(first == second, stream.child("tie").uniforms(names) < 0.5, first > second)
    else:
        raise ValueError(f"the label rule is argmax or bradley_terry, not {rule!r} (D10)")
    wins = wins ^ (stream.child("flip").uniforms(names) < flip)
    junk = np.array([bool(prompt.facts.get("junk")) for prompt in prompts])
    if junk.any():
        wins = np.where(junk, stream.child("junk").uniforms(names) < 0.5, wins)
    return tuple(answered(pair, bool(win), round) for pair, win in zip(pairs, wins, strict=True))


def answered(pair: Pair, first_wins: bool, round: int) -> LabelledPair:
    """The Pair with its answer: which response is chosen, and in which round it was asked about."""
    both = (pair.first, pair.second) if first_wins else (pair.second, pair.first)
    return LabelledPair(pair.prompt, pair.prompt_tokens, *both, round)
