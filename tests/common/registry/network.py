"""A network link to a Consul that a test can cut."""

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit


class Link:
    """A TCP relay to the Consul of a URL; `url` is the same Consul through the relay."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._target = parts.hostname, parts.port
        self._path = parts.path
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1")
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"consul://127.0.0.1:{port}{self._path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def hang(self) -> None:
        """Let nothing through any more, without telling either side."""
        self._open.clear()

    def restore(self) -> None:
        """Let everything through again."""
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        onward_reader, onward_writer = await asyncio.open_connection(*self._target)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._relay(reader, onward_writer))
                both.create_task(self._relay(onward_reader, writer))
        except asyncio.CancelledError:
            pass  # asyncio's server would report a cancelled handler as an error
        finally:
            self._tasks.discard(task)
            for each in (writer, onward_writer):
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
