"""What an operator sees when a service is away: Redis, Kafka, and the database itself; and when it is back."""

import http.client
from collections.abc import Callable

from tests.e2e.browser import Browser
from tests.e2e.conftest import Console
from tests.e2e.test_overview import send
from tests.services import KafkaServer, PostgresServer, RedisServer


def listens_through(browser: Browser, *expected: str) -> None:
    """Failed requests are what these tests are about; anything else that the browser says is still wrong."""
    browser.listen("away")
    browser.checked[:] = [line for line in browser.checked if not any(text in line for text in expected)]


def status_of(console: Console, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", console.node.port, timeout=20)
    try:
        connection.request("GET", path, headers={"Cookie": "sessionid=of-nobody"})
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def test_the_database_away_is_a_page_with_the_live_health_beside_it(
    serve_console: Callable[..., Console], own_postgres: PostgresServer
) -> None:
    console = serve_console(database_url=own_postgres.url)
    key = console.tenant_with_key("acme")
    viewer = console.as_("viewer")
    viewer.reads("Healthy", "1 worker heard")
    send(console, key, 100)

    own_postgres.stop()

    send(console, key, 100)  # events are still accepted
    viewer.open("/admin/ingest/deadletter/")
    viewer.reads("The database is away", "Ingestion goes on", "1 heard", "200 events in the last minute")
    listens_through(viewer, "503 (Service Unavailable)")
    viewer.picture("database-away")
    assert console.node.log.read_text().count("Traceback") == 0
    for path in ("/admin/", "/admin/breakers/", "/admin/tenants/tenant/1/change/", "/admin/overview/live/"):
        answer = status_of(console, path)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10"), path

    own_postgres.start()

    viewer.reads("Dead letters", "viewer")  # by itself
    listens_through(viewer, "503 (Service Unavailable)")


def test_redis_and_kafka_away_are_said_so_on_the_overview(
    serve_console: Callable[..., Console], own_redis: RedisServer, own_kafka: KafkaServer
) -> None:
    console = serve_console(redis_url=own_redis.url, kafka_bootstrap=own_kafka.bootstrap)
    key = console.tenant_with_key("acme")
    viewer = console.as_("viewer")
    viewer.reads("Healthy", "1 worker heard")

    own_kafka.stop()
    for _ in range(10):
        send(console, key)
    viewer.reads("Kafka fails, its breaker is", wait_s=60)  # OPEN, or HALF_OPEN for as long as a trial takes
    viewer.picture("kafka-away")
    own_redis.stop()

    viewer.reads("Redis", "does not answer")
    viewer.picture("redis-away")
    for path in ("/admin/breakers/", "/admin/journals/", "/admin/rules/", "/admin/ingest/deadletter/"):
        assert status_of(console, path).status == 302, path  # to the login: no page breaks
        viewer.open(path)
        viewer.find("h1")
        viewer.check(path)
    viewer.open("/admin/journals/")
    viewer.reads("as the database heard of them last", "manage.py journal list")
    viewer.picture("redis-away-journals")
