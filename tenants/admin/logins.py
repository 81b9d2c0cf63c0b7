"""Who comes to the console and goes, in the audit log. django.contrib.auth tells it in no other way than by signals.

What came over no connection, such as a session that a program makes, is nobody at the console.
"""

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from tenants.audit import audit
from tenants.models import AuditEntry

FAILED = "login.failed"
# One line for each user and for all unknown names together, so that whoever guesses cannot fill the log.
_QUIET = timedelta(minutes=1)
_UNKNOWN = "a name that is nobody's"


@receiver(user_logged_in)
def logged_in(request: HttpRequest | None, user: Any, **rest: Any) -> None:
    _tell("login", request, user.get_username())


@receiver(user_logged_out)
def logged_out(request: HttpRequest | None, user: Any, **rest: Any) -> None:
    if user is not None:
        _tell("logout", request, user.get_username())


@receiver(user_login_failed)
def login_failed(credentials: dict[str, Any], request: HttpRequest | None = None, **rest: Any) -> None:
    """A name that nobody has is not kept: it may be a password that was typed into the wrong field."""
    typed = str(credentials.get("username", ""))
    name = typed if User.objects.filter(username=typed).exists() else _UNKNOWN
    told = AuditEntry.objects.filter(action=FAILED, target=name, at__gt=timezone.now() - _QUIET)
    if not told.exists():
        _tell(FAILED, request, name)


def _tell(action: str, request: HttpRequest | None, name: str) -> None:
    address = request.META.get("REMOTE_ADDR") if request is not None else None
    if address:
        audit(by=name, action=action, target=name, after={"address": address})
