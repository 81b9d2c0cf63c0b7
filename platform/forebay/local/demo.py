"""The tenant, key and administrator that `manage.py up` makes, for a newcomer to post and to sign in with.

Their secrets are kept in var/demo.env, because the database holds only hashes and the next `up` prints them again.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model

from forebay.local import env_file
from tenants import api_keys, services
from tenants.models import ApiKey, Tenant

TENANT, PLAN = "demo", "agent"
ADMIN = "admin"
BY = "manage.py up"
COMMENT = "Secrets of the local demo, made by `manage.py up`. Remove a line and the next `up` makes a new one."


@dataclass(frozen=True)
class Demo:
    """What `up` prints and hands to its children."""

    secret_key: str
    api_key: str
    admin_password: str | None  # None: it was changed since, and only who changed it knows it


def ensure(path: Path) -> Demo:
    """Make what is missing, keep what is there. The database must be migrated."""
    kept = env_file.read(path)
    demo = Demo(
        secret_key=kept.get("FOREBAY_SECRET_KEY") or secrets.token_urlsafe(50),
        api_key=_api_key(kept.get("DEMO_API_KEY", "")),
        admin_password=_admin_password(kept.get("DEMO_ADMIN_PASSWORD", "")),
    )
    values = {
        "FOREBAY_SECRET_KEY": demo.secret_key,
        "DEMO_API_KEY": demo.api_key,
        "DEMO_ADMIN_USER": ADMIN,
        "DEMO_ADMIN_PASSWORD": demo.admin_password or "",
    }
    env_file.write(path, values, comment=COMMENT)
    return demo


def _api_key(kept: str) -> str:
    tenant = Tenant.objects.filter(name=TENANT).first()
    if tenant is None:
        tenant = services.tenant_create(name=TENANT, plan=PLAN, display_name="Demo", by=BY)
    known = ApiKey.objects.filter(tenant=tenant, digest=api_keys.digest(kept)).first()
    if known is not None and known.state == "active":
        return kept
    _, secret = services.key_issue(tenant=tenant, name="demo", scopes=("ingest", "read"), by=BY)
    return secret


def _admin_password(kept: str) -> str | None:
    users = get_user_model().objects
    admin = users.filter(username=ADMIN).first()
    if admin is None:
        password = secrets.token_urlsafe(12)
        users.create_superuser(ADMIN, "", password)
        return password
    return kept if kept and admin.check_password(kept) else None


def default_path() -> Path:
    return Path(settings.FOREBAY_VAR_DIR) / "demo.env"
