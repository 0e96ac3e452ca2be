"""A receiver of spans that throws them away: what a process pays to be traced, and no more."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Final

import grpc

SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
NOTHING: Final = b""
"""An ExportTraceServiceResponse that has nothing to say."""


@contextmanager
def span_sink() -> Iterator[str]:
    """The URL of a receiver in a process of its own, for the time of the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        ours.close()
        process.join(10)
        process.kill()


def _serve(connection: Connection) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    take: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
        lambda request, context: NOTHING
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Export": take}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    connection.send(port)
    try:
        connection.recv()  # until the other end closes
    except (EOFError, KeyboardInterrupt):
        server.stop(0)
