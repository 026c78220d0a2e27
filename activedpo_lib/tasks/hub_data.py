"""The paper's two tasks in the hub's layout: TL;DR and WebGPT, by name or
from a local copy.

A local copy is a folder with the dataset's parquet files as the hub keeps them. Both are read
through `datasets`, which runs no loading script: where the hub has only a script, the automatic
parquet conversion is read.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from activedpo_lib.records import Comparison, Prompt, Task
from activedpo_lib.schema import TaskParams
from activedpo_lib.store import locate
from activedpo_lib.streams import stream
from activedpo_lib.tasks.files import DataError, split_by_prompt

PARQUET = "refs/convert/parquet"
TLDR = "trl-lib/tldr"
WEBGPT = "openai/webgpt_comparisons"
CITATION = re.compile(r"\s*\[\d+(?:,\s*\d+)*\]")
POST = re.compile(r"POST: (.*)\n\nTL;DR:\s*$", re.DOTALL)


def hub_task(params: TaskParams, evaluation_prompts: int) -> Task:
    """The Task of TaskParams with source "tldr" or "webgpt". Raises DataError where a dataset,
    column or row is missing.
    """
    make = {"tldr": tldr_task, "webgpt": webgpt_task}[params.source]
    return make(params, evaluation_prompts)


def read_dataset(
    name: str,
    split: str,
    columns: Sequence[str],
    revision: str | None = None,
    subset: str | None = None,
) -> list[dict[str, Any]]:
    """The rows of a dataset's split as dicts of `columns`, from a local folder or the hub.

    Raises DataError naming the dataset and the remedy where it cannot be read, and the columns
    where one is missing.
    """
    import datasets

    folder = locate(name)
    local = folder.is_dir()
    try:
        if local and subset and (folder / subset).is_dir():
            folder = folder / subset
        source = (
            {"path": str(folder)}
            if local
            else {"path": name, "revision": revision, "data_dir": subset}
        )
        data = datasets.load_dataset(**source, split=split)
    except (OSError, ValueError, RuntimeError) as error:  # the library's own are kin of these
        raise DataError(_unreadable(name, split, revision, local, error)) from None
    missing = [column for column in columns if column not in data.column_names]
    if missing:
        raise DataError(
            f"{name}, {split}: the column {missing[0]!r} is missing; it has "
            f"{sorted(data.column_names)}"
        )
    return [
        {column: row[column] for column in columns} for row in data.select_columns(list(columns))
    ]


def _unreadable(name: str, split: str, revision: str | None, local: bool, error: Exception) -> str:
    why = str(error).strip().split("\n")[0][:200]
    if local:
        wanted = "a dataset in the hub's layout"
        return f"{name}: its split {split!r} cannot be read as {wanted} ({why}); download it anew"
    at = f" --revision {revision}" if revision else ""
    return (
        f"the dataset {name} is not at hand: {type(error).__name__}: {why}; connect (a gated one: "
        "`hf auth login`), or run "
        f"`hf download --repo-type dataset {name}{at} --local-dir data/{name.split('/')[-1]}` on a "
        "machine with access, "
        "and name that folder in the profile's task"
    )


def tldr_task(params: TaskParams, evaluation_prompts: int) -> Task:
    """TL;DR: SFT on the training posts, the pool from the validation posts, evaluation from the
    test posts (D14).
    """
    name, most = params.sft or TLDR, params.most_rows or None
    sft = read_dataset(name, "train", ("prompt", "completion"))[:most]
    pool, held_out = (
        _tldr_prompts(params.name, name, part)[:most] for part in ("validation", "test")
    )
    compared = tldr_comparisons(params.comparisons, most) if params.comparisons else []
    return _task(params, sft, compared, pool, held_out[:evaluation_prompts], evaluation_prompts)


def _tldr_prompts(task: str, name: str, split: str) -> list[Prompt]:
    texts = dict.fromkeys(row["prompt"] for row in read_dataset(name, split, ("prompt",)))
    return [
        Prompt(f"{task}-{split}-{at}", text, question=tldr_question(text))
        for at, text in enumerate(texts)
    ]


def tldr_question(prompt: str) -> str:
    """What the TL;DR reward model was trained to read: the post and " TLDR;"."""
    found = POST.search(prompt)
    if not found:
        raise DataError(
            "a TL;DR prompt must end with 'POST: ...\\n\\nTL;DR:', got one that ends with "
            f"{prompt[-40:]!r}"
        )
    return found[1] + " TLDR;"


def tldr_comparisons(name: str, most: int | None) -> list[Comparison]:
    """OpenAI's human comparisons of summaries; the CNN/DM batches, which have no post, are
    dropped.
    """
    rows = read_dataset(name, "train", ("info", "summaries", "choice"), PARQUET, "comparisons")
    return [
        Comparison(
            f"SUBREDDIT: r/{row['info']['subreddit']}\n\nTITLE: {row['info']['title']}\n\n"
            f"POST: {row['info']['post'].strip()}\n\nTL;DR:",
            *(
                " " + row["summaries"][at]["text"].strip()
                for at in (row["choice"], 1 - row["choice"])
            ),
        )
        for row in rows
        if row["info"].get("post")
        and row["summaries"][0]["text"].strip() != row["summaries"][1]["text"].strip()
    ][:most]


def webgpt_task(params: TaskParams, evaluation_prompts: int) -> Task:
    """WebGPT: SFT on the preferred answers (D15) of half the questions, the pool from the other
    half, split by question.
    """
    columns = ("question", "answer_0", "answer_1", "score_0", "score_1")
    rows = read_dataset(params.comparisons or WEBGPT, "train", columns, PARQUET)
    by_question: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_question.setdefault(row["question"]["full_text"].strip(), []).append(row)
    questions = list(by_question)
    order = stream(0, "webgpt", params.name, "split").numpy().permutation(len(questions))
    asked = [questions[at] for at in order]
    held_out, rest = asked[:evaluation_prompts], asked[evaluation_prompts:]
    half, most = (len(rest) + 1) // 2, params.most_rows or None
    compared = [
        c for q in rest[:half] for row in by_question[q] if (c := webgpt_comparison(q, row))
    ]
    sft = list(
        {
            (c.prompt, c.chosen): {"prompt": c.prompt, "completion": c.chosen} for c in compared
        }.values()
    )
    pool = [
        Prompt(f"{params.name}-{at}", webgpt_prompt(q), question=q)
        for at, q in enumerate(rest[half:])
    ]
    evaluation = [
        Prompt(f"{params.name}-evaluation-{at}", webgpt_prompt(q), question=q)
        for at, q in enumerate(held_out)
    ]
    return _task(params, sft[:most], compared[:most], pool[:most], evaluation, evaluation_prompts)


def webgpt_prompt(question: str) -> str:
    """The policy's prompt: no chat template, for base models."""
    return f"Question: {question}\n\nAnswer:"


def webgpt_comparison(question: str, row: Mapping[str, Any]) -> Comparison | None:
    """The humans' Comparison of two answers, citation marks stripped; None where they found them
    level or nothing is left.
    """
    answers = [" " + CITATION.sub("", row[f"answer_{at}"]).strip() for at in (0, 1)]
    if (
        row["score_0"] == row["score_1"]
        or answers[0] == answers[1]
        or not all(map(str.strip, answers))
    ):
        return None
    best = int(row["score_1"] > row["score_0"])
    return Comparison(webgpt_prompt(question), answers[best], answers[1 - best])


def _task(
    params: TaskParams,
    sft: Sequence[Mapping[str, str]],
    compared: Sequence[Comparison],
    pool: Sequence[Prompt],
    evaluation: Sequence[Prompt],
    wanted: int,
) -> Task:
    if len(evaluation) < wanted or not pool or not sft:
        raise DataError(
            f"{params.name}: {len(sft)} demonstrations, {len(pool)} pool prompts and "
            f"{len(evaluation)} evaluation prompts are "
            f"left, {wanted} of the last are needed; take more rows (most_rows) or lower "
            "evaluation.prompts"
        )
    training, held_out = split_by_prompt(
        compared,
        {prompt.text for prompt in evaluation},
        stream=stream(0, params.source, params.name, "held-out"),
    )
    return Task(
        name=params.name,
        sft=tuple(sft),
        comparisons=training,
        held_out=held_out,
        prompts=tuple(pool),
        evaluation=tuple(evaluation),
    )
