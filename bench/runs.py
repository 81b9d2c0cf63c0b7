"""A run of the benchmark: which servers it starts, in which order it measures, and the report it makes of it.

Main thread of the benchmark. The rows of a group are measured in turn, so that what the machine does besides falls on
all of them.
"""

import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Final

import confluent_kafka

from bench import servers
from bench.measuring import Measuring
from bench.processes import Companion
from bench.report import Machine, Measurement, Ratio, Report, RowReport, ratio, summarise
from bench.rows import RATIOS, ROWS, Row
from bench.site import ROOT, TOPIC, Site, opened
from bench.topic_end import TopicEnd
from forebay.local import kafka
from forebay.local.command import Say

STATISTICS_INTERVAL_MS: Final = 250
PACKAGES: Final = ("confluent-kafka", "django", "djangorestframework", "granian", "msgspec")

Measure = Callable[[], Measurement]


class Run:
    """Takes measurements and keeps them by row."""

    def __init__(self, names: Sequence[str], seconds_s: float, repeat: int, say: Say) -> None:
        self._rows = [row for row in ROWS.values() if row.name in names]
        self._seconds_s = seconds_s
        self._repeat = repeat
        self._say = say
        self._found: dict[str, list[Measurement]] = {row.name: [] for row in self._rows}
        self._left = len(self._rows) * repeat

    def report(self) -> Report:
        """Measures everything: minutes."""
        started_at, begun_machine = datetime.now(UTC), machine()
        settings = own_settings()
        with opened(self._say) as site, ExitStack() as stack:
            topic_end = TopicEnd(site.bootstrap, TOPIC)
            stack.callback(topic_end.close)
            self._measure_all(site, Measuring(site.key, topic_end, self._seconds_s))
        rows = [summarise(name, found) for name, found in self._found.items()]
        return Report(
            started_at=started_at.isoformat(timespec="seconds"),
            seconds_s=self._seconds_s,
            repeat=self._repeat,
            versions=versions(),
            machine=begun_machine,
            settings=settings,
            rows=rows,
            ratios=dict(_ratios({row.name: row for row in rows})),
        )

    def _measure_all(self, site: Site, measuring: Measuring) -> None:
        on_node = [row for row in self._rows if row.group != "wire"]
        if on_node:
            with ExitStack() as stack:
                measures = self._measures_on_node(on_node, site, measuring, stack)
                for _, group in groupby(on_node, key=lambda row: row.group):
                    self._interleave([(row, measures[row.name]) for row in group])
        wire = [row for row in self._rows if row.group == "wire"]
        if wire:
            with Companion("bench.client", site.key) as client:
                for row in wire:
                    self._measure_wire(row, site, measuring, client)

    def _measures_on_node(
        self, rows: list[Row], site: Site, measuring: Measuring, stack: ExitStack
    ) -> dict[str, Measure]:
        """How to measure each row, with what it needs started. One worker serves all rows."""
        self._say("starting the servers")
        node = stack.enter_context(servers.forebay("node", site))
        measures: dict[str, Measure] = {}
        for row in rows:
            if row.name == "raw_loop":
                raw_loop = stack.enter_context(Companion("bench.raw_loop"))
                raw_loop.ask("1")
                measures[row.name] = partial(measuring.raw_loop, raw_loop)
            elif row.name == "null_view":
                null_view = stack.enter_context(servers.null_view())
                measures[row.name] = partial(measuring.null_view, null_view, row)
            elif row.group == "paced":
                client = stack.enter_context(Companion("bench.client", site.key))
                paced = measuring.single_paced if row.name == "single_paced" else measuring.to_consumer
                measures[row.name] = partial(paced, node, client)
            else:
                measures[row.name] = partial(measuring.closed, node, row)
        return measures

    def _interleave(self, group: list[tuple[Row, Measure]]) -> None:
        for _ in range(self._repeat):
            for row, measure in group:
                self._keep(row, measure())

    def _measure_wire(self, row: Row, site: Site, measuring: Measuring, client: Companion) -> None:
        """A codec is chosen when the worker starts, so each row has a worker of its own, repetitions side by side."""
        profile, codec = row.name.split("_")
        env = {
            "FOREBAY_PRODUCER_PROFILE": profile,
            "FOREBAY_PRODUCER_COMPRESSION": codec,
            "FOREBAY_PRODUCER_STATISTICS_INTERVAL_MS": str(STATISTICS_INTERVAL_MS),
        }
        with servers.forebay(row.name, site, env) as server:
            client.ask(f"warm {server.port}")
            for _ in range(self._repeat):
                self._keep(row, measuring.fixed(server, client))

    def _keep(self, row: Row, measurement: Measurement) -> None:
        self._found[row.name].append(measurement)
        self._left -= 1
        rate = measurement.events_per_server_cpu_s or 0
        self._say(f"{row.name}: {rate:,.0f} events per CPU-second, {self._left} measurements left")


def own_settings() -> dict[str, str]:
    """What the caller's environment changes: figures that are not those of the shipped defaults must show it."""
    secret = ("SECRET", "PASSWORD", "URL", "KEY")
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith("FOREBAY_") and not any(word in name for word in secret)
    }


def versions() -> dict[str, str]:
    return {
        "forebay_commit": _commit(),
        "python": platform.python_version(),
        "kafka": kafka.VERSION,
        "librdkafka": confluent_kafka.libversion()[0],
        **{package: version(package) for package in PACKAGES},
    }


def machine() -> Machine:
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(os.cpu_count() or 0, _cpu_model(), round(memory_bytes / 1e6), os.getloadavg()[0])


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    """Empty outside of a checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()


def _ratios(rows: dict[str, RowReport]) -> Iterator[tuple[str, Ratio]]:
    for name, row, against in RATIOS:
        if row in rows and against in rows and (found := ratio(rows[row], rows[against])) is not None:
            yield name, found
