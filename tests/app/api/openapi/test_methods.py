"""Methods that a path does not have."""

import pytest

from app.typedefs import Json
from tests.support.fixtures.service import Service, openapi_document

PATHS: Json = openapi_document()["paths"]


@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_not_allowed(untouched: Service, path: str) -> None:
    documented = {name.upper() for name in PATHS[path]}
    allowed = documented | ({"HEAD"} if "GET" in documented else set())
    address = path.replace("{", "x").replace("}", "x")
    for other in sorted({"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"} - documented):
        answer = untouched.http.request(other, address)
        if answer.status_code == 426:  # a handshake would be answered
            assert (other, answer.headers["upgrade"]) == ("GET", "websocket")
            continue
        assert answer.status_code == 405, (other, address)
        assert allowed <= set(answer.headers["allow"].split(", ")), (other, address)
