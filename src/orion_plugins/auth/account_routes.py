"""`/api/v1/auth/password` and `/api/v1/auth/email`: the steps of an account's owner, as JSON."""

from __future__ import annotations

from litestar import Controller, MediaType, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED

from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_accounts import (
    ChangeEmail,
    ChangePassword,
    ForgotPassword,
    FreshAccess,
    Pending,
    ResendVerification,
)
from orion_core.web import public, signed_in

_NEVER_STORED = [ResponseHeader(name="Cache-Control", value="no-store", description="tokens are never cached")]


class AccountRoutes(Controller):
    """Passwords and addresses."""

    path = "/api/v1/auth"
    tags = ("auth",)

    @post(
        "/password/change",
        opt=signed_in(),
        status_code=HTTP_200_OK,
        response_headers=_NEVER_STORED,
        operation_id="auth_change_password",
        summary="Change your password",
    )
    async def change_password(self, auth: NamedDependency[Auth], data: JSONBody[ChangePassword]) -> FreshAccess:
        """Ends your other sessions. Access tokens issued before count no more; your refresh token does."""
        return await auth.change_password(data)

    @post(
        "/password/forgot",
        opt=public(),
        status_code=HTTP_202_ACCEPTED,
        media_type=MediaType.TEXT,
        operation_id="auth_forgot_password",
        summary="Have a link mailed that resets the password",
    )
    async def forgot_password(self, auth: NamedDependency[Auth], data: JSONBody[ForgotPassword]) -> None:
        """The answer is the same whether or not there is an account."""
        await auth.forgot_password(data)

    @post(
        "/email/verify/resend",
        opt=public(),
        status_code=HTTP_202_ACCEPTED,
        operation_id="auth_resend_verification",
        summary="Have the mail that verifies an address sent again",
    )
    async def resend_verification(self, auth: NamedDependency[Auth], data: JSONBody[ResendVerification]) -> Pending:
        """The answer has the same form whether or not a mail is sent; the mailed code counts with its `flow_id`."""
        return await auth.resend_verification(data)

    @post(
        "/email/change",
        opt=signed_in(),
        status_code=HTTP_202_ACCEPTED,
        media_type=MediaType.TEXT,
        operation_id="auth_change_email",
        summary="Ask for another address",
    )
    async def change_email(self, auth: NamedDependency[Auth], data: JSONBody[ChangeEmail]) -> None:
        """Your present address and the new one each get a link; the change happens when both were confirmed."""
        await auth.change_email(data)
