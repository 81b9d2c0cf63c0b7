"""`manage.py demo` on the platform that the browser tests share: each page has something to show afterwards."""

from tests.e2e.conftest import Console


def test_the_demo_leaves_something_on_every_page(shared_console: Console) -> None:
    console = shared_console

    said = console.node.manage("demo", "--seconds", "8", "--url", console.node.url)
    again = console.node.manage("demo", "--seconds", "1", "--url", console.node.url)

    assert "3 tenants" in said
    assert "takes 2,000 bytes from now on" in said
    assert "rules are live" in again
    assert " failed" not in said.rpartition("done: ")[2].partition("\n")[0]
    viewer = console.as_("viewer")
    viewer.reads("demo-small", "tenant events_per_s", "record: MSG_SIZE_TOO_LARGE", "demo-pictures", wait_s=60)
    viewer.reads("Who sends most", "demo-shop", wait_s=90)  # those of the last whole minute
    viewer.picture("demo-overview")
    viewer.reads("Topic demo-payments is parked for demo-edge")
    for path, text in (
        ("/admin/breakers/", "the demo: their reader of payments"),
        ("/admin/ingest/bulkreplay/", "topic demo-pictures"),
        ("/admin/rules/", "demo-refunds never matches anything"),
        ("/admin/ingest/deadletter/", "demo-pictures"),
        ("/admin/senders/", "demo-small"),
        ("/admin/rules/", "demo-payments"),
        ("/admin/ingest/quarantinedevent/", "demo-small"),
        ("/admin/ingest/ledgerminute/", "demo-edge"),
        ("/admin/tenants/auditentry/", "manage.py demo"),
    ):
        viewer.open(path)
        viewer.reads(text, reloading=True)
        viewer.check(path)

    mended = console.node.manage("demo", "--mend")

    assert "can be replayed" in mended
    viewer.open("/admin/breakers/")
    viewer.reads("Nobody: nothing is behind, and nothing is parked.", wait_s=60)
