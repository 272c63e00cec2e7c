"""Where mailed links lead: GET shows a page and uses nothing up, POST uses the token.

Programs post JSON to the address itself, the page posts its form below it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from litestar import Controller, MediaType, Response, get, head, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter, URLEncodedBody
from litestar.status_codes import HTTP_200_OK

from orion_core.contracts.auth import Auth
from orion_core.contracts.auth_accounts import EmailChange, MailedToken, ResetPassword, StepDone, Verified, VerifyEmail
from orion_core.errors import Error
from orion_core.web import public
from orion_plugins.auth import account_pages as pages

Token = Annotated[str, QueryParameter(description="the token of the mailed link", max_length=128)]

_LABELS = {"token": "the link", "new_password": "the password"}
_HALF = "Thank you. The other address has to agree as well: open the link in the mail to it."


class MailedRoutes(Controller):
    """The other end of mailed links."""

    path = "/api/v1/auth"
    tags = ("auth",)

    @get(
        "/password/reset",
        opt=public(),
        media_type=MediaType.HTML,
        operation_id="auth_reset_password_page",
        summary="Read the page that resets a password",
    )
    async def reset_password_page(self, token: Token = "") -> Response[bytes]:
        """Uses nothing up: programs that look at mail open every link."""
        return _page(pages.RESET.form(token))

    @head(
        "/password/reset",
        opt=public(),
        operation_id="auth_reset_password_look",
        summary="Look whether the page is there",
    )
    async def reset_password_look(self, token: Token = "") -> None:
        """Uses nothing up."""

    @post(
        "/password/reset",
        opt=public(),
        status_code=HTTP_200_OK,
        operation_id="auth_reset_password",
        summary="Reset the password",
    )
    async def reset_password(self, auth: NamedDependency[Auth], data: JSONBody[ResetPassword]) -> StepDone:
        """Ends all sessions and opens none; the token counts once."""
        return await auth.reset_password(data)

    @post(
        "/password/reset/form",
        opt=public(),
        status_code=HTTP_200_OK,
        media_type=MediaType.HTML,
        operation_id="auth_reset_password_form",
        summary="Reset the password, by the form of the page",
    )
    async def reset_password_form(
        self, auth: NamedDependency[Auth], data: URLEncodedBody[ResetPassword]
    ) -> Response[bytes]:
        """Answers with a page, also when something is wrong."""

        async def step() -> bytes:
            done = await auth.reset_password(data)
            return pages.RESET.end(redirect_to=done.redirect_to)

        return await _answer(pages.RESET, data.token, step)

    @get(
        "/email/verify",
        opt=public(),
        media_type=MediaType.HTML,
        operation_id="auth_verify_email_page",
        summary="Read the page that verifies an address",
    )
    async def verify_email_page(self, token: Token = "") -> Response[bytes]:
        """Uses nothing up: programs that look at mail open every link."""
        return _page(pages.VERIFY.form(token))

    @head(
        "/email/verify", opt=public(), operation_id="auth_verify_email_look", summary="Look whether the page is there"
    )
    async def verify_email_look(self, token: Token = "") -> None:
        """Uses nothing up."""

    @post(
        "/email/verify",
        opt=public(),
        status_code=HTTP_200_OK,
        operation_id="auth_verify_email",
        summary="Verify an address",
    )
    async def verify_email(self, auth: NamedDependency[Auth], data: JSONBody[VerifyEmail]) -> Verified:
        """By the token of the link, or by the code with the `flow_id` of the answer that asked for it."""
        return await auth.verify_email(data)

    @post(
        "/email/verify/form",
        opt=public(),
        status_code=HTTP_200_OK,
        media_type=MediaType.HTML,
        operation_id="auth_verify_email_form",
        summary="Verify an address, by the form of the page",
    )
    async def verify_email_form(
        self, auth: NamedDependency[Auth], data: URLEncodedBody[MailedToken]
    ) -> Response[bytes]:
        """Answers with a page, also when something is wrong."""

        async def step() -> bytes:
            done = await auth.verify_email(VerifyEmail(token=data.token))
            return pages.VERIFY.end(redirect_to=done.redirect_to)

        return await _answer(pages.VERIFY, data.token, step)

    @get(
        "/email/change/confirm",
        opt=public(),
        media_type=MediaType.HTML,
        operation_id="auth_confirm_email_change_page",
        summary="Read the page that agrees to another address",
    )
    async def confirm_email_change_page(self, token: Token = "") -> Response[bytes]:
        """Uses nothing up: programs that look at mail open every link."""
        return _page(pages.CONFIRM_CHANGE.form(token))

    @head(
        "/email/change/confirm",
        opt=public(),
        operation_id="auth_confirm_email_change_look",
        summary="Look whether the page is there",
    )
    async def confirm_email_change_look(self, token: Token = "") -> None:
        """Uses nothing up."""

    @post(
        "/email/change/confirm",
        opt=public(),
        status_code=HTTP_200_OK,
        operation_id="auth_confirm_email_change",
        summary="Agree to another address",
    )
    async def confirm_email_change(self, auth: NamedDependency[Auth], data: JSONBody[MailedToken]) -> EmailChange:
        """The second of the two tokens changes the address and ends the other sessions."""
        return await auth.confirm_email_change(data)

    @post(
        "/email/change/confirm/form",
        opt=public(),
        status_code=HTTP_200_OK,
        media_type=MediaType.HTML,
        operation_id="auth_confirm_email_change_form",
        summary="Agree to another address, by the form of the page",
    )
    async def confirm_email_change_form(
        self, auth: NamedDependency[Auth], data: URLEncodedBody[MailedToken]
    ) -> Response[bytes]:
        """Answers with a page, also when something is wrong."""

        async def step() -> bytes:
            done = await auth.confirm_email_change(data)
            return pages.CONFIRM_CHANGE.end("" if done.changed else _HALF, done.redirect_to)

        return await _answer(pages.CONFIRM_CHANGE, data.token, step)

    @get(
        "/email/change/revert",
        opt=public(),
        media_type=MediaType.HTML,
        operation_id="auth_revert_email_change_page",
        summary="Read the page that takes an address back",
    )
    async def revert_email_change_page(self, token: Token = "") -> Response[bytes]:
        """Uses nothing up: programs that look at mail open every link."""
        return _page(pages.REVERT_CHANGE.form(token))

    @head(
        "/email/change/revert",
        opt=public(),
        operation_id="auth_revert_email_change_look",
        summary="Look whether the page is there",
    )
    async def revert_email_change_look(self, token: Token = "") -> None:
        """Uses nothing up."""

    @post(
        "/email/change/revert",
        opt=public(),
        status_code=HTTP_200_OK,
        operation_id="auth_revert_email_change",
        summary="Take the old address back",
    )
    async def revert_email_change(self, auth: NamedDependency[Auth], data: JSONBody[MailedToken]) -> StepDone:
        """Ends all sessions; a link that resets the password is mailed to the old address."""
        return await auth.revert_email_change(data)

    @post(
        "/email/change/revert/form",
        opt=public(),
        status_code=HTTP_200_OK,
        media_type=MediaType.HTML,
        operation_id="auth_revert_email_change_form",
        summary="Take the old address back, by the form of the page",
    )
    async def revert_email_change_form(
        self, auth: NamedDependency[Auth], data: URLEncodedBody[MailedToken]
    ) -> Response[bytes]:
        """Answers with a page, also when something is wrong."""

        async def step() -> bytes:
            done = await auth.revert_email_change(data)
            return pages.REVERT_CHANGE.end(redirect_to=done.redirect_to)

        return await _answer(pages.REVERT_CHANGE, data.token, step)


async def _answer(page: pages.Page, token: str, step: Callable[[], Awaitable[bytes]]) -> Response[bytes]:
    """What `step` answers; an error becomes the form again, with the error's status and what is to be done about it."""
    try:
        return _page(await step())
    except Error as error:
        if error.status >= 500 and error.retry_after is None:
            raise
        return _page(page.form(token, _said(error), again=True), error.status)


def _said(error: Error) -> str:
    wrong = [f"{_LABELS.get(each.field, each.field)} {each.detail}" for each in error.errors]
    said = "; ".join(wrong) or error.detail
    return f"{said[:1].upper()}{said[1:]}."


def _page(body: bytes, status: int = HTTP_200_OK) -> Response[bytes]:
    return Response(body, status_code=status, media_type=MediaType.HTML, headers=pages.HEADERS)
