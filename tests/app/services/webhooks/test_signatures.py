"""Deliveries are signed as the libraries of Standard Webhooks check them."""

import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.services.webhooks.signatures import new_secret, signed_headers

BODY = '{"type":"job.succeeded","data":{"metadata":{"team":"ÿ"}}}'.encode()


def test_a_receiver_can_check_a_delivery() -> None:
    secret, now = new_secret(), int(time.time())
    headers = signed_headers(secret, "msg_1", now, BODY)
    assert Webhook(secret).verify(BODY, headers)["type"] == "job.succeeded"
    for changed in (
        headers | {"webhook-id": "msg_2"},
        headers | {"webhook-timestamp": str(now - 1)},
        signed_headers(new_secret(), "msg_1", now, BODY),
        signed_headers(secret, "msg_1", now - 3_600, BODY),  # replayed
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(BODY, changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.replace(b"job", b"Job"), headers)


def test_secrets_differ() -> None:
    assert new_secret() != new_secret()
    assert new_secret().startswith("whsec_")
