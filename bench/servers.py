"""The servers under load: a Forebay worker as `manage.py serve` starts it, and the null view by the very same command.

Main thread of the benchmark. Several may run at a time; each has a port and a directory of its own.
"""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bench.payloads import events
from bench.processes import Service
from bench.site import DIRECTORY, LOGS, Site
from forebay.local import metrics_dir, node, ports

FOREBAY: Final = "forebay.wsgi:application"
NULL_VIEW: Final = "bench.null_view:application"
PROBE_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class Server:
    """A server that has answered a request as it should."""

    port: int
    service: Service

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def samples(self) -> list[Sample]:
        """Everything that /metrics shows at one moment."""
        text = _request(self.port, "GET", "/metrics")[1]
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def total(samples: list[Sample], name: str, **labels: str) -> float:
    """The sum of all samples of that name with these labels."""
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


@contextmanager
def forebay(name: str, site: Site, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A worker with its own journal and metrics. It knows the tenants: its probe was an event, accepted."""
    directory = DIRECTORY / name
    metrics_path = directory / "prometheus"
    metrics_dir.empty(metrics_path)
    surroundings = {
        "FOREBAY_VAR_DIR": str(directory),
        "FOREBAY_JOURNAL_DIR": str(directory / "journal"),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics_path),
        **(env or {}),
    }
    with _running(name, FOREBAY, "/api/logs", site.key, surroundings) as server:
        yield server


@contextmanager
def null_view() -> Iterator[Server]:
    """The null view."""
    with _running("null_view", NULL_VIEW, "/null", "", {}) as server:
        yield server


@contextmanager
def _running(name: str, application: str, probe: str, key: str, env: Mapping[str, str]) -> Iterator[Server]:
    port = ports.free_port()
    web = node.web(env, ready_path=probe)
    argv = list(web.argv)
    argv[argv.index("--port") + 1] = str(port)
    argv[-1] = application
    (DIRECTORY / name).mkdir(parents=True, exist_ok=True)
    child = replace(
        web, name=name, argv=argv, not_ready_because=lambda: _refusal(port, probe, key), ready_timeout_s=60.0
    )
    server = Server(port, Service(child, LOGS))
    try:
        yield server
    finally:
        server.service.stop()


def _refusal(port: int, path: str, key: str) -> str | None:
    try:
        status, text = _request(port, "POST", path, key, events(1, 240)[0])
    except (OSError, http.client.HTTPException) as error:
        return str(error)
    return None if status == http.HTTPStatus.ACCEPTED else f"{path} answers {status} {text[:300]}"


def _request(port: int, method: str, path: str, key: str = "", body: bytes | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request(method, path, body, {"X-API-Key": key, "Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def body_files(name: str, bodies: list[bytes]) -> list[Path]:
    """Request bodies as files, for a load generator that is not ours."""
    directory = DIRECTORY / "bodies"
    directory.mkdir(exist_ok=True)
    files = [directory / f"{name}-{number}.json" for number in range(len(bodies))]
    for file, content in zip(files, bodies, strict=True):
        file.write_bytes(content)
    return files
