"""Three kinds of exercise: choose a word, compute a number, write or mend a function.

Each knows the mistakes that are often made, and says what is wrong with them.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Protocol

import numpy as np

OPEN: EllipsisType = ...  # an answer that nobody has given yet
CASES = 5  # arguments on which a function is tried

Arguments = tuple[Any, ...]
Draw = Callable[[np.random.Generator], Arguments]
Mistakes = Mapping[str, Callable[..., Any]]  # {what is wrong: the function as it is often written}


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and why; Jupyter shows it as a line."""

    right: bool
    text: str
    mark: str = ""

    def __bool__(self) -> bool:
        return self.right

    def _repr_markdown_(self) -> str:
        return f"{self.mark or ('✓' if self.right else '✗')} {self.text}"

    __repr__ = _repr_markdown_


class Exercise(Protocol):
    """What all kinds share."""

    def check(self, answer: object) -> Verdict:
        """Judge an answer."""


def waiting(what: str) -> Verdict:
    """Of an exercise without an answer."""
    return Verdict(False, f"Not answered yet: put {what} in the place of `...`.", "○")


@dataclass(frozen=True)
class Choice:
    """One of a few words. options: {word: what is right or wrong with it}."""

    right: str
    options: Mapping[str, str]

    def check(self, answer: object) -> Verdict:
        """Judge a word; one that is no option is told the options."""
        listed = ", ".join(f'"{option}"' for option in self.options)
        if answer is OPEN:
            return waiting(f"one of {listed}")
        if not isinstance(answer, str) or answer.strip().lower() not in self.options:
            return Verdict(False, f"Expected one of {listed}, got {answer!r}.")
        given = answer.strip().lower()
        return Verdict(given == self.right, self.options[given])


@dataclass(frozen=True)
class Number:
    """A number, right within a share `near` of it. mistakes: {number: what is wrong with it}."""

    value: float
    because: str
    mistakes: Mapping[float, str]
    near: float = 0.01

    def check(self, answer: object) -> Verdict:
        """Judge a number; where it is no known mistake, the direction is told."""
        if answer is OPEN:
            return waiting("a number")
        try:
            if isinstance(answer, bool):
                raise TypeError
            given = float(answer)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return Verdict(False, f"Expected a number, got {answer!r}.")
        if self._is(given, self.value):
            return Verdict(True, self.because)
        for wrong, why in self.mistakes.items():
            if self._is(given, wrong):
                return Verdict(False, why)
        if not np.isfinite(given):
            return Verdict(False, f"Expected a finite number, got {given}.")
        return Verdict(False, self._direction(given))

    def _direction(self, given: float) -> str:
        """What is wrong with a number that is no known mistake."""
        size = "large" if given > self.value else "small"
        if self._is(-given, self.value):
            return f"{given:g} has the right size and the wrong sign."
        if 0 < self.value < 1 and self._is(given / 100, self.value):
            return f"{given:g} is right in percent: give it as a share of 1."
        if abs(given - self.value) < 0.2 * abs(self.value):
            return f"{given:g} is near, but too {size}: keep three digits, or look again."
        return f"{given:g} is too {size}."

    def _is(self, given: float, value: float) -> bool:
        return abs(given - value) <= self.near * abs(value) + 1e-9


@dataclass(frozen=True)
class Function:
    """A function to write or to mend, tried on arguments that `draw` makes; `like` is one that is
    right. mistakes: {what is wrong: a function with that mistake}.
    """

    like: Callable[..., Any]
    draw: Draw
    because: str
    mistakes: Mistakes

    def check(self, answer: object) -> Verdict:
        """Judge a function; where it is wrong, its first wrong case is shown."""
        if answer is OPEN:
            return waiting("your function")
        if not callable(answer):
            return Verdict(False, f"Expected a function, got {answer!r}; give its name, uncalled.")
        random = np.random.default_rng(0)
        cases = [self.draw(random) for _ in range(CASES)]
        try:
            given = [answer(*copy.deepcopy(case)) for case in cases]  # it may change what it gets
        except Exception as error:  # a student's function may raise anything
            return Verdict(False, f"Your function raised {type(error).__name__}: {error}.")
        wanted = [self.like(*case) for case in cases]
        if _all_alike(given, wanted):
            return Verdict(True, self.because)
        for why, wrong in self.mistakes.items():
            if _all_alike(given, [wrong(*case) for case in cases]):
                return Verdict(False, why)
        if any(one is None for one in given) and not any(one is None for one in wanted):
            return Verdict(False, "Your function gave nothing back: end it with `return`.")
        if _all_alike(given, [_turned(one) for one in wanted]):
            return Verdict(False, "Right but for its sign: turn it round.")
        at = next(i for i in range(CASES) if not _alike(given[i], wanted[i]))
        shown = ", ".join(_short(argument) for argument in cases[at])
        return Verdict(
            False, f"For ({shown}) expected {_short(wanted[at])}, got {_short(given[at])}."
        )


def _all_alike(some: list[Any], others: list[Any]) -> bool:
    return all(map(_alike, some, others))


def _turned(value: Any) -> Any:
    """Its negative; None, which no answer is like, where it has none."""
    try:
        return -np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return None


def _alike(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    try:
        found, wanted = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    except (TypeError, ValueError, RuntimeError):  # ragged, not numbers, a tensor with a gradient
        return False
    return found.shape == wanted.shape and np.allclose(found, wanted, rtol=1e-6, equal_nan=True)


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"`{np.array2string(np.asarray(value), precision=3, threshold=6, edgeitems=2)}`"
    return f"`{value:.6g}`" if isinstance(value, float) else f"`{value!r:.80}`"
