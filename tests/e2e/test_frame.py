"""The console's frame under its policy, which compiles nothing: menus, sheets and pickers of unfold, by mouse and by
keyboard, with an empty console in the browser."""

from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.e2e.browser import Browser
from tests.e2e.conftest import Console

_PAGES = (
    "/admin/",
    "/admin/breakers/",
    "/admin/journals/",
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
    "/admin/password_change/",
    "/api/docs/",
)


def shown(browser: Browser, css: str) -> list[WebElement]:
    """Those of these that a person sees."""
    browser.find(css)
    return [one for one in browser.all(css) if one.is_displayed()]


def press_key(browser: Browser, css: str, key: str = Keys.ENTER) -> None:
    """With the keyboard alone: no mouse comes near it."""
    element = shown(browser, css)[0]
    browser.run("arguments[0].focus()", element)
    element.send_keys(key)


def is_open(browser: Browser, css: str) -> bool:
    """In sight, whatever moves or hides it when it is closed."""
    inside = "const at = arguments[0].getBoundingClientRect(); return at.right > 1 && at.left < innerWidth - 1"
    return any(one.is_displayed() and browser.run(inside, one) for one in browser.all(css))


def test_no_page_needs_a_script_that_the_policy_forbids(shared_console: Console) -> None:
    admin = shared_console.as_("admin")

    for path in _PAGES:
        admin.open(path)
        admin.find("h1, .swagger-ui .info")
        admin.listen(path)

    assert admin.checked == []


def test_the_menu_opens_and_closes_on_a_narrow_screen_by_keyboard_too(shared_console: Console) -> None:
    viewer = shared_console.as_("viewer")
    viewer.screen("narrow")
    viewer.open("/admin/")
    link = "#nav-sidebar a[href='/admin/ingest/deadletter/']"

    viewer.wait_for(lambda: not is_open(viewer, link))
    press_key(viewer, "[role=button][aria-label=Menu]")
    viewer.wait_for(lambda: is_open(viewer, link))
    viewer.picture("menu")
    viewer.screen("narrow")
    press_key(viewer, "#nav-sidebar [role=button][aria-label='Close the menu']", Keys.SPACE)

    viewer.wait_for(lambda: not is_open(viewer, link))


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
    """In the menu of the person, by the icon of the choice."""
    press_key(browser, "nav + [role=button]")
    browser.wait_for(lambda: is_open(browser, "#logout-form"))
    next(one for one in browser.all("nav [role=button]") if icon in one.text).click()


def test_the_sheet_of_filters_opens_filters_and_closes(shared_console: Console) -> None:
    viewer = shared_console.as_("viewer")
    viewer.open("/admin/ingest/deadletter/")
    sheet = "#changelist-filter"

    viewer.wait_for(lambda: not is_open(viewer, sheet))
    next(one for one in viewer.all("#content-main [role=button]") if "Filters" in one.text).click()
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
    next(one for one in manager.all(".calendarbox td a") if one.text == "15").click()

    assert str(manager.find(".vDateField").get_attribute("value")).endswith("-15")


def test_actions_are_offered_once_rows_are_chosen(shared_console: Console) -> None:
    shared_console.shell(
        "from tenants.models import Plan, Tenant\n"
        "Tenant.objects.get_or_create(name='frame', defaults={'plan': Plan.objects.first()})"
    )
    admin = shared_console.as_("admin")
    admin.open("/admin/auth/user/")
    button = "#changelist-actions button, .actions button[name=index]"

    assert not is_open(admin, button)
    admin.find("input.action-select").click()
    admin.wait_for(lambda: is_open(admin, "select[name=action]"))
    admin.fill("action", "delete_selected")
    admin.wait_for(lambda: is_open(admin, button))
    admin.all(button)[0].click()

    admin.reads("Are you sure")
    admin.check("actions")


def test_the_search_is_reached_with_a_slash(shared_console: Console) -> None:
    viewer = shared_console.as_("viewer")
    viewer.open("/admin/tenants/tenant/")
    viewer.find("input[name=q]")

    viewer.find("body").send_keys("/")

    viewer.wait_for(lambda: bool(viewer.run("return document.activeElement.name === 'q'")))
