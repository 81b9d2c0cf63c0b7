"""The operators' console for breakers and parked topics: where they stand for all workers, and who overruled them."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from redis import RedisError

from ingest.breaker_store import SharedStanding, standings
from ingest.models import Override
from ingest.parked import read_parked
from ingest.shared_redis import shared_redis
from tenants.console import VersionedAdmin


@admin.register(Override)
class OverrideAdmin(VersionedAdmin):
    """Words are added and never changed or taken back: the next word for the same place holds."""

    list_display = ("at", "kind", "place", "by", "reason")
    list_display_links = None
    list_filter = ("kind", "topic", "tenant")
    search_fields = ("topic", "tenant", "by", "reason")
    date_hierarchy = "at"
    fields = ("kind", "topic", "tenant", "reason")
    change_list_template = "admin/ingest/override/change_list.html"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Override, form: Any, change: bool) -> None:
        obj.by = request.user.get_username()
        super().save_model(request, obj, form, change)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Above the words: what holds now, as the workers say it in Redis."""
        return super().changelist_view(request, {**(extra_context or {}), **_as_it_stands()})


def _as_it_stands() -> dict[str, Any]:
    try:
        with shared_redis() as client:
            breakers = [(shared, _since(shared)) for shared in standings(client)]
            parked = [(entry, _moment(entry.since_wall_ms)) for entry in read_parked(client)]
            return {"breakers": breakers, "parked": parked}
    except RedisError as error:
        return {"redis_error": str(error)}


def _since(shared: SharedStanding) -> datetime | None:
    return _moment(shared.since_wall_ms) if shared.epoch else None


def _moment(wall_ms: int) -> datetime:
    return datetime.fromtimestamp(wall_ms / 1000, UTC)
