"""The people of the platform: their profiles.

Does: keeps one profile per account; people read and change their own.
Asks: its database and the clock; no other service.
Tells: `user.profile_changed`.
Hears: `user.registered`, which creates the profile.
"""
