"""Kafka that a test may break: a broker behind a network that fails, whose topics can be denied; and how it is mended.

Forebay is given the proxy's address, and the broker advertises it too, so that librdkafka stays behind the proxy. The
tests' own consumer goes straight to the broker.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, though not by the stubs' rule
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from forebay.local.ports import free_port
from tests.faults.proxy import Proxy
from tests.services import KafkaServer, Services, kafka_node

_ADMIN_TIMEOUT_S = 10
# Whoever has none of the rules below may do anything; a topic with a rule allows what its rules allow.
_AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


class BreakableKafka:
    """One broker and the way to it."""

    def __init__(self, services: Services) -> None:
        node, proxied_port = kafka_node(), free_port()
        self.proxy = Proxy(proxied_port)
        self.server: KafkaServer = services.own_kafka(
            node,
            _AUTHORIZER
            | {
                "listeners": f"PLAINTEXT://{node.bootstrap},PROXIED://{node.host}:{proxied_port}"
                f",CONTROLLER://{node.host}:{node.controller_port}",
                "advertised.listeners": f"PLAINTEXT://{node.bootstrap},PROXIED://{self.proxy.address}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            },
        )
        self.bootstrap = self.server.bootstrap

    @property
    def proxied(self) -> str:
        """Where Forebay connects to."""
        return self.proxy.address

    def mend(self) -> None:
        """As it was at first; its topics stay."""
        self.proxy.heal()
        self.server.mend()

    def close(self) -> None:
        self.proxy.close()
        self.server.stop()


@contextmanager
def writing_denied(bootstrap: str, topic: str) -> Iterator[None]:
    """Nobody may write to the topic; everybody may read it and ask about it."""
    with only_allowed(bootstrap, topic, AclOperation.READ, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS):
        yield


@contextmanager
def only_allowed(bootstrap: str, topic: str, *operations: AclOperation) -> Iterator[None]:
    """Everybody may do this to the topic and nothing else; what it implies too, as reading implies describing."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    allowed = [
        AclBinding(
            ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:*", "*", operation, AclPermissionType.ALLOW
        )
        for operation in operations
    ]
    _wait_for(admin.create_acls(allowed, request_timeout=_ADMIN_TIMEOUT_S))
    try:
        yield
    finally:
        of_the_topic = AclBindingFilter(
            ResourceType.TOPIC,
            topic,
            ResourcePatternType.LITERAL,
            "User:*",
            "*",
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        _wait_for(admin.delete_acls([of_the_topic], request_timeout=_ADMIN_TIMEOUT_S))


def set_max_message_bytes(bootstrap: str, topic: str, size_bytes: int) -> None:
    """Behind Forebay's back."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    entry = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
    asked = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    _wait_for(admin.incremental_alter_configs([asked], request_timeout=_ADMIN_TIMEOUT_S))


def _wait_for(futures: Mapping[Any, "Future[Any]"]) -> None:
    for future in futures.values():
        future.result(_ADMIN_TIMEOUT_S)
