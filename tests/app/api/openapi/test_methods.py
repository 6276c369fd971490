"""Methods that a path does not have."""

import json

import pytest

from app.main import create_app
from app.settings import Settings
from app.typedefs import Json
from tests.support.fixtures.service import Service

PATHS: Json = json.loads(json.dumps(create_app(Settings()).openapi()))["paths"]


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
