"""For those who receive webhooks: is a request signed by the sender it claims (Standard Webhooks 1.0.0)?

::

    verify(["whsec_..."], request.headers, await request.body())

It needs nothing but the standard library. Give the body exactly as it arrived: parsing and writing JSON again changes
bytes. A message may arrive more than once: remember the id that `verify` returns.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Mapping

TOLERANCE = 300
"""Seconds by which the sender's clock may differ."""


class NotVerified(Exception):
    """The request is not from the sender, was changed on its way, or is too old."""


def verify(
    secrets: Iterable[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float | None = None,
    tolerance: float = TOLERANCE,
) -> str:
    """The `webhook-id` of a request that was signed with one of `secrets`; raises `NotVerified` for any other.

    Signatures are compared in constant time; entries that cannot be read are skipped. Raises ValueError for a secret
    that is none.
    """
    given = {name.lower(): text for name, text in headers.items()}
    message_id, stamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not message_id or not re.fullmatch(r"[0-9]{1,12}", stamp):
        raise NotVerified("the headers webhook-id and webhook-timestamp are missing or unreadable")
    if abs((time.time() if now is None else now) - int(stamp)) > tolerance:
        raise NotVerified("webhook-timestamp is too old or too new")
    signed = f"{message_id}.{stamp}.".encode() + body
    expected = [hmac.digest(_key(secret), signed, hashlib.sha256) for secret in secrets]
    matched = False
    for entry in given.get("webhook-signature", "").split():
        version, _, text = entry.partition(",")
        if version != "v1":
            continue
        try:
            signature = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        for each in expected:
            matched |= hmac.compare_digest(each, signature)
    if not matched:
        raise NotVerified("no signature matches")
    return message_id


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a secret is whsec_ and base64") from error
    if not key:
        raise ValueError("a secret is whsec_ and base64")
    return key
