"""The built-in WebGPT-like language: a question with four sourced quotes, cited answers; what
their readers like.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from activedpo_lib.streams import choose, choose_zipf
from activedpo_lib.tasks.truth import Grammar, Taste, classes_of, with_allowed, worths
from activedpo_lib.tasks.words import CITATIONS, DOMAINS, VERBS, WEBGPT_SLOTS

NAME = "webgpt"
OPTIONAL = tuple(WEBGPT_SLOTS)
TONES = {
    "none": (),
    "kind": ("hope", "this", "helps", "."),
    "careful": ("ask", "an", "expert", "."),
    "brief": ("short", "answer", "."),
}
GROUP = dict(zip(DOMAINS, "AABCABCBAC", strict=True))
TASTES = {
    "A": Taste("kind", 0.2),
    "B": Taste("brief", -0.2),
    "C": Taste("careful", 0.1),
}
# Of each slot's details half are liked and half disliked: to say more, or less, pays nobody.
LIKED = set("noise profit asia egypt winter dawn surveys archives".split())
WORTH = 1.5  # utils of a detail: an answer has fewer of them than a summary
PERSONAS = (
    ({"effect"}, "none", 0.8),
    ({"place"}, "kind", 0.1),
    ({"season", "source"}, "careful", 0.8),
    ({"effect", "place"}, "brief", 0.1),
    ({"source"}, "none", 0.8),
    ({"season"}, "kind", 0.1),
)
SENTENCES = {
    "effect": "it brings {}",
    "place": "common in {}",
    "season": "seen in {}",
    "source": "so says {}",
}


def facts(rng: np.random.Generator, skew: float = 0.0) -> dict[str, Any]:
    """A question's truth: domains with Zipf(1) frequencies; the cause and three other facts are
    quoted, their details with Zipf(`skew`) frequencies.
    """
    domain = choose_zipf(rng, list(DOMAINS))
    subjects, causes = (words.split() for words in DOMAINS[domain])
    subject, other = map(str, rng.choice(subjects, 2, replace=False))
    cause, wrong = map(str, rng.choice(causes, 2, replace=False))
    slots = {"subject": subject, "verb": choose(rng, VERBS), "cause": cause}
    quoted = list(map(str, rng.choice(OPTIONAL, 3, replace=False)))
    slots |= {slot: choose_zipf(rng, WEBGPT_SLOTS[slot], skew) for slot in quoted}
    order = ["cause", *(quoted[:2] if rng.random() < 0.3 else quoted)]
    if len(order) == 3:
        del slots[quoted[2]]
        order.append("distractor")
    order = [order[i] for i in rng.permutation(4)]
    quotes = {mark: slots.get(slot, wrong) for mark, slot in zip(CITATIONS, order, strict=True)}
    return {
        "topic": domain,
        "group": GROUP[domain],
        "slots": slots,
        "quotes": quotes,
        "order": order,
        "other": other,
    }


def prompt_text(truth: Mapping[str, Any], _: np.random.Generator) -> str:
    """The question and its four quotes; a distractor quote tells of another subject."""
    said = truth["slots"]
    texts = [f"domain {truth['topic']} : why do {said['subject']} {said['verb']} ?"]
    for (mark, value), slot in zip(truth["quotes"].items(), truth["order"], strict=True):
        holder = truth["other"] if slot == "distractor" else said["subject"]
        frame = SENTENCES.get(slot, f"{holder} have {{}}")
        texts.append(f"{mark} {frame.format(value)} .")
    return " ".join([*texts, "answer :"])


def response_text(slots: Mapping[str, str], tone: str, cited: Mapping[str, str]) -> str:
    """One answer: the cause, then the details in a fixed order, each cited where `cited` has its
    mark.
    """
    said = [slots["cause"], *(slots[slot] for slot in OPTIONAL if slot in slots)]
    facts = " , ".join(f"{value} {cited.get(value, '')}" for value in said)
    words = f"{slots['subject']} {slots['verb']} because of {facts} .".split()
    return " ".join([*words, *TONES[tone]])


def tone_of(words: Sequence[str]) -> str:
    """The closing that a response ends with."""
    for tone, closing in TONES.items():
        if closing and tuple(words[-len(closing) :]) == closing:
            return tone
    return "none"


def _grammar() -> Grammar:
    slots = {"verb": VERBS, **WEBGPT_SLOTS}
    slots["subject"] = [word for subjects, _ in DOMAINS.values() for word in subjects.split()]
    slots["cause"] = [word for _, causes in DOMAINS.values() for word in causes.split()]
    base = ("subject", "verb", "cause")
    marks = dict.fromkeys(CITATIONS, "[n]")
    worth = worths(WEBGPT_SLOTS, LIKED, WORTH)
    grammar = Grammar(slots, base, TASTES, worth, 20, tone_of, classes_of(slots, marks))
    return with_allowed(grammar, OPTIONAL, TONES, response_text)


GRAMMAR = _grammar()
