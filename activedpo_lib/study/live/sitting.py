"""A person at the method: held-out pairs first, then round after round of label and learn, and at
the end whose taste was learned (notebook 23).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from activedpo_lib.method.candidates import pair_ids
from activedpo_lib.method.generation import generate
from activedpo_lib.method.logps import implicit_rewards
from activedpo_lib.method.oracles import utility_score
from activedpo_lib.method.strategies import make_strategy
from activedpo_lib.params import load_params
from activedpo_lib.people.answers import Answer, Answers, Question, pair_name
from activedpo_lib.people.labelling import Labelling, answer_all
from activedpo_lib.records import Candidates, Pair, Pool
from activedpo_lib.runs.by_hand import name_of
from activedpo_lib.runs.launch import next_questions
from activedpo_lib.runs.run import Run, open_run
from activedpo_lib.runs.saved import initial_policy, policy_after, saved_policies, unfinished
from activedpo_lib.runs.steps import past_of, pool_of_round, sample_prompts, sampling
from activedpo_lib.schema import Params
from activedpo_lib.store import locate
from activedpo_lib.study.live.bar import silent

if TYPE_CHECKING:
    from activedpo_lib.people.widget import LabelWidget

BUILT_IN = "built-in human"  # the labeller whom the world's known utility answers for
HELD_OUT = 0  # the round in the file of answers that is never trained on


class Sitting:
    """One labeller and one run. `label_held_out`, then `label` and `learn` by turns; what is asked
    again goes on where it was.
    """

    def __init__(self, params: Params, seed: int, root: Path | str) -> None:
        self.params, self.seed, self.root = params, seed, root
        self.run: Run = open_run(params, seed, root, log=silent)
        self.answers = Answers(locate(params.oracle.answers))
        self._held_out = self._held_out_pairs()

    @classmethod
    def open(
        cls,
        labeller: str,
        answers: str,
        profile: str = "tiny",
        root: Path | str = "runs",
        **more: Any,
    ) -> Sitting:
        """A sitting of two rounds under a profile; more: `seed`, 0 if not given, and `task`,
        `model`, `strategy` as for `load_params`. Raises ParamsError, and AnswersError where the
        name is another's.
        """
        seed = more.pop("seed", 0)
        said = {"kind": "human", "labeller": labeller, "answers": answers}
        overrides = {f"oracle.{name}": value for name, value in said.items()} | {"rounds": 2}
        params = load_params(profile, overrides=overrides, **more)
        Answers(locate(answers)).enter(labeller)
        return cls(params, seed, root)

    def label_held_out(self) -> LabelWidget | str:
        """The widget on pairs of pi_SFT's responses to held-out prompts, which no training sees."""
        questions = [_question(pair) for pair in self._held_out]
        self.answers.ask(name_of(self.run), HELD_OUT, questions)
        return self._show(questions)

    def label(self, round: int) -> LabelWidget | str:
        """The widget on the pairs that a round asks about, those answered too; a line where the
        round is finished, or waits for one before it.
        """
        if round <= (done := max(self._finished(), 0)):
            return f"Round {round} is finished: the policy has learned from its labels."
        if round > done + 1:
            return f"Round {round} comes after round {done + 1}: label and learn that one first."
        if not self._asked(round):
            next_questions(self.params, self.seed, self.root, log=silent)
        return self._show(self._asked(round))

    def learn(self) -> str:
        """Train on what was answered; a line that says what was learned, or what still waits."""
        if (round := max(self._finished(), 0) + 1) > self.params.rounds:
            return "All rounds are finished."
        asked = self._asked(round)
        given = self.answers.by(self.params.oracle.labeller, [q.pair for q in asked])
        if not asked:
            return f"Nobody was asked for round {round} yet: run the cell that labels it first."
        if waiting := len(asked) - len(given):
            return (
                f"{waiting} of {len(asked)} pairs wait for your answer: label them above, then run "
                "this cell again."
            )
        next_questions(self.params, self.seed, self.root, log=silent)
        new = sum(pair.round == round for pair in past_of(self.run, round).labelled)
        line = f"Round {round} of {self.params.rounds}: the policy learned from {new} answers"
        left = len(asked) - new
        return line + (f"; {left} said nothing to learn (a tie, or skipped)." if left else ".")

    def _asked(self, round: int) -> list[Question]:
        return self.answers.asked(name_of(self.run), round)

    def _show(self, questions: list[Question]) -> LabelWidget | str:
        who = self.params.oracle.labeller
        work = Labelling(self.answers, questions, who, stream=self.run.stream("shown"))
        if who == BUILT_IN:
            answer_all(work, self.built_in_human())
            return f"The {BUILT_IN} answered {len(questions)} pairs."
        from activedpo_lib.people.widget import LabelWidget  # JupyterLab's part, not the library's

        return LabelWidget(work)

    def built_in_human(self) -> Callable[[Question], Answer]:
        """Who prefers the response of higher utility, by the world's known truth. Raises ValueError
        on real text, where nothing is known.
        """
        task = self.run.task
        if task.utility is None:
            raise ValueError(f"{task.name} is real text: nobody is built in; label it yourself")
        known = {prompt.text: prompt for prompt in (*self.run.prompts.values(), *task.evaluation)}
        score = utility_score(task.utility)

        def prefers(question: Question) -> Answer:
            both = [known[question.prompt]] * 2
            first, second = score(both, [question.first, question.second])
            return "tie" if first == second else "first" if first > second else "second"

        return prefers

    def before_and_after(self, prompts: int = 3) -> pd.DataFrame:
        """What the policy wrote to the same held-out prompts before any label and what it writes
        now: columns prompt, before, after.
        """
        asked, how = self.run.task.evaluation[:prompts], sampling(self.params, 1)
        wrote = []
        for t in (0, self._finished()):  # one after the other: policies share their base
            policy, noise = policy_after(self.run, t), self.run.stream("evaluate")
            pool = generate(policy, self.run.tokenizer, asked, how, stream=noise)
            wrote.append([response.text for response in pool.responses])
        texts = [prompt.text for prompt in asked]
        return pd.DataFrame({"prompt": texts, "before": wrote[0], "after": wrote[1]})

    def taste(self) -> pd.DataFrame:
        """After each round: the share of held-out pairs on which the policy's implicit reward
        agrees with the labeller and, where the truth is known, the built-in human: columns round,
        labels, who, pairs, agreement, low, high (95 %, Clopper-Pearson).
        """
        given = self.answers.by(self.params.oracle.labeller)
        who = self.params.oracle.labeller
        people = {who: {name: one.answer for name, one in given.items()}}
        if self.run.task.utility and who != BUILT_IN:
            human = self.built_in_human()
            questions = [_question(pair) for pair in self._held_out]
            people[BUILT_IN] = {question.pair: human(question) for question in questions}
        rows = []
        for t, policy in saved_policies(self.run, self._finished()):
            margins = self._margins(policy)
            for who, said in people.items():
                labels = len(past_of(self.run, t).labelled)
                rows.append({"round": t, "labels": labels, "who": who})
                rows[-1] |= _agreement(margins, said, [pair_name(p) for p in self._held_out])
        return pd.DataFrame(rows)

    def random_would_ask(self, count: int = 3) -> pd.DataFrame:
        """The first pairs that Random would have asked about in round 1, beside those asked:
        columns asked by, prompt, first, second.
        """
        policy = initial_policy(self.run)
        prompts = sample_prompts(self.run, 1)
        pool = pool_of_round(self.run, policy, prompts, (), 1)
        rows = _random_rows(pool, count, self.run)
        random = [_question(pool.pair(row)) for row in rows]
        ours = self._asked(1)[:count]
        both = [(self.params.strategy, q) for q in ours] + [("random", q) for q in random]
        return pd.DataFrame(
            [
                {"asked by": who, "prompt": q.prompt, "first": q.first, "second": q.second}
                for who, q in both
            ]
        )

    def _finished(self) -> int:
        left = unfinished(self.params, self.seed, self.root)
        return (left[0] if left else self.params.rounds + 1) - 1

    def _held_out_pairs(self) -> list[Pair]:
        count = self.params.batch_size
        asked = self.run.task.evaluation[: 2 * count]
        noise, policy = self.run.stream("held-out"), initial_policy(self.run)
        pool = generate(policy, self.run.tokenizer, asked, sampling(self.params), stream=noise)
        firsts = {int(pool.prompt_index[pair[0]]): row for row, pair in enumerate(pool.pairs)}
        return [pool.pair(row) for row in itertools.islice(firsts.values(), count)]

    def _margins(self, policy: Any) -> np.ndarray:
        """r(x, y1) - r(x, y2) of the held-out pairs, (n,) nats."""
        pairs, beta = self._held_out, self.params.dpo.beta
        prompts = [pair.prompt_tokens for pair in pairs]
        first, second = (
            implicit_rewards(policy, prompts, [getattr(p, side).tokens for p in pairs], beta)
            for side in ("first", "second")
        )
        return first - second


def _question(pair: Pair) -> Question:
    return Question(pair_name(pair), pair.prompt.text, pair.first.text, pair.second.text)


def _random_rows(pool: Pool, count: int, run: Run) -> np.ndarray:
    prompt = pool.prompt_index[pool.pairs[:, 0]]
    candidates = Candidates(pair_ids(pool), prompt, tuple(p.id for p in pool.prompts))
    random = make_strategy("random", {})
    return random.select(candidates, count, stream=run.stream("select", 1)).indices


def _agreement(margins: np.ndarray, said: dict[str, str], names: list[str]) -> dict[str, float]:
    """Of the pairs answered first or second: how many, the share on whose side the margin is, and
    its interval; a margin of 0 is half an agreement.
    """
    signs = {"first": 1, "second": -1}
    sides = [
        (np.sign(margin), signs[said[name]])
        for margin, name in zip(margins, names, strict=True)
        if said.get(name) in signs
    ]
    if not sides:
        return {"pairs": 0, "agreement": np.nan, "low": np.nan, "high": np.nan}
    right = sum(0.5 if margin == 0 else float(margin == side) for margin, side in sides)
    found = binomtest(round(right), len(sides)).proportion_ci()
    share = right / len(sides)
    return {"pairs": len(sides), "agreement": share, "low": found.low, "high": found.high}
