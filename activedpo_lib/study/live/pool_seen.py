"""A round's pool as it is looked at: every pair measured once, then any strategy picks at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from activedpo_lib.method.design import uncertainty
from activedpo_lib.method.strategies import STRATEGIES, make_strategy
from activedpo_lib.records import Candidates, Pool, Selection
from activedpo_lib.runs.run import Run
from activedpo_lib.study.probing.probes import rounds_again

MEASURED = frozenset({"phi", "margin", "entropy", "hidden", "prompt_hidden"})


@dataclass(frozen=True)
class PoolSeen:
    """One round's pool before its labels. candidates: with the columns in MEASURED; points: (n, 2)
    its pairs along the two principal directions of phi; shares: (2,) of phi's variance there.
    """

    pool: Pool
    candidates: Candidates
    points: np.ndarray
    shares: np.ndarray
    run: Run
    round: int

    @classmethod
    def of_round(cls, run: Run, t: int) -> PoolSeen:
        """The pool of round t of a finished run. Raises ValueError for a round that it has not, and
        for a pool without pairs.
        """
        if not 1 <= t <= run.params.rounds:
            raise ValueError(f"expected a round from 1 to {run.params.rounds}, got {t}")
        (seen,) = rounds_again(run, {t}, MEASURED)
        if not len(seen.pool.pairs):
            raise ValueError(f"round {t} has no pair to look at: its responses are all alike")
        phi = np.array(seen.candidates.phi, dtype=np.float32)  # its file goes with the round
        points, shares = principal(phi)
        return cls(seen.pool, seen.candidates._replace(phi=phi), points, shares, run, t)

    def strategies(self) -> list[str]:
        """Those that need no more than what was measured."""
        return [name for name, make in STRATEGIES.items() if make().needs <= MEASURED]

    def pick(self, strategy: str, batch_size: int, ridge: float = 1.0) -> Selection:
        """What a strategy picks; ridge: V_0's, as a multiple of the run's own (D2)."""
        said = self.run.params.selection
        chosen = make_strategy(strategy, vars(said) | {"ridge": ridge * said.ridge})
        randomness = self.run.stream("select", self.round)
        return chosen.select(self._with(ridge), batch_size, stream=randomness)

    def uncertainty(self, picked: Sequence[int] = (), ridge: float = 1.0) -> np.ndarray:
        """||phi|| in V^-1 of every pair, (n,), once `picked` are in V (Eq. 3, 4)."""
        seen = self._with(ridge)
        past = [seen.phi[list(picked)]]
        if seen.past_phi is not None and len(seen.past_phi):
            past.insert(0, seen.past_phi)
        return uncertainty(seen.phi, seen.ridge, np.concatenate(past))

    def first_picks(self, picks: Mapping[str, Sequence[int]], count: int = 2) -> pd.DataFrame:
        """The first pairs of each strategy's picks as text: columns strategy, prompt, first,
        second.
        """
        texts = self.texts()
        rows = [(name, *texts[row]) for name, rows in picks.items() for row in rows[:count]]
        return pd.DataFrame(rows, columns=["strategy", "prompt", "first", "second"])

    def texts(self) -> list[tuple[str, str, str]]:
        """(prompt, first, second) of every pair."""
        pairs = [self.pool.pair(row) for row in range(len(self.pool.pairs))]
        return [(pair.prompt.text, pair.first.text, pair.second.text) for pair in pairs]

    def _with(self, ridge: float) -> Any:
        return self.candidates._replace(ridge=ridge * self.candidates.ridge)


def principal(phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((n, 2) along the two principal directions of phi's rows about their mean, (2,) shares of
    their variance); zeros where the rows are all alike.
    """
    points, shares = np.zeros((len(phi), 2)), np.zeros(2)
    if np.ptp(phi, axis=0).any():
        kept = min(2, *phi.shape)
        found = PCA(kept, svd_solver="full").fit(phi.astype(np.float64))
        points[:, :kept], shares[:kept] = found.transform(phi), found.explained_variance_ratio_
    return points, shares
