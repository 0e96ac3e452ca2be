"""grpc.health.v1 for one process."""

import asyncio
from collections.abc import Iterable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.rpc.context import ServicerContext


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Tells which services serve.

    Its watches can be ended, which those of `grpc_health` cannot: a server that stops in order
    would wait for them until its patience is over.
    """

    def __init__(self, services: Iterable[str]) -> None:
        """None of the services serves yet, nor does the process as a whole ("")."""
        self._names = ("", *services)
        self._serving = False
        self._changed = asyncio.Event()
        self._ended = False

    def set_serving(self, serving: bool) -> None:
        """All services serve, or none does."""
        self._serving = serving
        self._notify()

    def end_watches(self) -> None:
        """End every watch once it has told the last status."""
        self._ended = True
        self._notify()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Tell the status of a service; NOT_FOUND for one that is not here."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} here")
        return self._response(request.service)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: ServicerContext) -> None:
        """Tell the status of a service now and after each change."""
        told = None
        while True:
            changed = self._changed
            response = self._response(request.service)
            if response != told:
                await context.write(response)
                told = response
            elif self._ended:
                return
            else:
                await changed.wait()

    def _response(self, service: str) -> health_pb2.HealthCheckResponse:
        response = health_pb2.HealthCheckResponse
        if service not in self._names:
            return response(status=response.SERVICE_UNKNOWN)
        return response(status=response.SERVING if self._serving else response.NOT_SERVING)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
