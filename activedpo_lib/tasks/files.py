"""The user's own JSONL: SFT rows {prompt, completion}, comparisons {prompt, chosen, rejected},
prompts {prompt}.

Every row is read and checked before anything is trained; an error names the file and the line.
"""

import json
import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from activedpo_lib.records import Comparison, Prompt, Task
from activedpo_lib.store import locate
from activedpo_lib.streams import Stream, stream

HELD_OUT_SHARE = 0.1


class DataError(ValueError):
    """A row of the user's files cannot be used. The message names file, line, what was expected and
    what came.
    """


def read_rows(
    path: Path | str, columns: Sequence[str], distinct: Sequence[str]
) -> list[dict[str, str]]:
    """The rows of a JSONL file as dicts of `columns`; no two with the same text in the columns
    `distinct`.
    """
    if not path or not locate(path).is_file():
        wanted = "{" + ", ".join(columns) + "}"
        raise DataError(
            f"{path or 'no path given'}: not a file; expected JSONL rows {wanted} (one JSON object "
            "a line)"
        )
    rows: list[dict[str, str]] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        row = _row(f"{path}, line {number}", line, columns)
        key = tuple(row[column] for column in distinct)
        if key in seen:
            raise DataError(
                f"{path}, line {number}: a duplicate of line {seen[key]}; remove one of the two"
            )
        seen[key] = number
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: has no rows; expected one JSON object a line")
    return rows


def _lines(path: Path | str) -> Iterator[str]:
    raw = locate(path).read_bytes()
    for number, line in enumerate(raw.split(b"\n"), 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}, line {number}: not UTF-8 (byte {error.start}); convert the file: iconv "
                "-f latin1 -t utf-8"
            ) from None


def _row(where: str, line: str, columns: Sequence[str]) -> dict[str, str]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: not JSON ({error.msg} at column {error.colno}); expected one object a line"
        ) from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(row).__name__}")
    for column in columns:
        if column not in row:
            raise DataError(f"{where}: the column {column!r} is missing; it has {sorted(row)}")
        value = row[column]
        if not isinstance(value, str):
            raise DataError(f"{where}: {column!r} must be text, got {type(value).__name__}")
        if not value.strip():
            raise DataError(f"{where}: {column!r} is empty; remove the row or fill it in")
        if control := next((c for c in value if ord(c) < 32 and not c.isspace()), None):
            raise DataError(
                f"{where}: {column!r} has the control character U+{ord(control):04X}; remove it"
            )
        if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
            raise DataError(
                f"{where}: {column!r} has a lone surrogate, which no tokenizer can read; replace it"
            )
    if "chosen" in columns and row["chosen"] == row["rejected"]:
        raise DataError(
            f"{where}: chosen and rejected are the same text; there is no preference in it"
        )
    return {column: row[column] for column in columns}


def files_task(
    name: str,
    sft: Path | str,
    comparisons: Path | str,
    prompts: Path | str,
    evaluation_prompts: int,
    most_rows: int = 0,
) -> Task:
    """A Task from the first `most_rows` rows (0: all) of three JSONL files, which are checked
    whole.

    A tenth of the compared prompts is held out. The evaluation prompts are drawn once from the
    prompts and held out from every pool (D14) and from the reward model's training; the pool's own
    prompts may be among the comparisons: people have labelled them.
    """
    most = most_rows or None
    sft_rows = read_rows(sft, ("prompt", "completion"), ("prompt", "completion"))[:most]
    compared = read_rows(
        comparisons, ("prompt", "chosen", "rejected"), ("prompt", "chosen", "rejected")
    )[:most]
    texts = [row["prompt"] for row in read_rows(prompts, ("prompt",), ("prompt",))][:most]
    if len(texts) <= evaluation_prompts:
        raise DataError(
            f"{prompts}: {len(texts)} prompts, of which evaluation takes {evaluation_prompts}: "
            "none is left for the pool; "
            "add prompts or lower evaluation.prompts"
        )
    order = stream(0, "files", name, "evaluation").numpy().permutation(len(texts))
    drawn = [Prompt(f"{name}-{i}", texts[i]) for i in order]
    evaluation = drawn[:evaluation_prompts]
    training, held_out = split_by_prompt(
        [Comparison(**row) for row in compared],
        {prompt.text for prompt in evaluation},
        stream=stream(0, "files", name, "held-out"),
    )
    return Task(
        name=name,
        sft=tuple(sft_rows),
        comparisons=training,
        held_out=held_out,
        prompts=tuple(drawn[evaluation_prompts:]),
        evaluation=tuple(evaluation),
    )


def split_by_prompt(
    rows: Sequence[Comparison], held: Collection[str] = (), *, stream: Stream
) -> tuple[tuple[Comparison, ...], tuple[Comparison, ...]]:
    """(training, held out): a tenth of the prompts, drawn by `stream`, and those of `held` are held
    out with all their comparisons, so that no prompt is on both sides.

    Raises DataError where comparisons are there and none is left to train on.
    """
    prompts = list(dict.fromkeys(row.prompt for row in rows if row.prompt not in held))
    order = stream.numpy().permutation(len(prompts))
    apart = {prompts[i] for i in order[: math.ceil(HELD_OUT_SHARE * len(prompts))]} | set(held)
    training = tuple(row for row in rows if row.prompt not in apart)
    if rows and not training:
        raise DataError(
            f"{len(rows)} comparisons of {len(prompts)} prompts that evaluation does not take: at "
            "least two such prompts are needed, one to hold out"
        )
    return training, tuple(row for row in rows if row.prompt in apart)
