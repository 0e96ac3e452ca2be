"""One request, one id, one trace, through all processes.

A request is known by its id from the gateway on, and the id travels with the work, inside the
messages (facet.type.v1.RequestContext): the streams between services carry the work of many
requests. Where a request is traced, the span that the work belongs to travels along.

    context      ids and traceparents: sane or not, made, read and written   (pure)
    span         the request that the code at work is for; nothing, where it is not traced
    trail        what one process tells of the requests that pass through it
    requests     the gateway's side: requests begin and end
    interceptor  every call of a server as a request
    sparing      lines that a flood of failures would write, but few of them
    opening      from settings to a trail
    complaints   those of OpenTelemetry, shortened
    otlp         spans by OpenTelemetry; imported only where traces are switched on
"""
