"""The user's own JSONL: what is refused, and with which words; and the whole pipeline on real
sentences.
"""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

from activedpo_lib.batch import batch
from activedpo_lib.batch.execute import execute
from activedpo_lib.params import load_params
from activedpo_lib.runs import artifacts
from activedpo_lib.runs.launch import run_rounds
from activedpo_lib.store import HOME
from activedpo_lib.tasks.convert import convert_qa, convert_scitldr, distinct, main
from activedpo_lib.tasks.files import DataError, files_task, read_rows

COLUMNS = ("prompt", "chosen", "rejected")
GOOD = {"prompt": "Why?", "chosen": " Because.", "rejected": " No."}
REAL = os.environ.get("ACTIVEDPO_REAL_DATA")


def written(path, lines):
    path.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        + b"\n"
    )
    return str(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([GOOD, b"{not json"], r"line 2: not JSON \(.*column 2\); expected one object a line"),
        ([GOOD, b"[1]"], "line 2: expected a JSON object, got list"),
        (
            [{"prompt": "Why?", "chosen": " a"}],
            r"line 1: the column 'rejected' is missing; it has \['chosen', 'prompt'\]",
        ),
        ([GOOD | {"chosen": ""}], "line 1: 'chosen' is empty; remove the row or fill it in"),
        ([GOOD | {"chosen": "  \n"}], "line 1: 'chosen' is empty"),
        ([GOOD | {"prompt": 3}], "line 1: 'prompt' must be text, got int"),
        ([GOOD | {"prompt": None}], "line 1: 'prompt' must be text, got NoneType"),
        (
            [GOOD, GOOD | {"prompt": "Who?"}, GOOD],
            "line 3: a duplicate of line 1; remove one of the two",
        ),
        ([GOOD | {"rejected": " Because."}], "line 1: chosen and rejected are the same text"),
        (
            [GOOD, '{"prompt": "caf\xe9"}'.encode("latin1")],
            r"line 2: not UTF-8 \(byte 15\); convert the file: iconv",
        ),
        ([GOOD | {"prompt": "\ud800"}], "line 1: 'prompt' has a lone surrogate"),
        ([b""], "has no rows; expected one JSON object a line"),
    ],
)
def test_a_bad_row_is_refused_naming_file_and_line(lines, message, tmp_path):
    path = written(tmp_path / "comparisons.jsonl", lines)
    with pytest.raises(DataError, match=message) as error:
        read_rows(path, COLUMNS, COLUMNS)
    assert path in str(error.value)


@pytest.mark.parametrize("path", ["", "nowhere.jsonl"])
def test_a_missing_file_says_what_was_expected(path):
    with pytest.raises(
        DataError, match=r"not a file; expected JSONL rows \{prompt, chosen, rejected\}"
    ):
        read_rows(path, COLUMNS, COLUMNS)


def test_a_byte_order_mark_and_blank_lines_are_read_over(tmp_path):
    path = written(tmp_path / "c.jsonl", [b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), b"", b"   "])
    assert read_rows(path, COLUMNS, COLUMNS) == [GOOD]


def sentences(count):
    """Plain English of our own, different in every row."""
    things = [
        "river",
        "letter",
        "garden",
        "machine",
        "song",
        "winter",
        "window",
        "story",
        "market",
        "bridge",
    ]
    verbs = ["grows", "falls", "waits", "turns", "opens", "breaks", "sings"]
    return [
        f"The {things[i % 10]} {verbs[i % 7]} near the {things[(i // 7) % 10]} number {i}"
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def own_files(tmp_path_factory):
    folder, texts = tmp_path_factory.mktemp("files"), sentences(90)
    sft = [
        {"prompt": f"{t}. In short:", "completion": f" {t.split()[1]} {t.split()[2]}."}
        for t in texts
    ]
    pairs = [
        {"prompt": r["prompt"], "chosen": r["completion"], "rejected": f" {t}"}
        for r, t in zip(sft, texts, strict=True)
    ]
    prompts = [{"prompt": f"{t}, they say. In short:"} for t in texts[:40]]
    rows = {"sft": sft, "comparisons": pairs, "prompts": prompts}
    return {
        f"task.{name}": written(folder / f"{name}.jsonl", lines) for name, lines in rows.items()
    }


SMALL = {
    "task.max_new_tokens": 12,
    "model.hidden_size": 32,
    "model.vocabulary": 400,
    "model.pretrain_epochs": 1,
    "rounds": 2,
    "batch_size": 5,
    "generation.prompts": 8,
    "evaluation.prompts": 6,
    "selection.dimensions": 64,
}


def test_own_files_run_through_every_step(own_files, tmp_path):
    params = load_params("files", overrides=own_files | SMALL)
    table = run_rounds(params, 0, tmp_path, log=lambda _: None)
    assert table["labels"].tolist() == [0, 5, 10]
    assert table["utility"].isna().all()
    assert table["reward"].notna().all()
    oracle = artifacts.made(artifacts.oracle_folder(params, tmp_path))
    assert oracle["held_out"] == 9
    assert oracle["comparisons"] == 81


def test_changed_data_is_another_run(own_files, tmp_path):
    params = load_params("files", overrides=own_files)
    changed = written(tmp_path / "prompts.jsonl", [{"prompt": "Something else. In short:"}])
    other = load_params("files", overrides=own_files | {"task.prompts": changed})
    assert artifacts.content_key(params) != artifacts.content_key(other)
    before = artifacts.content_key(other)
    written(Path(changed), [{"prompt": "And again. In short:"}])
    assert artifacts.content_key(other) != before


def test_evaluation_and_held_out_prompts_are_apart(own_files):
    task = files_task(
        "t", *(own_files[f"task.{name}"] for name in ("sft", "comparisons", "prompts")), 10
    )
    assert len(task.evaluation) == 10
    assert not {p.text for p in task.evaluation} & {p.text for p in task.prompts}
    assert not {c.prompt for c in task.held_out} & {c.prompt for c in task.comparisons}


def test_no_comparison_of_an_evaluation_prompt_trains_the_reward_model(own_files, tmp_path):
    prompts = [f"Why {n}? In short:" for n in range(20)]
    rows = [GOOD | {"prompt": prompt} for prompt in prompts]
    compared = written(tmp_path / "c.jsonl", rows)
    asked = written(tmp_path / "p.jsonl", [{"prompt": prompt} for prompt in prompts])
    task = files_task("t", own_files["task.sft"], compared, asked, 8)
    trained = {c.prompt for c in task.comparisons}
    assert len(trained) == 20 - 8 - 2
    assert not trained & {p.text for p in task.evaluation}
    assert trained <= {p.text for p in task.prompts}
    with pytest.raises(DataError, match="20 comparisons of 1 prompts that evaluation does not"):
        files_task("t", own_files["task.sft"], compared, asked, 19)


def test_too_few_prompts_are_named(own_files):
    with pytest.raises(
        DataError, match="40 prompts, of which evaluation takes 40: none is left for the pool"
    ):
        files_task(
            "t", *(own_files[f"task.{name}"] for name in ("sft", "comparisons", "prompts")), 40
        )


def test_a_prompt_longer_than_the_context_is_named(own_files, tmp_path):
    long = written(
        tmp_path / "prompts.jsonl", [{"prompt": f"{i} " + "word " * 3000} for i in range(30)]
    )
    params = load_params("files", overrides=own_files | SMALL | {"task.prompts": long})
    with pytest.raises(
        ValueError, match=r"more than the model's context of 2048: shorten or remove the prompt"
    ):
        run_rounds(params, 0, tmp_path, log=lambda _: None)


def test_bad_files_stop_the_batch_before_any_work(tmp_path, capsys):
    profile = tmp_path / "mine.yaml"
    text = (Path(__file__).parents[2] / "params" / "files.yaml").read_text()
    profile.write_text(text.replace("data/", f"{tmp_path}/nowhere/"))
    assert batch.main([str(profile)]) == 2
    assert (
        "sft.jsonl: not a file; expected JSONL rows {prompt, completion}" in capsys.readouterr().err
    )


def test_the_converter_reads_preferences_by_pair():
    record = {
        "question": "Q?",
        "gold": "G.",
        "preference": [1, 2, 0, 1, 1, 2],
        **{f"prediction {n}": f"P{n}" for n in (1, 2, 3, 4)},
    }
    _, comparisons, _ = convert_qa([record])
    found = [(c["chosen"].strip(), c["rejected"].strip()) for c in comparisons]
    assert found == [("P1", "P2"), ("P3", "P1"), ("P2", "P3"), ("P2", "P4"), ("P4", "P3")]


def test_the_converter_prefers_the_sentence_nearer_to_the_summary():
    record = {
        "source": ["One.", "Two.", "Three."],
        "rouge_scores": [0.2, 0.9, 0.1],
        "target": ["Two!"],
    }
    sft, comparisons, prompts = convert_scitldr([record], [record])
    assert sft == [{"prompt": "One. Two. Three.\n\nTL;DR:", "completion": " Two!"}]
    assert (comparisons[0]["chosen"], comparisons[0]["rejected"]) == (" Two.", " Three.")
    assert prompts == [{"prompt": "One. Two. Three.\n\nTL;DR:"}]
    assert distinct(prompts * 2) == prompts


QA_RECORD = {"question": "Q?", "gold": "G.", "preference": [1, 2, 0, 1, 1, 2]} | {
    f"prediction {n}": f"P{n}" for n in (1, 2, 3, 4)
}
PAPER = {"source": ["One.", "Two."], "rouge_scores": [0.2, 0.9], "target": ["Two!"]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("qa_feedback_dev.json", None, "qa_feedback_dev.json: not a file; SOURCE must hold"),
        ("qa_feedback_dev.json", "{", "qa_feedback_dev.json: not JSON in UTF-8"),
        ("qa_feedback_dev.json", "{}", "expected a list of records, got dict"),
        ("qa_feedback_dev.json", '[{"question": 3}]', "record 1: expected 'question' as str"),
        (
            "qa_feedback_dev.json",
            json.dumps([QA_RECORD | {"preference": [1]}]),
            "convert_qa: a rec",
        ),
        ("scitldr_dev.jsonl", "[1]", "scitldr_dev.jsonl, record 1: expected 'source' as list"),
        ("scitldr_train.jsonl", json.dumps(PAPER | {"target": []}), "convert_scitldr: a record is"),
        ("scitldr_test.jsonl", None, "scitldr_test.jsonl: not a file"),
    ],
)
def test_the_converters_command_names_what_it_cannot_read_and_writes_nothing(
    name, text, message, tmp_path, capsys
):
    files = {f"scitldr_{part}.jsonl": json.dumps(PAPER) for part in ("train", "dev", "test")}
    files |= {"qa_feedback_dev.json": json.dumps([QA_RECORD])}
    for file, content in (files | {name: text}).items():
        if content is not None:
            (tmp_path / file).write_text(content)
    assert main([str(tmp_path), str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / name).write_text(files[name])
    assert main([str(tmp_path), str(tmp_path / "out")]) == 0


@pytest.mark.skipif(
    not REAL, reason="ACTIVEDPO_REAL_DATA names no folder with QA-feedback and SciTLDR"
)
def test_real_text_and_real_labels_run(tmp_path):
    main([REAL, str(tmp_path)])
    for task in ("qa", "scitldr"):
        paths = {
            f"task.{name}": str(tmp_path / task / f"{name}.jsonl")
            for name in ("sft", "comparisons", "prompts")
        }
        for name, count in (("sft", 60), ("comparisons", 60), ("prompts", 40)):
            path = Path(paths[f"task.{name}"])
            path.write_text("".join(path.read_text().splitlines(keepends=True)[:count]))
        table = run_rounds(
            load_params("files", task, overrides=paths | SMALL),
            0,
            tmp_path / "runs",
            log=lambda _: None,
        )
        assert table["labels"].tolist() == [0, 5, 10]


@pytest.mark.studies
def test_the_two_questions_before_any_strategy_are_asked_of_own_text_with_a_reward_model(
    own_files, tmp_path
):
    names = {name.removeprefix("task."): path for name, path in own_files.items()}
    profile = {
        "profile": "mine", "seeds": 2, "rounds": 2, "batch_size": 4, "strategies": ["random"],
        "tasks": {"mine": {"source": "files", "max_new_tokens": 12} | names},
        "models": {"llama": {"family": "llama", "base": "config", "hidden_size": 32,
                             "vocabulary": 400, "pretrain_epochs": 1}},
        "generation": {"prompts": 8}, "evaluation": {"prompts": 6}, "dpo": {"epochs": 2},
        "selection": {"dimensions": 64},
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(profile))
    given = {"profile": str(tmp_path / "mine.yaml"), "root": str(tmp_path / "runs")}
    given |= {"seeds": [0, 1], "figures": str(tmp_path)}
    for name in ("06_label_elasticity", "07_room"):
        execute(HOME / "notebooks" / f"{name}.ipynb", tmp_path / f"{name}.ipynb", given)
    for figure in ("fig15_label_elasticity", "fig16_room"):
        found = pd.read_csv(tmp_path / f"{figure}.csv")
        assert found["reward"].notna().all()
        assert found["utility"].isna().all()  # nobody knows the truth of real text
    assert "utility" not in pd.read_csv(tmp_path / "fig16_room_criteria.csv").to_string()
