"""Numbers as text, and the words that go with them: one rule from an interval to a sentence."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from activedpo_lib.method.formulas import interval
from activedpo_lib.study.drawing.plots import LABELS
from activedpo_lib.study.statistics import sign

REWARD = "Oracle reward after the last round (logits)"
CORRECTED = "verdict corrected, ± not"
WORDS = {1: "above", -1: "below", 0: "level with"}


def number(values: np.ndarray, digits: int = 2) -> str:
    """A mean over seeds and the half width of its 95 % interval, as "+0.12 ± 0.08"; of one seed,
    the value and that it has none. values: (seeds,).
    """
    mean, half = interval(values)
    if half != half:
        return f"{_rounded(mean, digits):+.{digits}f} (one seed: no interval)"
    return with_half(mean, half, digits)


def with_half(mean: float, half: float, digits: int = 2) -> str:
    """The same of a mean and a half width that are known already."""
    return f"{_rounded(mean, digits):+.{digits}f} ± {half:.{digits}f}"


def amount(values: np.ndarray, digits: int = 0) -> str:
    """A mean that is no difference, so without a sign, and its half width; values: (seeds,)."""
    return number(values, digits).removeprefix("+")


def plain(value: float, digits: int = 2) -> str:
    """A number without a sign in front of a positive one."""
    return f"{_rounded(value, digits):.{digits}f}"


def _rounded(value: float, digits: int) -> float:
    return round(float(value), digits) + 0.0  # no "-0.00"


def share(value: float) -> str:
    """A share in whole per cent."""
    return f"{100 * value:.0f} %"


def name_of(strategy: str) -> str:
    """A strategy as figures write it."""
    return LABELS.get(strategy, strategy)


def joined(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def listed(cells: Mapping[str, np.ndarray], digits: int = 2) -> str:
    """Cells and their numbers in one line."""
    return "; ".join(f"{name} {number(values, digits)}" for name, values in cells.items())


def placed(cells: Mapping[str, np.ndarray], baseline: str, digits: int = 2) -> str:
    """Which cells are above, below and level with the baseline, in a sentence each that is used:
    "Above Random: a (+0.1 ± 0.0). Level with Random: b (...)."; values: paired differences.
    """
    return " ".join(_standings(cells, baseline, digits))


def stands(cells: Mapping[str, np.ndarray], what: str, baseline: str, digits: int = 2) -> str:
    """The same as a list, under a line that says what was compared, in which unit; "" of none."""
    if not cells:
        return ""
    lines = [f"- {line}" for line in _standings(cells, baseline, digits)]
    return "\n".join([f"{what}, difference to {baseline}:\n", *lines])


def _standings(cells: Mapping[str, np.ndarray], baseline: str, digits: int) -> list[str]:
    if one_seed(cells):
        bare = [f"{name} {_rounded(np.mean(v), digits):+.{digits}f}" for name, v in cells.items()]
        return [f"One seed each, so no interval: {'; '.join(bare)}."]
    sentences = []
    for wanted, word in WORDS.items():
        own = [
            f"{name} ({number(values, digits)})"
            for name, values in cells.items()
            if sign(values) == wanted
        ]
        if own:
            sentences.append(f"{word.capitalize()} {baseline}: {'; '.join(own)}.")
    return sentences


def itemised(cells: Mapping[str, str], what: str) -> str:
    """A line that says what the numbers are and in which unit, then a list of them."""
    return "\n".join([f"{what}:\n", *(f"- {name}: {value}" for name, value in cells.items())])


def counted(cells: Mapping[str, np.ndarray], wanted: int, one: str, many: str = "") -> str:
    """How many of these cells have this sign: "none of 4 cells", "1 of 4 cells", "all 4 cells".

    one: what a cell is; many: the plural, if it is not `one` with an s.
    """
    found = sum(sign(values) == wanted for values in cells.values())
    noun = one if len(cells) == 1 else many or f"{one}s"
    if found < len(cells):
        return f"{found or 'none'} of {len(cells)} {noun}"
    return f"{ {1: 'the one', 2: 'both'}.get(found, f'all {found}') } {noun}"


def one_seed(cells: Mapping[str, np.ndarray]) -> bool:
    """Has no cell more than one seed, so that nothing is established?"""
    return all(len(values) < 2 for values in cells.values())


def compared(values: np.ndarray, baseline: str, digits: int = 2) -> str:
    """ "below Random (-0.86 ± 0.74)": the verdict, then the number."""
    if len(values) < 2:
        return f"{number(values, digits)} against {baseline}"
    return f"{WORDS[sign(values)]} {baseline} ({number(values, digits)})"


def under_verdicts(head: str, told: Iterable[tuple[str, str]]) -> str:
    """A list, a line a corrected verdict, under `head`; told: (verdict, what it is of) in their
    order. The ± beside them are not corrected: "level" would mean there that one holds zero.
    """
    each: dict[str, list[str]] = {}
    for verdict, text in told:
        each.setdefault("not established" if verdict == "level" else verdict, []).append(text)
    lines = [f"- {word[0].upper()}{word[1:]}: {'; '.join(own)}." for word, own in each.items()]
    return "\n".join([f"{head}:\n", *lines])


def paragraphs(*parts: str) -> str:
    """The parts that say anything, as paragraphs."""
    return "\n\n".join(part for part in parts if part)


def headline(cells: Mapping[str, np.ndarray], text: str) -> str:
    """A finding's first sentence, in bold; of one seed, that nothing is judged instead."""
    if one_seed(cells):
        return "**One seed: nothing is judged.**"
    return f"**{text[0].upper()}{text[1:]}**"
