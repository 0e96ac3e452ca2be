"""gRPC over HTTP/2 on the event loop itself: servers and channels for many small messages.

grpcio's asyncio layer hands every message from a thread of its own to the event loop, and wakes
both up. Between services whose messages are offsets and scores that is most of the time of a
request: with it one small tensor took three times the CPU (docs/performance.md). Here a message is
parsed where the socket is read. What goes over the wire is plain gRPC
(https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) over HTTP/2 (RFC 9113): any gRPC
client can call the server, and the channel any gRPC server. Handlers, stubs, statuses and
exceptions are those of grpcio.

    frames    bytes of a connection ⇄ frames              (pure)
    headers   header blocks, deadlines, metadata          (pure)
    messages  chunks of a stream ⇄ messages               (pure)
    rules     what a frame and a request must look like   (pure)
    status    how answers begin and end                   (pure)
    stream    one call's messages and its flow control
    watch     whether the peer still lives
    wire      one socket: writing to it, and its end
    tls       who the peer is, where the socket speaks TLS
    connection  frames ⇄ streams, for both ends
    server, server_connection, server_call    the serving end
    limits, reception, arrivals    what clients may take of a server together
    interceptor    what a process does around every call that it serves
    channel, client_call   the calling end
"""
