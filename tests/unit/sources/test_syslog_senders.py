"""Settings that say whose syslog is: ports, names in certificates; what is none stops the process."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from ingest.sources.syslog_senders import Port, certificate_names, certificate_tenants, ports


def test_a_port_may_have_a_tenant() -> None:
    assert ports(["5514", "5515=acme"]) == [Port(5514, ""), Port(5515, "acme")]


@pytest.mark.parametrize("text", ["", "acme", "0", "65536", "-1", "acme=5514", "\N{SUPERSCRIPT TWO}"])
def test_a_port_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="neither a port nor"):
        ports([text])


def test_names_of_certificates_have_tenants() -> None:
    assert certificate_tenants(["r1.example=acme", "CN=odd=bolt"]) == {"r1.example": "acme", "CN=odd": "bolt"}


@pytest.mark.parametrize("text", ["r1.example", "=acme", "r1.example="])
def test_a_certificate_without_a_tenant_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="name=tenant"):
        certificate_tenants([text])


def test_the_dns_names_of_a_certificate_come_before_its_common_name() -> None:
    certificate = {
        "subject": ((("organizationName", "x"),), (("commonName", "common"),)),
        "subjectAltName": (("DNS", "one"), ("IP Address", "192.0.2.1"), ("DNS", "two")),
    }

    assert certificate_names(certificate) == ["one", "two", "common"]
    assert certificate_names({}) == []
