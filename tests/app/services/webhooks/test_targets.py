"""Where webhooks may be sent: what a URL of a user must not reach."""

import pytest

from app.errors import Invalid
from app.services.webhooks.targets import AllowedTargets, Target, TargetRefused

HOSTS = ["Hooks.example.com", "other.example.com:8443", "10.9.8.7"]
LOOPBACK = ["127.0.0.1:9000", "localhost:9001", "[::1]:9002"]
ALLOWED = AllowedTargets([*HOSTS, *LOOPBACK], ["10.1.0.0/16", "fd00::/8"])


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example.com/a?b=c", Target("https", "hooks.example.com", 443, "/a?b=c")),
        ("HTTPS://HOOKS.example.com", Target("https", "hooks.example.com", 443, "/")),
        ("https://hooks.example.com?b", Target("https", "hooks.example.com", 443, "/?b")),
        ("https://other.example.com:8443/", Target("https", "other.example.com", 8443, "/")),
        ("http://127.0.0.1:9000/x", Target("http", "127.0.0.1", 9000, "/x")),
        ("http://localhost:9001", Target("http", "localhost", 9001, "/")),
        ("http://[::1]:9002", Target("http", "::1", 9002, "/")),
    ],
)
def test_urls_of_hosts_that_are_named(url: str, target: Target) -> None:
    assert ALLOWED.parse(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",  # no TLS
        "https://hooks.example.com:8443/",
        "https://other.example.com/",
        "https://example.com/",
        "https://hooks.example.com.evil.net/",
        "https://hooks.example.com@evil.net/",
        "https://user:pass@hooks.example.com/",
        "https://evil.net\\@hooks.example.com/",
        "https://evil.net#@hooks.example.com/",
        "https://hooks.example.com/a#b",
        "https://hooks.example.com\r\nHost: evil.net/",
        "https://hooks.example.com/a b",
        "https://hooks.exämple.com/",
        "https://ｈooks.example.com/",
        " https://hooks.example.com/",
        "https:hooks.example.com",
        "https:///hooks.example.com",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:9000/",
        "http://127.0.0.1/",
        "http://127.1:9000/",
        "http://2130706433:9000/",
        "http://0x7f.0.0.1:9000/",
        "http://0:9000/",
        "http://[::ffff:127.0.0.1]:9000/",
        "http://169.254.169.254/latest/meta-data",
        "",
    ],
)
def test_other_urls_are_refused_with_a_pointer(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        ALLOWED.parse(url)
    assert refused.value.problems[0].pointer == "/url"


def test_without_hosts_webhooks_are_off() -> None:
    assert not AllowedTargets().any
    with pytest.raises(Invalid, match="webhooks are off"):
        AllowedTargets().parse("https://hooks.example.com/")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("hooks.example.com", "93.184.215.14"),
        ("hooks.example.com", "2606:2800:220:1:248:1893:25c8:1946"),
        ("hooks.example.com", "10.1.2.3"),  # in a network that the operator has named
        ("hooks.example.com", "fd12::1"),
        ("10.9.8.7", "10.9.8.7"),  # the operator has named the very address
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "::1"),
    ],
)
def test_addresses_that_a_host_may_have(host: str, address: str) -> None:
    ALLOWED.check_addresses(host, [address])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.2.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",  # noqa: S104
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::",
        "ff02::1",
    ],
)  # fmt: skip
def test_a_name_never_leads_to_other_addresses(address: str) -> None:
    with pytest.raises(TargetRefused):
        ALLOWED.check_addresses("hooks.example.com", ["93.184.215.14", address])


def test_a_loopback_name_leads_to_loopback_only() -> None:
    with pytest.raises(TargetRefused):
        ALLOWED.check_addresses("localhost", ["93.184.215.14"])
