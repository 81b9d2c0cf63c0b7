"""Where the microseconds of an event go: the lane's own WSGI callable in a loop, then each stage of the path alone.

Run by `python -m bench.profile`, which starts what it needs. One thread makes the requests; the worker's own threads
and librdkafka's run beside it as ever. CPU time of the calling thread, the best of a few rounds: what a busy machine
disturbs least. A stage alone finds warmer caches than on its way, and nobody to share the interpreter with: so the rest
is an upper bound.
"""

import io
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings

from bench.payloads import bodies
from bench.rows import BATCH_500, SINGLE, SMALL_BYTES, Load
from forebay.wsgi import application
from ingest.api import body
from ingest.api.addresses import client_address
from ingest.api.admission import admit
from ingest.api.tracing import correlation_id
from ingest.api.views import BatchView, LogView
from ingest.dataplane import metrics
from ingest.dataplane.event import EventLimits, LogEvent, Stamp, complete, encode, event_ids, rfc3339
from ingest.dataplane.outcome import Outcome
from ingest.dataplane.segments import Record
from ingest.worker import worker

LOADS: Final = {"single": (SINGLE, LogView), "batch": (BATCH_500, BatchView)}
ROUNDS: Final = 7
# Enough that the clock's own cost and grain do not show, few enough that the producer's queue never fills.
ROUND_EVENTS: Final = 10_000
DRAINED_WITHIN_S: Final = 30.0


LIMITS: Final = EventLimits(
    event_max_bytes=settings.FOREBAY_EVENT_MAX_BYTES,
    surely_fits_bytes=settings.FOREBAY_EVENT_MAX_BYTES,
    request_max_events=settings.FOREBAY_REQUEST_MAX_EVENTS,
    metadata_max_entries=settings.FOREBAY_METADATA_MAX_ENTRIES,
    timestamp_max_age_s=settings.FOREBAY_TIMESTAMP_MAX_AGE_S,
    timestamp_max_ahead_s=settings.FOREBAY_TIMESTAMP_MAX_AHEAD_S,
)


class Stages:
    """One request of a load, and each stage's part of it. Times are in microseconds for a request."""

    def __init__(self, load: Load, view: type[Any], key: str) -> None:
        self._load, self._view, self._key = load, view, key
        self._body = bodies(1, load.events, SMALL_BYTES)[0]
        self._requests = max(1, ROUND_EVENTS // load.events)
        self._whole_request()
        self._node = worker()
        self._caller = admit(self._environ(), self._node, "ingest", "127.0.0.1")
        self._events = self._decode().events
        self._complete(self._events)
        self._records: list[Record] = [(*self._route(event), encode(event), 0) for event in self._events]

    def pipeline(self) -> float:
        """Decode to produce, and what lies between them."""
        return self._on_its_way_us(self._node.pipeline, "accept")

    def whole(self) -> tuple[float, float]:
        """The calling thread's time, and that of all others in the process until Kafka has everything."""
        made_us = self._best(self._made)
        own_us, others_us = [], []
        for _ in range(ROUNDS):
            begun_s, begun_process_s = time.thread_time(), time.process_time()
            for _ in range(self._requests):
                self._whole_request()
            own_s = time.thread_time() - begun_s
            self._wait_until_drained()
            all_s = time.process_time() - begun_process_s
            own_us.append(own_s * 1e6 / self._requests - made_us)
            others_us.append((all_s - own_s) * 1e6 / self._requests)
        return min(own_us), min(others_us)

    def each(self) -> dict[str, float]:
        """Every stage that can be called by itself, in the order of the path."""
        outcome = self._outcome()
        return {
            "correlation id": self._best(lambda: correlation_id(self._environ_)),
            "admission": self._best(self._admit),
            "read": self._best(self._read),
            "decode": self._best(self._decode),
            "quota": self._best(self._charge),
            "complete": self._complete_us(),
            "route": self._best(lambda: [self._route(event) for event in self._events]),
            "encode": self._best(lambda: [encode(event) for event in self._events]),
            # The write lets go of the interpreter; what it costs on its way is mostly to get it back.
            "journal": self._on_its_way_us(self._node.engine.journal, "append"),
            "produce": self._best(self._produce, self._wait_until_drained),
            "metrics": self._best(self._count),
            "answer": self._best(lambda: self._view.format.answer(outcome)),
        }

    # --- the whole way ---

    def _made(self) -> dict[str, Any]:
        """A request as the server would hand it on; what making it here costs is not counted."""
        return self._environ() | {"wsgi.input": io.BytesIO(self._body)}

    def _whole_request(self) -> None:
        environ = self._made()
        status: list[str] = []
        application(environ, lambda line, headers, error=None: status.append(line))  # type: ignore[arg-type]
        if not status[0].startswith("202"):
            sys.exit(f"bench: the lane answers {status[0]}")

    def _environ(self) -> dict[str, Any]:
        """As granian fills it in for a request with a length."""
        self._environ_: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": self._load.path,
            "QUERY_STRING": "",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(self._body)),
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1:8000",
            "HTTP_X_API_KEY": self._key,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        return self._environ_

    def _wait_until_drained(self) -> None:
        give_up_s = time.monotonic() + DRAINED_WITHIN_S
        while len(self._node.engine.producer) and time.monotonic() < give_up_s:
            time.sleep(0.005)

    # --- the stages ---

    def _best(self, call: Callable[[], object], between: Callable[[], object] = lambda: None) -> float:
        took_us = []
        for _ in range(ROUNDS):
            begun_s = time.thread_time()
            for _ in range(self._requests):
                call()
            took_us.append((time.thread_time() - begun_s) * 1e6 / self._requests)
            between()
        return min(took_us)

    def _admit(self) -> None:
        environ, node = self._environ_, self._node
        caller = admit(environ, node, "ingest", client_address(environ, node.trusted_proxies))
        node.allowance(caller).exhausted()

    def _read(self) -> None:
        content = body.read(io.BytesIO(self._body), str(len(self._body)), self._node.body_max_bytes)
        body.decompress(content, "", self._node.body_max_bytes)

    def _decode(self) -> Any:
        return self._view.format.decode(self._body, settings.FOREBAY_REQUEST_MAX_EVENTS)

    def _charge(self) -> None:
        """Charged and given back, half of which is a charge and a bit: the lease must not run out in a loop."""
        allowance = self._node.allowance(self._caller)
        allowance.charge(self._load.events, len(self._body))
        allowance.give_back(self._load.events, len(self._body))

    def _complete(self, events: list[LogEvent]) -> None:
        wall_ms = time.time_ns() // 1_000_000
        stamp = Stamp("acme", "127.0.0.1", "c0ffee", "bench", wall_ms, rfc3339(wall_ms), event_ids(wall_ms))
        for event in events:
            complete(event, stamp, LIMITS)

    def _complete_us(self) -> float:
        """A completed event is completed faster again, so each call gets events that are new."""
        took_us = []
        for _ in range(ROUNDS):
            fresh = [self._decode().events for _ in range(self._requests)]
            begun_s = time.thread_time()
            for events in fresh:
                self._complete(events)
            took_us.append((time.thread_time() - begun_s) * 1e6 / self._requests)
        return min(took_us)

    def _route(self, event: LogEvent) -> tuple[str, int, bytes]:
        router = self._caller.router
        topic, partition, key, *_ = router.remembered.get((event.source, event.level)) or router.route(event)
        return topic, partition, key

    def _on_its_way_us(self, owner: Any, name: str) -> float:
        """A method of one of the worker's parts, timed in the middle of whole requests."""
        method, took_us = getattr(owner, name), []
        timed = Timed(method)
        setattr(owner, name, timed)
        for _ in range(ROUNDS):
            timed.took_s = 0.0
            for _ in range(self._requests):
                self._whole_request()
            took_us.append(timed.took_s * 1e6 / self._requests)
            self._wait_until_drained()
        setattr(owner, name, method)
        return min(took_us)

    def _produce(self) -> None:
        produce = self._node.engine.producer.produce
        for topic, partition, key, value, _ in self._records:
            produce(topic, value, key, partition, _report)

    def _count(self) -> None:
        route = self._view.route
        metrics.http_requests(route, 202).inc()
        metrics.http_request_seconds(route).observe(0.001)
        self._caller.meter("native").accepted(self._load.events, len(self._body))

    def _outcome(self) -> Outcome:
        """What the pipeline really makes of the request."""
        pipeline: Any = self._node.pipeline
        accept = pipeline.accept
        pipeline.accept = timed = Timed(accept)
        self._whole_request()
        pipeline.accept = accept
        outcome: Outcome = timed.returned
        return outcome


class Timed:
    """A method that adds up its thread's time."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.took_s = 0.0
        self.returned: Any = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        begun_s = time.thread_time()
        self.returned = self._method(*arguments, **named)
        self.took_s += time.thread_time() - begun_s
        return self.returned


def _report(error: object, message: object) -> None:
    """The least a delivery report can do."""


IN_PIPELINE: Final = ("decode", "quota", "complete", "route", "encode", "journal", "produce")


def table(events: int, own_us: float, pipeline_us: float, others_us: float, stages: dict[str, float]) -> str:
    """A line a stage, then what lies between them, then the other threads of the process."""
    in_pipeline_us = sum(stages[name] for name in IN_PIPELINE)
    outside_us = sum(stages.values()) - in_pipeline_us
    lines = {
        **stages,
        "the rest of the pipeline: its loop": pipeline_us - in_pipeline_us,
        "the rest of a request: objects": own_us - pipeline_us - outside_us,
        "= the request's thread": own_us,
        "other threads: reports, librdkafka": others_us,
        "= the process": own_us + others_us,
    }
    total_us = own_us + others_us
    return "\n".join(
        [
            f"{'stage':<36} {'us/request':>11} {'us/event':>9} {'share':>6}",
            *(f"{name:<36} {us:>11.1f} {us / events:>9.3f} {us / total_us:>6.1%}" for name, us in lines.items()),
        ]
    )


def main() -> None:
    name, key = sys.argv[1:]
    load, view = LOADS[name]
    stages = Stages(load, view, key)
    own_us, others_us = stages.whole()
    print(f"{name}: {load.events} events of {SMALL_BYTES} bytes a request, {ROUNDS} rounds, the best of each")
    print(table(load.events, own_us, stages.pipeline(), others_us, stages.each()))


if __name__ == "__main__":
    main()
