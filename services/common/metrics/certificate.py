"""When the certificate of the process expires; read anew at each scrape, since it is renewed."""

import time
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from services.common.metrics.families import gauge


class CertificateExpiry(Collector):
    """Looks at the first certificate of a PEM file, which is the process's own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def collect(self) -> Iterable[Metric]:
        """See Collector. Nothing is told of a file that cannot be read."""
        # Here: a cluster in plain text does without.
        from cryptography import x509

        try:
            certificate = x509.load_pem_x509_certificate(self._path.read_bytes())
        except (OSError, ValueError):
            return
        left_s = certificate.not_valid_after_utc.timestamp() - time.time()
        yield gauge(
            "facet_certificate_expiry_seconds",
            "Seconds until the certificate in FACET_TLS_CERT expires.",
            left_s,
        )
