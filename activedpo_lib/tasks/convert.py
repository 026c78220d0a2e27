"""Turn QA-feedback and SciTLDR into the form of the task `files`.

`python -m activedpo_lib.tasks.convert SOURCE TARGET` reads qa_feedback_dev.json and
scitldr_{train,dev,test}.jsonl from the folder SOURCE and writes
TARGET/{qa,scitldr}/{sft,comparisons,prompts}.jsonl.

QA-feedback (FineGrainedRLHF): a question -> a long answer. SFT: the human's answer to the first
half of the questions; prompts: the other half; comparisons: the humans' pairwise preferences
between sampled answers, ties left out. SciTLDR: an abstract -> one sentence. SFT: the human
summaries of the training part; prompts: the other parts' abstracts; comparisons: *derived*, for it
has no human preferences: of two sentences of an abstract, the one nearer to the human summary
(ROUGE, as the data give it) is chosen.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from activedpo_lib.store import write_text
from activedpo_lib.tasks.files import DataError

Row = dict[str, str]
Rows = tuple[list[Row], list[Row], list[Row]]  # sft, comparisons, prompts
QA_COLUMNS = {
    "question": str,
    "gold": str,
    "preference": list,
    **{f"prediction {n}": str for n in range(1, 5)},
}
SCITLDR_COLUMNS = {"target": list, "rouge_scores": list}

PREFERENCES = tuple(
    combinations(range(1, 5), 2)
)  # the order of QA-feedback's six: 12, 13, 14, 23, 24, 34
MOST_WORDS = 60  # of an abstract, cut at a sentence's end: a laptop's share of memory and time


def convert_qa(records: Iterable[Mapping[str, Any]]) -> Rows:
    """(sft, comparisons, prompts) from QA-feedback's records."""
    asked = {record["question"].strip(): record for record in records}
    questions = list(asked)
    half = len(questions) // 2
    sft = [
        {"prompt": _question(q), "completion": " " + asked[q]["gold"].strip()}
        for q in questions[:half]
    ]
    comparisons = []
    for question, record in asked.items():
        for (i, j), preferred in zip(PREFERENCES, record["preference"], strict=True):
            first, second = (" " + record[f"prediction {n}"].strip() for n in (i, j))
            if preferred and first != second:
                chosen, rejected = (first, second) if preferred == 1 else (second, first)
                comparisons.append(
                    {"prompt": _question(question), "chosen": chosen, "rejected": rejected}
                )
    return sft, comparisons, [{"prompt": _question(q)} for q in questions[half:]]


def _question(text: str) -> str:
    return f"{text}\n\nAnswer:"


def convert_scitldr(
    training: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]
) -> Rows:
    """(sft, comparisons, prompts) from SciTLDR's records."""
    sft = [
        {"prompt": _abstract(r), "completion": " " + r["target"][0].strip()}
        for r in training
        if r["target"][0].strip()
    ]
    comparisons = []
    for record in training:
        if len(record["rouge_scores"]) != len(record["source"]):  # a few records lack scores
            continue
        scored = sorted(zip(record["rouge_scores"], record["source"], strict=True), reverse=True)
        (high, best), (low, worst) = scored[0], scored[-1]
        if high > low and best.strip() and worst.strip():
            comparisons.append(
                {
                    "prompt": _abstract(record),
                    "chosen": " " + best.strip(),
                    "rejected": " " + worst.strip(),
                }
            )
    return sft, comparisons, [{"prompt": _abstract(record)} for record in others]


def _abstract(record: Mapping[str, Any]) -> str:
    kept: list[str] = []
    words = 0
    for sentence in record["source"]:
        words += len(sentence.split())
        if kept and words > MOST_WORDS:
            break
        kept.append(sentence.strip())
    return " ".join(kept) + "\n\nTL;DR:"


def distinct(rows: Iterable[Row]) -> list[Row]:
    """The rows without repetitions, in order: `files` takes a duplicate for an error."""
    return list({tuple(row.values()): row for row in rows}.values())


def write(
    folder: Path | str, sft: Iterable[Row], comparisons: Iterable[Row], prompts: Iterable[Row]
) -> None:
    """Write the three JSONL files of one task."""
    for name, rows in {"sft": sft, "comparisons": comparisons, "prompts": prompts}.items():
        write_text(
            Path(folder) / f"{name}.jsonl",
            "".join(json.dumps(row) + "\n" for row in distinct(rows)),
        )


def read_records(path: Path, columns: Mapping[str, type]) -> list[dict[str, Any]]:
    """The records of a JSON list or of a JSONL file. Raises DataError naming file and record where
    the file is missing or no JSON, or a record lacks one of `columns` or has another type there.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: not a file; SOURCE must hold qa_feedback_dev.json and "
            "scitldr_{train,dev,test}.jsonl"
        )
    try:
        text = path.read_text(encoding="utf-8")
        lines = [line for line in text.split("\n") if line.strip()]
        records = json.loads(text) if path.suffix == ".json" else list(map(json.loads, lines))
    except ValueError as error:  # JSON's and UTF-8's own errors are kin of it
        raise DataError(f"{path}: not JSON in UTF-8 ({error}); download it anew") from None
    if not isinstance(records, list):
        raise DataError(f"{path}: expected a list of records, got {type(records).__name__}")
    for number, record in enumerate(records, 1):
        for name, kind in columns.items():
            found = record.get(name) if isinstance(record, dict) else record
            if not isinstance(record, dict) or not isinstance(found, kind):
                raise DataError(
                    f"{path}, record {number}: expected {name!r} as {kind.__name__}, got "
                    f"{type(found).__name__}"
                )
    return records


def _convert(make: Callable[..., Rows], *records: list[dict[str, Any]]) -> Rows:
    try:
        return make(*records)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{make.__name__}: a record is not as the data's authors made it "
            f"({type(error).__name__}: {error}); download the files anew"
        ) from error


def convert(source: Path, target: Path) -> None:
    """Write both tasks of the folder `source` to `target`; everything is read before anything is
    written. Raises DataError for a missing file or a malformed record.
    """
    qa = read_records(source / "qa_feedback_dev.json", QA_COLUMNS)
    parts = [
        read_records(source / f"scitldr_{part}.jsonl", {"source": list} | more)
        for part, more in (("train", SCITLDR_COLUMNS), ("dev", {}), ("test", {}))
    ]
    made = {
        "qa": _convert(convert_qa, qa),
        "scitldr": _convert(convert_scitldr, parts[0], parts[1] + parts[2]),
    }
    for name, rows in made.items():
        write(target / name, *rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 2 where the data cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m activedpo_lib.tasks.convert", description=__doc__.splitlines()[0]
    )
    parser.add_argument("source", type=Path, help="a folder with the downloaded files")
    parser.add_argument("target", type=Path, help="a folder for the three JSONL files a task")
    given = parser.parse_args(arguments)
    try:
        convert(given.source, given.target)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
