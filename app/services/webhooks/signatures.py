"""Signatures of deliveries, as Standard Webhooks has them: HMAC-SHA256 of id, time and body."""

import base64
import hashlib
import hmac
import secrets

SECRET_PREFIX = "whsec_"  # noqa: S105 - how each begins
SECRET_BYTES = 32


def new_secret() -> str:
    """A new secret: a prefix, and random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(secret: str, delivery_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers by which a receiver checks a delivery; `at` is the second of this attempt."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    content = f"{delivery_id}.{at}.".encode() + body
    digest = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{digest}",
    }
