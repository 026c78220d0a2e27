import numpy as np
import torch

from activedpo_lib.method.features import MemmapRows, pair_features
from activedpo_lib.method.gradients import Progress
from activedpo_lib.records import Budget, Features


def on_disk(folder, memory_mib=0):
    return Budget(memory_mib=memory_mib, folder=folder)


def test_rows_in_memory_and_on_disk_hold_the_same(tmp_path):
    values = torch.arange(12.0).reshape(4, 3)
    for rows in (MemmapRows((4, 3), "a"), MemmapRows((4, 3), "a", on_disk(tmp_path))):
        assert not rows.has([1])
        rows.put([3, 1], values[[3, 1]])
        rows.put(slice(0, 1), values[:1])
        assert rows.has([1, 3])
        assert not rows.has([1, 2])
        assert rows.count() == 3
        assert np.array_equal(rows.numpy()[[0, 1, 3]], values.numpy()[[0, 1, 3]])


def test_only_large_rows_go_to_a_file(tmp_path):
    MemmapRows((1000, 10), "a", on_disk(tmp_path, 1))
    assert not list(tmp_path.iterdir())
    MemmapRows((300_000, 1), "a", on_disk(tmp_path, 1))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".done", ".f32"]


def test_a_file_is_opened_again_with_what_it_had(tmp_path):
    MemmapRows((4, 3), "a", on_disk(tmp_path)).put([2], torch.ones(1, 3))
    again = MemmapRows((4, 3), "a", on_disk(tmp_path))
    assert again.has([2])
    assert again.numpy()[2].tolist() == [1, 1, 1]
    assert not MemmapRows((4, 3), "b", on_disk(tmp_path)).has([2])
    # Another size: nothing to go on from.
    assert not MemmapRows((5, 3), "a", on_disk(tmp_path)).has([2])


def test_pairs_too_large_for_memory_are_the_same_and_leave_no_file_behind(tmp_path):
    rng = np.random.default_rng(0)
    phi, norm = rng.standard_normal((9, 5)).astype(np.float32), np.ones(9, dtype=np.float32)
    responses, pairs = Features(phi, norm, norm), rng.integers(0, 9, (3000, 2))
    found = pair_features(responses, pairs, budget=on_disk(tmp_path / "scratch"))
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, pair_features(responses, pairs))
    assert not list((tmp_path / "scratch").iterdir())  # also not while it is in use: a kill is fine


def test_progress_speaks_of_long_passes_only():
    seconds, lines = iter([0, 0, 1, 20, 21, 40]), []
    progress = Progress("features", 400, lines.append, 15.0, lambda: next(seconds))
    for done in (100, 110, 300, 310, 390):  # a pass that went on at 100
        progress(done)
    assert lines == [
        "features: 300/400, 10.0/s, 0.2 min left",
        "features: 390/400, 7.2/s, 0.0 min left",
    ]
