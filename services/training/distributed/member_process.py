"""A member's process, as its worker sees it."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import IO, Final

from facet.training.v1 import training_pb2
from services.common.errors import InternalError
from services.common.models.native_logs import QUIET_ENVIRONMENT
from services.common.statuses import to_status
from services.training.distributed.framing import next_frame, to_frame
from services.training.distributed.member import THREADS_VARIABLE

LAST_BYTES: Final = 2048


class MemberProcess:
    """A running member."""

    def __init__(self, process: asyncio.subprocess.Process, errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors

    async def events(self) -> AsyncIterator[training_pb2.RunMemberResponse]:
        """Yield what it tells until it ends; the last event is `finished` or `failed`."""
        assert self._process.stdout is not None
        last = None
        while event := await next_frame(self._process.stdout, training_pb2.RunMemberResponse):
            last = event.WhichOneof("event")
            yield event
        code = await self._process.wait()
        if last not in ("finished", "failed"):
            error = to_status(InternalError(self._reason(code)))
            yield training_pb2.RunMemberResponse(
                failed=training_pb2.Failed(error=error, again=True)
            )

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def _reason(self, code: int) -> str:
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}"
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - LAST_BYTES))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"its process ended with code {code}: {lines[-1] if lines else 'it said nothing'}"


@asynccontextmanager
async def run_member_process(
    start: training_pb2.Start, threads: int
) -> AsyncIterator[MemberProcess]:
    """A member for the time of the block; it is gone afterwards."""
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.training.distributed.member"),
            env={**os.environ, **QUIET_ENVIRONMENT, THREADS_VARIABLE: str(threads)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
        member = MemberProcess(process, errors)
        try:
            assert process.stdin is not None
            process.stdin.write(to_frame(start))
            yield member
        finally:
            member.kill()
            await process.wait()
