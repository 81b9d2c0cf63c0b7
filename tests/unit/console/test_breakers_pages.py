"""Breakers, topics and journals as pages: who may see and say what, and that they are whole while Redis is away."""

import html
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from ingest.models import BreakerTransition, DeadLetter, Incident, JournalState, Override, OverrideKind
from ingest.overrides import override_add
from tenants import services
from tenants.models import AuditEntry, ControlPlaneVersion, Plan

pytestmark = pytest.mark.django_db

NOBODY_LISTENS = "redis://127.0.0.1:1/0"
PAGES = [
    reverse("console:breakers"),
    reverse("console:breakers_live"),
    reverse("console:topic", args=["audit"]),
    reverse("console:topic_live", args=["audit"]),
    reverse("console:journals"),
    reverse("console:journals_live"),
]
FORCE_OPEN = f"{reverse('console:override')}?{urlencode({'kind': 'FORCED_OPEN'})}"


@pytest.fixture(autouse=True)
def alone(settings: Settings, tmp_path: Path) -> None:
    settings.FOREBAY_REDIS_URL = NOBODY_LISTENS
    settings.FOREBAY_SNAPSHOT_FILE = tmp_path / "none.msgpack"
    settings.STATIC_ROOT = tmp_path  # whitenoise warns about a directory that is not there


def person(client: Client, role: str) -> Client:
    user = User.objects.create_user(role.replace(" ", ""), is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    return client


@pytest.fixture
def operator(client: Client) -> Client:
    return person(client, "operator")


def read(client: Client, page: str) -> str:
    return html.unescape(client.get(page).content.decode())


def url_of(kind: str, topic: str = "", tenant: str = "") -> str:
    return f"{reverse('console:override')}?{urlencode({'kind': kind, 'topic': topic, 'tenant': tenant})}"


def moved(at_s: int, old: str, new: str, topic: str = "", cause: str = "a cause") -> BreakerTransition:
    return BreakerTransition.objects.create(
        stream_id=f"{at_s}-{topic}-{new}",
        topic=topic,
        old=old,
        new=new,
        at=timezone.now() - timedelta(seconds=at_s),
        cause=cause,
        worker="node-1/7",
    )


# --- who may see what ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("role", ["viewer", "operator", "routing editor", "tenant manager", "admin"])
def test_everybody_in_the_console_may_look(client: Client, role: str, page: str) -> None:
    assert person(client, role).get(page).status_code == 200


@pytest.mark.parametrize("page", [*PAGES, FORCE_OPEN])
def test_who_has_no_role_may_not(client: Client, page: str) -> None:
    client.force_login(User.objects.create_user("nobody", is_staff=True))

    assert client.get(page).status_code == 403


@pytest.mark.parametrize("role", ["viewer", "routing editor", "tenant manager"])
def test_only_an_operator_says_anything_and_only_he_is_offered_it(client: Client, role: str) -> None:
    looker = person(client, role)

    asked, said = looker.get(FORCE_OPEN), looker.post(FORCE_OPEN, {"reason": "for fun"})
    page = read(looker, reverse("console:topic", args=["audit"]))

    assert (asked.status_code, said.status_code) == (403, 403)
    assert "Park a tenant" not in page
    assert not Override.objects.exists()


# --- saying it -------------------------------------------------------------------------------------------------------
def test_the_question_says_what_it_will_do_and_says_nothing_yet(operator: Client) -> None:
    page = read(operator, FORCE_OPEN)

    assert "Force the breaker of the cluster open" in page
    assert "What this will do" in page
    assert "unknown: Redis does not answer" in page
    assert not Override.objects.exists()


def test_without_a_reason_it_is_asked_again(operator: Client) -> None:
    page = html.unescape(operator.post(FORCE_OPEN, {"reason": "  "}).content.decode())

    assert "This field is required." in page
    assert not Override.objects.exists()


def test_what_is_said_moves_the_version_and_is_in_the_audit_log_with_before_and_after(operator: Client) -> None:
    before = ControlPlaneVersion.current()

    answer = operator.post(FORCE_OPEN, {"reason": "brokers are moved", "by": "bolt"})

    (word,) = Override.objects.all()
    (line,) = AuditEntry.objects.filter(action="override.force_open")
    assert (answer.status_code, answer["Location"]) == (302, reverse("console:breakers"))
    assert (word.by, word.reason) == ("operator", "brokers are moved")
    assert (line.by, line.target, line.reason) == ("operator", "the cluster", "brokers are moved")
    assert (line.before, line.after) == ({"state": "unknown: Redis did not answer"}, {"state": "FORCED_OPEN"})
    assert ControlPlaneVersion.current() > before


@pytest.mark.parametrize("kind", ["FORCED_OPEN", "RESET"])
def test_a_form_that_is_sent_twice_says_it_once(operator: Client, kind: str) -> None:
    url = url_of(kind, "audit", "")
    form = {"reason": "brokers are moved", "after": operator.get(url).context["form"]["after"].value()}

    operator.post(url, form)
    again = operator.post(url, form, follow=True)

    (word,) = Override.objects.all()
    assert "not said again" in again.content.decode()
    assert word.reason == "brokers are moved"
    assert AuditEntry.objects.filter(target="topic audit").count() == 1


def test_what_somebody_else_has_said_since_one_looked_is_told_first(operator: Client) -> None:
    url = url_of("RESET", "audit", "")
    seen = operator.get(url).context["form"]["after"].value()
    override_add(kind=OverrideKind.FORCED_OPEN, topic="audit", by="ann", reason="brokers are moved")

    told = html.unescape(operator.post(url, {"reason": "it is well", "after": seen}, follow=True).content.decode())

    assert "Something was said since you looked: FORCED_OPEN for topic audit, by ann" in told
    assert Override.objects.get().kind == "FORCED_OPEN"


@pytest.mark.parametrize(
    ("kind", "tenant", "action", "after"),
    [
        ("DISABLED", "", "override.disable", "DISABLED"),
        ("RESET", "", "override.reset", "CLOSED"),
        ("PARKED", "acme", "override.park", "PARKED"),
        ("RESUMED", "acme", "override.resume", "NOT PARKED"),
    ],
)
def test_each_word_has_an_action_of_its_own_in_the_audit_log_and_leads_back_to_its_topic(
    operator: Client, kind: str, tenant: str, action: str, after: str
) -> None:
    Plan.objects.get_or_create(name="standard")
    services.tenant_create(name="acme", by="tests")

    answer = operator.post(url_of(kind, "audit", tenant), {"reason": "granted Write"})

    assert answer["Location"] == reverse("console:topic", args=["audit"])
    assert AuditEntry.objects.get(action=action).after == {"state": after}


@pytest.mark.parametrize(
    ("kind", "topic", "tenant", "complaint"),
    [
        ("NONSENSE", "", "", "is not a valid choice"),
        ("", "", "", "cannot be blank"),
        ("RESET", "no topic", "", "Kafka allows letters"),
        ("PARKED", "audit", "", "need both a tenant and a topic"),
        ("PARKED", "audit", "nobody", "There is no tenant nobody."),
    ],
)
def test_what_cannot_be_said_is_told_before_anybody_gives_a_reason(
    operator: Client, kind: str, topic: str, tenant: str, complaint: str
) -> None:
    answer = operator.post(url_of(kind, topic, tenant), {"reason": "a slip"})

    assert answer.status_code == 400
    assert complaint in html.unescape(answer.content.decode())
    assert not Override.objects.exists()


# --- the pages while Redis is away -----------------------------------------------------------------------------------
@pytest.mark.parametrize("page", PAGES)
def test_redis_away_shows_as_away(operator: Client, page: str) -> None:
    assert "Redis does not answer" in read(operator, page)


def test_what_the_database_has_is_shown_without_redis(operator: Client) -> None:
    moved(600, "CLOSED", "OPEN", cause="5 of the last 5 calls failed, the last with _TRANSPORT")
    moved(300, "OPEN", "CLOSED", cause="all trials succeeded")
    override_add(kind=OverrideKind.FORCED_OPEN, topic="audit", by="ann", reason="brokers are moved")
    Incident.objects.create(
        kind="topic_parked",
        subject="audit of acme",
        severity="ticket",
        value="12 events wait.",
        opened_at=timezone.now(),
        last_seen_at=timezone.now(),
    )

    page = read(operator, reverse("console:breakers"))

    assert "5 of the last 5 calls failed, the last with _TRANSPORT" in page
    assert page.count('<rect class="fb-state-open"') == 1
    assert "A topic is parked</b>: audit of acme" in page
    assert "ann" in page
    assert "Last word: Force open" in page


def test_a_topics_page_has_its_own_moves_words_and_dead_letters_only(operator: Client) -> None:
    moved(600, "CLOSED", "OPEN", "audit", cause="of audit")
    moved(600, "CLOSED", "OPEN", "logs", cause="of logs")
    now = timezone.now()
    letter = {"journal": "j", "tenant": "acme", "value": b"{}", "fault": "record", "accepted_at": now, "dead_at": now}
    DeadLetter.objects.create(**letter, sequence=1, topic="audit", code="MSG_SIZE_TOO_LARGE", retry_since=now)
    DeadLetter.objects.create(**letter, sequence=2, topic="logs", code="INVALID_RECORD", retry_since=now)

    page = read(operator, reverse("console:topic", args=["audit"]))

    assert "of audit" in page
    assert "of logs" not in page
    assert "MSG_SIZE_TOO_LARGE" in page
    assert "INVALID_RECORD" not in page


def test_a_name_that_no_topic_can_have_is_not_found(operator: Client) -> None:
    assert operator.get(reverse("console:topic", args=["no topic"])).status_code == 404


def test_the_day_shows_what_the_hour_has_left_behind(operator: Client) -> None:
    moved(7_200, "CLOSED", "OPEN")
    moved(7_000, "OPEN", "CLOSED")

    hour, day = (read(operator, f"{reverse('console:breakers')}?span={span}") for span in ("hour", "day"))

    assert '<rect class="fb-state-open"' not in hour
    assert '<rect class="fb-state-open"' in day
    assert f"{reverse('console:breakers_live')}?span=day" in day


@pytest.mark.parametrize("page", PAGES)
def test_a_page_takes_as_many_queries_for_a_thousand_rows_as_for_one(
    operator: Client, page: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    BreakerTransition.objects.bulk_create(
        BreakerTransition(stream_id=f"{at}-0", topic=f"topic-{at}", old="CLOSED", new="OPEN", at=timezone.now())
        for at in range(1_000)
    )
    JournalState.objects.bulk_create(JournalState(journal=f"j{at}", node="n", seen_at=long_ago) for at in range(1_000))
    operator.get(page)

    with django_assert_max_num_queries(11):
        operator.get(page)


# --- journals --------------------------------------------------------------------------------------------------------
def test_a_journal_without_a_worker_is_told_with_its_age_and_what_to_do(operator: Client) -> None:
    ago = timezone.now() - timedelta(minutes=65)
    JournalState.objects.create(journal="killed-one", node="node-2", pid=9, unsettled=12, seen_at=ago)
    JournalState.objects.create(journal="waits-for-next", node="node-3", unsettled=4, is_closed=True, seen_at=ago)

    page = read(operator, reverse("console:journals"))

    assert "12 events wait in it, on node-2; its worker 9 was last heard 1 h 5 min ago" in page
    assert 'manage.py ledger_check --give-up killed-one --reason "…"' in page
    assert "Its worker ended in order" in page
    assert "any of these may have one" in page  # for Redis is away here


def test_while_redis_is_away_the_page_has_what_the_database_heard_last_and_the_commands_of_a_node(
    operator: Client,
) -> None:
    JournalState.objects.create(journal="of-a-living-one", node="node-2", unsettled=1_234, seen_at=timezone.now())

    page = read(operator, reverse("console:journals_live"))

    assert "of-a-living-one" in page
    assert "1,234" in page
    for command in ("list", "show NAME", "drain"):
        assert f"manage.py journal {command}</code>" in page


@pytest.mark.parametrize(
    ("fate", "unheard_s"),
    [({"is_closed": True}, 3_600), ({"finished_at": timezone.now(), "unsettled": 3}, 3_600), ({"unsettled": 3}, 0)],
)
def test_a_journal_of_which_nothing_is_left_or_that_is_heard_of_is_not_told(
    operator: Client, fate: dict[str, object], unheard_s: float
) -> None:
    seen_at = timezone.now() - timedelta(seconds=unheard_s)
    JournalState.objects.create(journal="quiet-one", node="node-2", seen_at=seen_at, **fate)

    assert "Journals without a worker" not in read(operator, reverse("console:journals"))
