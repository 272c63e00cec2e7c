"""Numbers about what happens on the platform.

Does: takes in events, keeps them raw and as roll-ups, and answers how often, how many people, which values, how fast.
Asks: its database, jobs and the clock; no other service.
Tells: nothing.
Hears: everything, and counts facts such as `user.registered` by name; `system.requests_measured`; `user.erased`, which
takes a person out of all numbers.
"""
