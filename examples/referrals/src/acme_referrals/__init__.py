"""People invite people.

Does: keeps who invited which address, and notes when its owner registers.
Asks: its database and the clock; no other service.
Tells: `referrals.friend_joined`.
Hears: `user.registered`.
"""
