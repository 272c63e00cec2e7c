"""Numbers about what happens on the platform.

Does: counts facts per day.
Asks: its database; no other service.
Tells: nothing.
Hears: `user.registered` and `auth.session_started`, each counted under its own name.
"""
