"""How well people agree: with each other, and with an oracle."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from activedpo_lib.people.answers import Answers, Given


class Agreement(NamedTuple):
    """pairs: how many both judged; share: of the same answer; kappa: Cohen's, share corrected for
    chance, nan where both always said one thing.
    """

    pairs: int
    share: float
    kappa: float


def agreement(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Agreement:
    """Of two {pair: answer}, on the pairs that both have; skipped pairs do not count."""
    both = [p for p in ours if p in theirs and "skip" not in (ours[p], theirs[p])]
    if not both:
        return Agreement(0, np.nan, np.nan)
    a, b = [ours[p] for p in both], [theirs[p] for p in both]
    alone = len({*a, *b}) == 1  # kappa is 0 / 0
    kappa = np.nan if alone else float(cohen_kappa_score(a, b))
    return Agreement(len(both), float(np.mean([x == y for x, y in zip(a, b, strict=True)])), kappa)


def plain(given: Mapping[str, Given]) -> dict[str, str]:
    """{pair: answer} of {pair: Given}."""
    return {pair: one.answer for pair, one in given.items()}


def agreement_table(answers: Answers, oracle: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Every two labellers of the file, and each with the `oracle`'s {pair: answer} where there is
    one: columns first, second, pairs, share, kappa.
    """
    known = {name: plain(answers.by(name)) for name in answers.labellers()}
    if oracle is not None:
        known["the oracle"] = dict(oracle)
    rows = [
        {"first": a, "second": b, **agreement(known[a], known[b])._asdict()}
        for a, b in combinations(known, 2)
    ]
    return pd.DataFrame(rows, columns=["first", "second", *Agreement._fields])
