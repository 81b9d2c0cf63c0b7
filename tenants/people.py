"""Control plane: how the console asks for a person's roles and a role's permissions: lists to tick that fit."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django import forms
from django.contrib.auth.models import Group, Permission
from django.forms.models import ModelChoiceIterator
from unfold.forms import UserChangeForm, UserCreationForm

# Django's own tables, of which the console has no page: to be allowed something there is nothing.
_WITHOUT_PAGES = ("admin", "contenttypes", "django_celery_beat", "sessions")


def _roles_field() -> "forms.ModelMultipleChoiceField[Group]":
    return forms.ModelMultipleChoiceField(
        queryset=Group.objects.order_by("name"),
        widget=forms.CheckboxSelectMultiple(attrs={"class": "fb-ticks"}),
        required=False,
        label="Roles",
        help_text="A person may do what any of their roles allows. What that is, each role's page says.",
    )


class PersonForm(UserChangeForm):  # type: ignore[misc]  # unfold ships no types
    groups = _roles_field()


class NewPersonForm(UserCreationForm):  # type: ignore[misc]  # as above
    groups = _roles_field()


class _ByModel(ModelChoiceIterator):  # type: ignore[type-arg]  # it takes no parameter at run time
    """A group of choices for each model, in the order of the query."""

    def __iter__(self) -> Iterator[Any]:
        for model, permissions in groupby(self.queryset, key=lambda permission: permission.content_type):
            yield f"{model.app_label}: {model.name}", [self.choice(permission) for permission in permissions]


class _PermissionsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # as above
    iterator = _ByModel

    def label_from_instance(self, permission: Any) -> str:
        """The model is said above it."""
        return str(permission.name).removeprefix("Can ").removesuffix(f" {permission.content_type.name}")


class RoleForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    permissions = _PermissionsField(
        queryset=Permission.objects.select_related("content_type").exclude(content_type__app_label__in=_WITHOUT_PAGES),
        widget=forms.CheckboxSelectMultiple(attrs={"class": "fb-ticks fb-ticks-by-model"}),
        required=False,
        help_text="What the roles of the migrations may do on each page is in docs/roles.md.",
    )

    class Meta:
        model = Group
        fields = ("name", "permissions")
