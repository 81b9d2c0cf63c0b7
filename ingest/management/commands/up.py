"""`manage.py up`: the whole platform on this machine, with a tenant, a key and an administrator to try it with.

Brings a Redis and a Kafka along unless the environment names others, migrates, and starts what `serve` starts plus
Celery. Ctrl-C stops everything; what it keeps is under FOREBAY_VAR_DIR.
"""

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connections

from forebay.local import addresses, backing, demo, kafka, node, redis, var_lock
from forebay.local.alert_watch import AlertWatch
from forebay.local.command import LocalServiceError
from forebay.local.console import Console
from forebay.local.stop_signals import StopAsked
from forebay.local.supervisor import ChildFailed, Supervisor
from forebay.local.welcome import welcome
from ingest.dataplane import policy
from tenants.models import ControlPlaneVersion


class Command(BaseCommand):
    help = (
        "Run Forebay with everything it needs on this machine until Ctrl-C. FOREBAY_REDIS_URL,"
        " FOREBAY_KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL name services to use instead of local ones."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--demo-broker", action="store_true", help="Use the in-memory demo broker even where Kafka could run."
        )

    def handle(self, *args: Any, demo_broker: bool, **options: Any) -> None:
        console = Console()
        try:
            _run(console, demo_broker)
        except (LocalServiceError, ChildFailed) as error:
            sys.exit(str(error))
        except StopAsked:
            pass
        console.say("stopped")


def _run(console: Console, demo_broker: bool) -> None:
    var_dir = settings.FOREBAY_VAR_DIR
    with (
        var_lock.held(var_dir, console.say) as lock_fd,
        Supervisor(
            metrics_path=node.metrics_path(), log_dir=var_dir / "log", say=console.say, kept_fds=(lock_fd,)
        ) as supervisor,
    ):
        node.check_addresses()
        try:
            up = Up(console, supervisor, demo_broker)
            console.say(up.start())
            with AlertWatch(up.redis_url, console.say):
                supervisor.run()
        finally:
            addresses.forget()
            console.say("stopping; Ctrl-C again kills")


class Up:
    """Starts everything in its order. `_env` gathers what the later children are told of the earlier ones."""

    def __init__(self, console: Console, supervisor: Supervisor, demo_broker: bool) -> None:
        self._console = console
        self._supervisor = supervisor
        self._demo_broker = demo_broker
        self._env: dict[str, str] = {}

    def start(self) -> str:
        """Blocks until the API takes events; returns what to show then."""
        with self._supervisor.signals.interrupting():
            broker = self._choose_kafka()
        self._start_redis()
        kafka_name = self._start_kafka(broker)
        self._console.step("database")
        with self._supervisor.signals.interrupting():
            made = _prepare_control_plane()
        self._env["FOREBAY_SECRET_KEY"] = os.environ.get("FOREBAY_SECRET_KEY") or made.secret_key
        self._start_node()
        return welcome(kafka_name, made)

    @property
    def redis_url(self) -> str:
        """Of the Redis that the node uses; known once it is started."""
        return self._env["FOREBAY_REDIS_URL"]

    def _choose_kafka(self) -> backing.Service | None:
        """What to start, if anything. The demo broker's limits are the first line that `up` says of it."""
        if "FOREBAY_KAFKA_BOOTSTRAP_SERVERS" in os.environ:
            return None
        lacking = "as asked for with --demo-broker" if self._demo_broker else self._lacking_for_kafka()
        if lacking is None:
            return backing.real_kafka(settings.FOREBAY_VAR_DIR)
        self._console.say(f"{backing.DEMO_BROKER_NOTE}\n  {lacking}")
        return backing.demo_broker(settings.FOREBAY_VAR_DIR)

    def _lacking_for_kafka(self) -> str | None:
        try:
            kafka.install(say=self._console.say)
        except LocalServiceError as error:
            return str(error)
        return None

    def _start_redis(self) -> None:
        given = os.environ.get("FOREBAY_REDIS_URL")
        if given:
            redis.wait_until_ready(given)
        url = given or self._start_service(backing.redis_server(settings.FOREBAY_VAR_DIR))
        self._env["FOREBAY_REDIS_URL"] = url if given else f"{url}/0"
        self._env["FOREBAY_CELERY_BROKER_URL"] = os.environ.get("FOREBAY_CELERY_BROKER_URL") or (
            url if given else f"{url}/1"
        )

    def _start_kafka(self, service: backing.Service | None) -> str:
        """Returns what to call it and where it is."""
        if service is None:
            return f"Kafka at {settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS}"
        bootstrap = self._start_service(service)
        self._env["FOREBAY_KAFKA_BOOTSTRAP_SERVERS"] = bootstrap
        return f"{service.name} at {bootstrap}"

    def _start_service(self, service: backing.Service) -> str:
        self._console.step(service.name)
        self._supervisor.start(service.child)
        return service.address()

    def _start_node(self) -> None:
        addresses.publish(self._env)
        self._console.step("snapshot builder")
        self._supervisor.start(node.builder(self._env, not_ready_because=_snapshot_is_old_because))
        self._console.step("Celery")
        self._supervisor.launch(node.celery_worker(self._env), node.celery_beat(self._env))
        self._console.step("web")
        children = [node.web(self._env, ready_path="/health/ready")]
        if settings.FOREBAY_LISTEN_PORT:
            children.append(node.listen(self._env, ready_path="/health/ready"))
        self._supervisor.start(*children)


def _prepare_control_plane() -> demo.Demo:
    try:
        call_command("migrate", verbosity=0, interactive=False)
        return demo.ensure(demo.default_path())
    except DatabaseError as error:
        raise LocalServiceError(f"the database refuses ({str(error).splitlines()[0]}): check DATABASE_URL") from error
    finally:
        connections.close_all()


def _snapshot_is_old_because() -> str | None:
    """A web worker that started from an older snapshot would refuse the key that `up` is about to print."""
    try:
        header = policy.read_header(settings.FOREBAY_SNAPSHOT_FILE.read_bytes())
    except (OSError, policy.SnapshotFormatError) as error:
        return f"no snapshot yet: {error}"
    return None if header.version >= ControlPlaneVersion.current() else "the snapshot is older than the database"
