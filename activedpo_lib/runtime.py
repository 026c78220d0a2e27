"""What models and trainers run in: device, seeds, silence."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator

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
