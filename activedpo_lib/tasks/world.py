"""The built-in world: two seeded tasks whose truth is known. Everything is drawn from
named streams.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from types import MappingProxyType, ModuleType
from typing import NamedTuple

from numpy.random import Generator

from activedpo_lib.records import Comparison, Prompt, Task
from activedpo_lib.streams import choose, stream
from activedpo_lib.tasks import tldr_world, truth, webgpt_world

LANGUAGES = {"tldr": tldr_world, "webgpt": webgpt_world}
WRONG_VALUES = 0.04  # of the facts in a human's demonstration


def draw_prompt(language: ModuleType, rng: Generator, name: str, skew: float = 0.0) -> Prompt:
    """One prompt with its hidden facts; `skew` is the Zipf exponent of its details."""
    facts = language.facts(rng, skew)
    return Prompt(name, language.prompt_text(facts, rng), MappingProxyType(facts))


def write(
    language: ModuleType, prompt: Prompt, rng: Generator, persona: tuple | None = None
) -> str:
    """A human's response: a persona's slots, tone and citations, 4 % wrong facts; no persona: a
    coin for each.
    """
    known = prompt.facts["slots"]
    likes, tone, *cites = persona or (set(), choose(rng, list(language.TONES)), 0.5)
    tone = tone if rng.random() < 0.8 else choose(rng, list(language.TONES))
    said = {}
    for slot, value in known.items():
        chance = 0.5 if persona is None else 0.7 if slot in likes else 0.4
        if slot in language.GRAMMAR.base or rng.random() < chance:
            wrong = rng.random() < WRONG_VALUES
            said[slot] = choose(rng, language.GRAMMAR.slots[slot]) if wrong else value
    marks = {value: mark for mark, value in prompt.facts.get("quotes", {}).items()}
    cited = {value: mark for value, mark in marks.items() if rng.random() < (cites or [0.0])[0]}
    return language.response_text(said, tone, cited)


def demonstrations(
    language: ModuleType, prompts: Sequence[Prompt], rng: Generator, personas: bool = True
) -> tuple[dict[str, str], ...]:
    """SFT rows {prompt, completion}: one persona, drawn at random, writes for each prompt."""
    writers = language.PERSONAS if personas else (None,)
    return tuple(
        {
            "prompt": p.text,
            "completion": " " + write(language, p, rng, writers[rng.integers(len(writers))]),
        }
        for p in prompts
    )


def corrupt(language: ModuleType, text: str, rng: Generator) -> str:
    """A damaged response: words swapped, doubled, dropped or replaced, or a rambling tail.

    The reward model must see such texts, else DPO finds the holes of a model that has seen grammar
    alone.
    """
    words = text.split()
    for _ in range(1 + rng.integers(4)):
        at, kind = int(rng.integers(len(words))), rng.integers(5)
        if kind == 0 and len(words) > 2:
            del words[at]
        elif kind == 1:
            words.insert(at, words[int(rng.integers(len(words)))])
        elif kind == 2:
            words[at] = choose(rng, _lexicon(language))
        elif kind == 3:
            other = int(rng.integers(len(words)))
            words[at], words[other] = words[other], words[at]
        else:
            words += [str(w) for w in rng.choice(words, int(rng.integers(1, 6)))]
    return " ".join(words[:28])


def _lexicon(language: ModuleType) -> list[str]:
    return [word for values in language.GRAMMAR.slots.values() for word in values]


def draw_response(
    language: ModuleType, prompt: Prompt, rng: Generator, damaged: float = 0.2
) -> str:
    """A response for the reward model's data: a persona's or a free writer's, half each; the share
    `damaged` is damaged.
    """
    persona = choose(rng, language.PERSONAS) if rng.random() < 0.5 else None
    text = write(language, prompt, rng, persona)
    return corrupt(language, text, rng) if rng.random() < damaged else text


def comparisons(
    language: ModuleType, prompts: Sequence[Prompt], rng: Generator, damaged: float = 0.2
) -> tuple[Comparison, ...]:
    """Human comparisons with Bradley-Terry noise on the utility, one a prompt; where both responses
    drawn are the same text (about 1 %), none: there is nothing to prefer.
    """
    rows = []
    for prompt in prompts:
        first, second = (draw_response(language, prompt, rng, damaged) for _ in range(2))
        if not truth.prefers_first(prompt, first, second, language.GRAMMAR, rng):
            first, second = second, first
        if first != second:
            rows.append(Comparison(prompt.text, " " + first, " " + second))
    return tuple(rows)


class Rows(NamedTuple):
    """How many are drawn of each. About 1 % of the comparisons drop out (see `comparisons`); with
    none drawn, none is held out either.
    """

    sft: int
    comparisons: int
    prompts: int
    evaluation: int
    held_out: int = 1000  # comparisons that the reward model does not see


@lru_cache(maxsize=4)  # drawn from its arguments alone; a study opens some hundred runs on one
def world_task(
    name: str,
    rows: Rows,
    split: str = "figures",
    damaged: float = 0.2,
    skew: float = 0.0,
    evaluation_skew: float = 0.0,
) -> Task:
    """The task `tldr` or `webgpt` of the built-in world.

    `split` names the world's draw: figures come from "figures", all tuning from "tuning" (the rules
    of an honest world: no figure uses a prompt that a setting was chosen on). `skew` is of the
    details of the pool alone, `evaluation_skew` of evaluation's. Raises ValueError for another
    name.
    """
    if name not in LANGUAGES:
        raise ValueError(f"the built-in world has the tasks {sorted(LANGUAGES)}, not {name!r}")
    language, randomness = LANGUAGES[name], stream(0, "world", split, name)

    def prompts(part: str, count: int, skew: float = 0.0) -> tuple[Prompt, ...]:
        rng = randomness.child(part).numpy()
        return tuple(draw_prompt(language, rng, f"{name}-{part}-{i}", skew) for i in range(count))

    held_out = comparisons(
        language,
        prompts("held-out", rows.held_out if rows.comparisons else 0),
        randomness.child("held-out-labels").numpy(),
    )
    evaluation = prompts("evaluation", rows.evaluation, evaluation_skew)
    compared = comparisons(
        language,
        prompts("compared", rows.comparisons),
        randomness.child("labels").numpy(),
        damaged,
    )
    # Drawn by chance a second time, some 1 % of WebGPT's: no reward model is measured on those.
    apart = {c.prompt for c in held_out} | {prompt.text for prompt in evaluation}
    return Task(
        name=name,
        sft=demonstrations(language, prompts("sft", rows.sft), randomness.child("writers").numpy()),
        comparisons=tuple(c for c in compared if c.prompt not in apart),
        held_out=held_out,
        prompts=prompts("pool", rows.prompts, skew),
        evaluation=evaluation,
        utility=partial(truth.utility, grammar=language.GRAMMAR),
    )


def base_text(rows: int) -> list[dict[str, str]]:
    """Pre-training text of the shipped base models: both tasks, free writers, no persona. Returns
    SFT rows.
    """
    text: list[dict[str, str]] = []
    for name, language in LANGUAGES.items():
        rng = stream(0, "world", "base", name).numpy()
        drawn = [draw_prompt(language, rng, str(i)) for i in range(rows // len(LANGUAGES))]
        text += demonstrations(language, drawn, rng, personas=False)
    order = stream(0, "world", "base", "order").numpy().permutation(len(text))
    return [text[i] for i in order]
