"""The benchmarks' references are what they claim to be, and the accelerator's script runs on its
small path.
"""

import dataclasses
import importlib
import json

import numpy as np
import pytest
import torch
from conftest import make_policy

from activedpo_lib.method.design import select_greedy
from activedpo_lib.method.gradients import gradient_shapes, response_features
from activedpo_lib.method.projection import make_projection
from activedpo_lib.store import HOME
from activedpo_lib.streams import stream
from benchmarks import __main__ as benches
from benchmarks import cards, gpu, gpu_round, measure, predict, references


def pool():
    phi = stream(0, "bench").numpy().standard_normal((60, 24)).astype(np.float32)
    return phi / np.linalg.norm(phi, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "reference", [references.full_dual, references.sherman_morrison, references.explicit_inverse]
)
def test_every_reference_picks_the_same(reference):
    assert reference(pool(), 10, 0.7) == select_greedy(pool(), 10, 0.7).indices.tolist()


def test_gradient_references_agree_with_the_features():
    policy = make_policy()
    prompts = [tuple(range(3, 9))] * 3
    responses = [(11, 12, 13, 1), (20, 21, 22, 1), (30, 31, 32, 1)]
    exact = make_projection("none", 1, 0, gradient_shapes(policy))
    ours = response_features(policy, prompts, responses, exact)
    each = references.one_backward_each(policy, prompts, responses)
    torch.testing.assert_close(each.norm(dim=1), torch.from_numpy(ours.norm), rtol=1e-4, atol=1e-4)
    stacked = references.vmapped_gradients(policy, prompts, responses)
    norms = torch.stack([g.flatten(1).square().sum(1) for g in stacked.values()]).sum(0).sqrt()
    torch.testing.assert_close(norms, torch.from_numpy(ours.norm), rtol=1e-4, atol=1e-4)


def test_the_dense_reference_keeps_inner_products():
    gradients = torch.randn(5, 3000, generator=torch.Generator().manual_seed(0))
    projected = references.dense_projection(gradients, 4096)
    error = (projected @ projected.T - gradients @ gradients.T) / 3000
    assert error.abs().max() < 4 / 4096**0.5


@pytest.mark.parametrize("name", [*benches.BENCHES, *benches.SLOW])
def test_every_benchmark_that_is_named_can_be_started(name):
    assert callable(importlib.import_module(f"benchmarks.{name}").run)


@pytest.mark.parametrize(
    ("page", "table"),
    [
        ("benchmarks/README.md", predict.table),
        ("benchmarks/README.md", predict.round_table),
        ("docs/how/paper_size.md", predict.shared),
    ],
)
def test_the_pages_tables_of_predictions_are_what_the_cost_model_says(page, table):
    assert table() in (HOME / page).read_text(encoding="utf-8")


def test_a_missed_bar_is_said():
    rows = [
        measure.Row("a", 1.2, at_most=1.15),
        measure.Row("b", 30, at_least=20),
        measure.Row("c", 3),
    ]
    assert [row.held for row in rows] == [False, True, None]
    assert "| MISSED |" in measure.markdown({"x": rows})


def test_a_whole_round_runs_on_the_small_path(tmp_path):
    found = gpu.main(["--size", "small", "--parts", "--out", str(tmp_path)])
    told = {row.what: row for row in found["small"]}
    assert all(row.held is None for row in found["small"])  # no goal is judged of a small model
    assert told["the whole round"].value > told["selection"].value > 0
    assert told["small: features / plain forward+backward"].value > 0
    label = f"gpu-{cards.card_name().replace(' ', '-')}-tldr"
    written = (tmp_path / f"{label}.md").read_text()
    for part in ("generate", "gradients", "project", "select", "DPO, no checkpointing", "evaluate"):
        (line,) = [line for line in written.splitlines() if line.startswith(f"| {part} | ")]
        measured, *_, predicted = line.strip("| ").split(" | ")[1:]
        assert measured.endswith(" s")
        assert predicted.endswith(" s")  # every part has its operations
    assert len(json.loads((tmp_path / f"{label}.json").read_text())) == len(told)


def test_the_rounds_goals_are_judged_one_by_one_on_a_card(monkeypatch):
    monkeypatch.setattr(gpu_round, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(gpu_round, "peak_flops", lambda: 1e15)
    gib = 1024.0
    seconds = {"generate": 100, "gradients": 50, "project": 5, "select": 0.4, "evaluate": 10}
    parts = [gpu_round.Part(name, value, gib, 25e15) for name, value in seconds.items()]
    parts += [
        gpu_round.Part(gpu_round.WITH, 60, 39 * gib, 1e15),
        gpu_round.Part(gpu_round.GRAPHED, 29.0, gib, 25e15),
        gpu_round.Part(gpu_round.WITHOUT, 50, 71 * gib, 1e15),
    ]
    rows = {row.what: row for row in gpu_round.judged("llama-2-7b", parts, 290.0)}
    assert rows["gradients: share of the card's bf16 peak"].value == pytest.approx(0.5)
    assert rows["the whole round"].value == pytest.approx(225.4)  # one way of training, not both
    missed = [what for what, row in rows.items() if row.held is False]
    memory = "peak memory of the round, DPO, no checkpointing"
    assert missed == ["generate() / ours, same responses", memory]
    greedy = [dataclasses.replace(part, peak_mib=45 * gib) for part in parts[:1]] + parts[1:]
    rows = {row.what: row for row in gpu_round.judged("llama-2-7b", greedy, 290.0)}
    checkpointed = rows["peak memory of the round, DPO, gradient checkpointing"]
    assert checkpointed.value == 45  # generation's: a round holds what its largest part holds
    assert checkpointed.held is False
    parts[-1] = gpu_round.Part(gpu_round.WITHOUT, float("nan"), float("nan"), 1e15)
    unfit = {row.what: row for row in gpu_round.judged("llama-2-7b", parts, 290.0)}
    assert unfit[memory].held is False  # it did not fit
    assert "| DPO, no checkpointing | - | - | - | " in gpu_round.table(parts)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a card")
def test_the_papers_sizes_without_a_card_are_refused(capsys):
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "--size small" in capsys.readouterr().err
