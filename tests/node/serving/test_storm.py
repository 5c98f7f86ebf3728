"""Two hundred jobs while workers are killed again and again: every job has one end, nothing is left."""

import os
import random
import signal

import trio

from protocols.jobs import Ended, Failed
from tests.node.serving.kit import Log, Shelf, chat, last_of, read_all, served, worker_pids

JOBS, KILL_EVERY, AT_ONCE = 200, 20, 8


async def test_every_job_ends_once_while_workers_are_killed(shelf: Shelf) -> None:
    shelf.add("m", {"reply": "one two three four five six seven", "delay_s": 0.001})
    log, dice, ends = Log(), random.Random(20), dict[str, Ended | Failed]()
    places = trio.CapacityLimiter(AT_ONCE)
    kills = 0

    async with served(shelf, log, parallel=4, queue=JOBS) as serving:

        async def one(number: int) -> None:
            job = chat(f"number {number}")
            async with places:
                ends[job.id] = last_of(await read_all(serving, job))

        async with trio.open_nursery() as nursery:
            for number in range(JOBS):
                nursery.start_soon(one, number)
            while len(ends) < JOBS:
                target = len(ends) + dice.randrange(KILL_EVERY // 2, KILL_EVERY * 3 // 2)
                while len(ends) < min(target, JOBS):  # noqa: ASYNC110
                    await trio.sleep(0.001)
                for pid in worker_pids():
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
        statistics = serving.statistics()
        assert statistics.running == statistics.waiting == 0

    assert kills >= 5
    assert len(ends) == JOBS
    died = [last for last in ends.values() if isinstance(last, Failed)]
    assert {last.code for last in died} <= {"worker_died"}
    assert len(died) <= kills * 4, "only jobs in the middle of an answer may fail"
    assert sum(statistics.outcomes.values()) == JOBS
    for job in ends:
        kinds = log.kinds(job)
        assert kinds[0] == "job.admitted"
        assert sum(kind in ("job.ended", "job.failed") for kind in kinds) == 1
        assert kinds[-1] in ("job.ended", "job.failed")
