"""Where the running `manage.py up` has its services, for commands typed in another terminal.

`up` takes whatever ports are free, so it leaves the addresses in var/up.env while it runs. A value in the environment
always wins, as everywhere.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings

from forebay.local import env_file

PUBLISHED = ("FOREBAY_KAFKA_BOOTSTRAP_SERVERS", "FOREBAY_REDIS_URL", "FOREBAY_CELERY_BROKER_URL")


def publish(env: Mapping[str, str]) -> None:
    """Leave the addresses that `up` chose; what the caller's environment names already is not among them."""
    values = {name: env[name] for name in PUBLISHED if name in env}
    env_file.write(_file(), values, comment="Where the running `manage.py up` has its services; gone when it stops.")


def forget() -> None:
    _file().unlink(missing_ok=True)


def kafka_bootstrap() -> str:
    """The Kafka of the environment, else of a running `up`, else the setting's default."""
    chosen = None if "FOREBAY_KAFKA_BOOTSTRAP_SERVERS" in os.environ else env_file.read(_file()).get(PUBLISHED[0])
    return chosen or settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS


def _file() -> Path:
    return Path(settings.FOREBAY_VAR_DIR) / "up.env"
