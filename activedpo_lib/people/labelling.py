"""A person at work on a round's questions: what is shown next, in which order, and what a key does.
No widget here: `widget.py` shows this, and tests and scripts can drive it alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, NamedTuple

from activedpo_lib.people.answers import Answer, Answers, Given, Question
from activedpo_lib.streams import Stream

Key = Literal["left", "right", "tie", "skip", "undo"]
KEYS: tuple[Key, ...] = ("left", "right", "tie", "skip", "undo")
Side = Literal["first", "second"]
SAID = {"left": "left is better", "right": "right is better", "tie": "a tie", "skip": "skipped"}


class Shown(NamedTuple):
    """What a labeller sees: the question's place from 0 and the texts by side; pair "" where all
    are answered. note: a line about what was done last, and why that pair was picked.
    """

    pair: str
    place: int
    questions: int
    answered: int
    prompt: str
    left: str
    right: str
    note: str
    seconds_a_label: float


class Labelling:
    """One labeller and the questions of one round. Which response stands on the left is drawn for
    each pair and labeller, and stored with the answer.

    It keeps nothing that the file does not: a second one on the same file, in another tab or after
    a kill, goes on where the first was.
    """

    def __init__(
        self,
        answers: Answers,
        questions: list[Question],
        labeller: str,
        *,
        stream: Stream,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not questions:
            raise ValueError("nothing to label: the round has no questions; ask for a round first")
        answers.enter(labeller)
        self.answers, self.questions, self.labeller = answers, questions, labeller
        self._clock, self._note = clock, ""
        sides = stream.child("left", labeller).uniforms([q.pair for q in questions])
        self._left: dict[str, Side] = {
            q.pair: "first" if at < 0.5 else "second"
            for q, at in zip(questions, sides, strict=True)
        }
        self._since = clock()

    def shown(self) -> Shown:
        """What to show now, read from the file."""
        given, names = self._given(), [q.pair for q in self.questions]
        open_ones = [at for at, name in enumerate(names) if name not in given]
        times = [answer.seconds for answer in given.values()]
        each = sum(times) / len(times) if times else 0.0
        count, done = len(names), len(given)
        if not open_ones:
            return Shown("", count, count, done, "", "", "", self._note, each)
        at = open_ones[0]
        question = self.questions[at]
        texts = question.first, question.second
        left, right = texts if self._left[question.pair] == "first" else texts[::-1]
        return Shown(question.pair, at, count, done, question.prompt, left, right, self._note, each)

    def press(self, key: Key, pair: str) -> Shown:
        """Do what a key says about the pair that was shown when it was pressed. A key for a pair
        that is answered by now (pressed twice, or in another tab) changes nothing.

        Raises ValueError for an unknown key or a pair of another round.
        """
        if key not in KEYS:
            raise ValueError(f"a key is one of {', '.join(KEYS)}, got {key!r}")
        if key == "undo":
            undone = self.answers.undo(self.labeller, [q.pair for q in self.questions])
            self._note = "Undone; answer it again." if undone else "There is nothing to undo."
        elif pair not in self._left:
            raise ValueError(f"the pair {pair} is none of this round's: open the round again")
        else:
            seconds = self._clock() - self._since
            given = Given(pair, self.labeller, self._answer(key, pair), self._left[pair], seconds)
            new = self.answers.give(given)
            why = next(q.why for q in self.questions if q.pair == pair)
            stored = f"Stored: {SAID[key]}. {why}".rstrip()
            self._note = stored if new else "This pair was answered before; kept as it was."
        self._since = self._clock()
        return self.shown()

    def done(self) -> bool:
        """Are all questions answered?"""
        return not self.shown().pair

    def side_of(self, pair: str) -> Side:
        """Which response of a pair stands on the left."""
        return self._left[pair]

    def _given(self) -> dict[str, Given]:
        return self.answers.by(self.labeller, [q.pair for q in self.questions])

    def _answer(self, key: str, pair: str) -> Answer:
        if key in ("tie", "skip"):
            return "tie" if key == "tie" else "skip"
        left: Side = self._left[pair]
        right: Side = "second" if left == "first" else "first"
        return left if key == "left" else right


def answer_all(labelling: Labelling, prefers: Callable[[Question], Answer]) -> None:
    """Answer what is open by keys, as `prefers` says of each question: a stand-in for a person."""
    by_name = {question.pair: question for question in labelling.questions}
    while pair := labelling.shown().pair:
        answer = prefers(by_name[pair])
        if answer in ("tie", "skip"):
            labelling.press("tie" if answer == "tie" else "skip", pair)
        else:
            labelling.press("left" if labelling.side_of(pair) == answer else "right", pair)
