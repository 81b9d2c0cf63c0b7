"""The operators' view of the ledger: what became of events by minute and hour, and the journals it comes from."""

from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.paginator import InfinitePaginator

from ingest.ledger.lost import is_missing
from ingest.models import JournalState, LedgerHour, LedgerMinute
from ingest.models.ledger import LedgerTotals
from tenants.console import ReadOnlyAdmin, figure


class TotalsAdmin(ReadOnlyAdmin):
    list_display: tuple[Any, ...] = (
        "time",
        "tenant",
        figure("received"),
        figure("accepted"),
        figure("rejected"),
        figure("delivered"),
        figure("dropped", "dropped_events"),
        figure("dead", "dead_lettered"),
        figure("discarded", "discarded_events"),
        figure("pending"),
    )
    search_fields = ("tenant__exact",)  # by index, which `=tenant` is not: it would compare in capitals
    search_help_text = "The whole name of a tenant."
    # Counting millions of rows for a page of a hundred takes longer than the page is worth.
    show_full_result_count = False
    paginator = InfinitePaginator
    empty_says = "A row comes with the first event of a tenant, some seconds after it was accepted or rejected."

    @admin.display(ordering="minute")
    def time(self, row: LedgerTotals) -> SafeString:
        return format_html('<span class="fb-figure">{}</span>', f"{row.at:%Y-%m-%d %H:%M}")


@admin.register(LedgerMinute)
class LedgerMinuteAdmin(TotalsAdmin):
    """One row for each journal, tenant and minute; the row's own page names the journal."""


@admin.register(LedgerHour)
class LedgerHourAdmin(TotalsAdmin):
    """Of the past, all journals together."""

    empty_says = "Minutes older than FOREBAY_LEDGER_MINUTES_KEPT_DAYS become hours: none is as old yet."


@admin.register(JournalState)
class JournalStateAdmin(ReadOnlyAdmin):
    """What each journal's worker last said; those without a worker are the ones to look at."""

    list_display = ("journal", "node", "pid", "state", "unsettled", "seen_at")
    list_filter = ("node", "finished_at")
    search_fields = ("journal", "node")
    empty_says = "Each worker tells of its journal within a second of its start: none has started yet."

    @admin.display
    def state(self, journal: JournalState) -> str:
        """In one word."""
        if journal.given_up_by:
            return f"given up by {journal.given_up_by}"
        if journal.finished_at:
            return "finished"
        if is_missing(journal):
            return "worker missing"
        return "waits for a worker" if journal.is_closed else "open"
