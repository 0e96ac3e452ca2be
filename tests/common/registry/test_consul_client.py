"""Odd answers of a Consul: played by a small HTTP server, since a real one gives them rarely."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from services.common.errors import RegistryError
from services.common.registry.access import NO_ACCESS, ConsulAccess
from services.common.registry.consul_client import Backoff, ConsulClient, Query

Handler = Callable[[web.Request], Awaitable[web.Response]]
Serve = Callable[[Handler], Awaitable[ConsulClient]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves a handler and returns a client of it."""
    runners: list[web.ServerRunner] = []
    clients: list[ConsulClient] = []

    async def start(handler: Handler) -> ConsulClient:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await handler(request)  # type: ignore[arg-type]

        runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        clients.append(ConsulClient("127.0.0.1", runner.addresses[0][1], ConsulAccess("secret")))
        return clients[-1]

    yield start
    for client in clients:
        await client.close()
    for runner in runners:
        await runner.cleanup()


def _answer(index: int, data: object = ()) -> web.Response:
    return web.Response(text=json.dumps(data), headers={"X-Consul-Index": str(index)})


def _query(client: ConsulClient) -> Query[Any]:
    return Query(
        client, lambda api, index, wait: api.health.service("x", index=index, wait=wait), 0.1
    )


async def test_the_index_is_sent_back_and_begins_anew_when_it_went_backwards(
    serve: Serve,
) -> None:
    given = iter([7, 9, 3, 4])
    asked: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.query.get("index"))
        return _answer(next(given))

    query = _query(await serve(handler))
    restarted = []
    for _ in range(4):
        await query.answer()
        restarted.append(query.restarted)
    assert asked == [None, "7", "9", None]
    assert restarted == [False, False, True, False]


async def test_an_index_of_zero_does_not_make_a_busy_loop(serve: Serve) -> None:
    asked: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.query.get("index"))
        return _answer(0)

    query = _query(await serve(handler))
    await query.answer()
    await query.answer()
    assert asked == [None, "1"]


async def test_after_a_failure_the_query_asks_for_everything_again(serve: Serve) -> None:
    given = iter([_answer(7), web.Response(status=500, text="No cluster leader"), _answer(8)])
    asked: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.query.get("index"))
        return next(given)

    query = _query(await serve(handler))
    await query.answer()
    with pytest.raises(RegistryError, match="No cluster leader"):
        await query.answer()
    await query.answer()
    assert query.restarted
    assert asked == [None, "7", None]


async def test_every_request_carries_the_token(serve: Serve) -> None:
    tokens: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        tokens.append(request.headers.get("X-Consul-Token"))
        return _answer(1, {})

    client = await serve(handler)
    await client.call(lambda api: api.agent.service_definition("x"))
    await client.call(lambda api: api.kv.put("a", b"b"))
    await client.call(lambda api: api.session.renew("x"))
    assert tokens == ["secret"] * 3


async def test_a_call_that_hangs_ends(serve: Serve) -> None:
    go_on = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await go_on.wait()
        return _answer(1)

    client = await serve(handler)
    with pytest.raises(RegistryError, match=r"did not answer within 0\.1 s"):
        await client.call(lambda api: api.kv.get("a"), 0.1)
    go_on.set()


@pytest.mark.parametrize("body", ["<html>", "[1", ""])
async def test_an_answer_that_is_not_consuls_is_an_error(serve: Serve, body: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=body)

    client = await serve(handler)
    with pytest.raises(RegistryError, match=r"Consul at 127\.0\.0\.1:\d+ failed"):
        await client.call(lambda api: api.kv.get("a"))


async def test_a_refused_connection_is_named(unused_address: tuple[str, int]) -> None:
    client = ConsulClient(*unused_address, NO_ACCESS)
    with pytest.raises(RegistryError, match=r"cannot be reached: Connection refused$"):
        await client.call(lambda api: api.kv.get("a"))
    await client.close()
    with pytest.raises(RegistryError, match="closed"):
        await client.call(lambda api: api.kv.get("a"))


@pytest.fixture
async def unused_address() -> tuple[str, int]:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1")
    address: tuple[str, int] = server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()
    return address


async def test_pauses_grow_and_stay_bounded() -> None:
    loop = asyncio.get_running_loop()
    backoff = Backoff(0.2)
    began = loop.time()
    for _ in range(3):
        await backoff.pause()
    assert loop.time() - began >= 0.05 + 0.1 + 0.1
    backoff.reset()
