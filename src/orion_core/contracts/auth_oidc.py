"""Signing in with an account elsewhere: what the client of a provider answers with."""

from __future__ import annotations

from orion_core.errors import Unavailable


class ProviderUnavailable(Unavailable):
    """The provider did not answer, or not as it should."""

    code = "auth.provider_unavailable"
