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
from itertools import combinations
from pathlib import Path

from activedpo_lib.store import write_text

PREFERENCES = tuple(
    combinations(range(1, 5), 2)
)  # the order of QA-feedback's six: 12, 13, 14, 23, 24, 34
MOST_WORDS = 60  # of an abstract, cut at a sentence's end: a laptop's share of memory and time


def convert_qa(records):
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


def _question(text):
    return f"{text}\n\nAnswer:"


def convert_scitldr(training, others):
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


def _abstract(record):
    kept, words = [], 0
    for sentence in record["source"]:
        words += len(sentence.split())
        if kept and words > MOST_WORDS:
            break
        kept.append(sentence.strip())
    return " ".join(kept) + "\n\nTL;DR:"


def distinct(rows):
    """The rows without repetitions, in order: `files` takes a duplicate for an error."""
    return list({tuple(row.values()): row for row in rows}.values())


def write(folder, sft, comparisons, prompts):
    """Write the three JSONL files of one task."""
    for name, rows in {"sft": sft, "comparisons": comparisons, "prompts": prompts}.items():
        write_text(
            Path(folder) / f"{name}.jsonl",
            "".join(json.dumps(row) + "\n" for row in distinct(rows)),
        )


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m activedpo_lib.tasks.convert", description=__doc__.splitlines()[0]
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args(arguments)
    write(
        given.target / "qa",
        *convert_qa(
            json.loads((given.source / "qa_feedback_dev.json").read_text(encoding="utf-8"))
        ),
    )
    parts = {
        part: [
            json.loads(line)
            for line in (given.source / f"scitldr_{part}.jsonl")
            .read_text(encoding="utf-8")
            .split("\n")
            if line
        ]
        for part in ("train", "dev", "test")
    }
    write(given.target / "scitldr", *convert_scitldr(parts["train"], parts["dev"] + parts["test"]))


if __name__ == "__main__":
    main()
