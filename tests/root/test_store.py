import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from activedpo_lib import store
from activedpo_lib.params import load_params


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


def library_copy(folder):
    return shutil.copytree(
        store.LIBRARY, folder / "activedpo_lib", ignore=shutil.ignore_patterns("__pycache__")
    )


def test_the_code_digest_is_of_the_rooms_that_make_results_and_of_no_other(tmp_path):
    library = library_copy(tmp_path)

    def changed(name):
        file = library / name
        before = file.read_bytes()
        file.write_bytes(before + b"\n")
        digest = store.source_digest.__wrapped__(library)
        file.write_bytes(before)
        return digest != store.source_digest()

    assert store.source_digest.__wrapped__(library) == store.source_digest()
    rooms = (
        file for room in ("method", "tasks", "runs") for file in (library / room).rglob("*.py")
    )
    files = [file for file in (*library.glob("*.py"), *rooms) if file.stat().st_size]
    made_of = [file.relative_to(library).as_posix() for file in files]
    assert "method/strategies/classic.py" in made_of
    assert all(map(changed, (*made_of, "assets/manifest.json")))
    assert not any(map(changed, ("study/drawing/plots.py", "batch/batch.py", "study/claims.py")))


def test_a_user_path_starts_at_the_checkout_or_where_none_is_at_the_current_folder(tmp_path):
    library_copy(tmp_path / "site")
    (tmp_path / "work").mkdir()
    told = subprocess.run(
        [sys.executable, "-c", "from activedpo_lib.store import locate; print(locate('a.jsonl'))"],
        cwd=tmp_path / "work",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.strip() == str(tmp_path / "work" / "a.jsonl")
    assert store.locate("a.jsonl") == store.HOME / "a.jsonl"
    assert store.locate("/a.jsonl") == Path("/a.jsonl")


def model_files(folder, weights=b"weights"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return str(folder)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("model.base", ("task", "model", "sft")),
        ("task.reward_model", ()),
        ("evaluation.evaluator", ()),
        ("task.sft", ("task", "model")),
        ("task.comparisons", ("task", "model", "oracle")),
    ],
)
def test_a_local_folder_enters_the_key_by_its_contents(name, parts, tmp_path):
    folder = model_files(tmp_path / "mine" / "part").removesuffix("/part")
    params = load_params("smoke", overrides={name: folder})
    first = store.content_key(params, *parts)
    assert store.content_key(params, *parts) == first
    model_files(tmp_path / "mine" / "part", b"WEIGHTS")  # as long as before
    second = store.content_key(params, *parts)
    (tmp_path / "mine" / "part" / "model.safetensors").rename(tmp_path / "mine" / "moved")
    third = store.content_key(params, *parts)
    assert len({first, second, third}) == 3
    (tmp_path / "mine" / ".cache").mkdir()
    (tmp_path / "mine" / ".cache" / "note").write_text("a downloader's")
    assert store.content_key(params, *parts) == third


def test_a_folder_that_a_part_does_not_name_is_not_in_its_key(tmp_path):
    judge = model_files(tmp_path / "judge")
    params = load_params("smoke", overrides={"evaluation.evaluator": judge})
    before = store.content_key(params), store.content_key(params, "task", "model", "sft")
    model_files(tmp_path / "judge", b"WEIGHTS")
    after = store.content_key(params), store.content_key(params, "task", "model", "sft")
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_a_large_folder_is_read_once_for_all_keys(tmp_path, monkeypatch):
    folder, read = model_files(tmp_path / "base"), []
    real = store.hashlib.file_digest
    monkeypatch.setattr(
        store.hashlib, "file_digest", lambda *given: (read.append(given), real(*given))[1]
    )
    keys = {
        store.content_key(load_params("smoke", overrides={"model.base": folder, "rounds": rounds}))
        for rounds in range(1, 9)
    }
    assert (len(keys), len(read)) == (8, 2)
