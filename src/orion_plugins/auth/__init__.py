"""Accounts, sessions and tokens.

Does: opens accounts, checks passwords (bcrypt over a peppered HMAC), issues access tokens (JWTs signed with Ed25519)
and refresh tokens, ends sessions, says what a session may do, publishes its keys, and keeps the security audit log.

Asks: no other service.

Tells: `user.registered`, `auth.session_started`, `auth.session_revoked`, `auth.access_changed`.

Hears: `user.erased`, which closes and anonymises the account.
"""
