"""What was picked, seen by every criterion (Fig. 10); what length has to do with it (Fig. 3)."""

from collections.abc import Container

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from activedpo_lib.method.design import uncertainty
from activedpo_lib.method.generation import pair_name
from activedpo_lib.records import Candidates, Pool
from activedpo_lib.runs import checkpoints
from activedpo_lib.runs.run import Run
from activedpo_lib.study.probing.probes import (
    EVERYTHING,
    Round,
    overlaps,
    pair_lengths,
    pool_gradients,
    rounds_again,
    taught,
)
from activedpo_lib.study.studies import Study

CRITERIA = (
    "uncertainty (ActiveDPO)",
    "gradient norm",
    "entropy (APLP)",
    "|r1 - r2| (APLP)",
    "hidden states (APO)",
)
LENGTHS = ["length", "pool length", "overlap", "pool overlap"]


def picks_of(run: Run, t: Round) -> np.ndarray:
    """Rows of `Pool.pairs` that round t picked, given its Round: matched by prompt and texts."""
    prompts = {prompt.id: prompt for prompt in run.task.prompts}
    every = checkpoints.load_labelled(run.folder, t.t, prompts)
    names = {}
    for row in range(len(t.pool.pairs)):
        pair = t.pool.pair(row)
        names[pair_name(pair.prompt, pair.first, pair.second)] = row
    new = [pair for pair in every if pair.round == t.t]
    return np.array([names[pair_name(pair.prompt, pair.chosen, pair.rejected)] for pair in new])


def criteria(candidates: Candidates, apo_ridge: float) -> dict[str, np.ndarray]:
    """{criterion of CRITERIA: (n,) its value for each pair of the pool}, as each strategy would see
    the pool before its first pick.
    """
    values = (
        uncertainty(candidates.phi, candidates.ridge, candidates.past_phi),
        np.linalg.norm(candidates.phi.astype(np.float64), axis=1),
        candidates.entropy[candidates.prompt],
        np.abs(candidates.margin.astype(np.float64)),
        uncertainty(candidates.hidden, apo_ridge, candidates.past_hidden),
    )
    return dict(zip(CRITERIA, values, strict=True))


def ranks(values: np.ndarray) -> np.ndarray:
    """Each value's share of values below it, ties counted half: 0 the lowest, 1 the highest, 0.5
    what chance picks.
    """
    values = np.asarray(values)
    below = (values[:, None] > values).sum(1) + 0.5 * ((values[:, None] == values).sum(1) - 1)
    return below / max(1, len(values) - 1)


def picked(run: Run, wanted: Container[int] | None = None, ranked: bool = True) -> list[dict]:
    """One row a pick: round, its responses' length and overlap against the pool's, topic and,
    `ranked`, its rank under each criterion (which costs measuring them all).
    """
    rows = []
    for t in rounds_again(run, wanted, EVERYTHING if ranked else frozenset()):
        seen = criteria(t.candidates, run.params.selection.apo_ridge) if ranked else {}
        places = {name: ranks(values) for name, values in seen.items()}
        looked_at = (pair_lengths(t.pool), overlaps(t.pool))
        rows += [_pick(t, row, looked_at, places) for row in picks_of(run, t)]
    return rows


def _pick(t: Round, row: int, looked_at: tuple, places: dict[str, np.ndarray]) -> dict:
    (lengths, shared), prompt = looked_at, t.pool.prompts[t.candidates.prompt[row]]
    found = {"round": t.t, "prompt": prompt.id, "topic": _topic(prompt) or ""}
    found |= {"length": lengths[row], "pool length": lengths.mean()}
    found |= {"overlap": shared[row], "pool overlap": shared.mean()}
    return found | {name: values[row] for name, values in places.items()}


def picks_table(study: Study, wanted: Container[int] | None = None) -> pd.DataFrame:
    """Every pick of the study's runs, in the rounds wanted, with its rank under each criterion."""
    return pd.DataFrame([cell | pick for cell, run in study.runs() for pick in picked(run, wanted)])


def lengths_table(study: Study) -> pd.DataFrame:
    """Length and overlap of the picks and of their pools, each (task, variant, seed) (Fig. 3)."""
    rows = [cell | pick for cell, run in study.runs() for pick in picked(run, ranked=False)]
    cells = pd.DataFrame(rows).groupby(["task", "variant", "seed"], sort=False)
    return cells[LENGTHS].mean().reset_index()


def topic_shares(run: Run) -> pd.Series:
    """Share of the task's pool prompts on each topic, the commonest first; empty for real text."""
    topics = pd.Series([_topic(prompt) for prompt in run.task.prompts], dtype=object)
    return topics.dropna().value_counts(normalize=True)


def _topic(prompt: object) -> str | None:
    return prompt.facts.get("topic", prompt.facts.get("domain"))


def most_different(pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of the pairs whose responses share fewest words."""
    return np.argsort(overlaps(pool), kind="stable")[:size]


def minimal_pairs(pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of the pairs whose responses share most words."""
    return np.argsort(-overlaps(pool), kind="stable")[:size]


def at_random(pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn without replacement."""
    return rng.choice(len(pool.pairs), size, replace=False)


WAYS = {"most different": most_different, "minimal pairs": minimal_pairs, "random": at_random}


def taught_table(study: Study, variant: str = "response") -> pd.DataFrame:
    """What labels picked in each of WAYS teach pi_SFT, a row a (task, way, seed) (Fig. 3)."""
    return pd.DataFrame(
        [
            {"task": cell["task"], "labels on": name, "seed": cell["seed"]} | taught(run, way)
            for cell, run in study.only(lambda cell, _: cell[2] == variant).runs()
            for name, way in WAYS.items()
        ]
    )


def gradient_table(study: Study, variant: str = "response") -> pd.DataFrame:
    """Length and exact gradient norm of each response of pi_SFT's first pool, first seed, rows
    (task, tokens, norm) (Fig. 3).
    """
    parts = []
    for cell, run in study.only(lambda cell, _: cell[2] == variant).runs(study.seeds[:1]):
        found = pool_gradients(run)[1]
        rows = {"task": cell["task"], "tokens": found.tokens, "norm": found.norm}
        parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True)


def length_correlations(gradients: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of length and norm, a row a task: of the sum's gradient, and the mean's."""
    rows = []
    for task, own in gradients.groupby("task", sort=False):
        of_sum = spearmanr(own["tokens"], own["norm"])[0]
        of_mean = spearmanr(own["tokens"], own["norm"] / own["tokens"])[0]
        rows.append({"task": task, "sum": of_sum, "mean over tokens": of_mean})
    return pd.DataFrame(rows)
