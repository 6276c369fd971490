"""Pages of other sites reach nothing by the name of another host, and change nothing from another origin."""

from types import SimpleNamespace

import pytest
from fastapi import WebSocket
from prometheus_client import REGISTRY
from starlette.testclient import TestClient, WebSocketDenialResponse

from app.api import problems
from app.api.access.declared import requires
from app.api.raw import JSON_TYPE, Application, Call, Headers, RawRoute
from app.errors import AppError, Forbidden, Misdirected
from app.main import create_app
from app.services.access.callers import Scope
from app.settings import Settings
from app.validation.origins import SitePolicy
from tests.support.fakes.asgi import Asgi


@requires(Scope.PREDICT)
async def act(call: Call) -> tuple[bytes, Headers]:
    return b'{"acted":true}', [JSON_TYPE]


@pytest.fixture
def client() -> TestClient:
    """Of an application with routes of every kind, which answers for one name."""
    app = Application(
        [RawRoute(path, act, {}) for path in ("/v1/act", "/v2/act", "/openai/v1/act")],
        SitePolicy(["recurra.example", "*.inner.example"]),
    )
    app.state.shared = SimpleNamespace(limits=SimpleNamespace(request_bytes=1000))

    @app.api_route("/v1/thing", methods=["GET", "POST", "PUT", "DELETE"])
    def thing() -> dict[str, bool]:
        return {"acted": True}

    @app.websocket("/v1/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("heard")
        await socket.close()

    problems.install(app)
    return TestClient(app)


ALLOWED = [
    "localhost",
    "localhost:8000",
    "LocalHost.:8000",
    "models.localhost:8000",
    "127.0.0.1:8000",
    "[::1]:8000",
    "[::1]",
    "192.168.1.7:8000",
    "[2001:db8::1]:80",
    "recurra.example",
    "Recurra.Example:443",
    "a.inner.example",
    "a.b.inner.example:8000",
]
REFUSED = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "evil-localhost",
    "127.0.0.1.evil.example",
    "recurra.example.evil.example",
    "evilrecurra.example",
    "inner.example",
    "localhost@evil.example",
    "localhost:8000@evil.example",
    "localhost:port",
    "localhost, evil.example",
    "evil.example/localhost",
    "2130706433",
    "[localhost]",
    "::1",
    "",
    "x" * 300,
]


@pytest.mark.parametrize("host", ALLOWED)
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/thing"), ("POST", "/v1/act")])
def test_loopback_names_addresses_and_names_of_the_setting_are_served(
    client: TestClient, host: str, method: str, path: str
) -> None:
    answer = client.request(method, path, headers={"host": host})
    assert (answer.status_code, answer.json()) == (200, {"acted": True})


@pytest.mark.parametrize("host", REFUSED)
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/thing"), ("POST", "/v1/act"), ("GET", "/none")])
def test_another_host_is_misdirected(client: TestClient, host: str, method: str, path: str) -> None:
    answer = client.request(method, path, headers={"host": host, "x-request-id": "mine"})
    assert (answer.status_code, answer.headers["content-type"]) == (421, "application/problem+json")
    body = answer.json()
    assert (body["type"], body["request_id"]) == ("/problems/misdirected-request", "mine")
    assert body["errors"][0]["pointer"] == "/header/Host"
    assert "RECURRA_ALLOWED_HOSTS" in body["detail"]
    assert answer.headers["x-request-id"] == "mine"
    assert len(answer.content) < 1000


def test_the_refusal_has_the_form_of_the_protocol(client: TestClient) -> None:
    answer = client.post("/v2/act", headers={"host": "evil.example"})
    assert (answer.status_code, answer.headers["content-type"]) == (421, "application/json")
    assert "evil.example" in answer.json()["error"]
    answer = client.post("/openai/v1/act", headers={"host": "evil.example"})
    assert answer.json()["error"]["code"] == "misdirected_request"


def check(policy: SitePolicy, **headers: str) -> type[AppError] | None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return check_pairs(policy, pairs)


def check_pairs(policy: SitePolicy, pairs: list[tuple[bytes, bytes]]) -> type[AppError] | None:
    try:
        policy.check({"type": "http", "method": "POST", "headers": pairs})
    except AppError as error:
        return type(error)
    return None


def test_every_host_and_origin_that_is_named_counts() -> None:
    policy = SitePolicy()
    local, other = (b"host", b"localhost"), (b"host", b"evil.example")
    assert check_pairs(policy, [local, other]) is Misdirected
    assert check_pairs(policy, [other, local]) is Misdirected
    same, foreign = (b"origin", b"http://localhost"), (b"origin", b"http://evil.example")
    assert check_pairs(policy, [local, same, same]) is None
    assert check_pairs(policy, [local, same, foreign]) is Forbidden
    assert (
        check_pairs(policy, [local, (b"host", b"127.0.0.1"), same]) is Forbidden
    )  # which of them is called?


def test_a_program_needs_neither_header() -> None:
    assert check(SitePolicy()) is None
    assert check(SitePolicy(), origin="http://evil.example") is Forbidden


def test_any_name_is_served_where_that_is_asked_for() -> None:
    assert check(SitePolicy(["*"]), host="evil.example") is None
    assert check(SitePolicy(["*"]), host="evil.example", origin="http://other.example") is Forbidden


FOREIGN = [
    ("recurra.example", "http://evil.example"),
    ("recurra.example", "https://recurra.example.evil.example"),
    ("recurra.example", "https://evil-recurra.example"),
    ("recurra.example", "https://recurra.example@evil.example"),
    ("127.0.0.1:8000", "http://127.0.0.1:3000"),
    ("127.0.0.1:8000", "http://127.0.0.1"),
    ("127.0.0.1:8000", "http://localhost:8000"),
    ("recurra.example:443", "http://recurra.example"),
    ("recurra.example", "null"),
    ("recurra.example", ""),
]
OWN = [
    ("recurra.example", None),
    ("recurra.example", "https://recurra.example"),
    ("recurra.example:443", "https://recurra.example"),
    ("Recurra.example:8000", "http://recurra.EXAMPLE:8000"),
    ("[::1]:8000", "http://[::1]:8000"),
]


def sent(host: str, origin: str | None, **more: str) -> dict[str, str]:
    return {"host": host, **({} if origin is None else {"origin": origin}), **more}


@pytest.mark.parametrize(("host", "origin"), FOREIGN)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/act"), ("POST", "/v1/thing"), ("PUT", "/v1/thing"), ("DELETE", "/v1/thing")],
)
def test_a_page_of_another_origin_changes_nothing(
    client: TestClient, host: str, origin: str, method: str, path: str
) -> None:
    answer = client.request(method, path, headers=sent(host, origin))
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    body = answer.json()
    assert (body["type"], body["errors"][0]["pointer"]) == ("/problems/forbidden", "/header/Origin")


@pytest.mark.parametrize(("host", "origin"), OWN)
@pytest.mark.parametrize("path", ["/v1/act", "/v1/thing"])
def test_a_page_of_this_server_and_a_program_may_act(
    client: TestClient, host: str, origin: str | None, path: str
) -> None:
    assert client.post(path, headers=sent(host, origin)).json() == {"acted": True}


def test_what_changes_nothing_may_be_asked_from_anywhere(client: TestClient) -> None:
    """No answer is shown to the page: nothing is allowed by CORS."""
    answer = client.get("/v1/thing", headers=sent("localhost", "http://evil.example"))
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(("host", "origin"), FOREIGN)
def test_a_page_of_another_origin_may_not_listen(client: TestClient, host: str, origin: str) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/v1/live", headers=sent(host, origin, **{"x-request-id": "mine"})),
    ):
        pass
    answer = refused.value
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "mine"


def test_a_handshake_for_another_host_is_misdirected(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/v1/live", headers={"host": "evil.example"}),
    ):
        pass
    assert refused.value.status_code == 421


@pytest.mark.parametrize(("host", "origin"), OWN)
def test_a_page_of_this_server_and_a_program_may_listen(
    client: TestClient, host: str, origin: str | None
) -> None:
    with client.websocket_connect("/v1/live", headers=sent(host, origin)) as socket:
        assert socket.receive_text() == "heard"


def test_the_service_has_the_policy_of_its_setting() -> None:
    app = Asgi(create_app(Settings(allowed_hosts="api, *.inner.example")))
    statuses = [
        app.get("/healthz", headers={"host": host}).status_code
        for host in ("api:8000", "a.inner.example", "localhost:8000", "evil.example")
    ]
    assert statuses == [200, 200, 200, 421]


def test_refusals_are_counted(client: TestClient) -> None:
    def counted() -> float:
        labels = {"method": "POST", "route": "refused", "status": "421"}
        return REGISTRY.get_sample_value("recurra_http_requests_total", labels) or 0.0

    before = counted()
    client.post("/v1/act", headers={"host": "evil.example"})
    assert counted() == before + 1
