import json

import pandas as pd
import pytest

from activedpo_lib import store
from activedpo_lib.streams import choose, stream


def test_a_folder_is_whole_or_absent(tmp_path):
    def stopped_midway():
        with store.write_folder(tmp_path / "run") as folder:
            (folder / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stopped_midway()
    assert list(tmp_path.iterdir()) == []
    with store.write_folder(tmp_path / "run") as folder:
        (folder / "whole").write_text("x")
        assert not (tmp_path / "run").exists()
    assert [p.name for p in tmp_path.rglob("*")] == ["run", "whole"]


def test_the_first_to_finish_a_folder_keeps_it(tmp_path):
    with store.write_folder(tmp_path / "run") as slow:
        (slow / "by").write_text("slow")
        with store.write_folder(tmp_path / "run") as fast:
            (fast / "by").write_text("fast")
    assert (tmp_path / "run" / "by").read_text() == "fast"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    store.write_text(tmp_path / "t.csv", "old")
    monkeypatch.setattr(store.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        store.write_text(tmp_path / "t.csv", "new")
    assert (tmp_path / "t.csv").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_tables_and_json_come_back(tmp_path):
    table = pd.DataFrame({"a": [1, 2], "b": [0.5, float("nan")]})
    store.write_table(tmp_path / "t.csv", table)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), table)
    store.write_json(tmp_path / "j.json", {"x": [1]})
    assert store.read_json(tmp_path / "j.json") == {"x": [1]}


def test_provenance_names_what_a_result_came_from():
    found = store.provenance("abc", 3)
    assert found["packages"]["torch"].startswith("2.13.0")
    assert json.dumps(found)
    assert len(found["code"]) == 8


def test_streams_are_named_apart_and_the_same_everywhere():
    assert stream(0, "a", 1).numpy().random() == stream(0, "a", 1).numpy().random()
    draws = {
        stream(seed, name, t).numpy().random() for seed in (0, 1) for name in "ab" for t in (1, 2)
    }
    assert len(draws) == 8
    assert stream(0, "a").child(1) == stream(0, "a", 1)
    # Pinned: another value would mean that every figure changes.
    assert stream(0, "prompts", 1).numpy().integers(0, 2**32) == 4212783934
    assert stream(0, "select", 1).uniforms([("p", 0, 1)])[0] == pytest.approx(
        0.4661446537465638, abs=1e-15
    )


def test_keys_belong_to_the_items_not_their_places():
    keys = stream(0, "k").uniforms(["a", "b", "c"])
    assert stream(0, "k").uniforms(["c", "a", "b"]).tolist() == [keys[2], keys[0], keys[1]]
    assert 0 <= keys.min() < keys.max() < 1


def test_choose_is_uniform():
    rng = stream(0, "c").numpy()
    counts = pd.Series([choose(rng, "abc") for _ in range(3000)]).value_counts()
    assert (abs(counts - 1000) < 120).all()
