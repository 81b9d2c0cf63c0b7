"""Every page and action of the console as every role, against the table of docs/roles.md."""

import logging
import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.template.response import SimpleTemplateResponse
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from pytest_django import Settings

from ingest.roles import ROLES

pytestmark = pytest.mark.django_db

TABLE = Path(__file__).parents[3] / "docs" / "roles.md"
# Without a question of who it is: they come before it, end it, or ask by model, as what is asked for says.
OF_NOBODY = {"admin:login", "admin:logout", "admin:autocomplete", "admin:view_on_site", "admin:app_list"}
NOTHING = "999999999"
ARGUMENTS = {"name": "nobody", "topic": "nothing", "verb": "pause"}


class Page(NamedTuple):
    """A named address."""

    name: str
    arguments: tuple[str, ...]

    @property
    def url(self) -> str:
        return reverse(self.name, kwargs={name: ARGUMENTS.get(name, NOTHING) for name in self.arguments})


def pages() -> list[Page]:
    """Every address below /admin/ that has a name; the others are the admin's own redirects."""
    found = {page.name: page for page in _pages(get_resolver(), "", "")}
    return [page for name, page in sorted(found.items()) if name not in OF_NOBODY]


def _pages(resolver: URLResolver, path: str, namespace: str) -> Iterator[Page]:
    for part in resolver.url_patterns:
        whole = path + str(part.pattern)
        if isinstance(part, URLResolver):
            yield from _pages(part, whole, part.namespace or namespace)
        elif isinstance(part, URLPattern) and part.name and whole.startswith("admin/"):
            yield Page(f"{namespace}:{part.name}", tuple(part.pattern.regex.groupindex))


@cache
def table() -> dict[str, dict[str, str]]:
    """Name -> role -> yes, look or -."""
    found = {}
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 + len(ROLES) and "`" in cells[1]:
            for name in re.findall(r"`([^`]+)`", cells[1]):
                for one in expanded(name):
                    assert one not in found, f"{one} is in two rows"
                    found[one] = dict(zip(ROLES, cells[2:], strict=True))
    return found


def expanded(name: str) -> list[str]:
    """a{b,c} is ab and ac, as a shell has it."""
    parts = re.split(r"\{([^}]*)\}", name)
    choices = [part.split(",") if at % 2 else [part] for at, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


@pytest.fixture
def somebody(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    """Logs in, and has no role yet. Pages are not drawn for this: what is on them is others' to look at."""
    monkeypatch.setattr(SimpleTemplateResponse, "rendered_content", "")
    settings.STATIC_ROOT = tmp_path
    settings.FOREBAY_REDIS_URL = "redis://127.0.0.1:1/0"
    logging.getLogger("django.request").setLevel(logging.ERROR)  # a traceback for each of hundreds of refusals
    return User.objects.create_user("somebody", is_staff=True)


def as_role(user: User, role: str) -> Client:
    user.groups.set([Group.objects.get(name=role)])
    client = Client()
    client.force_login(user)
    return client


def test_each_page_is_in_the_table_once_and_the_table_names_no_other() -> None:
    names = {page.name for page in pages()} | set(actions())

    assert sorted(names - table().keys()) == [], "say in the table who may do it"
    assert sorted(table().keys() - names) == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_gets_the_pages_of_the_table_and_no_others(somebody: User, role: str) -> None:
    client = as_role(somebody, role)

    wrong = {
        page.name: said
        for page in pages()
        if (said := tried(client, page, expected := table()[page.name][role])) != expected
    }

    assert wrong == {}


def tried(client: Client, page: Page, expected: str) -> str:
    """In the words of the table. There is nothing at the address: who may see it is told so, or sent elsewhere."""
    looked = client.get(page.url).status_code
    assert looked in (200, 302, 400, 403, 404, 405), (page, looked)
    if expected == "yes" and looked not in (403, 405):
        return "yes"  # what may be done there is the tests' of the page
    done = client.post(page.url).status_code
    assert done in (200, 302, 400, 403, 404, 405), (page, done)
    if looked in (403, 405):
        return "-" if done == 403 else "yes"
    return "look" if done == 403 else "yes"


@cache
def actions() -> tuple[str, ...]:
    """Of every list, as a superuser sees them."""
    return tuple(offered(User(is_superuser=True, is_active=True)))


def offered(user: Any) -> list[str]:
    request = RequestFactory().get("/")
    request.user = user
    return [
        f"{model._meta.app_label}_{model._meta.model_name}:{action}"
        for model, its_admin in admin.site._registry.items()
        for action in its_admin.get_actions(request)
    ]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_offered_the_actions_of_the_table_and_no_others(somebody: User, role: str) -> None:
    somebody.groups.set([Group.objects.get(name=role)])

    found = set(offered(User.objects.get(pk=somebody.pk)))

    assert found == {name for name in actions() if table()[name][role] == "yes"}


def test_somebody_without_a_role_sees_nothing(somebody: User) -> None:
    client = Client()
    client.force_login(somebody)
    open_to_all = {"admin:search", "admin:jsi18n", "admin:password_change", "admin:password_change_done"}

    seen = {page.name for page in pages() if client.get(page.url).status_code == 200}

    assert seen - open_to_all == {"console:own_password"}


def test_nobody_who_is_not_logged_in_sees_anything(client: Client, settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path

    answers = {page.name: client.get(page.url) for page in pages()}

    assert [
        name for name, answer in answers.items() if answer.status_code != 302 or "login" not in answer["Location"]
    ] == []
