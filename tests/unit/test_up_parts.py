"""What `up` leaves under var/ and prints: the lock, the demo's secrets, the addresses, the lines at the terminal."""

import io
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from pytest_django import Settings

from forebay.local import addresses, demo, env_file, node, var_lock
from forebay.local.command import LocalServiceError
from forebay.local.console import Console
from forebay.local.welcome import welcome
from tenants import api_keys, services
from tenants.models import ApiKey

HOLDS_THE_LOCK = """
import sys, time
from pathlib import Path
from forebay.local import var_lock
with var_lock.held(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(600)
"""
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of tmp_path."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_LOCK, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    yield holder
    holder.kill()
    holder.wait()
    holder.stdout.close()


def test_a_second_supervisor_is_refused_and_told_which_process_runs(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(LocalServiceError) as refused, var_lock.held(tmp_path, print):
        pass

    assert f"process {holder.pid}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_lock_stays_while_a_child_of_a_killed_supervisor_lives(tmp_path: Path) -> None:
    said: list[str] = []
    with var_lock.held(tmp_path, said.append) as fd:
        child = subprocess.Popen(["sleep", "600"], pass_fds=(fd,))
    # The supervisor is gone, as far as the file can tell, and its child will follow.
    (tmp_path / "supervisor.lock").write_text(str(_pid_of_nobody()))

    def end_the_child(line: str) -> None:
        said.append(line)
        child.kill()
        child.wait()

    with var_lock.held(tmp_path, end_the_child):
        owner = (tmp_path / "supervisor.lock").read_text()

    assert said == ["the previous run was killed; waiting for its processes to end"]
    assert owner == str(os.getpid())


@pytest.mark.django_db
def test_the_demo_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "demo.env"

    first, second = demo.ensure(path), demo.ensure(path)

    assert first == second
    assert ApiKey.objects.get().digest == api_keys.digest(first.api_key)
    assert get_user_model().objects.get(username="admin").check_password(first.admin_password or "")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.django_db
def test_a_revoked_demo_key_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "demo.env"
    first = demo.ensure(path)
    services.key_revoke(key=ApiKey.objects.get(), by="tests", reason="a test")

    second = demo.ensure(path)

    assert second.api_key != first.api_key
    assert ApiKey.objects.get(digest=api_keys.digest(second.api_key)).state == "active"


@pytest.mark.django_db
def test_a_password_that_the_administrator_changed_is_neither_reset_nor_shown(tmp_path: Path) -> None:
    path = tmp_path / "demo.env"
    first = demo.ensure(path)
    admin = get_user_model().objects.get(username="admin")
    admin.set_password("a word of my own")
    admin.save()

    second = demo.ensure(path)

    admin.refresh_from_db()
    assert admin.check_password("a word of my own")
    assert second.admin_password is None
    assert (first.admin_password or "") not in welcome("Kafka", second)


@pytest.mark.django_db
def test_a_new_database_gets_a_new_demo(tmp_path: Path) -> None:
    path = tmp_path / "demo.env"
    env_file.write(path, {"DEMO_API_KEY": api_keys.issue().secret, "DEMO_ADMIN_PASSWORD": "old"}, comment="old")

    made = demo.ensure(path)

    assert ApiKey.objects.get().digest == api_keys.digest(made.api_key)
    assert made.admin_password not in (None, "old")


def test_what_up_prints_stays_under_ten_lines_and_names_each_address(settings: Settings) -> None:
    settings.FOREBAY_PORT = 8123

    text = welcome("Apache Kafka", demo.Demo("secret", "fb_abc", "word"))

    assert len(text.splitlines()) < 10
    for path in ("/api/logs", "/api/docs/", "/admin/", "/metrics"):
        assert f"http://127.0.0.1:8123{path}" in text


def test_another_terminal_finds_the_kafka_of_a_running_up(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FOREBAY_VAR_DIR = tmp_path
    settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS = "configured:1"
    monkeypatch.delenv("FOREBAY_KAFKA_BOOTSTRAP_SERVERS", raising=False)
    addresses.publish({"FOREBAY_KAFKA_BOOTSTRAP_SERVERS": "running:2", "FOREBAY_SECRET_KEY": "not for that file"})

    running = addresses.kafka_bootstrap()
    published = (tmp_path / "up.env").read_text()
    addresses.forget()

    assert (running, addresses.kafka_bootstrap()) == ("running:2", "configured:1")
    assert "not for that file" not in published


def test_the_environment_wins_over_a_running_up(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FOREBAY_VAR_DIR = tmp_path
    settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS = "environment:1"
    monkeypatch.setenv("FOREBAY_KAFKA_BOOTSTRAP_SERVERS", "environment:1")
    addresses.publish({"FOREBAY_KAFKA_BOOTSTRAP_SERVERS": "running:2"})

    assert addresses.kafka_bootstrap() == "environment:1"


def test_a_port_in_use_is_one_line_that_names_another(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        settings.FOREBAY_PORT = taken.getsockname()[1]

        with pytest.raises(LocalServiceError) as refused:
            node.check_addresses()

    assert f"127.0.0.1:{settings.FOREBAY_PORT} (Address already in use)" in str(refused.value)
    assert f"FOREBAY_PORT={settings.FOREBAY_PORT + 1}" in str(refused.value)


def test_steps_share_a_line_and_messages_have_their_own() -> None:
    out = io.StringIO()
    console = Console(out)

    console.step("redis")
    console.step("kafka")
    console.say("ready")
    console.say("stopped")

    assert out.getvalue() == "starting redis, kafka\nready\nstopped\n"


def test_a_terminal_that_is_gone_does_not_stop_the_stopping() -> None:
    reading, writing = os.pipe()
    os.close(reading)

    with os.fdopen(writing, "w", buffering=1) as gone:
        Console(gone).say("stopping")
        gone.buffer.raw.close()  # type: ignore[attr-defined]  # so that closing does not try to flush once more


def _pid_of_nobody() -> int:
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid
