"""Users and roles in the console: nobody lifts themselves, and each change is on record without a password in it."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from tenants.admin.logins import FAILED
from tenants.models import AuditEntry
from tests.unit.tenants.forms import get, post

pytestmark = pytest.mark.django_db

PASSWORD = "correct-horse-battery"
CHANGE, SET_PASSWORD = "admin:auth_user_change", "admin:auth_user_password_change"


@pytest.fixture(autouse=True)
def quick_hashes(settings: Settings) -> None:
    """Real ones take a second each, on purpose."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def olga(db: None, settings: Settings, tmp_path: Path) -> User:
    """Has the role `admin`, and is no superuser."""
    settings.STATIC_ROOT = tmp_path
    user = User.objects.create_user("olga", password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name="admin"))
    return user


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


@pytest.fixture
def console(olga: User, client: Client) -> Client:
    client.force_login(olga)
    return client


def form_of(user: User, **fields: object) -> dict[str, object]:
    """The user's form as it stands, with a reason."""
    roles = list(user.groups.values_list("pk", flat=True))
    said = {"username": user.username, "groups": roles, "is_active": "on", "is_staff": "on", "reason": "a test"}
    return said | fields


def test_an_admin_cannot_make_themselves_a_superuser(console: Client, olga: User) -> None:
    post(console, CHANGE, form_of(olga, is_superuser="on"), olga.pk)

    olga.refresh_from_db()
    assert not olga.is_superuser


def test_an_admin_cannot_touch_a_superuser_nor_set_their_password(console: Client, root: User) -> None:
    taken = console.post(reverse(CHANGE, args=[root.pk]), form_of(root, is_active=""))
    password = {"password1": "another-horse-battery", "password2": "another-horse-battery"}
    stolen = console.post(reverse(SET_PASSWORD, args=[root.pk]), password)

    root.refresh_from_db()
    assert (taken.status_code, stolen.status_code) == (403, 403)
    assert root.is_active
    assert root.check_password(PASSWORD)


def test_a_superuser_may_make_another_one(olga: User, root: User, client: Client) -> None:
    client.force_login(root)

    post(client, CHANGE, form_of(olga, is_superuser="on"), olga.pk)

    olga.refresh_from_db()
    assert olga.is_superuser
    assert AuditEntry.objects.get(action="user.change").after == {"is_superuser": True}


def test_a_change_of_roles_is_on_record_with_what_they_were(console: Client) -> None:
    boris = User.objects.create_user("boris", is_staff=True)
    boris.groups.add(Group.objects.get(name="viewer"))
    operator = Group.objects.get(name="operator")

    post(console, CHANGE, form_of(boris, groups=[operator.pk], reason="Is on call now."), boris.pk)

    entry = AuditEntry.objects.get(action="user.change")
    assert (entry.by, entry.target, entry.reason) == ("olga", "boris", "Is on call now.")
    assert (entry.before, entry.after) == ({"groups": ["viewer"]}, {"groups": ["operator"]})


def test_a_password_that_is_set_is_on_record_without_it(console: Client) -> None:
    boris = User.objects.create_user("boris", password=PASSWORD, is_staff=True)
    password = {"password1": "another-horse-battery", "password2": "another-horse-battery", "reason": "He lost it."}

    post(console, SET_PASSWORD, password, boris.pk)

    entry = AuditEntry.objects.get(action="user.password")
    boris.refresh_from_db()
    assert boris.check_password("another-horse-battery")
    assert (entry.by, entry.target, entry.before, entry.after) == ("olga", "boris", None, None)
    assert entry.reason == "He lost it."


def test_a_password_is_set_only_after_it_was_said_what_ends_and_asked_why(console: Client) -> None:
    boris = User.objects.create_user("boris", password=PASSWORD, is_staff=True)
    password = {"password1": "another-horse-battery", "password2": "another-horse-battery"}

    shown = get(console, SET_PASSWORD, boris.pk)
    refused = console.post(reverse(SET_PASSWORD, args=[boris.pk]), password)

    boris.refresh_from_db()
    assert "The password that boris has now ends at once" in shown
    assert "This field is required" in refused.content.decode()
    assert boris.check_password(PASSWORD)
    assert "another-horse-battery" not in refused.content.decode()


def test_a_role_that_nobody_has_is_deleted_with_a_reason(console: Client) -> None:
    role = Group.objects.create(name="night shift")
    role.permissions.add(Permission.objects.get(codename="view_plan"))

    shown = get(console, "admin:auth_group_delete", role.pk)
    post(console, "admin:auth_group_delete", {"reason": "No nights any more."}, role.pk)

    entry = AuditEntry.objects.get(action="group.delete")
    assert "Nobody has it" in shown
    assert "Can view plan" in shown
    assert (entry.by, entry.target, entry.reason) == ("olga", "night shift", "No nights any more.")


def test_ones_own_new_password_is_on_record_too(console: Client, olga: User) -> None:
    form = {
        "old_password": PASSWORD,
        "new_password1": "another-horse-battery",
        "new_password2": "another-horse-battery",
    }

    refused = console.post(reverse("admin:password_change"), form | {"old_password": "wrong"})
    before = AuditEntry.objects.filter(action="user.password").count()
    post(console, "admin:password_change", form)

    olga.refresh_from_db()
    assert (refused.status_code, before) == (200, 0)
    assert olga.check_password("another-horse-battery")
    assert AuditEntry.objects.get(action="user.password").by == "olga"


def test_neither_a_person_nor_a_role_that_somebody_has_is_deleted(root: User, olga: User, client: Client) -> None:
    client.force_login(root)
    role = Group.objects.get(name="admin")

    person = client.post(reverse("admin:auth_user_delete", args=[olga.pk]), {"reason": "a test"})
    group = client.post(reverse("admin:auth_group_delete", args=[role.pk]), {"reason": "a test"})
    chosen = {"action": "delete_selected", "_selected_action": olga.pk, "post": "yes"}
    client.post(reverse("admin:auth_user_changelist"), chosen)

    assert (person.status_code, group.status_code) == (403, 403)
    assert User.objects.filter(pk=olga.pk).exists()
    assert Group.objects.filter(pk=role.pk).exists()


def test_a_role_that_changes_is_on_record(console: Client) -> None:
    role = Group.objects.create(name="night shift")

    form = {"name": "day shift", "permissions": [], "reason": "They changed."}
    post(console, "admin:auth_group_change", form, role.pk)

    entry = AuditEntry.objects.get(action="group.change")
    assert (entry.before, entry.after) == ({"name": "night shift"}, {"name": "day shift"})


def log_in(client: Client, username: str, password: str) -> None:
    client.post(reverse("admin:login"), {"username": username, "password": password})


def test_who_comes_and_goes_is_on_record(client: Client, olga: User) -> None:
    log_in(client, "olga", PASSWORD)
    client.post(reverse("admin:logout"))

    lines = AuditEntry.objects.filter(target="olga").order_by("pk")
    assert [(line.action, line.by, line.after) for line in lines] == [
        ("login", "olga", {"address": "127.0.0.1"}),
        ("logout", "olga", {"address": "127.0.0.1"}),
    ]


def test_many_failed_logins_leave_a_line_a_minute_for_each_person(client: Client, olga: User) -> None:
    for _ in range(5):
        log_in(client, "olga", "wrong")

    assert AuditEntry.objects.filter(action=FAILED, target="olga").count() == 1


def test_names_that_nobody_has_are_not_kept_and_share_one_line(client: Client, olga: User) -> None:
    for typed in ("hunter2", "hunter3", PASSWORD):
        log_in(client, typed, "wrong")

    entry = AuditEntry.objects.get(action=FAILED)
    assert "hunter" not in f"{entry.by} {entry.target} {entry.after}"


def test_a_failed_login_is_told_again_after_a_minute(client: Client, olga: User) -> None:
    minute_ago = timezone.now() - timedelta(seconds=61)
    AuditEntry.objects.create(at=minute_ago, by="olga", action=FAILED, target="olga")

    log_in(client, "olga", "wrong")

    assert AuditEntry.objects.filter(action=FAILED, target="olga").count() == 2


def test_a_person_is_found_with_their_roles(console: Client, olga: User) -> None:
    assert "admin" in get(console, "admin:auth_user_changelist")


def test_roles_and_permissions_are_lists_to_tick_and_stay_as_they_were(console: Client) -> None:
    boris = User.objects.create_user("boris", is_staff=True)
    role = Group.objects.create(name="night shift")
    role.permissions.set(Permission.objects.filter(codename__in=("view_plan", "export_auditentry")))
    boris.groups.add(role)

    person, shown = get(console, CHANGE, boris.pk), get(console, "admin:auth_group_change", role.pk)
    post(console, CHANGE, form_of(boris), boris.pk)
    ticked = [str(permission.pk) for permission in role.permissions.all()]
    saved = {"name": "night shift", "permissions": ticked, "reason": "a test"}
    post(console, "admin:auth_group_change", saved, role.pk)

    assert "selectfilter" not in (person + shown)
    for said in ("<label>tenants: plan</label>", "<label>ingest: dead letter</label>"):
        assert said in shown
    assert "django_celery_beat" not in shown, "there is no page of it"
    assert shown.count("checked") == 2
    assert list(boris.groups.all()) == [role]
    assert role.permissions.count() == 2
