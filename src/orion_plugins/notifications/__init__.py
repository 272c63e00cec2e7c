"""Notices to people: in the application, and by mail.

Does: keeps each person's notices, and sends mail by jobs, once per fact.
Asks: its database, the clock and the port `Mail`; no other service.
Tells: `notification.sent`.
Hears: `user.registered`, which welcomes the person with a notice and a mail, `auth.refresh_reuse_detected`, which
warns them, and `user.erased`, which forgets them.
"""
