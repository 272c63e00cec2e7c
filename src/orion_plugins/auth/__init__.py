"""Accounts, sessions and tokens.

Does: opens accounts, checks passwords (bcrypt over a peppered HMAC), issues access tokens (JWTs signed with Ed25519)
and refresh tokens, ends sessions, says what a session or an API key may do, keeps roles and grants on resources and
decides by them, publishes its keys, and keeps the security audit log. Changes and resets passwords, verifies and
changes addresses by mail, and makes those wait who guess.

Asks: notifications, for mail.

Tells: `user.registered`, `user.email_changed`, `auth.session_started`, `auth.session_revoked`,
`auth.refresh_reuse_detected`, `auth.access_changed`, `auth.role_changed`, `auth.api_key_created`,
`auth.api_key_revoked`, `auth.account_disabled`, `auth.account_enabled`.

Hears: `user.erased`, which closes and anonymises the account, and `audit.recorded`, which goes into the audit log.
"""
