"""Thousands of requests to a real process, by callers of every manner: each is answered.

``ATOLL_SOAK=10000 pytest tests/serving/test_soak_over_http.py -s`` goes on for long, and says what
happened.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import time
from collections import Counter

import httpx2
import psutil
import pytest

NUM = int(os.environ.get("ATOLL_SOAK", "80"))
NUM_CALLERS = 8
MOST_GROWTH = 32 << 20  # bytes, from the second quarter to the last; a run of 10,000 shows a leak
GENERATIONS = "/v1/images/generations"
UNUSABLE = [
    b"not JSON",
    b'{"prompt": "3", "guidance": NaN}',
    b'{"prompt": "3", "size": "100000x100000"}',
    b'{"prompt": "nobody knows this class"}',
    b'{"prompt": "3", "steps": 1000000000}',
    b'{"prompt": "3", "n": 99}',
]

pytestmark = pytest.mark.timeout(120 + NUM)


def wish(dice, **more):
    return {
        "prompt": str(dice.randrange(9)),
        "n": dice.choice([1, 1, 2]),
        "steps": dice.randint(1, 4),
        "guidance": dice.choice([1.0, 2.0]),
        "strategy": dice.choice(["top-1", "full", "ancestral", "sample"]),
        "priority": dice.choice(["high", "normal", "low"]),
        **more,
    }


def outcome_of(answer, expected):
    """What became of a request; anything but what was to be expected is an error."""
    if answer.status_code == 429:
        assert int(answer.headers["Retry-After"]) > 0
        return "refused: 429"
    assert answer.status_code in expected, (answer.status_code, answer.text)
    if answer.status_code >= 400:
        assert answer.json()["error"]["message"]
    return str(answer.status_code)


async def asked(client, dice):
    wanted = wish(dice)
    answer = await client.post(GENERATIONS, json=wanted)
    if answer.status_code == 200:
        assert len(answer.json()["data"]) == wanted["n"]
    return "plain: " + outcome_of(answer, {200})


async def unusable(client, dice):
    json_body = {"Content-Type": "application/json"}
    answer = await client.post(GENERATIONS, content=dice.choice(UNUSABLE), headers=json_body)
    return "unusable: " + outcome_of(answer, {400})


async def late(client, dice):
    answer = await client.post(GENERATIONS, json=wish(dice, n=2, steps=50, deadline_s=0.01))
    return "late: " + outcome_of(answer, {504})


async def streamed(client, dice, most=10**6):
    """Reads all events of an answer, or so many and hangs up."""
    wanted = wish(dice, n=1, stream=True, partial_images=2)
    async with client.stream("POST", GENERATIONS, json=wanted) as answer:
        if answer.status_code != 200:
            await answer.aread()
            return "streamed: " + outcome_of(answer, {200})
        kinds = []
        async for line in answer.aiter_lines():
            if line.startswith("event:"):
                kinds.append(line.split()[1])
                if len(kinds) == most:
                    return "hung up"
    assert kinds[-1] == "image_generation.completed"
    return "streamed: 200"


async def hung_up(client, dice):
    return await streamed(client, dice, most=1)


async def cancelled(client, dice):
    accepted = await client.post("/v1/jobs", json=wish(dice, steps=100))
    if accepted.status_code != 202:
        return "cancelled: " + outcome_of(accepted, {202})
    place = accepted.headers["Location"]
    assert (await client.delete(place)).status_code == 200
    while (state := (await client.get(place)).json()["state"]) in {"queued", "running"}:
        await asyncio.sleep(0.01)
    return f"cancelled: {state}"


MANNERS = [asked] * 10 + [streamed] * 3 + [hung_up] * 2 + [unusable, late, cancelled]


async def call(address, pid):
    """All callers at once; the outcomes, and the process's resident bytes now and then."""
    outcomes, sizes, numbers = Counter(), [], iter(range(NUM))
    process = psutil.Process(pid)

    async def call_often(client, dice):
        for number in numbers:
            outcomes[await dice.choice(MANNERS)(client, dice)] += 1
            if number % max(1, NUM // 100) == 0:
                sizes.append(process.memory_info().rss)

    async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
        await asyncio.gather(*(call_often(client, random.Random(it)) for it in range(NUM_CALLERS)))
        give_up_at = time.monotonic() + 30
        while "atoll_images_in_progress 0.0" not in (await client.get("/metrics")).text:
            assert time.monotonic() < give_up_at, "somebody who has left is still drawn for"
            await asyncio.sleep(0.1)
    return outcomes, sizes


def test_requests_of_every_manner_are_all_answered_and_memory_stays_flat(serve_run, capsys):
    serving = serve_run("max_queue=12", "keep_s=20")
    began_at = time.monotonic()
    outcomes, sizes = asyncio.run(call(serving.rest, serving.process.pid))
    seconds = time.monotonic() - began_at
    assert serving.leaves(), serving.log.read_text()
    assert sum(outcomes.values()) == NUM
    quarter = len(sizes) // 4
    growth = statistics.median(sizes[-quarter:]) - statistics.median(sizes[quarter : 2 * quarter])
    told = {
        "requests": NUM,
        "seconds": round(seconds, 1),
        "outcomes": dict(sorted(outcomes.items())),
        "resident_mib": [min(sizes) >> 20, max(sizes) >> 20],
        "growth_mib": round(growth / 2**20, 1),
    }
    with capsys.disabled():
        if NUM >= 1000:
            print(json.dumps(told))
    assert growth < MOST_GROWTH
