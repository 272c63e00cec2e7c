"""One provider that people sign in with, as the setting `auth.oidc` describes it, and what its preset adds."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import attrs

from orion_core.secret import Secret

GOOGLE, GITHUB, MICROSOFT, GENERIC = "google", "github", "microsoft", "generic"
PRESETS = (GOOGLE, GITHUB, MICROSOFT, GENERIC)
TENANT = "{tenantid}"
"""What stands in Microsoft's issuer where that of a token has the id of its tenant."""
SEVERAL = ("common", "organizations")
NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ISSUERS = {
    GOOGLE: "https://accounts.google.com",
    GITHUB: "https://github.com",
    MICROSOFT: f"https://login.microsoftonline.com/{TENANT}/v2.0",
}


def is_tenant(text: str) -> bool:
    """Whether `text` is the id of one tenant."""
    return _GUID.fullmatch(text) is not None


@attrs.frozen(kw_only=True)
class OidcProvider:
    """A provider. `issuer` may be left out with a preset; `tenant` is Microsoft's, an id, common or organizations."""

    client_id: str
    client_secret: Secret
    preset: str = GENERIC
    issuer: str = ""
    tenant: str = ""
    scopes: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, not {self.preset!r}")
        if not self.client_id.strip():
            raise ValueError("client_id must not be empty")
        if not self.client_secret:
            raise ValueError("client_secret must not be empty")
        if not self.issuer and self.preset == GENERIC:
            raise ValueError("issuer is missing: https://… as the provider writes it")
        if self.preset == MICROSOFT and not (is_tenant(self.tenant) or self.tenant in SEVERAL):
            raise ValueError(f"tenant must be the id of a tenant in lower case, {' or '.join(SEVERAL)}")
        if self.preset != MICROSOFT and self.tenant:
            raise ValueError("tenant is for the preset microsoft only")
        parts = urlsplit(self.base)
        if (
            parts.scheme not in ("https", "http")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or "@" in self.base
        ):
            raise ValueError("issuer must be a URL like https://login.example.org")
        if self.oidc and self.scopes and "openid" not in self.scopes:
            raise ValueError("scopes must have openid among them")

    @property
    def oidc(self) -> bool:
        """Whether it gives ID tokens; GitHub does not."""
        return self.preset != GITHUB

    @property
    def base(self) -> str:
        """The issuer, with `TENANT` in it where tokens of several tenants count."""
        issuer = self.issuer or _ISSUERS[self.preset]
        return issuer.replace(TENANT, self.tenant) if is_tenant(self.tenant) else issuer

    @property
    def scope(self) -> str:
        """What is asked for."""
        return " ".join(self.scopes or (("openid", "email", "profile") if self.oidc else ("read:user", "user:email")))
