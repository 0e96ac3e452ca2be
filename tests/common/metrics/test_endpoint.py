"""The HTTP server of /metrics, scraped as Prometheus does."""

import asyncio
import threading
from collections.abc import AsyncIterator
from http import HTTPStatus
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from services.common.errors import ConfigurationError
from services.common.http2.channel import Channel
from services.common.http2.server import Server
from services.common.metrics import snapshot
from services.common.metrics.families import gauge
from services.common.metrics.process_metrics import NO_PORT, PORT_KEY, ProcessMetrics
from services.common.settings import ServiceSettings, read_settings
from tests.common.http2.ends import SERVICE, Echo, Methods


class Scraped:
    """The metrics of this process, and a server whose calls they count."""

    def __init__(self) -> None:
        self.metrics = ProcessMetrics("echo")
        self.server = Server()
        self.server.guard(self.metrics.interceptors)
        self.threads: list[threading.Thread] = []
        self.broken = False
        self.hangs = False
        """The event loop does not go on before the scrape has its answer."""
        self._answered = threading.Event()

    def source(self) -> list[Metric]:
        """What the service tells: on which thread it was asked."""
        if self.hangs:
            self._answered.wait(30)
        if self.broken:
            raise ZeroDivisionError
        self.threads.append(threading.current_thread())
        return [gauge("facet_answer", "The answer.", 42)]

    async def scrape(self, path: str = "/metrics") -> dict[str, float]:
        """Return the samples, by name and labels."""
        url = f"http://127.0.0.1:{self.metrics.meta[PORT_KEY]}{path}"

        def get() -> str:
            try:
                with urlopen(url, timeout=20) as answer:
                    return str(answer.read(), "utf-8")
            finally:
                self._answered.set()

        families = text_string_to_metric_families(await asyncio.to_thread(get))
        return {
            ",".join([sample.name, *(str(v) for _, v in sorted(sample.labels.items()))]): (
                sample.value
            )
            for family in families
            for sample in family.samples
        }


@pytest.fixture
async def scraped() -> AsyncIterator[Scraped]:
    process = Scraped()
    process.metrics.listen("127.0.0.1")
    process.metrics.serve(process.server, process.source)
    yield process
    await process.server.stop(0)
    process.metrics.close()


async def test_a_scrape_tells_of_the_service_and_of_the_process(scraped: Scraped) -> None:
    samples = await scraped.scrape()
    assert samples["facet_answer"] == 42
    assert samples[f"facet_build_info,echo,{snapshot.version()}"] == 1
    assert samples["process_resident_memory_bytes"] > 1e6
    assert samples["facet_server_connections"] == 0
    assert scraped.threads == [threading.main_thread()], "state is looked at on the event loop"


async def test_calls_are_counted_by_method_and_status(scraped: Scraped) -> None:
    echo = Echo()
    scraped.server.add_registered_method_handlers(SERVICE, echo.handlers)
    port = scraped.server.listen("127.0.0.1", 0)
    await scraped.server.start()
    async with Channel(f"127.0.0.1:{port}") as channel:
        call = Methods(channel)
        assert await call.say(b"word") == b"word"
        assert await call.say(b"again") == b"again"
        samples = await scraped.scrape()
    started = {name: value for name, value in samples.items() if name.startswith("grpc_server_st")}
    assert list(started.values()) == [2]
    assert ",unary" in next(iter(started))
    handled = {
        name: value for name, value in samples.items() if name.startswith("grpc_server_handled")
    }
    assert list(handled.values()) == [2]
    assert ",OK," in next(iter(handled))
    assert samples["facet_server_received_bytes_total"] > len(b"wordagain")
    assert samples["facet_server_sent_bytes_total"] > len(b"wordagain")
    gone = await scraped.scrape()
    assert gone["facet_server_received_bytes_total"] >= samples["facet_server_received_bytes_total"]


async def test_there_is_nothing_but_metrics(scraped: Scraped) -> None:
    with pytest.raises(HTTPError) as refused:
        await scraped.scrape("/etc/passwd")
    assert refused.value.code == HTTPStatus.NOT_FOUND
    refused.value.close()


async def test_a_client_that_says_nothing_keeps_nobody_waiting(scraped: Scraped) -> None:
    port = int(scraped.metrics.meta[PORT_KEY])
    _, silent = await asyncio.open_connection("127.0.0.1", port)
    assert (await scraped.scrape())["facet_answer"] == 42
    silent.close()


async def test_a_fault_of_a_collector_is_no_end_of_the_endpoint(scraped: Scraped) -> None:
    scraped.broken = True
    with pytest.raises(HTTPError) as failed:
        await scraped.scrape()
    assert failed.value.code == HTTPStatus.INTERNAL_SERVER_ERROR
    failed.value.close()
    scraped.broken = False
    assert (await scraped.scrape())["facet_answer"] == 42


async def test_an_event_loop_that_hangs_is_told_of(
    scraped: Scraped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "COLLECT_WITHIN_S", 0.05)
    scraped.hangs = True
    with pytest.raises(HTTPError) as late:
        await scraped.scrape()
    assert late.value.code == HTTPStatus.SERVICE_UNAVAILABLE
    late.value.close()


def test_a_port_in_use_is_said_in_a_sentence() -> None:
    first = ProcessMetrics("one")
    first.listen("127.0.0.1")
    port = int(first.meta[PORT_KEY])
    second = ProcessMetrics("two", port)
    with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port} for metrics"):
        second.listen("127.0.0.1")
    first.close()
    second.close()


def test_a_process_can_do_without() -> None:
    settings = read_settings(ServiceSettings, metrics_port=NO_PORT)
    metrics = ProcessMetrics("quiet", settings.metrics_port)
    metrics.listen("127.0.0.1")
    assert metrics.meta == {}
    assert metrics.interceptors == ()
    metrics.close()
