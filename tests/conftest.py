"""Shared by the tests: small policies, pools, and one thread, so that sums come out the same."""

import os
import shutil
import subprocess
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

from activedpo_lib.method import adapters, models
from activedpo_lib.records import Prompt
from activedpo_lib.streams import stream
from activedpo_lib.tasks.words import vocabulary

torch.set_num_threads(1)
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def make_policy(family="llama", seed=0, trained=True, dtype=torch.float32):
    """A small random policy with an adapter; `trained` gives the adapter a B that is not zero."""
    base = models.new_policy(
        family, models.PolicySize(338, 32, 2, 4), stream=stream(seed, "base")
    ).to(dtype)
    policy = adapters.with_adapter(
        base, adapters.lora_config(4, 16, TARGETS), stream=stream(seed, "adapter")
    )
    if trained:
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.data = (0.05 * torch.randn(parameter.shape, generator=generator)).to(
                    parameter.dtype
                )
    return policy


def make_sequences(count, seed=0):
    """`count` prompts and responses of different lengths as token ids, the shortest response a lone
    EOS.
    """
    rng = stream(seed, "sequences").numpy()
    prompts = [tuple(map(int, rng.integers(3, 338, rng.integers(2, 20)))) for _ in range(count)]
    responses = [(*map(int, rng.integers(3, 338, i % 9)), 1) for i in range(count)]
    return prompts, responses


@pytest.fixture(params=["llama", "gemma"])
def policy(request):
    return make_policy(request.param)


@pytest.fixture(scope="session")
def tokenizer():
    return models.word_tokenizer(vocabulary())


@pytest.fixture
def prompts():
    words = vocabulary()
    rng = stream(0, "prompts").numpy()
    return [
        Prompt(f"p{i}", " ".join(words[j] for j in rng.integers(0, 300, 3 + i % 7)))
        for i in range(12)
    ]


HOME = Path(__file__).resolve().parent.parent


@pytest.fixture
def copy_of_project(tmp_path):
    """(folder, environment): the project without its results, to be run and killed there by other
    processes.
    """
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (HOME / name).is_file():
            (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HOME / name, tmp_path / "project" / name)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "project"), "OMP_NUM_THREADS": "1"}
    return tmp_path / "project", environment


def pytest_collection_modifyitems(items):
    """The smoke pipeline first: it is the longest, and one process runs it (`--dist loadfile`)."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")
