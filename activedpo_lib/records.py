"""The pipeline's data: frozen, without behaviour. An unlabelled Pair cannot reach training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from activedpo_lib.shards import ProcessGroup, SingleProcess
from activedpo_lib.streams import Stream

Log = Callable[[str], None]  # takes a line of progress
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Prompt:
    """A prompt x. `facts`: what is hidden about it (the built-in world's truth, a replay's label);
    `question`: what a reward model of the hub reads in its place.
    """

    id: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    question: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Response:
    """A response y as the policy sampled it: `tokens` include EOS unless it was cut."""

    prompt_id: str
    tokens: Tokens
    text: str


@dataclass(frozen=True)
class Pair:
    """(x, y1, y2), picked and not yet labelled."""

    prompt: Prompt
    prompt_tokens: Tokens
    first: Response
    second: Response


@dataclass(frozen=True)
class LabelledPair:
    """(x, y_w, y_l): what an oracle makes of a Pair, and the only thing that DPO trains on. A `tie`
    is a soft label of 1/2: which response stands as chosen was a coin's.
    """

    prompt: Prompt
    prompt_tokens: Tokens
    chosen: Response
    rejected: Response
    round: int
    tie: bool = False


@dataclass(frozen=True)
class Comparison:
    """A human's comparison as text: the reward model's training data."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Pool:
    """The round's D_t: N prompts, their responses (once each), and pairs as indices into these.

    `prompt_tokens[i]` and `prompts[i]` belong together; `prompt_index[k]` is the place of the
    prompt of `responses[k]`; `pairs` is (n, 2) int64. Pairs with twice the same response are not in
    it: there is nothing to compare.
    """

    prompts: tuple[Prompt, ...]
    prompt_tokens: tuple[Tokens, ...]
    responses: tuple[Response, ...]
    prompt_index: np.ndarray
    pairs: np.ndarray

    def pair(self, index: int) -> Pair:
        """Row `index` of `pairs` as a Pair."""
        first, second = self.pairs[index]
        at = self.prompt_index[first]
        return Pair(
            self.prompts[at], self.prompt_tokens[at], self.responses[first], self.responses[second]
        )


class Past(NamedTuple):
    """What V remembers of earlier rounds; saved with each round.

    labelled: all LabelledPairs so far, in the order picked; phi: (k, d) float32, their features as
    they were picked, only where D3 keeps those; ridge: V_0 = ridge I, set by the first pool (D2).
    """

    labelled: tuple[LabelledPair, ...] = ()
    phi: np.ndarray | None = None
    ridge: float | None = None


class Features(NamedTuple):
    """Gradients of responses: `phi` (n, d) float32 projected, `norm` (n,) float32 l2 norm before
    projection, `tokens` (n,) the response's length.
    """

    phi: np.ndarray
    norm: np.ndarray
    tokens: np.ndarray


class Candidates(NamedTuple):
    """What a strategy may look at: one row a pair of the pool, in the pool's order; columns that
    were not measured are None.

    ids: n keys that do not depend on the pool's order; prompt: (n,) the pair's prompt index;
    prompt_ids: their names; phi, past_phi: (n, d), (k, d) pair features
    grad r(x, y1) - grad r(x, y2) and the labelled pairs' own; ridge: V_0 = ridge I; margin: (n,)
    r(x, y1) - r(x, y2), nats; entropy: (prompts,) predictive entropy, nats; hidden, past_hidden:
    (n, h), (k, h) differences of pi_SFT's last hidden states; prompt_hidden, past_prompt_hidden:
    (prompts, h), (k, h) its states at the prompts' ends; target_phi: (m, d) pair features of
    held-out prompts; own: {name: (n, ...)} of columns that a user added to COLUMNS.
    Where several `processes` share a pool, `rows` are the pairs that this one's phi is of.
    """

    ids: tuple[tuple[str, int, int], ...]
    prompt: np.ndarray
    prompt_ids: tuple[str, ...]
    phi: Any = None
    past_phi: Any = None
    ridge: Any = None
    margin: Any = None
    entropy: Any = None
    hidden: Any = None
    past_hidden: Any = None
    prompt_hidden: Any = None
    past_prompt_hidden: Any = None
    target_phi: Any = None
    own: Mapping[str, np.ndarray] = {}
    rows: slice = slice(None)
    processes: SingleProcess | ProcessGroup = SingleProcess()


class Selection(NamedTuple):
    """`indices` (b,) int64 rows of the pool in the order picked, `scores` (b,) float64 the
    criterion when picked.
    """

    indices: np.ndarray
    scores: np.ndarray


class Select(Protocol):
    """A strategy's pick: `batch_size` rows of the candidates; ties are broken by the `stream`."""

    def __call__(self, candidates: Candidates, batch_size: int, *, stream: Stream) -> Selection: ...


class Strategy(NamedTuple):
    """The columns of Candidates that a criterion `needs` (names in COLUMNS), and its `select`.

    `regenerates` is False where every response comes from pi_SFT (APO, footnote 1); `shares` is
    True where it can pick from gradients that several processes hold a part of each.
    """

    needs: frozenset[str]
    select: Select
    regenerates: bool = True
    shares: bool = False


class Score(Protocol):
    """An oracle's or an evaluator's rewards of responses, (n,) float64, all finite."""

    def __call__(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> np.ndarray: ...


class Sampling(NamedTuple):
    """How responses are sampled: `responses` to each prompt, of at most `max_new_tokens`; top_k 0
    and top_p 1 keep every token (D9). `batch_sequences`: at a time (0: what fits); moves no result.
    `graphed`: a cache of fixed size, on a card one graph a step; rounds as a batch kept whole does.
    """

    responses: int
    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    batch_sequences: int = 384
    graphed: bool = False


class Budget(NamedTuple):
    """What one pass may take: padded `tokens` a batch, 0 for as many as the card's free memory
    holds; features of more than `memory_mib` MiB go to a file in `folder`, where there is one, and
    a pass that was stopped goes on from it.
    """

    tokens: int = 4096
    memory_mib: int = 64
    folder: Path | None = None


class FeatureRule(NamedTuple):
    """How gradients become features and V_0: the decisions D2, D3, D4, D7 and D8, named as in
    SelectionParams. `seed`: the projection's, one for all rounds.
    """

    projection: str = "fold"
    dimensions: int = 512
    seed: int = 0
    normalise: str = "response"
    normalise_when: str = "after"
    past: str = "reembed"
    ridge: float = 1.0
    ridge_is: str = "relative"


class Fit(NamedTuple):
    """How a trainer fits: epochs, peak learning rate, examples a step (of all processes), the share
    of steps that warm up, and padded tokens a batch where log-probabilities are only read.
    """

    epochs: float
    learning_rate: float
    batch_size: int
    warmup: float = 0.05
    gradient_checkpointing: bool = False
    token_budget: int = 4096


@dataclass(frozen=True)
class Task:
    """A task's data. `utility(prompt, text) -> float` is the known truth, or None for real text."""

    name: str
    sft: tuple[Mapping[str, str], ...]
    comparisons: tuple[Comparison, ...]
    held_out: tuple[Comparison, ...]
    prompts: tuple[Prompt, ...]
    evaluation: tuple[Prompt, ...]
    tokenizer: str | None = None
    utility: Callable[[Prompt, str], float] | None = None
