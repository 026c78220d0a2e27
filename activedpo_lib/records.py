"""The data that crosses the pipeline: frozen, without behaviour. An unlabelled Pair cannot reach
training.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Prompt:
    """A prompt x. `facts`: what is hidden about it (the built-in world's truth, a replay's label);
    `question`: what a reward model of the hub reads in its place.
    """

    id: str
    text: str
    facts: Mapping = field(default_factory=dict, compare=False, repr=False)
    question: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Response:
    """A response y as the policy sampled it: `tokens` include EOS unless it was cut at the length
    limit.
    """

    prompt_id: str
    tokens: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Pair:
    """(x, y1, y2), picked and not yet labelled."""

    prompt: Prompt
    prompt_tokens: tuple[int, ...]
    first: Response
    second: Response


@dataclass(frozen=True)
class LabelledPair:
    """(x, y_w, y_l): what an oracle makes of a Pair, and the only thing that DPO trains on."""

    prompt: Prompt
    prompt_tokens: tuple[int, ...]
    chosen: Response
    rejected: Response
    round: int


@dataclass(frozen=True)
class Comparison:
    """A human's comparison as text: the reward model's training data."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Pool:
    """The round's D_t: N prompts, their responses (once each), and pairs as indices into the
    responses.

    `prompt_tokens[i]` and `prompts[i]` belong together; `prompt_index[k]` is the prompt's index of
    `responses[k]`; `pairs` is (n, 2) int64. Pairs with twice the same response are not in it: there
    is nothing to compare.
    """

    prompts: tuple[Prompt, ...]
    prompt_tokens: tuple[tuple[int, ...], ...]
    responses: tuple[Response, ...]
    prompt_index: np.ndarray
    pairs: np.ndarray

    def pair(self, index):
        """Row `index` of `pairs` as a Pair."""
        first, second = self.pairs[index]
        at = self.prompt_index[first]
        return Pair(
            self.prompts[at], self.prompt_tokens[at], self.responses[first], self.responses[second]
        )


class Features(NamedTuple):
    """Gradients of responses: `phi` (n, d) float32 projected, `norm` (n,) float32 l2 norm before
    projection, `tokens` (n,) the response's length.
    """

    phi: np.ndarray
    norm: np.ndarray
    tokens: np.ndarray | None = None


class Candidates(NamedTuple):
    """What a strategy may look at: one row a pair of the pool, in the pool's order; unmeasured
    columns are None.

    ids: n keys that do not depend on the pool's order; prompt: (n,) the pair's prompt index;
    prompt_ids: their names; phi, past_phi: (n, d), (k, d) pair features grad r(x, y1) - grad r(x,
    y2) and the labelled pairs' own; margin: (n,) r(x, y1) - r(x, y2), nats; entropy: (n,) the
    prompt's predictive entropy, nats; hidden, past_hidden: (n, h), (k, h) differences of pi_SFT's
    last hidden states; ridge: V_0 = ridge I; rows: the pairs that this process's phi is of, where
    several processes share a pool.
    """

    ids: tuple
    prompt: np.ndarray
    prompt_ids: tuple
    phi: np.ndarray | None = None
    past_phi: np.ndarray | None = None
    margin: np.ndarray | None = None
    entropy: np.ndarray | None = None
    hidden: np.ndarray | None = None
    past_hidden: np.ndarray | None = None
    ridge: float | None = None
    rows: slice = slice(None)


class Selection(NamedTuple):
    """`indices` (b,) int64 rows of the pool in the order picked, `scores` (b,) float64 the
    criterion when picked.
    """

    indices: np.ndarray
    scores: np.ndarray


class Strategy(NamedTuple):
    """A pick: the columns of Candidates it `needs`, and `select(candidates, batch_size, stream) ->
    Selection`.

    `regenerates` is False where every response comes from pi_SFT (APO, footnote 1); `shares` is
    True where it can pick from gradients that several processes hold a part of each.
    """

    needs: frozenset
    select: Callable
    regenerates: bool = True
    shares: bool = False


@dataclass(frozen=True)
class Task:
    """A task's data. `utility(prompt, text) -> float` is the known truth, or None for real text."""

    name: str
    sft: tuple[Mapping, ...]
    comparisons: tuple[Comparison, ...]
    held_out: tuple[Comparison, ...]
    prompts: tuple[Prompt, ...]
    evaluation: tuple[Prompt, ...]
    tokenizer: str | None = None
    utility: Callable | None = None
