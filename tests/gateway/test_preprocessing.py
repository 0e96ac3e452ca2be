"""Pictures go out in few calls, and one that kills its decoder harms no other."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from facet.type.v1 import model_pb2
from gateway.preprocessing import MAX_CALL_BYTES, SOLO_DEATHS, PreprocessingClient
from gateway.requests import Prepared
from services.common.deadline import Deadline
from services.common.errors import DeadlineExceededError, ImageError, InternalError
from services.common.registry import Instance
from tests.conftest import ROOT
from tests.fakes import MemoryRegistry
from tests.gateway.decoders import BAD, HELD, POISON, SHORT, client_of, decoders
from tests.leaks import no_task_left  # noqa: F401
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")

SPEC = model_pb2.InputSpec(height=1, width=1, channels=1)


async def prepare(
    client: PreprocessingClient,
    *images: bytes,
    spec: model_pb2.InputSpec = SPEC,
    seconds: float = PATIENCE_S,
) -> Prepared:
    """Prepare pictures."""
    return await client.prepare(images, spec, Deadline.after(seconds))


def check(prepared: Prepared, *images: bytes) -> None:
    """All but the poison and what is no picture came back, in its place."""
    fine = [place for place, image in enumerate(images) if image not in (BAD, POISON)]
    assert prepared.count == len(images)
    assert list(prepared.positions) == fine
    assert list(prepared.pixels) == [images[place][::-1] for place in fine]
    assert set(prepared.errors) == set(range(len(images))) - set(fine)
    for place, error in prepared.errors.items():
        assert isinstance(error, ImageError)
        crashed = images[place] == POISON
        assert error.reason == ("DECODER_CRASHED" if crashed else "IMAGE_CORRUPT")


async def test_pictures_keep_their_places_and_errors_are_their_own() -> None:
    registry = MemoryRegistry()
    async with decoders(registry, "a"), client_of(registry) as (client, _):
        check(await prepare(client, b"ab", BAD, b"cd"), b"ab", BAD, b"cd")
        check(await prepare(client))


async def test_what_arrives_meanwhile_goes_into_one_call() -> None:
    registry = MemoryRegistry()
    async with decoders(registry, "a") as (kept,), client_of(registry) as (client, _):
        held = [asyncio.create_task(prepare(client, HELD)) for _ in range(2)]
        await until(lambda: len(kept.decoder.calls) == 2)
        rest = [asyncio.create_task(prepare(client, b"%d" % n)) for n in range(50)]
        await asyncio.sleep(0)
        kept.decoder.gate.set()
        for number, prepared in enumerate(await asyncio.gather(*rest)):
            check(prepared, b"%d" % number)
        await asyncio.gather(*held)
        assert len(kept.decoder.calls) <= 4


async def test_large_pictures_travel_in_calls_of_their_own() -> None:
    registry = MemoryRegistry()
    images = [b"%d" % number + bytes(MAX_CALL_BYTES * 2 // 3) for number in range(3)]
    async with decoders(registry, "a") as (kept,), client_of(registry) as (client, _):
        check(await prepare(client, *images), *images)
        assert [len(call) for call in kept.decoder.calls] == [1, 1, 1]


async def test_each_input_spec_has_calls_of_its_own() -> None:
    registry = MemoryRegistry()
    other = model_pb2.InputSpec(height=2, width=1, channels=1)
    async with decoders(registry, "a") as (kept,), client_of(registry) as (client, _):
        await asyncio.gather(prepare(client, b"a"), prepare(client, b"b", spec=other))
        assert sorted(kept.decoder.calls) == [[b"a"], [b"b"]]


@pytest.mark.parametrize("names", ["a", "ab"])
async def test_poison_is_convicted_and_the_innocent_pass(names: str) -> None:
    registry = MemoryRegistry()
    images = [b"one", POISON, BAD, b"two"]
    async with decoders(registry, *names) as kept, client_of(registry) as (client, _):
        together, alone = await asyncio.gather(prepare(client, *images), prepare(client, b"three"))
        check(together, *images)
        check(alone, b"three")
        assert sum(each.deaths for each in kept) == 1 + SOLO_DEATHS
        check(await prepare(client, b"after"), b"after")


async def test_a_picture_that_is_tried_alone_is_alone_with_its_decoder() -> None:
    registry = MemoryRegistry()
    other = model_pb2.InputSpec(height=2, width=1, channels=1)
    async with decoders(registry, "a", "b") as kept, client_of(registry) as (client, _):
        # Poison in many requests at once, of two specs: nobody dies of another's poison.
        requests = [
            prepare(client, b"%d" % number, POISON, spec=spec)
            for number in range(4)
            for spec in (SPEC, other)
        ]
        requests += [prepare(client, b"x%d" % number) for number in range(20)]
        outcomes = await asyncio.gather(*requests)
        for place, prepared in enumerate(outcomes[:8]):
            check(prepared, b"%d" % (place // 2), POISON)
        for number, prepared in enumerate(outcomes[8:]):
            check(prepared, b"x%d" % number)
        assert sum(each.deaths for each in kept) >= 8 * SOLO_DEATHS


async def test_nobody_else_is_decoded_while_a_picture_is_tried_alone() -> None:
    registry = MemoryRegistry()
    async with decoders(registry, "a") as (kept,), client_of(registry) as (client, _):
        suspect = asyncio.create_task(prepare(client, HELD))
        await until(lambda: len(kept.decoder.calls) == 1)
        await kept.restart()
        await until(lambda: len(kept.decoder.calls) == 2)
        others = [asyncio.create_task(prepare(client, image)) for image in (POISON, b"one")]
        assert not (await asyncio.wait(others, timeout=0.05))[0]
        assert kept.decoder.calls == [[HELD], [HELD]]
        kept.decoder.gate.set()
        check(await suspect, HELD)
        check(await others[0], POISON)
        check(await others[1], b"one")


async def test_one_death_is_no_verdict() -> None:
    registry = MemoryRegistry()
    async with decoders(registry, "a") as (kept,), client_of(registry) as (client, _):
        pending = asyncio.create_task(prepare(client, HELD))
        for calls in (1, 2):
            await until(lambda calls=calls: len(kept.decoder.calls) == calls)  # type: ignore[misc]
            await kept.restart()
        await until(lambda: len(kept.decoder.calls) == 3)
        kept.decoder.gate.set()
        check(await pending, HELD)


async def test_a_draining_instance_hands_its_pictures_to_the_next() -> None:
    registry = MemoryRegistry()
    async with decoders(registry, "a") as (first,), client_of(registry) as (client, fleet):
        held = asyncio.create_task(prepare(client, HELD))
        await until(lambda: len(first.decoder.calls) == 1)
        first.decoder.draining.set()
        late = asyncio.create_task(prepare(client, b"late"))
        await until(lambda: fleet.links["a"].in_flight == 2)
        registry.remove(first.instance)
        async with decoders(registry, "b"):
            first.decoder.gate.set()
            check(await held, HELD)
            check(await late, b"late")
        assert first.decoder.calls == [[HELD]]


async def test_nothing_waits_longer_than_its_deadline() -> None:
    registry = MemoryRegistry()
    async with client_of(registry) as (client, _):
        with pytest.raises(DeadlineExceededError, match="during preprocessing"):
            await prepare(client, b"early", seconds=0.05)
        patient = asyncio.create_task(prepare(client, b"patient"))
        with pytest.raises(DeadlineExceededError):
            await prepare(client, b"hasty", seconds=0.05)
        async with decoders(registry, "a") as (kept,):
            check(await patient, b"patient")
            with pytest.raises(DeadlineExceededError):
                await prepare(client, HELD, seconds=0.05)
            assert [b"hasty"] not in kept.decoder.calls


async def test_an_answer_that_leaves_a_picture_out_is_a_fault() -> None:
    registry = MemoryRegistry()
    async with decoders(registry, "a"), client_of(registry) as (client, _):
        with pytest.raises(InternalError):
            await prepare(client, b"one", SHORT)
        check(await prepare(client, b"one"), b"one")


@asynccontextmanager
async def decoder_process() -> AsyncIterator[tuple[int, list[int]]]:
    """A decoder in a process of its own that is started again when it dies: port, exit codes."""
    exits: list[int] = []
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def keep() -> None:
        number = 0
        while True:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.gateway.decoders", str(number)),
                stdout=asyncio.subprocess.PIPE,
                cwd=ROOT,
            )
            assert process.stdout is not None
            try:
                number = int(await process.stdout.readline())
                if not port.done():
                    port.set_result(number)
                exits.append(await process.wait())
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    keeping = asyncio.create_task(keep())
    try:
        yield await asyncio.wait_for(port, PATIENCE_S), exits
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_a_real_process_dies_of_the_poison_and_nobody_else_does() -> None:
    registry = MemoryRegistry()
    async with decoder_process() as (port, exits), client_of(registry) as (client, _):
        registry.enter(Instance("preprocessing", "a", "127.0.0.1", port))
        check(await prepare(client, b"one", POISON, b"two"), b"one", POISON, b"two")
        assert exits == [1] * (1 + SOLO_DEATHS)
        check(await prepare(client, b"after"), b"after")
