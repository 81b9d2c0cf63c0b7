"""`manage.py serve`: the web workers and the snapshot builder of one node, on services that the settings name."""

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from forebay.local import node, var_lock
from forebay.local.alert_watch import AlertWatch
from forebay.local.command import LocalServiceError
from forebay.local.console import Console
from forebay.local.stop_signals import StopAsked
from forebay.local.supervisor import ChildFailed, Supervisor


class Command(BaseCommand):
    help = (
        "Serve the API and the console on FOREBAY_HOST:FOREBAY_PORT with FOREBAY_WORKERS workers, streams and syslog"
        " beside them, and keep their snapshot current. Kafka, Redis and the database are those of the settings and may"
        " come later."
        " SIGTERM stops it gracefully; what the processes log goes to standard error."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console()
        try:
            _serve(console)
        except (LocalServiceError, ChildFailed) as error:
            sys.exit(str(error))
        except StopAsked:
            pass
        console.say("stopped")


def _serve(console: Console) -> None:
    if settings.SECRET_KEY == settings.INSECURE_SECRET_KEY:
        raise LocalServiceError(
            "FOREBAY_SECRET_KEY is not set, and anybody could sign in with the one that everybody knows."
            " Set it to a long random text, the same on all nodes: openssl rand -base64 48"
        )
    with (
        var_lock.held(settings.FOREBAY_VAR_DIR, console.say) as lock_fd,
        Supervisor(metrics_path=node.metrics_path(), log_dir=None, say=console.say, kept_fds=(lock_fd,)) as supervisor,
    ):
        node.check_addresses()
        # A worker starts from the last snapshot file, so neither waits for the other.
        supervisor.start(node.builder({}))
        children = [node.web({}, ready_path="/health/live")]
        if settings.FOREBAY_LISTEN_PORT:
            children.append(node.listen({}, ready_path="/health/live"))
        supervisor.start(*children)
        console.say(f"serving on {node.local_url()}")
        with AlertWatch(settings.FOREBAY_REDIS_URL, console.say):
            supervisor.run()
