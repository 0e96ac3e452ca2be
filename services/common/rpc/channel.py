"""The options of every channel and server of ours."""

from typing import Final

import grpc

# A peer that is frozen or cut off keeps its socket open: only pings tell.
_CHANNEL_OPTIONS: Final = (
    # Whoever lets a message into the cluster limits it; inside, all pass.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    # What really ends a silent connection; the default of a minute would outlive every deadline.
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Channels to one address must not share a connection: one that broke would break all.
    ("grpc.use_local_subchannel_pool", 1),
)


def open_channel(address: str) -> grpc.aio.Channel:
    """Return a channel to another process of the cluster at host:port."""
    return grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)


def server_options(max_message_bytes: int) -> tuple[tuple[str, int], ...]:
    """Return the options of a server that takes messages up to that size (-1: any)."""
    return (
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Two processes must not share a port unless they mean to.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
        ("grpc.http2.max_ping_strikes", 0),
    )
