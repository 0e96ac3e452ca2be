"""What a process tells Prometheus of itself, over HTTP at /metrics.

What a request passes bumps plain numbers (`counts`) or nothing at all: most of what is told is
state that the process keeps anyway. Only a scrape makes metrics of it, and it does so on the event
loop, where nothing changes meanwhile; the text is written by a thread.

    counts       numbers that are bumped: histograms, tallies     (pure)
    families     numbers → metric families                        (pure)
    calls        an interceptor that counts gRPC calls
    loop_lag     how late the event loop is
    certificate  when the certificate of the process expires
    snapshot     all of it at one moment
    endpoint     the HTTP server
    process_metrics  what a process has to do with all that
    targets      the instances of a registry, as Prometheus reads them from a file
"""
