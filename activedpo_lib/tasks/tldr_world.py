"""The built-in TL;DR-like language: posts, summaries, six personas; what their readers like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from activedpo_lib.streams import choose, choose_zipf
from activedpo_lib.tasks.truth import Grammar, Taste, classes_of, with_allowed, worths
from activedpo_lib.tasks.words import ACTS, TLDR_SLOTS, TOPICS

NAME = "tldr"
OPTIONAL = tuple(TLDR_SLOTS)
TONES = {"plain": (), "warm": ("please", "help", ":"), "blunt": ("so",), "formal": ("summary", ":")}
GROUP = dict(zip(TOPICS, "AABDCBDACBAC", strict=True))
TASTES = {
    "A": Taste("warm"),
    "B": Taste("blunt"),
    "C": Taste("plain"),
    "D": Taste("formal"),
}
# Of each slot's details half are liked and half disliked: to say more, or less, pays nobody.
LIKED = set("yesterday christmas office hotel stress debt guilty lonely leave wait".split())
WORTH = 1.2  # utils of a detail
PERSONAS = (
    ({"when", "where"}, "plain"),
    ({"cause"}, "formal"),
    ({"feeling", "question"}, "warm"),
    ({"where", "feeling"}, "blunt"),
    ({"when"}, "plain"),
    ({"cause", "question"}, "blunt"),
)


def facts(rng: np.random.Generator, skew: float = 0.0) -> dict[str, Any]:
    """A post's truth: topics with Zipf(1) frequencies; each optional slot is there with probability
    0.9, its details with Zipf(`skew`) frequencies.
    """
    topic = choose_zipf(rng, list(TOPICS))
    people, things = (words.split() for words in TOPICS[topic])
    who, other = rng.choice(people, 2, replace=False)
    slots = {"who": str(who), "act": choose(rng, ACTS), "thing": choose(rng, things)}
    slots |= {
        slot: choose_zipf(rng, values, skew)
        for slot, values in TLDR_SLOTS.items()
        if rng.random() < 0.9
    }
    return {"topic": topic, "group": GROUP[topic], "slots": slots, "other": str(other)}


def prompt_text(truth: Mapping[str, Any], rng: np.random.Generator) -> str:
    """The post: its sentences shuffled, with a distractor person and filler."""
    said = truth["slots"]
    sentences = [
        f"my {said['who']} {said['act']} the {said['thing']} .",
        f"my {truth['other']} saw it .",
    ]
    frames = {"when": "it was {} .", "where": "we were at {} .", "cause": "it is about {} .",
              "feeling": "i feel {} .", "question": "should i {} ?"}  # fmt: skip
    sentences += [frames[slot].format(said[slot]) for slot in OPTIONAL if slot in said]
    sentences += [choose(rng, ["anyway , thanks .", "long story .", "well , listen ."])]
    return " ".join([f"topic {truth['topic']} :", *rng.permutation(sentences), "tl;dr"])


def response_text(slots: Mapping[str, str], tone: str, _: Mapping[str, str]) -> str:
    """One summary in the grammar: who did what to which thing, then the details in a fixed
    order.
    """
    words = [*TONES[tone], slots["who"], slots["act"], slots["thing"]]
    words += [f", {slots[slot]}" for slot in OPTIONAL if slot in slots]
    words += ["?"] if "question" in slots else []
    return " ".join([*words, "!" if tone == "blunt" else "."])


def tone_of(words: Sequence[str]) -> str:
    """The tone that a response opens with; blunt needs its exclamation mark too."""
    for tone, opening in TONES.items():
        if opening and tuple(words[: len(opening)]) == opening:
            return tone if tone != "blunt" or words[-1] == "!" else "plain"
    return "plain"


def _grammar() -> Grammar:
    slots = {"act": ACTS, **TLDR_SLOTS}
    slots["who"] = [word for people, _ in TOPICS.values() for word in people.split()]
    slots["thing"] = [word for _, things in TOPICS.values() for word in things.split()]
    base = ("who", "act", "thing")
    grammar = Grammar(
        slots, base, TASTES, worths(TLDR_SLOTS, LIKED, WORTH), 14, tone_of, classes_of(slots)
    )
    return with_allowed(grammar, OPTIONAL, TONES, response_text)


GRAMMAR = _grammar()
