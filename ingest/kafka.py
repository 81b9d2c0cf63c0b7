"""How this node reaches Kafka: one place that turns settings into librdkafka's connection properties.

Used by the worker's producer, the snapshot builder and `manage.py consume`.
"""

from typing import Any

from django.conf import settings

from ingest.dataplane.producer import producer_config

# A batch header, varints and what a later format may add; the key counts with the event.
RECORD_OVERHEAD_BYTES = 4096


def connection() -> dict[str, Any]:
    """Properties of librdkafka's CONFIGURATION.md; security only where it is set."""
    optional = {
        "sasl.mechanisms": settings.FOREBAY_KAFKA_SASL_MECHANISM,
        "sasl.username": settings.FOREBAY_KAFKA_SASL_USERNAME,
        "sasl.password": settings.FOREBAY_KAFKA_SASL_PASSWORD,
        "ssl.ca.location": settings.FOREBAY_KAFKA_SSL_CA_FILE,
    }
    return {
        "bootstrap.servers": settings.FOREBAY_KAFKA_BOOTSTRAP_SERVERS,
        "security.protocol": settings.FOREBAY_KAFKA_SECURITY_PROTOCOL,
        "client.id": "forebay",
        **{name: value for name, value in optional.items() if value},
    }


def message_max_bytes() -> int:
    """What a record may take: the largest event with its key and Kafka's framing around it."""
    return int(settings.FOREBAY_EVENT_MAX_BYTES) + RECORD_OVERHEAD_BYTES


def producer_properties() -> dict[str, Any]:
    """What the worker's producer is made with; the benchmark's raw loop uses the same."""
    return producer_config(
        connection=connection(),
        batch_size_bytes=settings.FOREBAY_PRODUCER_BATCH_SIZE_BYTES,
        linger_ms=settings.FOREBAY_PRODUCER_LINGER_MS,
        compression=settings.FOREBAY_PRODUCER_COMPRESSION,
        queue_bytes=settings.FOREBAY_PRODUCER_QUEUE_BYTES,
        message_timeout_ms=settings.FOREBAY_PRODUCER_MESSAGE_TIMEOUT_MS,
        message_max_bytes=message_max_bytes(),
        statistics_interval_ms=settings.FOREBAY_PRODUCER_STATISTICS_INTERVAL_MS,
    )
