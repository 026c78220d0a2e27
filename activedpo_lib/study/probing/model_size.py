"""Does the answer change with the model's size? Figure 19: runs whose bases differ in width, their
step sizes, and what the first pool's gradients look like.
"""

import dataclasses
from types import MappingProxyType

import numpy as np
import pandas as pd

from activedpo_lib.method import models
from activedpo_lib.method.features import pair_features
from activedpo_lib.runs.pretrained import base_folder, usual_shape
from activedpo_lib.runs.run import Run
from activedpo_lib.schema import Params
from activedpo_lib.study.probing.by_size import BASELINE
from activedpo_lib.study.probing.probes import demonstration_loss, pool_gradients
from activedpo_lib.study.studies import Study


def smallest(study: Study, sizes: int = 0, rows: int = 0) -> Study:
    """The study with its first `sizes` widths alone (0: all of them); rows: of the world's text
    that a base is pre-trained on (0: as many as those that ship, which this does not change).
    """
    widths = dict.fromkeys(params.model.hidden_size for params in study.cells.values())
    kept = list(widths)[: sizes or None]
    cells = {
        cell: _with_rows(params, rows)
        for cell, params in study.cells.items()
        if params.model.hidden_size in kept
    }
    return dataclasses.replace(study, cells=MappingProxyType(cells))


def _with_rows(params: Params, rows: int) -> Params:
    model = params.model
    if model == usual_shape(model):
        return params
    return dataclasses.replace(params, model=dataclasses.replace(model, pretrain_rows=rows))


def geometry(phi: np.ndarray, prompt_of: np.ndarray, ridge: float = 1.0) -> dict[str, float]:
    """How many directions a pool's gradients have. phi: (n, d) of pairs; prompt_of: (n,).

    effective: the effective dimension, the sum of s / (s + ridge) over the eigenvalues s of the
    pairs' Gram matrix, phi scaled to mean square norm 1: n / (1 + ridge) for orthogonal pairs,
    near 1 for equal ones; overlap: the mean |cosine| of two pairs of different prompts.
    """
    phi = np.asarray(phi, dtype=np.float64)
    gram = phi @ phi.T
    values = np.linalg.eigvalsh(gram / np.diag(gram).mean()).clip(min=0.0)
    norms = np.sqrt(np.diag(gram))
    apart = (prompt_of[:, None] != prompt_of) & (np.outer(norms, norms) > 0)
    cosines = gram[apart] / np.outer(norms, norms)[apart]
    return {
        "effective": float((values / (values + ridge)).sum()),
        "overlap": float(np.abs(cosines).mean()),
    }


def bases(study: Study) -> pd.DataFrame:
    """What each size starts from, a row a variant and seed: parameters, loss of the base (which
    never saw the task) and of pi_SFT on demonstrations (nats a token), `geometry` of the first
    pool's exact gradients, and its pairs.
    """
    rows = []
    for cell, run in study.only(lambda cell, _: cell[3] == BASELINE).runs():
        base = models.load_policy(base_folder(run.params, study.root))
        row = cell | {"parameters": run.base.num_parameters()}
        row |= {"base_loss": demonstration_loss(run, base)}
        row |= {"sft_loss": demonstration_loss(run, run.base)}
        rows.append(row | _first_pool(run))
    return pd.DataFrame(rows).drop(columns="strategy")


def _first_pool(run: Run) -> dict[str, float]:
    pool, features = pool_gradients(run, 1, "none")
    how = run.params.selection
    phi = pair_features(features, pool.pairs, how.normalise, how.normalise_when)
    return {"pairs": len(phi)} | geometry(phi, pool.prompt_index[pool.pairs[:, 0]])
