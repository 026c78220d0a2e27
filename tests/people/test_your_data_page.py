"""The page "your own data", followed by a labeller who uses another tool (slow: it trains)."""

import json
import re

import pytest
import yaml

from activedpo_lib.params import read_profile
from activedpo_lib.people import exchange
from activedpo_lib.people.exchange import ImportFailed
from activedpo_lib.store import HOME

pytestmark = pytest.mark.slow
PAGE = HOME / "docs" / "how" / "your_data.md"


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_questions_go_out_and_answers_come_back_as_the_page_says(tmp_path, monkeypatch, capsys):
    text = PAGE.read_text(encoding="utf-8")
    ask, bring, compare = re.findall(r"```python\n(.*?)```", text, re.S)
    (oracle,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    profile = read_profile("smoke") | {"profile": "mine"} | yaml.safe_load(oracle)
    profile["oracle"]["answers"] = str(tmp_path / profile["oracle"]["answers"])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(profile))

    def answer(*rows):
        (tmp_path / "answers.jsonl").write_text(lines(rows))
        exec(bring, names)

    names = {}
    exec(ask, names)
    asked = [json.loads(line) for line in (tmp_path / "questions.jsonl").read_text().splitlines()]
    assert [set(row) for row in asked] == [{"pair", "prompt", "first", "second"}] * 6
    for bad in ("nobody asked", asked[0]["pair"]):
        said = "none of the 6 asked|stands there twice"
        with pytest.raises(ImportFailed, match=f"line [12].*({said})"):
            answer({"pair": bad, "answer": "first"}, {"pair": bad, "answer": "first"})
    answers = ["first", "second", "tie", "skip"]
    answer(*({"pair": q["pair"], "answer": said} for q, said in zip(asked, answers, strict=False)))
    assert "4 new answers" in capsys.readouterr().out
    exec(ask, names)
    assert [q.pair for q in names["questions"]] == [q["pair"] for q in asked[4:]]  # still open

    exchange.write_label_studio(names["questions"], tmp_path / "tasks.json")  # the other tool
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    chosen = {"result": [{"type": "pairwise", "value": {"selected": "left"}}], "lead_time": 3.0}
    exported = json.dumps([task | {"annotations": [chosen]} for task in tasks])
    (tmp_path / "export.json").write_text(exported)
    given = exchange.read_label_studio(tmp_path / "export.json", names["questions"], "ada")
    stored = names["Answers"](names["params"].oracle.answers)
    assert exchange.take_in(stored, given) == 2

    exec(ask, names)
    assert len(names["questions"]) == 6  # round 2's: other pairs
    assert not {q.pair for q in names["questions"]} & {q["pair"] for q in asked}
    assert "round 1/2: 4 labels" in capsys.readouterr().out  # a tie and a skip are none
    answer(*({"pair": q.pair, "answer": "first"} for q in names["questions"]))
    exec(ask, names)
    assert names["questions"] == []  # every round is finished
    exec(compare, names)
