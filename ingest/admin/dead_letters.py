"""The operators' console for dead letters: its addresses. Nothing is added or deleted by hand: workers write letters,
the retention deletes them.
"""

from django.contrib import admin
from django.urls import URLPattern, path

from ingest.admin.letter_decisions import destinations, discard, replay
from ingest.admin.letter_list import export, letters
from ingest.admin.letter_page import edit, letter
from ingest.models import DeadLetter
from tenants.console import ReadOnlyAdmin


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """Pages of its own under the names that the admin gives to a model's, so that menus and links find them."""

    def get_urls(self) -> list[URLPattern]:
        return [
            path("", letters, name="ingest_deadletter_changelist"),
            path("export/", export, name="ingest_deadletter_export"),
            path("replay/", replay, name="ingest_deadletter_replay"),
            path("replay/destinations/", destinations, name="ingest_deadletter_destinations"),
            path("discard/", discard, name="ingest_deadletter_discard"),
            path("<int:letter_id>/change/", letter, name="ingest_deadletter_change"),
            path("<int:letter_id>/edit/", edit, name="ingest_deadletter_edit"),
        ]
