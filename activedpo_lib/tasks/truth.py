"""The built-in world's hidden utility: what its humans care about, as one formula over a parsed
response.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from activedpo_lib.records import Prompt

START, END = "<start>", "<end>"
MOST_BROKEN = 6


@dataclass(frozen=True)
class Taste:
    """What the readers of one group of topics like. `cites`: utils of one right citation."""

    tone: str
    cites: float = 0.0


@dataclass(frozen=True)
class Grammar:
    """A language: `slots` maps a slot to its words, `base` names the slots every answer needs,
    `worth` gives the utils of each detail, a word of an optional slot.

    `tone_of(words)` names a response's tone; `allowed` holds the pairs of token classes that the
    grammar produces.
    """

    slots: Mapping[str, Sequence[str]]
    base: tuple[str, ...]
    tastes: Mapping[str, Taste]
    worth: Mapping[str, float]
    limit: int
    tone_of: Callable[[Sequence[str]], str]
    class_of: Mapping[str, str]
    allowed: frozenset[tuple[str, str]] = frozenset()


Write = Callable[[Mapping[str, str], str, Mapping[str, str]], str]


def worths(
    slots: Mapping[str, Sequence[str]], liked: Collection[str], worth: float
) -> dict[str, float]:
    """{detail: utils}: `worth` for a liked one, -`worth` for any other."""
    return {word: worth if word in liked else -worth for words in slots.values() for word in words}


def classes_of(
    slots: Mapping[str, Sequence[str]], marks: Mapping[str, str] | None = None
) -> dict[str, str]:
    """{word: its class}: its slot, or what `marks` says of it."""
    return {word: slot for slot, words in slots.items() for word in words} | dict(marks or {})


def with_allowed(
    grammar: Grammar, optional: Sequence[str], tones: Iterable[str], response_text: Write
) -> Grammar:
    """The Grammar whose allowed bigrams are those of every response that `response_text(said, tone,
    cited)` can make. Every sentence may end with a citation or without one: all cited and none
    cited cover the mixtures.
    """
    allowed: set[tuple[str, str]] = set()
    for mask in range(2 ** len(optional)):
        present = [*grammar.base, *(s for bit, s in enumerate(optional) if mask >> bit & 1)]
        said = {slot: grammar.slots[slot][0] for slot in present}
        for tone in tones:
            for cited in ({}, dict.fromkeys(said.values(), "[1]")):
                words = response_text(said, tone, cited).split()
                allowed |= set(itertools.pairwise(classes(words, grammar.class_of)))
    return dataclasses.replace(grammar, allowed=frozenset(allowed))


def classes(words: Sequence[str], class_of: Mapping[str, str]) -> list[str]:
    """The token classes of a response, between START and END."""
    return [START, *(class_of.get(word, word) for word in words), END]


def broken_bigrams(words: Sequence[str], grammar: Grammar) -> int:
    """How many neighbouring token classes the grammar never produces, at most 6."""
    seen = classes(words, grammar.class_of)
    return min(MOST_BROKEN, sum(pair not in grammar.allowed for pair in itertools.pairwise(seen)))


def reading(prompt: Prompt, text: str, grammar: Grammar) -> dict[str, Any]:
    """What a careful reader finds in a response: right and wrong facts by slot, citations, tone,
    broken bigrams.
    """
    words = text.split()
    facts = prompt.facts["slots"]
    said = [(grammar.class_of.get(word), word) for word in words]
    said = [(slot, word) for slot, word in said if slot in grammar.slots]
    right = {slot for slot, word in said if facts.get(slot) == word}
    return {
        "right": right,
        "wrong": sum(facts.get(slot) != word for slot, word in said),
        "details": {word for slot, word in said if slot in right and word in grammar.worth},
        "citations": citation_score(words, prompt.facts.get("quotes", {}), grammar),
        "tone": grammar.tone_of(words),
        "broken": broken_bigrams(words, grammar),
        "length": len(words),
    }


def citation_score(
    words: Sequence[str], quotes: Mapping[str, str], grammar: Grammar
) -> tuple[int, int]:
    """(right, wrong) citations: right where the cited quote holds the fact just said."""
    right = wrong = 0
    fact = None
    for word in words:
        if word.startswith("["):
            right, wrong = (
                (right + 1, wrong) if fact and quotes.get(word) == fact else (right, wrong + 1)
            )
        elif grammar.class_of.get(word) in grammar.slots:
            fact = word
    return right, wrong


def utility(prompt: Prompt, text: str, grammar: Grammar) -> float:
    """The truth, in utils: Bradley-Terry's human prefers y1 with probability sigma(u(x, y1) - u(x,
    y2)).

    3 base 0.6^wrong, base the share of base facts said right; each true detail adds its worth,
    negative for half of them; the group's tone adds 0.5; each broken bigram, wrong citation and
    word past the limit costs.
    """
    found = reading(prompt, text, grammar)
    taste = grammar.tastes[prompt.facts["group"]]
    base = len(found["right"] & set(grammar.base)) / len(grammar.base)
    value = 3 * base * 0.6 ** found["wrong"]
    value += math.fsum(grammar.worth[detail] for detail in found["details"])
    value += 0.5 * (found["tone"] == taste.tone)
    right, wrong = found["citations"]
    value += taste.cites * min(right, 3) - 0.4 * wrong
    value -= 0.2 * max(0, found["length"] - grammar.limit)
    return value - 0.8 * found["broken"]


def prefers_first(
    prompt: Prompt, first: str, second: str, grammar: Grammar, rng: np.random.Generator
) -> bool:
    """A human's noisy answer: Bradley-Terry on the utility (Eq. 1)."""
    gap = utility(prompt, first, grammar) - utility(prompt, second, grammar)
    return rng.random() < 1 / (1 + math.exp(-gap))
