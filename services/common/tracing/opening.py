"""From settings to a trail."""

from urllib.parse import urlsplit

from services.common.errors import ConfigurationError
from services.common.settings import ServiceSettings
from services.common.tracing.trail import Trail


def open_trail(service: str, instance: str, settings: ServiceSettings) -> Trail:
    """Return what a process tells of requests; raises ConfigurationError."""
    debug = settings.log_level == "debug"
    if not settings.traces:
        return Trail(debug=debug)
    url = urlsplit(settings.traces)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigurationError(
            f"FACET_TRACES is {settings.traces!r}, and should be the address of an OTLP receiver "
            "such as http://localhost:4317"
        )
    try:
        from services.common.tracing.otlp import OtlpTracer
    except ImportError as error:
        raise ConfigurationError(
            f"FACET_TRACES needs OpenTelemetry ({error}): pip install 'facet[tracing]', or leave "
            "FACET_TRACES empty"
        ) from error
    tracer = OtlpTracer(service, instance, settings.traces, settings.traces_ratio)
    return Trail(tracer, debug=debug)
