"""The pages of the console, measured: run by `bench.console` with the addresses of the services in its environment.

Django's own client asks for each page in this process, as a superuser; so what is measured is queries and templates,
without a server or a network.
"""

import argparse
import statistics
import sys
import time
from typing import NamedTuple

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402  # Django's models can be read only now
from django.core.management import call_command  # noqa: E402  # as above
from django.db import connection  # noqa: E402  # as above
from django.test import Client  # noqa: E402  # as above
from django.test.utils import CaptureQueriesContext  # noqa: E402  # as above

from bench.console_rows import LARGE, fill_database, tell_redis  # noqa: E402  # as above
from ingest.models import DeadLetter, Incident, RoutingRule  # noqa: E402  # as above
from tenants.models import ApiKey  # noqa: E402  # as above

REPEAT = 20
TARGET_MS = 300.0


class Row(NamedTuple):
    """One page. `cpu_ms` is this process's, without PostgreSQL's; `rows` are those of the page's tables."""

    path: str
    queries: int
    cpu_ms: float
    p50_ms: float
    p95_ms: float
    rows: int
    kib: float
    slowest: str
    slowest_ms: float


def main() -> None:
    arguments = _parsed()
    call_command("migrate", verbosity=0)
    begun_s = time.monotonic()
    fill_database(LARGE)
    tell_redis(LARGE)
    print(f"filled in {time.monotonic() - begun_s:.0f} s with {LARGE}", file=sys.stderr, flush=True)
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_superuser("bench"))
    rows = [_measure(client, path, arguments.repeat) for path in pages() if arguments.only in path]
    print(_table(rows, with_queries=arguments.queries))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-console")
    parser.add_argument("--repeat", type=int, default=REPEAT, metavar="N", help=f"of each page (default {REPEAT})")
    parser.add_argument("--only", metavar="TEXT", default="", help="pages whose address has this in it")
    parser.add_argument("--queries", action="store_true", help="show each page's slowest query too")
    return parser.parse_args()


def pages() -> list[str]:
    """Every page that shows many rows, or one of many; filters as an operator sets them."""
    letter, key = DeadLetter.objects.latest("pk").pk, ApiKey.objects.latest("pk").pk
    incident, rule = Incident.objects.latest("pk").pk, RoutingRule.objects.latest("pk").pk
    letters, entries = "/admin/ingest/deadletter/", "/admin/tenants/auditentry/"
    return [
        *("/admin/", "/admin/overview/live/", "/admin/overview/charts/?span=hour", "/admin/overview/charts/?span=day"),
        *("/admin/breakers/", "/admin/breakers/live/", "/admin/topics/topic-1/", "/admin/topics/topic-1/live/"),
        *("/admin/journals/", "/admin/journals/live/"),
        *("/admin/rules/", "/admin/rules/versions/", f"/admin/ingest/routingrule/{rule}/change/"),
        *("/admin/ingest/incident/", f"/admin/ingest/incident/{incident}/change/"),
        *(letters, f"{letters}?status=open", f"{letters}?tenant=tenant-1", f"{letters}?topic=topic-2&status=exhausted"),
        *(f"{letters}?text=order", f"{letters}?text=997", f"{letters}?code=CODE_40", f"{letters}{letter}/change/"),
        *("/admin/ingest/bulkreplay/", "/admin/ingest/quarantinedevent/"),
        "/admin/ingest/quarantinedevent/?tenant=tenant-1",
        *("/admin/ingest/ledgerminute/", "/admin/ingest/ledgerminute/?q=tenant-7", "/admin/ingest/ledgerminute/?p=9"),
        *("/admin/ingest/ledgerhour/", "/admin/ingest/ledgerhour/?q=tenant-7", "/admin/ingest/journalstate/"),
        *("/admin/senders/", "/admin/senders/_live/", "/admin/senders/tenant-1/", "/admin/senders/tenant-1/live/"),
        *("/admin/senders/?q=tenant-77", "/admin/senders/?page=90"),
        *("/admin/tenants/apikey/", "/admin/tenants/apikey/?q=key", f"/admin/tenants/apikey/{key}/change/"),
        *("/admin/tenants/apikey/add/", "/admin/tenants/plan/"),
        *(entries, f"{entries}?by=person-3", f"{entries}?q=tenant-9", f"{entries}?action=key.issue"),
        *("/admin/auth/user/", "/admin/auth/group/"),
    ]


def _measure(client: Client, path: str, repeat: int) -> Row:
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(path)
    if answer.status_code != 200:
        sys.exit(f"bench: {path} answers {answer.status_code}")
    queries = captured.captured_queries  # before the next request forgets them
    slowest = max(queries, key=lambda query: float(query["time"]))
    times = [_times_ms(client, path) for _ in range(repeat)]
    wall_ms, cpu_ms = sorted(wall for wall, _ in times), [cpu for _, cpu in times]
    return Row(
        path,
        len(queries),
        statistics.median(cpu_ms),
        statistics.median(wall_ms),
        wall_ms[max(0, round(0.95 * repeat) - 1)],
        answer.content.count(b"<tr"),
        len(answer.content) / 1024,
        slowest["sql"],
        float(slowest["time"]) * 1000,
    )


def _times_ms(client: Client, path: str) -> tuple[float, float]:
    """By the clock, and by this process's CPU, which other work on the machine disturbs least."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    client.get(path)
    return (time.perf_counter() - wall_s) * 1000, (time.process_time() - cpu_s) * 1000


def _table(rows: list[Row], *, with_queries: bool) -> str:
    width = max(len(row.path) for row in rows)
    lines = [f"{'page':<{width}}  queries  CPU ms  p50 ms  p95 ms   rows     KiB  target {TARGET_MS:.0f} ms"]
    for row in rows:
        verdict = "met" if row.p95_ms <= TARGET_MS else "missed"
        lines.append(
            f"{row.path:<{width}}  {row.queries:>7}  {row.cpu_ms:>6.0f}  {row.p50_ms:>6.0f}  {row.p95_ms:>6.0f}"
            f"  {row.rows:>5}  {row.kib:>6.0f}  {verdict}"
        )
        if with_queries:
            lines.append(f"    {row.slowest_ms:.0f} ms: {row.slowest[:600]}")
    missed = sum(row.p95_ms > TARGET_MS for row in rows)
    lines.append(f"{len(rows) - missed} of {len(rows)} pages within {TARGET_MS:.0f} ms")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
