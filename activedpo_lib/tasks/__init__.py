"""Tasks (floor 2): prompts, demonstrations and comparisons of the built-in world or of the user's own files."""

from activedpo_lib.tasks.files import files_task
from activedpo_lib.tasks.world import world_task


def load_task(params, evaluation_prompts, comparisons=True):
    """The Task that `params` (TaskParams) describes; without `comparisons`, those are left unread (they cost time).

    Raises DataError naming file and line for a malformed row of the user's files, before any training.
    """
    if params.source == "files":
        return files_task(
            params.name, params.sft, params.comparisons, params.prompts, evaluation_prompts, params.most_rows
        )
    rows = params.comparison_rows if comparisons else 0
    return world_task(
        params.name, params.sft_rows, rows, params.prompt_rows, evaluation_prompts, params.split, params.damaged
    )
