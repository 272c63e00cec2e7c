"""The pages behind mailed links, as text: self-contained, without scripts, and of no use to anybody but their reader.

They show a form, because only a POST may use a token: mail scanners open every link that they find.
"""

from __future__ import annotations

import base64
import hashlib
import html

import attrs

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:4rem auto;padding:0 1rem;color:#222;"
    "background:#fff}input,button{font:inherit;padding:.5rem;width:100%;box-sizing:border-box;margin:.5rem 0}"
    ".wrong{color:#a00}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    # The address of the page holds the token.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
"""What goes with every page."""


@attrs.frozen
class Page:
    """One page: what its form asks for, what its button does, and what stands there when it is done.

    `action` is where the form goes, relative to the page.
    """

    action: str
    title: str
    text: str
    button: str
    done: str
    asks_password: bool = False

    def form(self, token: str, problem: str = "", *, again: bool = False) -> bytes:
        """The form. `problem` says what was wrong with the one before, which was sent `again` from below the page."""
        wrong = f"<p class='wrong' role='alert'>{html.escape(problem)}</p>" if problem else ""
        password = (
            "<label>New password<input type='password' name='new_password' autocomplete='new-password' minlength='8' "
            "required></label>"
            if self.asks_password
            else ""
        )
        action = self.action.rpartition("/")[2] if again else self.action
        return self._whole(
            f"<p>{html.escape(self.text)}</p>{wrong}<form method='post' action='{action}'>"
            f"<input type='hidden' name='token' value='{html.escape(token)}'>{password}"
            f"<button>{html.escape(self.button)}</button></form>"
        )

    def end(self, text: str = "", redirect_to: str = "") -> bytes:
        """What is shown when it is done; `redirect_to` is where the reader may go on."""
        link = f"<p><a href='{html.escape(redirect_to)}'>Continue</a></p>" if redirect_to else ""
        return self._whole(f"<p role='status'>{html.escape(text or self.done)}</p>{link}")

    def _whole(self, body: str) -> bytes:
        title = html.escape(self.title)
        return (
            f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
            f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head>"
            f"<body><h1>{title}</h1>{body}</body></html>"
        ).encode()


RESET = Page(
    "reset/form",
    "Choose a new password",
    "It needs at least 8 characters. All sessions of your account end.",
    "Save the password",
    "Your password was changed. Sign in with it.",
    asks_password=True,
)
VERIFY = Page(
    "verify/form",
    "Confirm your address",
    "Only go on if it was you who asked for the mail: with a registration you open the account and its password.",
    "Confirm",
    "Your address is confirmed.",
)
CONFIRM_CHANGE = Page(
    "confirm/form",
    "Another address for your account",
    "Only go on if you want this change.",
    "Agree",
    "Your account has its new address.",
)
REVERT_CHANGE = Page(
    "revert/form",
    "Take your address back",
    "Your account gets this address again, all sessions end, and you choose a new password by mail.",
    "Take it back",
    "Your account has this address again. Choose a new password with the link in the next mail.",
)
