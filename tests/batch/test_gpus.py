import multiprocessing
import os
import time

import pytest

from activedpo_lib.batch import gpus


@pytest.fixture
def two_cards(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def work(folder, count, jobs_per_card, told):
    with gpus.hold_gpus(folder, count, jobs_per_card) as names:
        start = time.monotonic()
        time.sleep(0.8)
        told.put((os.environ["CUDA_VISIBLE_DEVICES"], names, start, time.monotonic()))


def overlapping(tmp_path, jobs, count, jobs_per_card):
    """The most jobs that held one card at a time, over `jobs` jobs at once."""
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    processes = [
        context.Process(target=work, args=(tmp_path, count, jobs_per_card, told))
        for _ in range(jobs)
    ]
    for process in processes:
        process.start()
    found = [told.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert all(
        visible == ",".join(names) and len(set(names)) == count for visible, names, _, _ in found
    )
    return max(
        sum(card in names and start <= moment < end for _, names, start, end in found)
        for card in "01" for _, _, moment, _ in found
    )  # fmt: skip


def test_two_jobs_never_share_a_card(two_cards, tmp_path):
    assert overlapping(tmp_path, 4, 1, 1) == 1


def test_jobs_share_a_card_where_the_profile_says_so(two_cards, tmp_path):
    assert overlapping(tmp_path, 4, 1, 2) == 2


def test_a_run_in_two_processes_gets_two_cards_or_waits(two_cards, tmp_path):
    assert overlapping(tmp_path, 3, 2, 1) == 1


def test_a_killed_jobs_card_is_free_again(two_cards, tmp_path):
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    process = context.Process(target=work, args=(tmp_path, 2, 1, told))
    process.start()
    time.sleep(0.4)
    process.kill()
    process.join()
    with gpus.hold_gpus(tmp_path, 2) as names:
        assert names == ["0", "1"]


def test_the_lock_steps_aside_without_cards_and_on_slurm(two_cards, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with gpus.hold_gpus(tmp_path) as names:
        assert names == []
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    monkeypatch.delenv("SLURM_JOB_ID")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with gpus.hold_gpus(tmp_path) as names:
        assert names == []


def test_more_processes_than_cards_are_refused(two_cards, tmp_path):
    with (
        pytest.raises(ValueError, match="needs 3 GPUs, this machine has 2; lower processes"),
        gpus.hold_gpus(tmp_path, 3),
    ):
        pass
