"""Webhooks: what happens is told to addresses outside, signed as Standard Webhooks 1.0.0.

Does: keeps endpoints with their secrets, writes one delivery per matching endpoint for each event, and sends it by jobs
until the receiver has answered 2xx or the schedule is used up; every attempt is logged.
Asks: its database, the clock and the keyring; no other service.
Tells: `webhook.delivered`, `webhook.exhausted`, `webhook.endpoint_disabled`.
Hears: every event, to pass on those that an endpoint asked for; `user.erased`, to forget the person.
"""
