"""``/api/v1/auth/mfa`` and ``/api/v1/auth/admin/users/{id}/factors``: second factors."""

from __future__ import annotations

from uuid import UUID

from litestar import Controller, Response, delete, get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED, HTTP_204_NO_CONTENT

from orion_core.contracts.auth import Auth, Tokens
from orion_core.contracts.auth_factors import FactorCode, Factors, RecoveryCodes, TotpEnrolment, VerifyFactor
from orion_core.web import needs, public, signed_in
from orion_plugins.auth.cookies import CookieTokens, Mode, answer, client_of

_NEVER_STORED = [ResponseHeader(name="Cache-Control", value="no-store", description="secrets are never cached")]


class FactorRoutes(Controller):
    """Your second factors."""

    path = "/api/v1/auth/mfa"
    tags = ("auth",)

    @get("/", opt=signed_in(), operation_id="auth_factors", summary="Read which second factors you have")
    async def mine(self, auth: NamedDependency[Auth]) -> Factors:
        """With the number of recovery codes that are left."""
        return await auth.factors()

    @post(
        "/verify",
        opt=public(),
        status_code=HTTP_200_OK,
        response_headers=_NEVER_STORED,
        operation_id="auth_verify_factor",
        summary="Finish signing in with a second factor",
    )
    async def verify(
        self, auth: NamedDependency[Auth], data: JSONBody[VerifyFactor], mode: Mode = ""
    ) -> Response[Tokens | CookieTokens]:
        """The `mfa_token` of the sign-in, and a code of the app or a recovery code; in the same mode as the sign-in."""
        client = client_of(mode)
        return answer(await auth.verify_factor(data, client), client, HTTP_200_OK)

    @post(
        "/totp",
        opt=signed_in(),
        status_code=HTTP_201_CREATED,
        response_headers=_NEVER_STORED,
        operation_id="auth_enrol_totp",
        summary="Enrol an app for one-time codes",
    )
    async def enrol(self, auth: NamedDependency[Auth]) -> TotpEnrolment:
        """Nothing is asked of it before its first code was confirmed. Needs a sign-in of the last ten minutes."""
        return await auth.enrol_totp()

    @post(
        "/totp/confirm",
        opt=signed_in(),
        status_code=HTTP_200_OK,
        response_headers=_NEVER_STORED,
        operation_id="auth_confirm_totp",
        summary="Confirm the app with its first code",
    )
    async def confirm(self, auth: NamedDependency[Auth], data: JSONBody[FactorCode]) -> RecoveryCodes:
        """Answers ten recovery codes, which are never shown again. Ends your other sessions."""
        return await auth.confirm_totp(data)

    @delete(
        "/totp",
        opt=signed_in(),
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_remove_totp",
        summary="Ask for no one-time codes any more",
    )
    async def remove(self, auth: NamedDependency[Auth]) -> None:
        """Needs a sign-in of the last ten minutes. Ends your other sessions."""
        await auth.remove_totp()

    @post(
        "/recovery-codes",
        opt=signed_in(),
        status_code=HTTP_200_OK,
        response_headers=_NEVER_STORED,
        operation_id="auth_renew_recovery_codes",
        summary="Get new recovery codes",
    )
    async def renew(self, auth: NamedDependency[Auth]) -> RecoveryCodes:
        """Earlier ones count no more. Needs a sign-in of the last ten minutes."""
        return await auth.renew_recovery_codes()


class AdminFactorRoutes(Controller):
    """The second factors of others, for administrators."""

    path = "/api/v1/auth/admin/users/{user_id:uuid}/factors"
    tags = ("auth",)

    @delete(
        "/",
        opt=needs("accounts:manage"),
        status_code=HTTP_204_NO_CONTENT,
        operation_id="auth_reset_factors",
        summary="Remove the second factors of somebody who is locked out",
    )
    async def reset(self, auth: NamedDependency[Auth], user_id: FromPath[UUID]) -> None:
        """Make sure first that it is them. Their sessions end, and they are told by mail."""
        await auth.reset_factors(user_id)
