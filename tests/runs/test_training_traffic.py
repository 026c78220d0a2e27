"""What a step of DPO brings to each of several processes (torch.distributed, gloo) against the cost
model: the gradients that DDP hands over, and what the sockets received.
"""

import os
import socket
import struct

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from conftest import TARGETS, make_sequences
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from activedpo_lib.method import adapters, models, training
from activedpo_lib.records import Fit, LabelledPair, Prompt, Response
from activedpo_lib.streams import stream
from activedpo_lib.study.costs import step_traffic
from activedpo_lib.tasks.words import vocabulary

# An adapter so large that what TRL tells of each step, some 6 kB a process, is little beside it.
RANK, PAIRS, STEP, EPOCHS = 128, 8, 4, 2
SEEN = {"handed": [], "weights": [], "start": [], "steps": []}  # bytes, of this process


def arrived():
    """Bytes that this process's open TCP connections have received, by the kernel's count."""
    total = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as connection:
                told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)
        except OSError:  # no socket, or none of TCP
            continue
        total += struct.unpack_from("Q", told, 128)[0]  # tcpi_bytes_received
    return total


class Watched(DistributedDataParallel):
    """Notes the bytes of gradients that it averages, its weights, and what its start brought."""

    def __init__(self, *given, **named):
        before = arrived()
        super().__init__(*given, **named)
        SEEN["start"].append(arrived() - before)
        SEEN["weights"].append(sum(weight.nbytes for weight in self.parameters()))
        self.register_comm_hook(None, self._average)

    def _average(self, state, bucket):
        SEEN["handed"].append(bucket.buffer().nbytes)
        return allreduce_hook(state, bucket)


class Trainer(training.TokenDPOTrainer):
    """Notes what arrives during each step."""

    def training_step(self, *given, **named):
        before = arrived()
        loss = super().training_step(*given, **named)
        SEEN["steps"].append(arrived() - before)
        return loss


def one_process(rank, count, folder):
    """Trains with the others, and leaves what it saw in RANK.npz."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(count), "ACCELERATE_USE_CPU": "1"}
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=count
    )
    torch.nn.parallel.DistributedDataParallel, training.TokenDPOTrainer = Watched, Trainer
    prompts, responses = make_sequences(PAIRS + 1)
    pairs = [
        LabelledPair(Prompt(f"p{at}", ""), x, Response("", y, ""), Response("", z, ""), 1)
        for at, (x, y, z) in enumerate(zip(prompts, responses, responses[1:], strict=False))
    ]
    base = models.new_policy("llama", models.PolicySize(338, 32, 2, 4), stream=stream(0, "base"))
    config, fit = adapters.lora_config(RANK, 2 * RANK, TARGETS), Fit(EPOCHS, 1e-3, STEP)
    policy = adapters.with_adapter(base, config, stream=stream(0, "adapter"))
    size = sum(p.numel() for name, p in policy.named_parameters() if "lora_" in name)
    words = models.word_tokenizer(vocabulary())
    training.dpo(policy, words, pairs, config, fit, 0.1, stream=stream(0, "train"))
    np.savez(f"{folder}/{rank}.npz", adapter=size, **SEEN)
    dist.destroy_process_group()


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_step_brings_the_adapters_gradients_around_a_ring(count, tmp_path):
    """And the start brings every process but the first the whole model, frozen weights included:
    that is DDP's own care, which the cost model's bytes of a step do not hold.
    """
    mp.spawn(one_process, (count, str(tmp_path)), nprocs=count)
    for rank in range(count):
        with np.load(tmp_path / f"{rank}.npz") as found:
            taken = EPOCHS * PAIRS // STEP
            assert found["handed"].sum() == taken * 4 * found["adapter"]  # float32, nothing else
            assert len(found["steps"]) == taken
            model = step_traffic(float(found["adapter"]), count)
            assert found["steps"].mean() == pytest.approx(model, rel=0.05)
            start = found["weights"].sum() * (rank > 0)
            assert found["start"].sum() == pytest.approx(start, rel=0.05, abs=10_000)
