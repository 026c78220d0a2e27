"""A person as the oracle: a round's picks become questions in the file of answers, and the answers
labels.

A round waits by raising AnswersMissing; when all are answered the same call goes on. Nothing else
is kept: the round picks the same pairs again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from activedpo_lib.method.design import uncertainty
from activedpo_lib.method.formulas import unit_rows
from activedpo_lib.method.oracles import answered
from activedpo_lib.people.answers import Answers, Question, pair_name
from activedpo_lib.records import Candidates, LabelledPair, Pair
from activedpo_lib.runs import checkpoints
from activedpo_lib.runs.run import Run
from activedpo_lib.store import locate


class AnswersMissing(RuntimeError):
    """Questions of this round wait for a person. `round`: which; `questions`: those still open."""

    def __init__(self, message: str, round: int, questions: Sequence[Question]) -> None:
        super().__init__(message)
        self.round, self.questions = round, tuple(questions)


def labels(
    run: Run, pairs: Sequence[Pair], candidates: Candidates, rows: np.ndarray, t: int
) -> tuple[LabelledPair, ...]:
    """The LabelledPairs of round t that the run's labeller made of `pairs`, the picked rows';
    skipped pairs and, unless `oracle.ties` is half, ties are left out.

    Raises AnswersMissing where questions are open, ValueError where every pair was left out.
    """
    how = run.params.oracle
    answers = Answers(locate(how.answers))
    names = [pair_name(pair) for pair in pairs]
    why = reasons(run, candidates, rows, t)
    questions = [
        Question(name, pair.prompt.text, pair.first.text, pair.second.text, line)
        for name, pair, line in zip(names, pairs, why, strict=True)
    ]
    answers.ask(name_of(run), t, questions)
    given = answers.by(how.labeller, names)
    if waiting := [question for question in questions if question.pair not in given]:
        raise AnswersMissing(
            f"{len(waiting)} of {len(pairs)} pairs of round {t} wait for {how.labeller}'s answers "
            f"in {how.answers}: label them in notebook 23, or bring them in with "
            "`activedpo_lib.people.exchange`, then start the same again",
            t,
            waiting,
        )
    found = [
        _labelled(run, pair, given[name].answer, t) for name, pair in zip(names, pairs, strict=True)
    ]
    if not any(found):
        raise ValueError(
            f"round {t} has no label to learn from: all {len(pairs)} pairs were skipped or ties; "
            "undo some, or set oracle.ties to half"
        )
    return tuple(pair for pair in found if pair)


def name_of(run: Run) -> str:
    """A run's name in the file of answers."""
    return "/".join(run.folder.parts[-4:])


def _labelled(run: Run, pair: Pair, answer: str, t: int) -> LabelledPair | None:
    if answer == "tie" and run.params.oracle.ties == "half":
        coin = run.stream("label", t).child("tie").uniforms([pair_name(pair)])[0] < 0.5
        return dataclasses.replace(answered(pair, bool(coin), t), tie=True)
    return answered(pair, answer == "first", t) if answer in ("first", "second") else None


def reasons(run: Run, candidates: Candidates, rows: np.ndarray, t: int) -> list[str]:
    """Why each of the picked rows was picked, a sentence or two: its uncertainty and rank in the
    pool, and the labelled pair it is most like, as far as the strategy measured them.
    """
    who, count = run.params.strategy, len(candidates.ids)
    if candidates.phi is None:
        return [
            f"Pick {at + 1} of {len(rows)} by {who}, of {count} pairs." for at in range(len(rows))
        ]
    unsure = uncertainty(candidates.phi, candidates.ridge, candidates.past_phi)
    order = np.argsort(np.argsort(-unsure, kind="stable"), kind="stable")
    lines = [
        f"Its uncertainty is {unsure[row]:.2f}, number {order[row] + 1} of {count} in the pool."
        for row in rows
    ]
    if t == 1 or candidates.past_phi is None:
        return lines
    past = checkpoints.load_past(run.folder, t - 1, run.prompts).labelled
    alike = np.abs(unit_rows(candidates.phi[rows]) @ unit_rows(candidates.past_phi).T)
    return [
        f"{line} Of your labels it is most like the one on: {_short(past[near].prompt.text)}"
        for line, near in zip(lines, alike.argmax(1), strict=True)
    ]


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
