"""The console's frame under its policy, which compiles nothing: menus, sheets and pickers of unfold, by mouse and by
keyboard, with an empty console in the browser."""

import time

from selenium.webdriver.common.keys import Keys

from tests.e2e.browser import WAIT_S, WIDTHS_PX, Browser
from tests.e2e.conftest import Console
from tests.programs import poll_until

_PAGES = (
    "/admin/",
    "/admin/breakers/",
    "/admin/journals/",
    "/admin/runbook/",
    "/admin/rules/",
    "/admin/ingest/incident/",
    "/admin/ingest/deadletter/",
    "/admin/ingest/bulkreplay/",
    "/admin/ingest/quarantinedevent/",
    "/admin/ingest/ledgerminute/",
    "/admin/tenants/tenant/",
    "/admin/tenants/tenant/add/",
    "/admin/tenants/apikey/",
    "/admin/tenants/plan/",
    "/admin/tenants/plan/add/",
    "/admin/tenants/auditentry/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/auth/group/",
    "/admin/auth/group/add/",
    "/admin/password_change/",
)
# The address of one of each that can be changed or deleted, an address a line.
_ROWS = """
from django.contrib.auth.models import Group, User
from django.urls import reverse
from ingest.models import RoutingRule
from tenants import services
from tenants.models import ApiKey, Plan
plan = Plan.objects.create(name="frame-plan", events_per_s=1_000)
rule = RoutingRule.objects.create(name="frame-rule", topic="frame", key=["source"], position=100_000)
tenant = services.tenant_create(name="frame-tenant", by="tests")
rule.tenants.add(tenant)  # the draft is everybody's: whoever publishes it must not send all events there
key, _ = services.key_issue(tenant=tenant, name="frame", by="tests")
person = User.objects.create_user("frame-person", is_staff=True)
role = Group.objects.create(name="frame-role")
for page, row in (
    ("ingest_routingrule_change", rule),
    ("ingest_routingrule_delete", rule),
    ("tenants_tenant_change", tenant),
    ("tenants_apikey_change", key),
    ("tenants_plan_change", plan),
    ("tenants_plan_delete", plan),
    ("auth_user_change", person),
    ("auth_user_password_change", person),
    ("auth_group_change", role),
    ("auth_group_change", Group.objects.get(name="admin")),
    ("auth_group_delete", role),
):
    print(reverse(f"admin:{page}", args=[row.pk]))
"""
_AN_INCIDENT = """
from django.utils import timezone
from ingest.models import Incident
now = timezone.now()
Incident.objects.create(kind="dead_letters_ageing", subject="frame", opened_at=now, last_seen_at=now, ended_at=now)
"""


def press_key(browser: Browser, css: str, key: str = Keys.ENTER) -> None:
    """Of these the one that a person sees, with the keyboard alone: no mouse comes near it."""

    def pressed() -> bool:
        seen = [one for one in browser.all(css) if one.is_displayed()]
        for one in seen[:1]:
            browser.run("arguments[0].focus()", one)
            one.send_keys(key)
        return bool(seen)

    browser.wait_for(pressed, what=lambda: f"{css} on {browser.path}")


def press_one(browser: Browser, css: str, text: str) -> None:
    """That of these in which this is written, once it is there to be pressed."""

    def pressed() -> bool:
        found = [one for one in browser.all(css) if one.is_displayed() and text in one.text]
        for one in found[:1]:
            one.click()
        return bool(found)

    browser.wait_for(pressed, what=lambda: f"{text!r} among {css} on {browser.path}")


def is_open(browser: Browser, css: str) -> bool:
    """In sight, whatever moves or hides it when it is closed."""
    inside = "const at = arguments[0].getBoundingClientRect(); return at.right > 1 && at.left < innerWidth - 1"
    return any(one.is_displayed() and browser.run(inside, one) for one in browser.all(css))


def test_each_page_fits_the_screen_and_needs_no_script_that_the_policy_forbids(shared_console: Console) -> None:
    """Whatever it is for: a list, a form, or the question before something is deleted."""
    rows = shared_console.shell(_ROWS).split()
    admin = shared_console.as_("admin")

    for path in (*_PAGES, *rows):
        admin.open(path)
        admin.find("h1")
        for width in reversed(WIDTHS_PX):  # wide is what the next page is opened in
            admin.screen(width)
            admin.check(f"{path} {width}")
    admin.open("/api/docs/")
    admin.find(".swagger-ui .info")
    admin.listen("/api/docs/")

    assert len(rows) == 11
    assert admin.checked == []


def test_the_menu_opens_and_closes_on_a_narrow_screen_by_keyboard_too(shared_console: Console) -> None:
    viewer = shared_console.as_("viewer")
    viewer.screen("narrow")
    viewer.open("/admin/")
    link = "#nav-sidebar a[href='/admin/ingest/deadletter/']"

    viewer.wait_for(lambda: not is_open(viewer, link))
    press_key(viewer, "[role=button][aria-label=Menu]")
    viewer.wait_for(lambda: is_open(viewer, link))
    press_key(viewer, "#nav-sidebar [role=button][aria-label='Close the menu']", Keys.SPACE)
    viewer.wait_for(lambda: not is_open(viewer, link))
    press_key(viewer, "[role=button][aria-label=Menu]")

    viewer.wait_for(lambda: is_open(viewer, link))
    viewer.picture("menu")


def test_the_theme_is_chosen_in_the_menu_of_the_person_and_outlives_the_page(shared_console: Console) -> None:
    viewer = shared_console.as_("viewer")

    choose_theme(viewer, "dark_mode")
    viewer.find("html.dark")
    viewer.open("/admin/")
    viewer.find("html.dark")
    choose_theme(viewer, "light_mode")
    viewer.find("html:not(.dark)")
    choose_theme(viewer, "computer")
    viewer.screen("wide", "dark")

    viewer.find("html.dark")  # as the system, at once
    viewer.check("the theme")


def choose_theme(browser: Browser, icon: str) -> None:
    """In the menu of the person, by the icon of the choice; from a page on which that menu is closed."""
    browser.open("/admin/")
    person = "nav + [role=button]"
    # Newer releases of unfold leave the sidebar closed up to 1280 px, and close it when the window changes.
    press_until(browser, "[role=button][aria-label=Menu]", person)
    press_until(browser, person, "#logout-form")
    press_one(browser, "nav [role=button]", icon)


def press_until(browser: Browser, button: str, opened: str) -> None:
    """Press what opens it, unless it is open; again only where nothing has come of it for a while."""
    deadline_s = time.monotonic() + WAIT_S
    while not is_open(browser, opened):
        assert time.monotonic() < deadline_s, f"{button} opens no {opened} on {browser.path}"
        press_key(browser, button)
        poll_until(lambda: is_open(browser, opened), deadline_s=3)


def test_the_sheet_of_filters_opens_filters_and_closes(shared_console: Console) -> None:
    viewer = shared_console.as_("viewer")
    viewer.open("/admin/ingest/incident/")
    sheet = "#changelist-filter"

    viewer.wait_for(lambda: not is_open(viewer, sheet))
    press_one(viewer, "#content-main [role=button]", "Filters")
    viewer.wait_for(lambda: is_open(viewer, sheet))
    viewer.picture("filters")
    viewer.find("body").send_keys(Keys.ESCAPE)

    viewer.wait_for(lambda: not is_open(viewer, sheet))


def test_a_moment_is_picked_from_the_calendar(shared_console: Console) -> None:
    manager = shared_console.as_("tenant")
    manager.open("/admin/tenants/apikey/add/")

    manager.find(".datetimeshortcuts a[id^=calendarlink]").click()
    manager.wait_for(lambda: is_open(manager, ".calendarbox"))
    manager.check("the calendar")
    press_one(manager, ".calendarbox td a", "15")

    assert str(manager.find(".vDateField").get_attribute("value")).endswith("-15")


def test_actions_are_offered_once_rows_are_chosen(shared_console: Console) -> None:
    shared_console.shell(_AN_INCIDENT)
    operator = shared_console.as_("operator")
    operator.open("/admin/ingest/incident/")
    button = "#changelist-actions button"

    assert not is_open(operator, button)
    operator.find("input.action-select").click()
    operator.wait_for(lambda: is_open(operator, "select[name=action]"))
    operator.fill("action", "acknowledge")
    operator.wait_for(lambda: is_open(operator, button))
    operator.find(button).click()

    operator.reads("1 acknowledged by operator")
    operator.check("actions")


def test_the_search_is_reached_with_a_slash(shared_console: Console) -> None:
    viewer = shared_console.as_("viewer")
    viewer.open("/admin/tenants/plan/")
    viewer.find("#searchbar")

    def is_focused() -> bool:
        viewer.find("body").send_keys("/")
        return bool(viewer.run("return document.activeElement.name === 'q'"))

    viewer.wait_for(is_focused)
