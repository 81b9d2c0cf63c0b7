"""A world for each test of dead letters, and the console as people of each role see it."""

import html
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from pytest_django import Settings

from tests.unit.dead_letters.world import World


@pytest.fixture
def world(tmp_path: Path, db: None) -> World:
    return World(tmp_path)


class Person:
    """Somebody at the console; `name` is the name of the role, too."""

    def __init__(self, name: str) -> None:
        self.client, self.name = Client(), name
        user = User.objects.create_user(name, is_staff=True)
        user.groups.add(Group.objects.get(name=name))
        self.client.force_login(user)

    def reads(self, address: str, *, status: int = 200) -> str:
        answer = self.client.get(address)
        assert answer.status_code == status
        return html.unescape(answer.content.decode())

    def sends(self, address: str, fields: Mapping[str, object], *, status: int = 302) -> str:
        """The page that answers, or where it leads to."""
        answer = self.client.post(address, fields)
        assert answer.status_code == status, html.unescape(answer.content.decode())
        return answer.headers["Location"] if status == 302 else html.unescape(answer.content.decode())


@pytest.fixture
def person(settings: Settings, tmp_path: Path, db: None) -> Callable[[str], Person]:
    settings.STATIC_ROOT = tmp_path  # whitenoise warns about a directory that is not there
    # Nobody listens there: what a forecast asks of the cluster is not answered, and it says so.
    settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS = "127.0.0.1:1"
    return Person


@pytest.fixture
def operator(person: Callable[[str], Person]) -> Person:
    return person("operator")


@pytest.fixture
def viewer(person: Callable[[str], Person]) -> Person:
    return person("viewer")
