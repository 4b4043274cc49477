"""Many clients at once, hostile requests, and memory over time."""

import asyncio
import json
import os
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import served

CALL, JOIN = "/gradio_api/call", "/gradio_api/queue/join"
CLIENTS, BODIES = 200, 1000
MINUTES = float(os.environ.get("SEQGEN_APP_MINUTES", "0.1"))
"""Of use, over which memory stays flat; ten for a release."""
HERE = "|".join(re.escape(str(place)) for place in (Path(__file__).resolve().parents[1], sys.prefix))
TELLTALE = re.compile(rf"Traceback|File \"|site-packages|\.py\b|/tmp/|/home/|/root/|/usr/|{HERE}|root:x")
MADE = r'[^"]*/seqgen-app-[^"]*'
"""The address of a clip that was made, by which browsers fetch it."""


def text(model: str = "names", prompt: str = "", length: int = 100, n: int = 1) -> dict[str, Any]:
    return {"data": [model, prompt, length, n, "", 1.0, 0, 1.0, 1]}


async def call(client: httpx.AsyncClient, name: str, body: Any) -> tuple[int, str]:
    """The status and the last answer of an endpoint."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = await client.post(f"{CALL}/{name}", content=content, headers={"content-type": "application/json"})
    if sent.status_code != 200:
        return sent.status_code, sent.text
    return 200, (await client.get(f"{CALL}/{name}/{sent.json()['event_id']}")).text


def connect(app: served.App) -> httpx.AsyncClient:
    # No connection is kept: on a slow machine the server closes an idle one just as the client uses it again.
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=app.url, timeout=120, limits=limits)


def test_two_hundred_clients_at_once_get_an_answer_or_hear_that_the_queue_is_full(app: served.App) -> None:
    async def all_at_once() -> Counter[str]:
        async with connect(app) as client:
            body = text("shakespeare", "ROMEO:", 150)
            answers = await asyncio.gather(*(call(client, "sample_text", body) for _ in range(CLIENTS)))
        kinds: Counter[str] = Counter()
        for status, answer in answers:
            if status == 200:
                assert '"done": true' in answer, answer[-300:]
                assert "event: error" not in answer
                kinds["answered"] += 1
            else:
                assert (status, "Queue is full" in answer) == (503, True), answer
                kinds["full"] += 1
        return kinds

    kinds = asyncio.run(all_at_once())
    print(kinds)
    assert sum(kinds.values()) == CLIENTS
    assert kinds["answered"] >= 32
    assert kinds["full"] > 0
    began = time.monotonic()
    status, answer = asyncio.run(one(app, "sample_text", text(n=5)))
    assert status == 200
    assert '"done": true' in answer
    assert time.monotonic() - began < 10
    assert "Traceback" not in app.printed()


async def one(app: served.App, name: str, body: Any) -> tuple[int, str]:
    async with connect(app) as client:
        return await call(client, name, body)


# -- hostile requests


def hostile(chance: random.Random, functions: int) -> tuple[str, bytes]:
    """A path and a body that no browser sends."""
    values = ["NaN", "-Infinity", "1e999", "null", "[]", "{}", "-1", "1e9", "true", '"x"', '"\\u0000"', '"\\ud800"']
    values += ["9" * 5000, '"' + "a" * 20000 + '"', "[" * 2000 + "]" * 2000, '{"a":' * 5 + "1" + "}" * 5]
    values += [f'{{"path": "{path}", "meta": {{"_type": "gradio.FileData"}}}}' for path in FILES]
    values += ['{"__type__": "update", "value": 1}', '{"path": 1}', '"../../etc/passwd"', '"/etc/passwd"', '"names"']
    kind = chance.random()
    if kind < 0.005:
        return f"{CALL}/score_text", b'{"data": ["names", "' + b"a" * 10_000_000 + b'", ""]}'
    if kind < 0.03:
        return chance.choice(ODD), bytes(chance.randrange(256) for _ in range(chance.randrange(200)))
    count = chance.choice([0, 1, 2, 3, 6, 9, 9, 9, 12, 200])
    if kind < 0.6:
        name, usual = chance.choice(list(VALID.items()))
        data = [json.dumps(value) for value in usual] if kind < 0.45 else [chance.choice(values) for _ in range(count)]
        if kind < 0.45:
            data[chance.randrange(len(data))] = chance.choice(values)
        return f"{CALL}/{name}", f'{{"data": [{", ".join(data)}]}}'.encode()
    data = [chance.choice(values) for _ in range(count)]
    index = chance.choice([*range(functions), -1, 10**6, '"0"', "null", "[]"])
    return JOIN, f'{{"data": [{", ".join(data)}], "fn_index": {index}, "session_hash": "{chance.random()}"}}'.encode()


FILES = ["/etc/passwd", "../../../etc/passwd", "http://127.0.0.1:1/x", "file:///etc/passwd", "C:\\\\x", ""]
VALID: dict[str, list[Any]] = {
    "sample_text": ["names", "", 20, 1, "", 1.0, 0, 1.0, 1],
    "sample_audio": ["digits-speech", 0.05, "", 1.0, 1, None],
    "score_text": ["names", "Maria", ""],
    "score_audio": ["digits-speech", None, ""],
    "sample_table": ["rows", "9,,", 2, "", 1.0, 1],
    "score_table": ["rows", "9,1.5,0.25", ""],
}
ODD = [
    f"{CALL}/nothing",
    f"{CALL}/v2/sample_text",
    "/gradio_api/run/predict",
    "/gradio_api/api/x",
    "/gradio_api/cancel",
]
ODD += [
    "/gradio_api/component_server",
    "/gradio_api/reset",
    "/gradio_api/vibe-edit",
    "/gradio_api/upload",
    JOIN,
    "/login",
]


def test_a_thousand_hostile_bodies(app: served.App) -> None:
    functions = len(httpx.get(f"{app.url}/config").json()["dependencies"])
    chance = random.Random(0)
    bodies = [hostile(chance, functions) for _ in range(BODIES)]

    async def send(client: httpx.AsyncClient, room: asyncio.Semaphore, path: str, body: bytes) -> tuple[int, str]:
        async with room:
            headers = {"content-type": "application/json"}
            sent = await client.post(path, content=body, headers=headers)
            answer = sent.text
            if sent.status_code == 200 and path.startswith(CALL):
                answer += (await client.get(f"{path}/{sent.json()['event_id']}")).text
            return sent.status_code, answer

    async def all_of_them() -> list[tuple[int, str]]:
        async with connect(app) as client:
            room = asyncio.Semaphore(12)
            return await asyncio.gather(*(send(client, room, path, body) for path, body in bodies))

    answers = asyncio.run(all_of_them())
    for (path, body), (status, answer) in zip(bodies, answers, strict=True):
        assert status < 500 or status == 503, (path, body[:300], status, answer[:300])
        found = TELLTALE.search(re.sub(MADE, "", answer))
        assert not found, (path, body[:300], answer[:500])
    print(Counter(status for status, _ in answers))
    assert any(status == 413 for status, _ in answers)
    status, answer = asyncio.run(one(app, "sample_text", text(n=5)))
    assert (status, '"done": true' in answer) == (200, True)
    assert "Traceback" not in app.printed(), app.printed()[-3000:]


# -- memory


@pytest.mark.timeout(MINUTES * 72 + 240)
def test_memory_is_flat(app: served.App) -> None:
    """Names, plays, sounds and scores, each from a visitor of its own."""
    calls = [
        ("sample_text", text(n=10)),
        ("sample_text", text("shakespeare", "ROMEO:", 100)),
        ("sample_audio", {"data": ["digits-speech", 0.1, "digit=3", 1.0, 1, None]}),
        ("score_text", {"data": ["names", "Maria", ""]}),
    ]

    async def use(seconds: float) -> int:
        end, count = time.monotonic() + seconds, 0
        async with connect(app) as client:
            while time.monotonic() < end:
                answers = await asyncio.gather(*(call(client, *one) for one in calls))
                assert all(status == 200 and "event: error" not in answer for status, answer in answers), answers
                count += len(answers)
        return count

    warm = asyncio.run(use(max(6, MINUTES * 12)))
    before = app.memory()
    count = asyncio.run(use(MINUTES * 60))
    after = app.memory()
    print(f"{warm} + {count} requests: {before:.0f} MB, then {after:.0f} MB")
    assert after - before < 10 + 0.02 * before
    files = sum(path.stat().st_size for path in Path("/tmp").glob("seqgen-app-*/**/*") if path.is_file())
    assert files < 500_000_000
