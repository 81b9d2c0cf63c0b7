"""The processes of one Forebay node as children of its supervisor: web, snapshot builder, Celery worker and beat.

Shared by `manage.py up` and `manage.py serve`; only command lines and how each shows that it is ready.
"""

import http.client
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from django.conf import settings

from forebay.local.child import Child
from forebay.local.command import LocalServiceError

# A worker flushes its producer before it goes; granian waits longer than that, and the supervisor longer than granian.
WORKER_MARGIN_S = 5
SERVER_MARGIN_S = 10
PROBE_TIMEOUT_S = 2.0
# Celery says nothing at this log level when it is ready; what is wrong with it shows while it imports.
CELERY_SETTLES_S = 4.0
# What granian calls backpressure bounds open connections, idle ones too; at its default of the backlog, 1,024 agents
# that only keep theirs alive shut everybody else out. An idle one costs about 20 KB.
CONNECTIONS_A_WORKER = 8_192


def web(env: Mapping[str, str], *, ready_path: str) -> Child:
    """Granian with its workers; ready when `ready_path` answers 200."""
    flush_s = settings.FOREBAY_PRODUCER_FLUSH_TIMEOUT_S
    # Else each of the threads gets an arena of glibc's and keeps in it what large bodies once took: with 50 KB events a
    # worker took 373 MB instead of 272, and a fifth more CPU time.
    env = {"MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2"), **env}
    options = {
        "--interface": "wsgi",
        "--host": settings.FOREBAY_HOST,
        "--port": settings.FOREBAY_PORT,
        "--workers": settings.FOREBAY_WORKERS,
        "--blocking-threads": settings.FOREBAY_THREADS,
        "--workers-kill-timeout": flush_s + WORKER_MARGIN_S,
        "--backlog": 1024,
        "--backpressure": CONNECTIONS_A_WORKER,
        "--log-level": "warning",
    }
    flags = ["--no-ws", "--respawn-failed-workers"]
    argv = ["granian", *(str(part) for option in options.items() for part in option), *flags]
    return _python_child(
        "web",
        ["-m", *argv, "forebay.wsgi:application"],
        env,
        not_ready_because=lambda: _not_answering_because(ready_path, settings.FOREBAY_PORT),
        grace_s=flush_s + SERVER_MARGIN_S,
    )


def listen(env: Mapping[str, str], *, ready_path: str) -> Child:
    """`manage.py listen`: streams, the live tail and syslog; ready when `ready_path` answers 200."""
    port = settings.FOREBAY_LISTEN_PORT
    return _python_child(
        "listen",
        ["manage.py", "listen"],
        {"MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2"), **env},
        not_ready_because=lambda: _not_answering_because(ready_path, port),
        grace_s=settings.FOREBAY_LISTEN_DRAIN_TIMEOUT_S + settings.FOREBAY_PRODUCER_FLUSH_TIMEOUT_S + SERVER_MARGIN_S,
    )


def builder(env: Mapping[str, str], *, not_ready_because: Callable[[], str | None] = lambda: None) -> Child:
    """`manage.py snapshot`: brings what the event path needs to know from the database into a file."""
    return _python_child("builder", ["manage.py", "snapshot"], env, not_ready_because=not_ready_because)


def celery_worker(env: Mapping[str, str]) -> Child:
    """One process beside its parent is enough for the tasks of a node."""
    # Gossip and mingle are for a fleet that watches itself; one worker only waits for answers that never come.
    return _celery("worker", env, "--pool", "prefork", "--concurrency", "1", "--without-gossip", "--without-mingle")


def celery_beat(env: Mapping[str, str]) -> Child:
    """The clock of the periodic tasks; one a platform."""
    return _celery("beat", env)


def _celery(role: str, env: Mapping[str, str], *options: str) -> Child:
    argv = ["-m", "celery", "-A", "forebay.celery", role, *options, "--loglevel", "WARNING"]
    return replace(_python_child(role, argv, env), settles_s=CELERY_SETTLES_S)


def metrics_path() -> Path:
    """Where this node's processes share their metrics: PROMETHEUS_MULTIPROC_DIR, else a directory under var."""
    return Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR") or settings.FOREBAY_VAR_DIR / "prometheus")


def local_url(path: str = "", port: int | None = None) -> str:
    """How a person on this machine reaches the web workers, or what else listens on a port."""
    host = _reachable_host()
    return f"http://{f'[{host}]' if ':' in host else host}:{port or settings.FOREBAY_PORT}{path}"


def check_addresses() -> None:
    """Raises LocalServiceError when the web workers or the listen process could not listen."""
    _check_address("FOREBAY_PORT", settings.FOREBAY_PORT)
    if settings.FOREBAY_LISTEN_PORT:
        _check_address("FOREBAY_LISTEN_PORT", settings.FOREBAY_LISTEN_PORT)


def _check_address(name: str, port: int) -> None:
    """Asked beforehand because each granian worker binds with SO_REUSEPORT: it would share the port with another server
    of the same user and get half of its requests.
    """
    host = settings.FOREBAY_HOST
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise LocalServiceError(
            f"cannot listen on {host}:{port} ({error.strerror or error}):"
            f" stop what uses it, or choose another port, for example {name}={port + 1}"
        ) from error


def _python_child(
    name: str,
    arguments: list[str],
    env: Mapping[str, str],
    *,
    not_ready_because: Callable[[], str | None] = lambda: None,
    grace_s: float = 20.0,
) -> Child:
    roots = [str(settings.BASE_DIR / "platform"), str(settings.BASE_DIR)]
    surroundings: dict[str, str | None] = {
        "PYTHONPATH": os.pathsep.join(filter(None, [*roots, os.environ.get("PYTHONPATH")])),
        # Only what holds a worker shows metrics: gauges that another process imports and never sets would read as 0.
        "PROMETHEUS_MULTIPROC_DIR": str(metrics_path()) if name in ("web", "listen") else None,
        "DJANGO_SETTINGS_MODULE": "forebay.settings",
    }
    return Child(
        name,
        [sys.executable, *arguments],
        cwd=settings.BASE_DIR,
        env={**surroundings, **env},
        not_ready_because=not_ready_because,
        grace_s=grace_s,
    )


def _reachable_host() -> str:
    host: str = settings.FOREBAY_HOST
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound


def _not_answering_because(path: str, port: int) -> str | None:
    connection = http.client.HTTPConnection(_reachable_host(), port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read(500).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"{local_url(path, port)}: {error}"
    finally:
        connection.close()
    return None if answer.status == http.client.OK else f"{local_url(path, port)} answers {answer.status} {text}"
