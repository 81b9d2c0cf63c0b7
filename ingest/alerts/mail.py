"""Control plane: a mail to those who get the alerts. Without Django's ORM, for the supervisors send it too."""

from collections.abc import Iterable

from django.conf import settings
from django.core.mail import send_mail

from ingest.alerts.webhook import NotSent


def send(subject: str, lines: Iterable[str]) -> None:
    """A subject is one line, whatever it is about. Blocks while the mail server takes its time. Raises NotSent."""
    sender, recipients = settings.FOREBAY_ALERT_EMAIL_FROM, settings.FOREBAY_ALERT_EMAIL_TO
    try:
        send_mail(f"[Forebay] {' '.join(subject.split())}", "\n".join(lines), sender, recipients)
    except (OSError, ValueError) as error:  # an SMTPException is an OSError
        raise NotSent(str(error) or type(error).__name__) from error
