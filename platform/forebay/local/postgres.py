"""A PostgreSQL of this machine: which binaries, its first initialisation, its command line, and whether it answers.

The caller starts and ends it. PostgreSQL refuses to run as root, so root runs it as the package's own user.
"""

import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from forebay.local.command import Command, LocalServiceError

SUPERUSER = "forebay"
_SERVICE_USER = "postgres"
_POLL_S = 0.1


def find_binary(name: str) -> Path:
    """`initdb` or `postgres`: on PATH, else the newest version under Debian's directory."""
    if on_path := shutil.which(name):
        return Path(on_path).resolve()
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=_version)
    if packaged:
        return packaged[-1]
    raise LocalServiceError("PostgreSQL is missing: install postgresql (Debian, Ubuntu: apt-get install postgresql)")


def initialise(directory: Path) -> None:
    """Makes the database cluster in `directory` once. Every directory above it must be open to the service user."""
    if (directory / "PG_VERSION").exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    if os.geteuid() == 0:
        user = _service_user()
        os.chown(directory, user.pw_uid, user.pw_gid)
    options = ["-D", str(directory), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
    done = subprocess.run(
        [*_as_service_user(), str(find_binary("initdb")), *options],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise LocalServiceError(f"PostgreSQL could not initialise {directory}: {reason}")


def command(directory: Path, port: int, *, host: str = "127.0.0.1", durable: bool = True) -> Command:
    """A loopback server without a Unix socket; `durable=False` gives up power-loss safety for the speed of tests.

    What was committed survives the server's death either way: only the kernel's own death loses it.
    """
    options = {"listen_addresses": host, "port": str(port), "unix_socket_directories": "", "max_connections": "200"}
    if not durable:
        options |= {"fsync": "off", "full_page_writes": "off"}
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return Command([*_as_service_user(), str(find_binary("postgres")), "-D", str(directory), *settings], cwd=Path("/"))


def wait_until_ready(url: str, *, deadline_s: float = 20.0, is_alive: Callable[[], bool] = lambda: True) -> None:
    """Blocks until a session opens; `is_alive` false ends the wait early. Raises LocalServiceError."""
    give_up_s = time.monotonic() + deadline_s
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError as refused:
            if not is_alive() or time.monotonic() > give_up_s:
                message = f"PostgreSQL did not answer within {deadline_s:.0f} s: {str(refused).splitlines()[0]}"
                raise LocalServiceError(message) from refused
        time.sleep(_POLL_S)


def _as_service_user() -> list[str]:
    """What goes before a command line so that it does not run as root; empty for everybody else.

    setpriv, because it becomes the program (the caller's pid stays right) and because a change of user clears the
    parent-death signal, which it sets again afterwards. SIGINT is PostgreSQL's fast shutdown.
    """
    if os.geteuid() != 0:
        return []
    user = _service_user()
    return [
        "setpriv",
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--init-groups",
        "--pdeathsig=INT",
    ]


def _service_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SERVICE_USER)
    except KeyError:
        raise LocalServiceError(
            f"PostgreSQL does not run as root and there is no user {_SERVICE_USER}: install Debian's postgresql"
        ) from None


def _version(binary: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(binary))]
