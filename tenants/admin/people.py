"""The operators' console for its users. Roles are groups, made by a migration from ingest/roles.py; a user has some.

Only a superuser makes a superuser or touches one: whoever may edit users could lift themselves otherwise.
"""

from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.forms import AdminPasswordChangeForm

from tenants.audit import audit
from tenants.console import ReasonedAdmin, name_of
from tenants.forms import reasoned
from tenants.people import NewPersonForm, PersonForm, RoleForm

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ReasonedAdmin):  # type: ignore[type-arg, misc]  # as Django types its own
    """People, and what they may do. Nobody is deleted: the audit log knows them by name, which must not come again."""

    form = PersonForm
    add_form = NewPersonForm
    change_password_form = reasoned(AdminPasswordChangeForm)
    change_user_password_template = "console/user_password.html"  # noqa: S105 - a page's name
    list_display = ("username", "roles", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser", "groups")
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
        ("May", {"fields": ("is_active", "is_staff", "groups", "is_superuser")}),
        ("Since", {"fields": ("date_joined", "last_login")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "password1", "password2", "is_staff", "groups")}),)
    readonly_fields = ("date_joined", "last_login")
    filter_horizontal = ()

    def get_queryset(self, request):  # type: ignore[no-untyped-def]  # two stubs disagree on its type
        return super().get_queryset(request).prefetch_related("groups")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.readonly_fields if _is_super(request.user) else (*self.readonly_fields, "is_superuser")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and (_is_super(request.user) or not _is_super(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @method_decorator(sensitive_post_parameters())
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:
        user = self.get_object(request, unquote(id))
        reason = request.POST.get("reason", "")
        view = super().user_change_password
        return with_password_audited(request, user, lambda: view(request, id), reason)

    @admin.display
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all())


@admin.register(Group)
class RoleAdmin(DjangoGroupAdmin, ReasonedAdmin):  # type: ignore[misc]  # as above
    """What each role may do. One that somebody has is not deleted."""

    actions = None
    empty_says = "A role holds permissions; docs/roles.md says which ones the migrations make."
    form = RoleForm
    filter_horizontal = ()

    def get_queryset(self, request):  # type: ignore[no-untyped-def]  # as above
        """A permission's name is its model's too."""
        return super().get_queryset(request).prefetch_related("permissions__content_type")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or not obj.user_set.exists())

    def of_deleting(self, row: Group) -> Iterator[str]:
        """Nobody has it, or it could not be deleted."""
        may = ", ".join(str(permission.name) for permission in row.permissions.all()) or "nothing"
        yield "Nobody has it: nobody loses anything. It cannot be given to anybody any more."
        yield f"What it allowed goes with it, and the audit log keeps it: {may}."


def own_password_change(request: HttpRequest) -> HttpResponseBase:
    """The admin's page for one's own password, with a line in the audit log."""
    return with_password_audited(request, request.user, lambda: admin.site.password_change(request))


def with_password_audited(
    request: HttpRequest, user: Any, view: Callable[[], HttpResponseBase], reason: str = ""
) -> HttpResponseBase:
    """Runs a view that may change a user's password. The line says that, and no more."""
    people = User.objects.filter(pk=user.pk if user else 0)
    with transaction.atomic():
        before = people.values_list("password", flat=True).first()
        answer = view()
        if people.values_list("password", flat=True).first() != before:
            audit(by=name_of(request), action="user.password", target=people.get(), reason=reason)
    return answer


def _is_super(user: Any) -> bool:
    return bool(getattr(user, "is_superuser", False))
