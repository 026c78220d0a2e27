"""Tasks: prompts, demonstrations and comparisons of the built-in world or of the user's own
files.
"""

import dataclasses
from pathlib import Path

from activedpo_lib.records import Task
from activedpo_lib.schema import TaskParams
from activedpo_lib.store import locate, read_json
from activedpo_lib.streams import stream
from activedpo_lib.tasks.files import DataError, files_task
from activedpo_lib.tasks.hub_data import hub_task
from activedpo_lib.tasks.pools import with_junk
from activedpo_lib.tasks.world import Rows, world_task


def load_task(params: TaskParams, evaluation_prompts: int, comparisons: bool = True) -> Task:
    """The Task that `params` (TaskParams) describes; without `comparisons`, those are left unread
    (they cost time).

    Raises DataError naming file and line for a malformed row of the user's files, before any
    training.
    """
    return _subset(_whole(params, evaluation_prompts, comparisons), params)


def _whole(params: TaskParams, evaluation_prompts: int, comparisons: bool) -> Task:
    if params.source == "files":
        return files_task(
            params.name,
            params.sft,
            params.comparisons,
            params.prompts,
            evaluation_prompts,
            params.most_rows,
        )
    if params.source != "world":
        return hub_task(params, evaluation_prompts)
    compared = params.comparison_rows if comparisons else 0
    drawn = params.sft_rows, compared, params.prompt_rows, evaluation_prompts
    rows = Rows(*drawn, params.held_out_rows)
    skews = params.skew, params.evaluation_skew
    task = world_task(params.name, rows, params.split, params.damaged, *skews)
    if not params.junk:
        return task
    marks = stream(0, "world", params.split, params.name, "junk")
    return dataclasses.replace(task, prompts=with_junk(task.prompts, params.junk, stream=marks))


def _subset(task: Task, params: TaskParams) -> Task:
    """The task with the demonstrations and pool prompts that `sft_subset` and `pool_subset` name
    (Fig. 2's subsets).
    """
    changes = {}
    for name, path, rows in (
        ("sft", params.sft_subset, task.sft),
        ("prompts", params.pool_subset, task.prompts),
    ):
        if path:
            changes[name] = tuple(rows[at] for at in read_subset(path, len(rows)))
    return dataclasses.replace(task, **changes)


def read_subset(path: Path | str, count: int) -> list[int]:
    """The row numbers in a JSON list. Raises DataError where they are not distinct whole numbers
    below `count`.
    """
    if not locate(path).is_file():
        raise DataError(
            f"{path}: not a file; expected a JSON list of row numbers (the clusters notebook "
            "writes them)"
        )
    rows = read_json(locate(path))
    if (
        not isinstance(rows, list)
        or not rows
        or not all(type(at) is int and 0 <= at < count for at in rows)
    ):
        raise DataError(f"{path}: expected a JSON list of row numbers from 0 to {count - 1}")
    if len(set(rows)) < len(rows):
        raise DataError(f"{path}: a row number stands there twice")
    return rows
