"""What models and trainers run in: device, seeds, silence, and the files that a model folder must
have.
"""

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import torch

from activedpo_lib.streams import Stream


@contextlib.contextmanager
def seeded(*, stream: Stream) -> Iterator[None]:
    """Torch's global generator set from `stream` inside the block, and as it was after it."""
    with torch.random.fork_rng():
        torch.manual_seed(stream.seed)
        yield


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, notices and deprecations of the libraries' own: a run prints one line a
    round.
    """
    from transformers.utils import logging as notices

    logger = logging.getLogger("transformers")
    level, before = logger.level, os.environ.get("TQDM_DISABLE")
    notices.disable_progress_bar()
    datasets.disable_progress_bars()
    logger.setLevel(logging.ERROR)
    os.environ["TQDM_DISABLE"] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
        notices.enable_progress_bar()
        datasets.enable_progress_bars()
        os.environ.pop("TQDM_DISABLE")
        if before is not None:
            os.environ["TQDM_DISABLE"] = before


def device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def read_config(folder: Path | str, *files: str) -> dict[str, Any]:
    """A model folder's config.json as a dict; FileNotFoundError where it lacks `files`, ValueError
    where it brings code.
    """
    need_files(folder, "config.json", *files)
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    if "auto_map" in config:
        raise ValueError(
            f"{folder} brings code of its own (auto_map in config.json), which this project never "
            "runs; use a model whose "
            "architecture transformers has"
        )
    return config


def need_files(folder: Path | str, *names: str) -> None:
    """Raise FileNotFoundError naming the files that a model folder lacks."""
    missing = [name for name in names if not (Path(folder) / name).is_file()]
    if "model.safetensors" in missing and (Path(folder) / "model.safetensors.index.json").is_file():
        missing.remove("model.safetensors")
    if missing:
        raise FileNotFoundError(
            f"{folder} is not a model folder: it lacks {missing}; save one there with "
            "model.save_pretrained(folder) "
            "and tokenizer.save_pretrained(folder), or rewrite pickled weights (*.bin): "
            "`python -m activedpo_lib.runs.model_hub NAME FOLDER`"
        )
