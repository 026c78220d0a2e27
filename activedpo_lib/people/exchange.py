"""Questions out to other labelling tools and their answers back: JSON lines, Label Studio's
pairwise template, and labelled pairs as TRL's preference format.

An import is stored whole or not at all: an unknown pair, one that stands twice or an impossible
answer is an error that names its line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from activedpo_lib.people.answers import ANSWERS, Answers, AnswersError, Given, Question
from activedpo_lib.records import LabelledPair
from activedpo_lib.store import write_text

LABEL_STUDIO = """<View>
  <Text name="prompt" value="$prompt"/>
  <Pairwise name="better" toName="left,right"/>
  <Text name="left" value="$left"/>
  <Text name="right" value="$right"/>
  <Choices name="tie" toName="prompt" choice="single" required="false">
    <Choice value="tie"/>
  </Choices>
</View>
"""


class ImportFailed(AnswersError):
    """A file of answers from elsewhere that does not fit the questions; nothing was stored."""


def write_questions(questions: Sequence[Question], path: Path | str) -> None:
    """Write questions as JSON lines {pair, prompt, first, second}; an answer is a line {pair,
    answer}, answer being first, second, tie or skip.
    """
    names = ("pair", "prompt", "first", "second")
    rows = [{name: getattr(question, name) for name in names} for question in questions]
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_answers(path: Path | str, questions: Sequence[Question], labeller: str) -> list[Given]:
    """The answers in a file of JSON lines; `seconds` and `shown_left` are taken where they stand.

    Raises ImportFailed naming the line.
    """
    rows = []
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ImportFailed(f"{where}: not JSON ({error.msg})") from None
        if not isinstance(row, dict):
            raise ImportFailed(f"{where}: expected an object with pair and answer, got {line[:60]}")
        rows.append((where, row))
    return _checked(rows, questions, labeller)


def write_label_studio(questions: Sequence[Question], path: Path | str) -> None:
    """Write questions as Label Studio's tasks, to import into a project with LABEL_STUDIO as its
    labelling interface.
    """
    tasks = [
        {"data": {"pair": q.pair, "prompt": q.prompt, "left": q.first, "right": q.second}}
        for q in questions
    ]
    write_text(path, json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")


def read_label_studio(
    path: Path | str, questions: Sequence[Question], labeller: str
) -> list[Given]:
    """The answers in Label Studio's JSON export: the last annotation of each task; a cancelled or
    empty one is a skip. Raises ImportFailed naming the task.
    """
    try:
        tasks = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ImportFailed(f"{path}: not JSON ({error.msg}, line {error.lineno})") from None
    if not isinstance(tasks, list):
        raise ImportFailed(f"{path}: expected Label Studio's JSON export, a list of tasks")
    rows = []
    for number, task in enumerate(tasks, 1):
        where = f"{path}, task {number}"
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            raise ImportFailed(f"{where}: it has no data; export the project as JSON")
        if found := task.get("annotations"):
            rows.append((where, {"pair": data.get("pair"), **_of_annotation(found[-1], where)}))
    return _checked(rows, questions, labeller)


def _of_annotation(annotation: Mapping[str, Any], where: str) -> dict[str, Any]:
    said: dict[str, Any] = {"seconds": annotation.get("lead_time") or 0.0, "answer": "skip"}
    if annotation.get("was_cancelled"):
        return said
    for result in annotation.get("result", ()):
        value = result.get("value", {})
        if result.get("type") == "pairwise":
            selected = value.get("selected")
            if selected not in ("left", "right"):
                raise ImportFailed(f"{where}: selected is {selected!r}, expected left or right")
            said["answer"] = "first" if selected == "left" else "second"
        elif "tie" in value.get("choices", ()):
            said["answer"] = "tie"
    return said


def _checked(
    rows: Iterable[tuple[str, dict[str, Any]]], questions: Sequence[Question], labeller: str
) -> list[Given]:
    known = {q.pair for q in questions}
    seen: dict[str, str] = {}
    found = []
    for where, row in rows:
        pair, answer = row.get("pair"), row.get("answer")
        if pair not in known:
            raise ImportFailed(f"{where}: the pair {pair!r} is none of the {len(known)} asked")
        if pair in seen:
            raise ImportFailed(
                f"{where}: the pair {pair} stands there twice, first in {seen[pair]}"
            )
        if answer not in ANSWERS:
            expected = ", ".join(ANSWERS)
            raise ImportFailed(f"{where}: the answer is {answer!r}, expected one of {expected}")
        left, seconds = row.get("shown_left", "first"), row.get("seconds", 0.0)
        if left not in ("first", "second") or not isinstance(seconds, int | float):
            raise ImportFailed(f"{where}: shown_left is {left!r} and seconds {seconds!r}")
        seen[pair] = where
        found.append(Given(pair, labeller, answer, left, float(seconds)))
    return found


def take_in(answers: Answers, given: Sequence[Given]) -> int:
    """Store answers from elsewhere; returns how many were new, the others being there already."""
    for labeller in {one.labeller for one in given}:
        answers.enter(labeller)
    return sum(answers.give(one) for one in given)


def preference_rows(labelled: Iterable[LabelledPair]) -> Iterator[dict[str, str]]:
    """Labelled pairs as TRL's explicit-prompt preference rows {prompt, chosen, rejected}; a tie, a
    soft label, has no such row.
    """
    for pair in labelled:
        if not pair.tie:
            texts = {"chosen": pair.chosen.text, "rejected": pair.rejected.text}
            yield {"prompt": pair.prompt.text, **texts}


def preference_dataset(labelled: Iterable[LabelledPair]) -> Dataset:
    """The same as a `datasets.Dataset`, which TRL's DPOTrainer reads."""
    rows = list(preference_rows(labelled))
    if not rows:
        raise ValueError("no labelled pair to export: label some first; ties do not count")
    return Dataset.from_list(rows)
