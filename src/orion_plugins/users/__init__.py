"""The people of the platform: their profiles, preferences and activity, and who read about them.

Does: keeps one profile per account, what a person prefers and did, and a log of every reading of personal fields.
Asks: storage to keep avatars, never with a transaction open; its database and the clock.
Tells: `user.profile_changed`, `user.avatar_changed`, `user.preferences_changed` and `user.erased`.
Hears: `user.registered`, which creates the profile, `user.email_changed`, `system.personal_data_read` for the log of
readings, and every event for the activity of people.
"""
