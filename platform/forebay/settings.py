"""Every setting of Forebay, read from the environment, its unit in its name; docs/settings.md says what each is for.

A value that does not parse stops the process at once with the variable's name: a typo must not become a default.
"""

import socket
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from forebay import VERSION, console_theme

BASE_DIR = Path(__file__).resolve().parent.parent.parent
env = environ.Env()

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def _above_zero(name: str, default: int) -> int:
    """A rate of none at all is no rate: what it holds back would wait for ever."""
    value: int = env.int(name, default=default)
    if value <= 0:
        raise ImproperlyConfigured(f"{name} is above 0, not {value}")
    return value


# Where this node keeps what it writes: journal, snapshot, SQLite, demo credentials.
FOREBAY_VAR_DIR = Path(env.str("FOREBAY_VAR_DIR", default=str(BASE_DIR / "var")))

# --- Django ----------------------------------------------------------------------------------------------------------
DEBUG = env.bool("FOREBAY_DEBUG", default=False)
INSECURE_SECRET_KEY = "insecure-until-FOREBAY_SECRET_KEY-is-set-which-make-up-does"  # noqa: S105 - `serve` refuses it
SECRET_KEY = env.str("FOREBAY_SECRET_KEY", default=INSECURE_SECRET_KEY)
ALLOWED_HOSTS = env.list("FOREBAY_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("FOREBAY_CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "unfold",  # before the admin, whose templates it replaces
    "unfold.contrib.filters",
    "django.contrib.humanize",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_prometheus",
    "django_celery_beat",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "tenants",
    "ingest",
]
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "ingest.console.away.DatabaseAway",  # outside of all that asks the database
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
ROOT_URLCONF = "forebay.urls"
WSGI_APPLICATION = "forebay.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
FOREBAY_DATABASE_STATEMENT_TIMEOUT_MS = env.int("FOREBAY_DATABASE_STATEMENT_TIMEOUT_MS", default=60_000)
DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{FOREBAY_VAR_DIR / 'forebay.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # WAL lets the builder read while the admin writes; IMMEDIATE avoids the upgrade deadlock of two writers.
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        timeout=10, transaction_mode="IMMEDIATE", init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
    )
elif DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # A server that hangs must look like one that is away: without these whoever asks it waits for as long as TCP does,
    # and a statement that waits for a lock for as long as somebody holds it.
    for _name, _value in {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,
        "options": f"-c statement_timeout={FOREBAY_DATABASE_STATEMENT_TIMEOUT_MS}",
    }.items():
        DATABASES["default"].setdefault("OPTIONS", {}).setdefault(_name, _value)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL, LOGIN_REDIRECT_URL = "admin:login", "admin:index"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
# Behind a proxy that speaks HTTPS: the console's cookies then go over nothing else.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("FOREBAY_COOKIES_SECURE", default=False)
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "platform" / "forebay" / "static"]  # before those of django-unfold
# Static files come straight from the packages, so a checkout needs no collectstatic before its console has a style.
WHITENOISE_USE_FINDERS = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} [{process}] {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("FOREBAY_LOG_LEVEL", default="INFO")},
}
# No page runs a script of its own text or asks another host for anything.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        # No 'unsafe-eval': Alpine, with which django-unfold opens its menus, is its CSP build here (ADR 0019).
        "script-src": ["'self'"],
        # django-unfold writes the theme's colours into each page, and Alpine hides with a style attribute.
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
        "base-uri": ["'self'"],
        "object-src": ["'none'"],
    },
}
UNFOLD = console_theme.UNFOLD
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Forebay",
    "DESCRIPTION": "Log ingestion in front of Apache Kafka: a 202 means that the events are in the journal.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    # Two fields are called `status`.
    "ENUM_NAME_OVERRIDES": {
        "EventStatusEnum": ["Accepted", "Delivered", "Pending"],
        "DeadLetterStatusEnum": ["waiting", "exhausted", "replayed", "discarded"],
    },
    # The ingest routes authenticate by themselves, before DRF could; these are the two ways to send a key.
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}
# django-prometheus would open the database in every process that imports it; the builder reports on it instead.
PROMETHEUS_EXPORT_MIGRATIONS = False

# --- Redis and Celery ------------------------------------------------------------------------------------------------
FOREBAY_REDIS_URL = env.str("FOREBAY_REDIS_URL", default="redis://127.0.0.1:6379/0")
FOREBAY_REDIS_TIMEOUT_MS = env.int("FOREBAY_REDIS_TIMEOUT_MS", default=250)
FOREBAY_IDEMPOTENCY_REDIS_URL = env.str("FOREBAY_IDEMPOTENCY_REDIS_URL", default=FOREBAY_REDIS_URL)
FOREBAY_IDEMPOTENCY_KEPT_S = env.int("FOREBAY_IDEMPOTENCY_KEPT_S", default=86_400)
CELERY_BROKER_URL = env.str("FOREBAY_CELERY_BROKER_URL", default="redis://127.0.0.1:6379/1")
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
FOREBAY_REPLAY_SWEEP_INTERVAL_S = env.float("FOREBAY_REPLAY_SWEEP_INTERVAL_S", default=5.0)
# Tasks have budgets of their own, far below: this is for one that hangs, and would keep all others from their turn. The
# sweep's budget goes with its interval.
CELERY_TASK_SOFT_TIME_LIMIT = 60.0 + FOREBAY_REPLAY_SWEEP_INTERVAL_S
CELERY_TASK_TIME_LIMIT = CELERY_TASK_SOFT_TIME_LIMIT + 30.0
FOREBAY_LEDGER_COPY_INTERVAL_S = env.float("FOREBAY_LEDGER_COPY_INTERVAL_S", default=5.0)
FOREBAY_LEDGER_CHECK_INTERVAL_S = env.float("FOREBAY_LEDGER_CHECK_INTERVAL_S", default=15.0)
CELERY_BEAT_SCHEDULE = {
    "evaluate_alerts": {"task": "ingest.tasks.alerts.evaluate_alerts", "schedule": 10.0, "options": {"expires": 10}},
    "delete_old_quarantined": {
        "task": "ingest.tasks.quarantine.delete_old_quarantined",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "retire_history": {"task": "ingest.tasks.history.retire_history", "schedule": 3600.0, "options": {"expires": 3600}},
    "record_platform_minute": {
        "task": "ingest.tasks.history.record_platform_minute",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "copy_breaker_transitions": {
        "task": "ingest.tasks.history.copy_breaker_transitions",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "ledger_copy": {
        "task": "ingest.tasks.ledger.ledger_copy",
        "schedule": FOREBAY_LEDGER_COPY_INTERVAL_S,
        "options": {"expires": FOREBAY_LEDGER_COPY_INTERVAL_S},
    },
    "ledger_check": {
        "task": "ingest.tasks.ledger.ledger_check",
        "schedule": FOREBAY_LEDGER_CHECK_INTERVAL_S,
        "options": {"expires": FOREBAY_LEDGER_CHECK_INTERVAL_S},
    },
    "ledger_roll_up": {"task": "ingest.tasks.ledger.ledger_roll_up", "schedule": 3600.0, "options": {"expires": 3600}},
    "record_key_use": {"task": "tenants.tasks.record_key_use", "schedule": 60.0, "options": {"expires": 60}},
    "sweep_dead_letters": {
        "task": "ingest.tasks.dead_letters.sweep_dead_letters",
        "schedule": FOREBAY_REPLAY_SWEEP_INTERVAL_S,
        # A message that waited in the queue for longer has been overtaken by the next one.
        "options": {"expires": FOREBAY_REPLAY_SWEEP_INTERVAL_S},
    },
    "retire_dead_letters": {
        "task": "ingest.tasks.dead_letters.retire_dead_letters",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
}

# --- Kafka -----------------------------------------------------------------------------------------------------------
FOREBAY_KAFKA_BOOTSTRAP_SERVERS = env.str("FOREBAY_KAFKA_BOOTSTRAP_SERVERS", default="127.0.0.1:9092")
FOREBAY_KAFKA_SECURITY_PROTOCOL = env.str("FOREBAY_KAFKA_SECURITY_PROTOCOL", default="plaintext")
FOREBAY_KAFKA_SASL_MECHANISM = env.str("FOREBAY_KAFKA_SASL_MECHANISM", default="")
FOREBAY_KAFKA_SASL_USERNAME = env.str("FOREBAY_KAFKA_SASL_USERNAME", default="")
FOREBAY_KAFKA_SASL_PASSWORD = env.str("FOREBAY_KAFKA_SASL_PASSWORD", default="")
FOREBAY_KAFKA_SSL_CA_FILE = env.str("FOREBAY_KAFKA_SSL_CA_FILE", default="")

FOREBAY_TOPIC_DEFAULT = env.str("FOREBAY_TOPIC_DEFAULT", default="logs")
FOREBAY_TOPIC_CREATE = env.bool("FOREBAY_TOPIC_CREATE", default=True)
FOREBAY_TOPIC_PARTITIONS = env.int("FOREBAY_TOPIC_PARTITIONS", default=12)
FOREBAY_TOPIC_REPLICATION_FACTOR = env.int("FOREBAY_TOPIC_REPLICATION_FACTOR", default=1)
FOREBAY_TOPIC_MIN_INSYNC_REPLICAS = env.int("FOREBAY_TOPIC_MIN_INSYNC_REPLICAS", default=1)
FOREBAY_TOPIC_VERIFY_INTERVAL_S = env.int("FOREBAY_TOPIC_VERIFY_INTERVAL_S", default=3600)

# `reference` is the batching of the plain Kafka producer services this one is compared with; any single value below
# overrides its profile.
FOREBAY_PRODUCER_PROFILE = env.str("FOREBAY_PRODUCER_PROFILE", default="default")
_profile = {
    "default": {"batch_size_bytes": 1_000_000, "linger_ms": 20, "compression": "lz4"},
    "reference": {"batch_size_bytes": 32_768, "linger_ms": 100, "compression": "snappy"},
}[FOREBAY_PRODUCER_PROFILE]
FOREBAY_PRODUCER_BATCH_SIZE_BYTES = env.int("FOREBAY_PRODUCER_BATCH_SIZE_BYTES", default=_profile["batch_size_bytes"])
FOREBAY_PRODUCER_LINGER_MS = env.int("FOREBAY_PRODUCER_LINGER_MS", default=_profile["linger_ms"])
FOREBAY_PRODUCER_COMPRESSION = env.str("FOREBAY_PRODUCER_COMPRESSION", default=_profile["compression"])
FOREBAY_PRODUCER_QUEUE_BYTES = env.int("FOREBAY_PRODUCER_QUEUE_BYTES", default=64 * MIB)
FOREBAY_PRODUCER_MESSAGE_TIMEOUT_MS = env.int("FOREBAY_PRODUCER_MESSAGE_TIMEOUT_MS", default=120_000)
FOREBAY_PRODUCER_FLUSH_TIMEOUT_S = env.int("FOREBAY_PRODUCER_FLUSH_TIMEOUT_S", default=10)
FOREBAY_PRODUCER_MAX_BYTES_PER_S = env.int("FOREBAY_PRODUCER_MAX_BYTES_PER_S", default=0)
FOREBAY_PRODUCER_STATISTICS_INTERVAL_MS = env.int("FOREBAY_PRODUCER_STATISTICS_INTERVAL_MS", default=5_000)

# --- Breaker ---------------------------------------------------------------------------------------------------------
FOREBAY_BREAKER_OPEN_S = env.float("FOREBAY_BREAKER_OPEN_S", default=60.0)
FOREBAY_BREAKER_PROBE = env.bool("FOREBAY_BREAKER_PROBE", default=False)

# --- Journal ---------------------------------------------------------------------------------------------------------
FOREBAY_JOURNAL_DIR = Path(env.str("FOREBAY_JOURNAL_DIR", default=str(FOREBAY_VAR_DIR / "journal")))
FOREBAY_JOURNAL_MAX_BYTES = env.int("FOREBAY_JOURNAL_MAX_BYTES", default=2 * GIB)
FOREBAY_JOURNAL_SEGMENT_BYTES = env.int("FOREBAY_JOURNAL_SEGMENT_BYTES", default=64 * MIB)
FOREBAY_JOURNAL_ADOPT_INTERVAL_S = env.float("FOREBAY_JOURNAL_ADOPT_INTERVAL_S", default=2.0)
FOREBAY_JOURNAL_MAX_AGE_S = env.int("FOREBAY_JOURNAL_MAX_AGE_S", default=3 * 86_400)
FOREBAY_JOURNAL_FSYNC = env.str("FOREBAY_JOURNAL_FSYNC", default="interval")
if FOREBAY_JOURNAL_FSYNC not in ("none", "interval", "always"):
    raise ImproperlyConfigured(f"FOREBAY_JOURNAL_FSYNC is none, interval or always, not {FOREBAY_JOURNAL_FSYNC!r}")
FOREBAY_JOURNAL_FSYNC_INTERVAL_MS = env.int("FOREBAY_JOURNAL_FSYNC_INTERVAL_MS", default=100)

# --- Ledger ----------------------------------------------------------------------------------------------------------
FOREBAY_LEDGER_MINUTES_KEPT_DAYS = env.int("FOREBAY_LEDGER_MINUTES_KEPT_DAYS", default=3)
FOREBAY_LEDGER_HOURS_KEPT_DAYS = env.int("FOREBAY_LEDGER_HOURS_KEPT_DAYS", default=400)
FOREBAY_JOURNAL_MISSING_AFTER_S = env.float("FOREBAY_JOURNAL_MISSING_AFTER_S", default=30.0)

FOREBAY_HISTORY_RETENTION_DAYS = env.int("FOREBAY_HISTORY_RETENTION_DAYS", default=31)

# --- Dead letters ----------------------------------------------------------------------------------------------------
FOREBAY_DEAD_LETTER_QUEUE_BYTES = env.int("FOREBAY_DEAD_LETTER_QUEUE_BYTES", default=16 * MIB)
FOREBAY_DEAD_LETTER_MAX_PER_S = _above_zero("FOREBAY_DEAD_LETTER_MAX_PER_S", 100)
FOREBAY_DEAD_LETTER_RETRY_BASE_S = env.float("FOREBAY_DEAD_LETTER_RETRY_BASE_S", default=30.0)
FOREBAY_DEAD_LETTER_RETRY_MAX_S = env.float("FOREBAY_DEAD_LETTER_RETRY_MAX_S", default=3600.0)
FOREBAY_DEAD_LETTER_MAX_ATTEMPTS = env.int("FOREBAY_DEAD_LETTER_MAX_ATTEMPTS", default=10)
FOREBAY_DEAD_LETTER_MAX_AGE_S = env.int("FOREBAY_DEAD_LETTER_MAX_AGE_S", default=86_400)
FOREBAY_DEAD_LETTER_RETENTION_DAYS = env.int("FOREBAY_DEAD_LETTER_RETENTION_DAYS", default=30)
FOREBAY_REPLAY_MAX_EVENTS_PER_S = _above_zero("FOREBAY_REPLAY_MAX_EVENTS_PER_S", 200)
FOREBAY_REPLAY_CLAIM_S = env.float("FOREBAY_REPLAY_CLAIM_S", default=60.0)
FOREBAY_REPLAY_REPORT_TIMEOUT_S = env.float("FOREBAY_REPLAY_REPORT_TIMEOUT_S", default=5.0)

# --- What a request may hold -----------------------------------------------------------------------------------------
FOREBAY_BODY_MAX_BYTES = env.int("FOREBAY_BODY_MAX_BYTES", default=8 * MIB)
FOREBAY_EVENT_MAX_BYTES = env.int("FOREBAY_EVENT_MAX_BYTES", default=MIB)
FOREBAY_REQUEST_MAX_EVENTS = env.int("FOREBAY_REQUEST_MAX_EVENTS", default=10_000)
FOREBAY_TIMESTAMP_MAX_AGE_S = env.int("FOREBAY_TIMESTAMP_MAX_AGE_S", default=7 * 86_400)
FOREBAY_TIMESTAMP_MAX_AHEAD_S = env.int("FOREBAY_TIMESTAMP_MAX_AHEAD_S", default=600)
FOREBAY_METADATA_MAX_ENTRIES = env.int("FOREBAY_METADATA_MAX_ENTRIES", default=64)
FOREBAY_ACK_TIMEOUT_S = env.float("FOREBAY_ACK_TIMEOUT_S", default=5.0)
FOREBAY_ERRORS_WAIT_FOR_ACK = env.bool("FOREBAY_ERRORS_WAIT_FOR_ACK", default=False)

# --- Quarantine ------------------------------------------------------------------------------------------------------
FOREBAY_QUARANTINE_EVENTS_PER_MINUTE = env.int("FOREBAY_QUARANTINE_EVENTS_PER_MINUTE", default=60)
FOREBAY_QUARANTINE_RETENTION_DAYS = env.int("FOREBAY_QUARANTINE_RETENTION_DAYS", default=7)

# --- Callers ---------------------------------------------------------------------------------------------------------
FOREBAY_TRUSTED_PROXIES = env.list("FOREBAY_TRUSTED_PROXIES", default=[])
FOREBAY_ANONYMOUS_REQUESTS_PER_S = env.int("FOREBAY_ANONYMOUS_REQUESTS_PER_S", default=100)
FOREBAY_QUOTA_LEASE_MS = env.int("FOREBAY_QUOTA_LEASE_MS", default=250)

# --- Snapshot and metrics --------------------------------------------------------------------------------------------
FOREBAY_SNAPSHOT_FILE = Path(env.str("FOREBAY_SNAPSHOT_FILE", default=str(FOREBAY_VAR_DIR / "snapshot.msgpack")))
FOREBAY_SNAPSHOT_POLL_MS = env.int("FOREBAY_SNAPSHOT_POLL_MS", default=250)
FOREBAY_METRICS_TOP_TENANTS = env.int("FOREBAY_METRICS_TOP_TENANTS", default=50)

# --- Alerts ----------------------------------------------------------------------------------------------------------
FOREBAY_ALERT_WEBHOOK_URL = env.str("FOREBAY_ALERT_WEBHOOK_URL", default="")
FOREBAY_ALERT_WEBHOOK_SECRET = env.str("FOREBAY_ALERT_WEBHOOK_SECRET", default="")
FOREBAY_ALERT_EMAIL_TO = env.list("FOREBAY_ALERT_EMAIL_TO", default=[])
FOREBAY_ALERT_EMAIL_FROM = env.str("FOREBAY_ALERT_EMAIL_FROM", default="forebay@localhost")
FOREBAY_ALERT_TIMEOUT_S = env.float("FOREBAY_ALERT_TIMEOUT_S", default=5.0)
FOREBAY_RUNBOOK_URL = env.str("FOREBAY_RUNBOOK_URL", default="docs/runbook.md")
# Django's own mail settings, of one URL: EMAIL_HOST, EMAIL_PORT, EMAIL_USE_TLS and so on.
globals().update(env.email_url("FOREBAY_EMAIL_URL", default="smtp://localhost:25"))
EMAIL_TIMEOUT = FOREBAY_ALERT_TIMEOUT_S
FOREBAY_ALERT_BUFFER_RATIO = env.float("FOREBAY_ALERT_BUFFER_RATIO", default=0.8)
FOREBAY_ALERT_PRODUCE_P99_MS = env.float("FOREBAY_ALERT_PRODUCE_P99_MS", default=500.0)
FOREBAY_ALERT_ERROR_RATIO = env.float("FOREBAY_ALERT_ERROR_RATIO", default=0.001)
FOREBAY_ALERT_DEAD_LETTER_AGE_S = env.float("FOREBAY_ALERT_DEAD_LETTER_AGE_S", default=3600.0)
FOREBAY_ALERT_WORKER_MISSING_S = env.float("FOREBAY_ALERT_WORKER_MISSING_S", default=15.0)
FOREBAY_ALERT_DISK_RATIO = env.float("FOREBAY_ALERT_DISK_RATIO", default=0.9)
FOREBAY_ALERT_SNAPSHOT_BEHIND_S = env.float("FOREBAY_ALERT_SNAPSHOT_BEHIND_S", default=60.0)
FOREBAY_ALERT_BACKLOG_AGE_S = env.float("FOREBAY_ALERT_BACKLOG_AGE_S", default=300.0)
FOREBAY_ALERT_CLEAR_S = env.float("FOREBAY_ALERT_CLEAR_S", default=60.0)
FOREBAY_ALERT_UNWATCHED_S = env.float("FOREBAY_ALERT_UNWATCHED_S", default=60.0)
FOREBAY_ALERT_RETENTION_DAYS = env.int("FOREBAY_ALERT_RETENTION_DAYS", default=90)

# --- Processes of one node -------------------------------------------------------------------------------------------
FOREBAY_NODE_NAME = env.str("FOREBAY_NODE_NAME", default=socket.gethostname())
FOREBAY_HOST = env.str("FOREBAY_HOST", default="127.0.0.1")
FOREBAY_PORT = env.int("FOREBAY_PORT", default=8000)
FOREBAY_NODES = env.int("FOREBAY_NODES", default=1)
FOREBAY_WORKERS = env.int("FOREBAY_WORKERS", default=1)
FOREBAY_WORKER_ON_ONE_CPU = env.bool("FOREBAY_WORKER_ON_ONE_CPU", default=True)
FOREBAY_THREADS = env.int("FOREBAY_THREADS", default=64)

# --- Streams, live tail and syslog: manage.py listen -----------------------------------------------------------------
FOREBAY_LISTEN_PORT = env.int("FOREBAY_LISTEN_PORT", default=FOREBAY_PORT + 1)
FOREBAY_LISTEN_URL = env.str("FOREBAY_LISTEN_URL", default="").rstrip("/")
FOREBAY_LISTEN_CONNECTIONS = _above_zero("FOREBAY_LISTEN_CONNECTIONS", 2_000)
FOREBAY_LISTEN_HEAD_TIMEOUT_S = env.float("FOREBAY_LISTEN_HEAD_TIMEOUT_S", default=10.0)
FOREBAY_LISTEN_LINE_TIMEOUT_S = env.float("FOREBAY_LISTEN_LINE_TIMEOUT_S", default=30.0)
FOREBAY_LISTEN_WRITE_TIMEOUT_S = env.float("FOREBAY_LISTEN_WRITE_TIMEOUT_S", default=30.0)
FOREBAY_LISTEN_JOURNAL_RATIO = env.float("FOREBAY_LISTEN_JOURNAL_RATIO", default=0.5)
FOREBAY_LISTEN_DRAIN_TIMEOUT_S = env.float("FOREBAY_LISTEN_DRAIN_TIMEOUT_S", default=5.0)
FOREBAY_STREAM_IDLE_TIMEOUT_S = env.float("FOREBAY_STREAM_IDLE_TIMEOUT_S", default=300.0)
FOREBAY_STREAM_WINDOW_EVENTS = _above_zero("FOREBAY_STREAM_WINDOW_EVENTS", 500)
FOREBAY_STREAM_WINDOW_MS = env.int("FOREBAY_STREAM_WINDOW_MS", default=50)
FOREBAY_STREAM_POSITION_KEPT_S = env.int("FOREBAY_STREAM_POSITION_KEPT_S", default=86_400)
# Where syslog arrives: each a port, or port=tenant where whatever comes there is that tenant's.
FOREBAY_SYSLOG_TCP = env.list("FOREBAY_SYSLOG_TCP", default=[])
FOREBAY_SYSLOG_UDP = env.list("FOREBAY_SYSLOG_UDP", default=[])
FOREBAY_SYSLOG_TLS = env.list("FOREBAY_SYSLOG_TLS", default=[])
FOREBAY_SYSLOG_TLS_CERTIFICATE_FILE = env.str("FOREBAY_SYSLOG_TLS_CERTIFICATE_FILE", default="")
FOREBAY_SYSLOG_TLS_KEY_FILE = env.str("FOREBAY_SYSLOG_TLS_KEY_FILE", default="")
FOREBAY_SYSLOG_TLS_CLIENT_CA_FILE = env.str("FOREBAY_SYSLOG_TLS_CLIENT_CA_FILE", default="")
FOREBAY_SYSLOG_CERTIFICATES = env.list("FOREBAY_SYSLOG_CERTIFICATES", default=[])
FOREBAY_SYSLOG_MESSAGE_MAX_BYTES = _above_zero("FOREBAY_SYSLOG_MESSAGE_MAX_BYTES", 64 * KIB)
FOREBAY_SYSLOG_UDP_BUFFER_BYTES = _above_zero("FOREBAY_SYSLOG_UDP_BUFFER_BYTES", 4 * MIB)
