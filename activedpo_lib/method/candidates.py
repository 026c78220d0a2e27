"""What a strategy sees of a pool: only the columns that it needs are measured.

`COLUMNS` is the whole list. A column of your own is one entry in it: a function of the pool, V's
past and the reader that returns {"name": (n, ...) array}; the strategy finds it in
`candidates.own["name"]`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from activedpo_lib.method.features import mean_square_norm, pair_features
from activedpo_lib.method.formulas import implicit_reward
from activedpo_lib.method.generation import generate
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.logps import (
    last_hidden_states,
    predictive_entropy,
    reference_logps,
    response_logps,
)
from activedpo_lib.method.projection import make_projection
from activedpo_lib.records import (
    Budget,
    Candidates,
    FeatureRule,
    Features,
    LabelledPair,
    Log,
    Past,
    Pool,
    Sampling,
    Tokens,
)
from activedpo_lib.streams import Stream

MEASURED = set(Candidates._fields) - {"ids", "prompt", "prompt_ids", "own", "rows", "processes"}
Sequences = tuple[list[Tokens], list[Tokens]]  # prompts, responses: one row a response


@dataclass(frozen=True)
class Reader:
    """What reads a pool: the policy, and by which rules.

    rule: how gradients become features (D2 to D4, D7, D8); beta: of the implicit reward (D11);
    samples: how the entropy's extra samples are drawn, named by `stream`; None takes the pool's own
    responses; targets: a pool of held-out prompts, what EPIG wants to know; budget: tokens of a
    batch, and where features too large for memory go; log: takes lines of progress.
    """

    policy: PeftModel
    tokenizer: PreTrainedTokenizerBase
    rule: FeatureRule = FeatureRule()  # noqa: RUF009 - immutable, as the next two
    beta: float = 0.1
    samples: Sampling | None = None
    stream: Stream = Stream(("entropy",))  # noqa: RUF009
    targets: Pool | None = None
    budget: Budget = Budget()  # noqa: RUF009
    log: Log = print
    _read: dict[int, tuple[Pool, np.ndarray]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def logps(self, pool: Pool) -> np.ndarray:
        """log pi(y|x) of the pool's responses, nats; read once, whichever columns want them."""
        if id(pool) not in self._read:
            found = response_logps(self.policy, *sequences(pool), self.budget.tokens)
            self._read[id(pool)] = pool, found  # the pool too, or its id could become another's
        return self._read[id(pool)][1]

    def features(self, read: Sequences, budget: Budget) -> Features:
        """The responses' gradients, projected by the rule (D7)."""
        rule, shapes = self.rule, gradient_shapes(self.policy)
        projection = make_projection(rule.projection, rule.dimensions, rule.seed, shapes)
        return response_features(self.policy, *read, projection, budget, self.log)


class Column(Protocol):
    """Measures a pool: {field of Candidates, or a name of your own: array}."""

    def __call__(self, pool: Pool, past: Past, reader: Reader) -> dict[str, Any]: ...


def measure(pool: Pool, needs: frozenset[str], past: Past, reader: Reader) -> Candidates:
    """The pool as Candidates with the columns in `needs`, names in COLUMNS.

    past: what V remembers (D3); its ridge is None for the first pool, which sets it (D2). Raises
    ValueError naming the known columns where one is unknown.
    """
    if unknown := sorted(needs - COLUMNS.keys()):
        raise ValueError(
            f"no column {unknown[0]!r}; known are {sorted(COLUMNS)}; "
            "add yours as candidates.COLUMNS[name] = function"
        )
    reader = dataclasses.replace(reader, _read={})  # the policy may have moved since
    found: dict[str, Any] = {}
    for name in sorted(needs):
        found |= COLUMNS[name](pool, past, reader)
    own = {name: found.pop(name) for name in [*found] if name not in MEASURED}
    prompt_ids = tuple(prompt.id for prompt in pool.prompts)
    prompt = pool.prompt_index[pool.pairs[:, 0]]
    return Candidates(pair_ids(pool), prompt, prompt_ids, own=own, **found)


def pair_ids(pool: Pool) -> tuple[tuple[str, int, int], ...]:
    """A name for each pair, (n,), that depends on its prompt and its place among the prompt's
    responses alone.
    """
    each = len(pool.responses) // max(1, len(pool.prompts))
    return tuple(
        (pool.prompts[pool.prompt_index[a]].id, int(a % each), int(b % each)) for a, b in pool.pairs
    )


def sequences(pool: Pool) -> Sequences:
    """(prompts, responses) as token ids, one row a response."""
    return [pool.prompt_tokens[at] for at in pool.prompt_index], [
        response.tokens for response in pool.responses
    ]


def labelled_sequences(labelled: tuple[LabelledPair, ...]) -> Sequences:
    """(prompts, responses) as token ids: all chosen responses, then all rejected ones."""
    prompts = [pair.prompt_tokens for pair in labelled] * 2
    chosen = [pair.chosen.tokens for pair in labelled]
    return prompts, chosen + [pair.rejected.tokens for pair in labelled]


def _with_labelled(pool: Pool, labelled: tuple[LabelledPair, ...]) -> tuple[Sequences, np.ndarray]:
    """(prompts and responses of the pool and, after them, of the labelled pairs; the rows (k, 2) of
    the labelled pairs' chosen and rejected responses among them).
    """
    prompts, responses = sequences(pool)
    past_prompts, past_responses = labelled_sequences(labelled)
    count, old = len(responses), len(labelled)
    rows = count + np.stack([np.arange(old), old + np.arange(old)], 1)
    return (prompts + past_prompts, responses + past_responses), rows


def gradient_columns(pool: Pool, past: Past, reader: Reader) -> dict[str, Any]:
    """phi, past_phi and ridge, all that Eq. 3 and Eq. 4 ask for, in one pass over the pool's
    responses and, re-embedded at the current policy, the labelled ones (D3).
    """
    rule = reader.rule
    again = past.labelled if rule.past == "reembed" else ()  # D3
    read, past_rows = _with_labelled(pool, again)
    features = reader.features(read, reader.budget)  # D7
    how = (rule.normalise, rule.normalise_when)  # D4, D8
    phi = pair_features(features, pool.pairs, *how, reader.budget)
    past_phi = pair_features(features, past_rows, *how) if rule.past == "reembed" else past.phi
    ridge = past.ridge
    if ridge is None:  # D2: V_0 = ridge I, set by the first pool
        ridge = rule.ridge * (mean_square_norm(phi) if rule.ridge_is == "relative" else 1.0)
    return {"phi": phi, "past_phi": past_phi, "ridge": ridge}


def margin_column(pool: Pool, past: Past, reader: Reader) -> dict[str, Any]:
    """margin: r(x, y1) - r(x, y2) by the implicit reward, nats (Sec. 2, D1)."""
    theirs = reference_logps(reader.policy, *sequences(pool), reader.budget.tokens)
    rewards = implicit_reward(reader.logps(pool), theirs, reader.beta)
    return {"margin": rewards[pool.pairs[:, 0]] - rewards[pool.pairs[:, 1]]}


def entropy_column(pool: Pool, past: Past, reader: Reader) -> dict[str, Any]:
    """entropy: H(x) of each prompt, nats, over extra samples or the pool's own responses."""
    drawn = pool
    if reader.samples:
        drawn = generate(
            reader.policy, reader.tokenizer, pool.prompts, reader.samples, stream=reader.stream
        )
    entropy = predictive_entropy(reader.logps(drawn), drawn.prompt_index, len(pool.prompts))
    return {"entropy": entropy}


def hidden_column(pool: Pool, past: Past, reader: Reader) -> dict[str, Any]:
    """hidden and past_hidden: differences of the frozen pi_SFT's last hidden states (APO)."""
    read, past_rows = _with_labelled(pool, past.labelled)
    states = last_hidden_states(reader.policy, *read, reader.budget.tokens)
    first, second = pool.pairs.T
    chosen, rejected = past_rows.T
    return {
        "hidden": states[first] - states[second],
        "past_hidden": states[chosen] - states[rejected],
    }


def prompt_hidden_column(pool: Pool, past: Past, reader: Reader) -> dict[str, Any]:
    """prompt_hidden and past_prompt_hidden: pi_SFT's last hidden states at the ends of the pool's
    prompts and of the labelled pairs' (BAL-PM).
    """
    asked = [*pool.prompt_tokens, *(pair.prompt_tokens for pair in past.labelled)]
    states = last_hidden_states(reader.policy, [()] * len(asked), asked, reader.budget.tokens)
    count = len(pool.prompt_tokens)
    return {"prompt_hidden": states[:count], "past_prompt_hidden": states[count:]}


def target_column(pool: Pool, past: Past, reader: Reader) -> dict[str, Any]:
    """target_phi: the features of held-out prompts' pairs, by the same rule as phi (EPIG). Raises
    ValueError where the reader has no such prompts.
    """
    if reader.targets is None or not len(reader.targets.pairs):
        raise ValueError(
            "EPIG asks what a label tells of held-out prompts, and there are none: set "
            "selection.target_prompts to 1 or more"
        )
    in_memory = Budget(reader.budget.tokens)
    features = reader.features(sequences(reader.targets), in_memory)
    how = (reader.rule.normalise, reader.rule.normalise_when)
    return {"target_phi": pair_features(features, reader.targets.pairs, *how)}


COLUMNS: dict[str, Column] = {
    "phi": gradient_columns,
    "margin": margin_column,
    "entropy": entropy_column,
    "hidden": hidden_column,
    "prompt_hidden": prompt_hidden_column,
    "target_phi": target_column,
}
