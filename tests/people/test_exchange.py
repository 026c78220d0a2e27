"""Questions out and answers back: whole or not at all, and every error names its line."""

import copy
import json

import pytest
from people_cases import questions
from trl import DPOConfig, DPOTrainer

from activedpo_lib.method import models
from activedpo_lib.people import exchange
from activedpo_lib.people.answers import Answers
from activedpo_lib.people.exchange import ImportFailed
from activedpo_lib.records import LabelledPair, Prompt, Response
from activedpo_lib.streams import stream


def written(tmp_path, *rows):
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_json_lines_go_out_and_answers_come_back(tmp_path):
    exchange.write_questions(questions(), tmp_path / "questions.jsonl")
    lines = (tmp_path / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [set(row) for row in rows] == [{"pair", "prompt", "first", "second"}] * 6
    path = written(tmp_path, *({"pair": row["pair"], "answer": "second"} for row in rows), "")
    given = exchange.read_answers(path, questions(), "ada")
    answers = Answers(tmp_path / "a.sqlite")
    assert exchange.take_in(answers, given) == 6
    assert exchange.take_in(answers, given) == 0  # the same file again
    assert {one.answer for one in answers.by("ada").values()} == {"second"}


@pytest.mark.parametrize(
    "rows, message",
    [
        (["{"], "line 1: not JSON"),
        (["[1]"], "line 1: expected an object"),
        ([{"pair": "pair0", "answer": "tie"}, {"pair": "other", "answer": "tie"}],
         "line 2: the pair 'other' is none of the 6 asked"),
        ([{"pair": "pair0", "answer": "tie"}, {"pair": "pair0", "answer": "tie"}],
         "line 2: the pair pair0 stands"),
        ([{"pair": "pair0", "answer": "left"}], "line 1: the answer is 'left', expected one of"),
        ([{"pair": "pair0", "answer": "tie", "seconds": "long"}], "line 1: shown_left is"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(tmp_path, rows, message):
    with pytest.raises(ImportFailed, match=message):
        exchange.read_answers(written(tmp_path, *rows), questions(), "ada")


def studio(*annotations):
    """Label Studio's export of the first questions, each with an annotation or None."""
    tasks = []
    for question, annotation in zip(questions(), annotations, strict=False):
        tasks.append({"id": 1, "data": {"pair": question.pair, "left": question.first}})
        tasks[-1]["annotations"] = [annotation] if annotation else []
    return tasks


def chose(side):
    result = {"type": "pairwise", "from_name": "better", "value": {"selected": side}}
    return {"result": [result], "lead_time": 2.5}


def test_label_studios_template_and_its_export(tmp_path):
    exchange.write_label_studio(questions(), tmp_path / "tasks.json")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert tasks[0]["data"] == {
        "pair": "pair0", "prompt": "prompt 0", "left": "one 0", "right": "two 0",
    }  # fmt: skip
    for name in ("prompt", "left", "right"):
        assert f'value="${name}"' in exchange.LABEL_STUDIO
    tie = {"result": [{"type": "choices", "value": {"choices": ["tie"]}}]}
    cancelled = {"was_cancelled": True, "result": []}
    path = tmp_path / "export.json"
    path.write_text(json.dumps(studio(chose("left"), chose("right"), tie, cancelled, None)))
    given = exchange.read_label_studio(path, questions(), "ada")
    assert [one.answer for one in given] == ["first", "second", "tie", "skip"]
    assert given[0].seconds == 2.5


def test_label_studios_bad_exports_are_named(tmp_path):
    path = tmp_path / "export.json"
    for content, message in (
        ("{", "not JSON"),
        ("{}", "a list of tasks"),
        ("[{}]", "task 1: it has no data"),
        (json.dumps(studio(chose("up"))), "task 1: selected is 'up'"),
        (json.dumps(studio(chose("left")) * 2), "task 2: the pair pair0 stands"),
    ):
        path.write_text(content)
        with pytest.raises(ImportFailed, match=message):
            exchange.read_label_studio(path, questions(), "ada")


def labelled(count=4, tie=False):
    words = ["alpha", "beta", "gamma", "delta"]
    return [
        LabelledPair(
            Prompt(f"p{at}", f"say {words[at]}"), (1, 2), Response(f"p{at}", (3,), " good"),
            Response(f"p{at}", (4,), " bad"), 1, tie,
        )
        for at in range(count)
    ]  # fmt: skip


def test_labelled_pairs_are_rows_that_trls_own_trainer_takes(tmp_path):
    data = exchange.preference_dataset(labelled())
    assert data[0] == {"prompt": "say alpha", "chosen": " good", "rejected": " bad"}
    words = models.word_tokenizer(["say", "alpha", "beta", "gamma", "delta", "good", "bad"])
    size = models.PolicySize(len(words), 32, 2, 4)
    model = models.new_policy("llama", size, stream=stream(0, "base"))
    config = DPOConfig(
        output_dir=str(tmp_path), report_to="none", bf16=False, use_cpu=True, max_steps=1,
        save_strategy="no", gradient_checkpointing=False, disable_tqdm=True,
    )  # fmt: skip
    trainer = DPOTrainer(
        model, copy.deepcopy(model), args=config, train_dataset=data, processing_class=words
    )
    assert trainer.train().training_loss == pytest.approx(0.6931, abs=1e-3)


def test_ties_and_nothing_are_no_preference_rows():
    assert len(exchange.preference_dataset([*labelled(2), *labelled(1, tie=True)])) == 2
    with pytest.raises(ValueError, match="no labelled pair to export"):
        exchange.preference_dataset(labelled(2, tie=True))
