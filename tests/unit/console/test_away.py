"""Pages for when something is away, forbidden, missing or broken: static, and without the database where it is that."""

import logging
import re
import sqlite3
from pathlib import Path

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError, connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from pytest_django import Settings

from ingest.console.away import DatabaseAway, is_away, server_error

pytestmark = pytest.mark.django_db  # pytest-django guards every database, this one's file too


def error_of(path: str, query: str = "SELECT 1") -> OperationalError:
    """What Django raises for this query on a SQLite file."""
    try:
        with _database(path).cursor() as cursor:
            cursor.execute(query)
    except OperationalError as error:
        return error
    raise AssertionError("it answered")


def _database(path: str) -> DatabaseWrapper:
    defaults = {**connections["default"].settings_dict, "OPTIONS": {}}
    return DatabaseWrapper({**defaults, "ENGINE": "django.db.backends.sqlite3", "NAME": path}, "elsewhere")


@pytest.fixture(autouse=True)
def redis_away(settings: Settings) -> None:
    settings.FOREBAY_REDIS_URL = "redis://127.0.0.1:1/0"


def middleware() -> DatabaseAway:
    return DatabaseAway(lambda request: HttpResponse())


def test_a_database_that_cannot_be_opened_is_away_and_one_that_refuses_a_statement_is_not(tmp_path: Path) -> None:
    assert is_away(error_of(str(tmp_path / "no" / "such" / "directory")))
    assert is_away(InterfaceError("connection already closed"))

    assert not is_away(error_of(str(tmp_path / "empty.sqlite3"), "SELECT * FROM nothing"))
    assert not is_away(ValueError("of something else"))


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (psycopg.OperationalError("connection refused"), True),
        (psycopg.errors.ConnectionFailure("08006"), True),
        (psycopg.errors.AdminShutdown("57P01"), True),
        (psycopg.errors.CannotConnectNow("57P03"), True),
        (psycopg.errors.TooManyConnections("53300"), True),
        (psycopg.errors.QueryCanceled("57014"), False),
        (psycopg.errors.DeadlockDetected("40P01"), False),
    ],
)
def test_of_postgresql_s_errors_those_of_the_server_say_that_it_is_away(cause: Exception, expected: bool) -> None:
    error = OperationalError("as Django says it")
    error.__cause__ = cause

    assert is_away(error) is expected


def test_the_page_says_what_goes_on_and_when_to_ask_again(
    rf: RequestFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    error = error_of(str(tmp_path / "no" / "such" / "directory"))

    with caplog.at_level(logging.DEBUG):
        answer = middleware().process_exception(rf.get("/admin/"), error)

    assert answer is not None
    assert answer.status_code == 503
    assert answer["Retry-After"] == "10"
    page = answer.content.decode()
    assert "Events are still accepted" in page
    assert "Redis is away too" in page
    assert "Traceback" not in page
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("ERROR", None)]
    assert caplog.messages == ["/admin/: the database is away: unable to open database file"]


def test_other_errors_are_left_to_django(rf: RequestFactory, tmp_path: Path) -> None:
    error = error_of(str(tmp_path / "empty.sqlite3"), "SELECT * FROM nothing")

    assert middleware().process_exception(rf.get("/admin/"), error) is None


def test_what_another_middleware_meets_ends_on_the_same_page(rf: RequestFactory) -> None:
    def answer(error: Exception) -> HttpResponse:
        try:
            raise error
        except Exception:  # noqa: BLE001 - as Django's handler does
            return server_error(rf.get("/admin/"))

    assert answer(OperationalError("server closed the connection unexpectedly")).status_code == 503
    assert answer(sqlite3.OperationalError("of another library")).status_code == 500
    assert "That went wrong" in answer(ValueError()).content.decode()


def test_an_address_that_is_not_there_says_so_in_the_console_s_look(client: Client) -> None:
    answer = client.get("/nothing-here/")

    assert answer.status_code == 404
    assert "console/plain.css" in answer.content.decode()
    assert "Nothing here" in answer.content.decode()


def test_somebody_without_the_role_reads_that_nothing_was_changed(client: Client) -> None:
    client.force_login(User.objects.create_user("visitor", is_staff=True))

    answer = client.get("/admin/")

    assert answer.status_code == 403
    assert "Nothing has been changed" in answer.content.decode()


@pytest.mark.parametrize("template", ["403.html", "404.html", "500.html", "console/away.html"])
def test_a_plain_page_asks_no_other_host_and_holds_no_script(template: str) -> None:
    page = render_to_string(template, {"retry_after_s": 10})

    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=", page)
