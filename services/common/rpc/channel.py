"""Channels between processes of the cluster."""

from services.common.http2.channel import Channel


def open_channel(address: str) -> Channel:
    """Return a channel to another process of the cluster at host:port."""
    return Channel(address)
