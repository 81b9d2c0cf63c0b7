"""A node with a listen process and all that it can serve, for the tests of one file."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from forebay.local.ports import free_port
from tests.conftest import new_database
from tests.consumer import Record, read_records
from tests.faults.conftest import admit_tenant
from tests.node import Node
from tests.streaming import StreamClient

SLOW_PER_S, SLOW_BURST = 20, 40


@dataclass
class Platform:
    """One node with everything on, for all tests of this file; each has sources of its own."""

    node: Node
    bootstrap: str
    topic: str
    keys: dict[str, str]
    ports: dict[str, int]
    certificates: Path

    def stream(self, tenant: str = "acme", query: str = "") -> StreamClient:
        return StreamClient(self.node.listen_port, self.keys[tenant], query)

    def values_of(self, source: str, count: int) -> list[dict[str, Any]]:
        """What Kafka has of a source, once so many are there."""

        def of_source(records: list[Record]) -> list[dict[str, Any]]:
            return [value for record in records if (value := json.loads(record.value))["source"] == source]

        records = read_records(self.bootstrap, self.topic, until=lambda found: len(of_source(found)) >= count)
        return of_source(records)


def certificates_in(directory: Path) -> None:
    """An authority, a server of it, a client called router.example, and another authority's client of that name."""
    for authority in ("ca", "stranger"):
        openssl(
            directory,
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={authority}"),
            *("-keyout", f"{authority}.key", "-out", f"{authority}.pem"),
        )
    for name, subject, authority in (
        ("server", "localhost", "ca"),
        ("client", "router.example", "ca"),
        ("impostor", "router.example", "stranger"),
    ):
        openssl(
            directory,
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={subject}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        openssl(
            directory,
            *("x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", f"{authority}.pem"),
            *("-CAkey", f"{authority}.key", "-CAcreateserial", "-out", f"{name}.pem"),
        )


def openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def _key_for_all(node: Node, tenant: str) -> str:
    admit_tenant(node, tenant)
    made = json.loads(node.manage("key_issue", tenant, "--scopes", "ingest", "read", "--json"))
    return str(made["secret"])


@pytest.fixture(scope="module")
def platform(
    tmp_path_factory: pytest.TempPathFactory,
    kafka_bootstrap: str,
    redis_url: str,
    postgres_url: str,
    migrated_database: str,
) -> Iterator[Platform]:
    with Redis.from_url(redis_url) as client:
        client.flushdb()
    certificates = tmp_path_factory.mktemp("certificates")
    certificates_in(certificates)
    topic = f"listening-{uuid4().hex[:8]}"
    ports = {name: free_port() for name in ("listen", "tcp", "token", "tls", "udp")}
    environment = {
        "FOREBAY_TOPIC_DEFAULT": topic,
        "FOREBAY_LISTEN_PORT": str(ports["listen"]),
        "FOREBAY_SYSLOG_TCP": f"{ports['tcp']}=acme,{ports['token']}",
        "FOREBAY_SYSLOG_TLS": str(ports["tls"]),
        "FOREBAY_SYSLOG_UDP": f"{ports['udp']}=acme",
        "FOREBAY_SYSLOG_TLS_CERTIFICATE_FILE": str(certificates / "server.pem"),
        "FOREBAY_SYSLOG_TLS_KEY_FILE": str(certificates / "server.key"),
        "FOREBAY_SYSLOG_TLS_CLIENT_CA_FILE": str(certificates / "ca.pem"),
        "FOREBAY_SYSLOG_CERTIFICATES": "router.example=bolt",
        "FOREBAY_SYSLOG_UDP_BUFFER_BYTES": "2304",
        "FOREBAY_LISTEN_HEAD_TIMEOUT_S": "5",
        "FOREBAY_LISTEN_LINE_TIMEOUT_S": "1",
    }
    with new_database(postgres_url, migrated_database) as database_url:
        node = Node(
            tmp_path_factory.mktemp("node"),
            kafka_bootstrap=kafka_bootstrap,
            redis_url=redis_url,
            database_url=database_url,
            environment=environment,
        )
        node.manage(
            *("shell", "--verbosity", "0", "--command"),
            "from tenants.models import Plan\n"
            f"Plan.objects.create(name='slow', events_per_s={SLOW_PER_S}, burst_events={SLOW_BURST})",
        )
        keys = {name: _key_for_all(node, name) for name in ("acme", "bolt")}
        keys["slow"] = admit_tenant(node, "slow", plan="slow")
        try:
            node.start()
            yield Platform(node, kafka_bootstrap, topic, keys, ports, certificates)
        finally:
            node.stop()
            print(node.log.read_text(errors="replace")[-4_000:])
