"""What processes agree on, with threads in place of processes, and what one process alone decides."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from scorefield.errors import InputError
from scorefield.nets.engine import Engine
from scorefield.training import Trainer
from scorefield.training.engine import Trial
from scorefield.training.processes import Processes, peers_answering


class Group:
    """Sums and gathers of as many threads as there are processes."""

    def __init__(self, count):
        self.count, self.barrier, self.given = count, threading.Barrier(count, timeout=10), {}

    def gather(self, rank, value):
        self.given[rank] = value
        self.barrier.wait()
        found = [self.given[k] for k in range(self.count)]
        self.barrier.wait()
        return found

    def accelerator(self, rank):
        return SimpleNamespace(
            num_processes=self.count,
            process_index=rank,
            is_main_process=rank == 0,
            is_local_main_process=rank == 0,
            device=torch.device("cpu"),
            reduce=lambda vector, how: torch.stack(self.gather(rank, vector)).sum(0),
        )

    def run(self, monkeypatch, work):
        """What each of the processes makes of work(processes, rank), or the error it met."""
        monkeypatch.setattr(
            Processes,
            "gathered",
            lambda me, value: self.gather(me.accelerator.process_index, value),
        )

        def one(rank):
            try:
                return work(Processes(self.accelerator(rank)), rank)
            except InputError as error:
                return error

        with ThreadPoolExecutor(self.count) as threads:
            return list(threads.map(one, range(self.count)))


def alone():
    return Processes(Group(1).accelerator(0))


def test_rows_are_contiguous_and_make_up_the_batch():
    for count in (1, 2, 4, 8):
        shares = [Processes(Group(count).accelerator(rank)).rows(128) for rank in range(count)]
        assert [k for share in shares for k in range(128)[share]] == list(range(128))
        assert {len(range(128)[share]) for share in shares} == {128 // count}


def test_a_batch_that_cannot_be_shared_out():
    with pytest.raises(InputError, match=r"multiple of the 3 processes, got training.batch=128"):
        Processes(Group(3).accelerator(1)).rows(128)


def test_the_loss_is_the_mean_and_one_bad_number_is_everyones(monkeypatch):
    losses = [1.0, 2.0, 6.0]
    assert Group(3).run(monkeypatch, lambda p, rank: p.mean(losses[rank])) == [3.0] * 3
    bad = [1.0, math.nan, math.inf]
    assert all(map(math.isnan, Group(3).run(monkeypatch, lambda p, rank: p.mean(bad[rank]))))


@pytest.mark.parametrize("asked", [(), (0,), (2,), (0, 1, 2)])
def test_the_main_processes_clock_and_anyones_wish_to_stop(monkeypatch, asked):
    clocks = [0.25, 99.0, 0.1]
    found = Group(3).run(monkeypatch, lambda p, rank: p.agree(clocks[rank], stop=rank in asked))
    assert [f.seconds for f in found] == [0.25] * 3
    assert [f.stop for f in found] == [bool(asked)] * 3


def test_one_process_asks_nobody():
    assert alone().mean(2.5) == 2.5
    assert alone().agree(1.5, stop=True).stop
    assert alone().agree(1.5, stop=False).seconds == 1.5
    assert alone().gathered("x") == ["x"]
    assert alone().in_turn(lambda: 7) == alone().as_one(lambda: 7) == 7


def test_an_error_of_one_is_raised_in_all(monkeypatch):
    def work(processes, rank):
        def make():
            if rank == 1:
                raise InputError("no such file here")
            return rank

        return processes.as_one(make)

    found = Group(3).run(monkeypatch, work)
    assert [str(error) for error in found] == ["no such file here"] * 3


def test_one_goes_first_and_the_others_find_what_it_made(monkeypatch):
    made = []

    def work(processes, rank):
        def make():
            made.append(rank)
            return rank

        return processes.in_turn(make)

    assert Group(3).run(monkeypatch, work) == [0, 1, 2]
    assert made[0] == 0


def test_when_the_first_fails_the_others_do_not_begin(monkeypatch):
    begun = []

    def work(processes, rank):
        def make():
            begun.append(rank)
            raise InputError("no network")

        return processes.in_turn(make)

    assert [str(e) for e in Group(2).run(monkeypatch, work)] == ["no network"] * 2
    assert begun == [0]


def test_processes_that_see_different_files_do_not_begin(monkeypatch):
    found = Group(2).run(monkeypatch, lambda p, rank: p.check_alike("state", f"step {rank}"))
    assert all("process 1 has another state than process 0, step 1" in str(e) for e in found)


def test_the_slowest_process_decides_on_an_engine(tmp_path, recipe, monkeypatch):
    trainer = Trainer(recipe("points"), tmp_path)
    fast, slow = Trial(Engine(), 0.1, 1.0), Trial(Engine(), 0.3, 2.0)
    failed = Trial(Engine(compiled=True), math.inf, 0.0, "no compiler")
    for trials, chosen in (([fast, slow], slow), ([fast, failed], failed)):
        found = Group(2).run(
            monkeypatch,
            lambda p, rank, trials=trials: Trainer._slowest(
                SimpleNamespace(run=SimpleNamespace(processes=p)), trials[rank]
            ),
        )
        assert found == [chosen] * 2
    monkeypatch.undo()
    assert trainer._slowest(fast) == fast


def test_a_time_budget_is_spent_by_the_agreed_clock(tmp_path, recipe, monkeypatch):
    agree = Processes.agree
    monkeypatch.setattr(
        Processes, "agree", lambda me, seconds, stop: replace(agree(me, 0.5, stop=stop))
    )
    seen = list(Trainer(recipe("points", "training.budget=2s"), tmp_path))
    assert [p.seconds for p in seen] == [0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize(
    "words",
    [
        "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer",
        "Timed out waiting 600000ms for recv operation to complete",
        "NCCL communicator was aborted on rank 1",
    ],
)
def test_a_lost_process_is_named_in_a_sentence(words):
    with (
        pytest.raises(InputError, match=r"another of the 2 processes has ended .*; resume it \("),
        peers_answering(2, "resume it"),
    ):
        raise RuntimeError(words)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shape"), peers_answering(2, "resume it"):
        raise RuntimeError("shape mismatch")
    with pytest.raises(RuntimeError, match="gloo"), peers_answering(1, "resume it"):
        raise RuntimeError("gloo")
