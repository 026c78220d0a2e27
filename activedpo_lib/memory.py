"""Batches that fit: as many as a card's free memory holds, and what to do where it held fewer."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from activedpo_lib.shards import processes

SHARE_OF_STEP = "share of step"  # beside the rows of a part: how many of the step's pairs it has
SHARE = 0.8  # of the free memory is for the batches: peaks are uneven, and the allocator fragments


class Part(NamedTuple):
    """A `batch`, how many `items` of the whole it holds, and how many `units` (padded tokens,
    sequences) its memory goes with.
    """

    batch: Any
    items: int
    units: int


def in_batches(
    split: Callable[[int, int], Iterator[Part]],
    work: Callable[[Any], None],
    limit: int,
    usual: int,
    device: torch.device,
) -> None:
    """Call work(batch) with every batch of split(units, done): Parts of at most so many units, of
    the items after the first `done`.

    limit: the units; 0 finds them: on a card the first batch, a quarter of the `usual` units, tells
    what a unit takes, and the rest come in the largest power of two that the free memory holds; on
    a CPU they are the `usual`. After torch.OutOfMemoryError the rest goes on with half the units,
    and a warning says so, once. Raises MemoryError where a single item does not fit.
    """
    finding = limit == 0 and free_bytes(device) is not None
    units, done = limit or (max(1, usual // 4) if finding else usual), 0
    while True:
        failed = None
        for part in split(units, done):
            before = mark(device) if finding else 0
            if not _fits(work, part):
                failed = part
                break
            done += part.items
            if finding and (taken := peak_bytes(device) - before) > 0:
                units, finding = _room(device, taken / part.units), False
                break
        else:
            return
        if failed:
            units, finding = _half(failed, device), False


def _fits(work: Callable[[Any], None], part: Part) -> bool:
    """Whether work(batch) had the memory that it asked for; a failed try holds nothing after."""
    try:
        work(part.batch)
    except torch.OutOfMemoryError as error:
        if part.items == 1:
            raise MemoryError(
                f"one item of {part.units:,} units (padded tokens, or sequences) does not fit in "
                f"the card's free memory: {error}; shorten the prompts or the responses, let fewer "
                "jobs share the card (jobs_per_gpu), or take a larger one"
            ) from error
        return False
    return True


def _half(failed: Part, device: torch.device) -> int:
    _tell(
        "a batch did not fit in the card's free memory: what is left of this pass goes on in "
        "batches of half the size, and so do later ones, wherever it happens. Float32 results are "
        "the same to rounding; bfloat16's move with the batches. A lower selection.token_budget or "
        "generation.batch_sequences (0: found from the free memory) spares the failed tries",
        device,
    )
    return max(1, failed.units // 2)


def _tell(what: str, device: torch.device) -> None:
    """Say so once, whatever the pass, and give back what the failed try held."""
    # Of this line, so that Python's filter says each text once.
    warnings.warn(what, RuntimeWarning, stacklevel=1)
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


class StepsThatFit:
    """Mixed into a trainer whose loss is a mean over pairs, a batch's rows being all chosen, then
    all rejected: a step that does not fit in the card's memory is taken again in twice as many
    parts, and so are this training's later ones. Its gradient is the same to rounding.

    Without gradient accumulation, whose earlier batches' gradient a new try would lose; and not of
    several processes: they meet at every part, and each would have to take as many.
    """

    parts = 1  # of a step

    def training_step(self, model: Any, inputs: dict[str, torch.Tensor], *more: Any) -> Any:
        """The loss of one step, its gradient left in the parameters. Raises torch.OutOfMemoryError
        where a single pair does not fit.
        """
        pairs = len(inputs["input_ids"]) // 2
        while (loss := self._in_parts(model, inputs, more)) is None:
            model.zero_grad()  # of the parts that did fit
            self.parts = min(pairs, 2 * self.parts)
            _tell(
                "a training step did not fit in the card's free memory: it is taken in parts, to "
                "the same gradient up to rounding, and so are later ones. gradient_checkpointing, "
                "or a larger card, spares the failed tries",
                inputs["input_ids"].device,
            )
        return loss

    def _in_parts(self, model: Any, inputs: dict[str, torch.Tensor], more: tuple) -> Any:
        """The step's loss, or None where one of its parts did not fit."""
        step: Any = super()
        pairs, losses = len(inputs["input_ids"]) // 2, []
        try:
            for rows in torch.arange(pairs).tensor_split(min(self.parts, pairs)):
                part = _pairs_of(inputs, rows, pairs) | {SHARE_OF_STEP: len(rows) / pairs}
                losses.append(step.training_step(model, part, *more))
        except torch.OutOfMemoryError:
            if self.parts >= pairs or processes().count > 1:
                raise
            return None
        return sum(losses)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *more: Any, **named: Any) -> Any:
        """The mean over a part's pairs, times their share of the step's."""
        share, step = inputs.pop(SHARE_OF_STEP, None), super()
        found = step.compute_loss(model, inputs, *more, **named)  # type: ignore[attr-defined]
        return found if share is None else share * found


def _pairs_of(inputs: dict[str, Any], rows: torch.Tensor, pairs: int) -> dict[str, Any]:
    """The batch of these pairs alone, of one of `pairs`."""
    both = torch.cat([rows, pairs + rows])
    return {
        name: value[rows if len(value) == pairs else both] if len(rows) < pairs else value
        for name, value in inputs.items()
    }


def _room(device: torch.device, bytes_a_unit: float) -> int:
    """The largest power of two of units that the free memory holds: a little more or less of it
    does not change the batches.
    """
    room = int(SHARE * (free_bytes(device) or 0) / bytes_a_unit)
    return 1 << max(0, room.bit_length() - 1)


def free_bytes(device: torch.device) -> int | None:
    """Bytes that torch can still take of the card; None where the device is none."""
    if device.type != "cuda":
        return None
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + idle


def mark(device: torch.device) -> int:
    """Bytes in use now; `peak_bytes` counts from here."""
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def peak_bytes(device: torch.device) -> int:
    """The most bytes in use since `mark`."""
    return torch.cuda.max_memory_allocated(device)
