"""The single entry point for clients.

Does: refuses ambiguous paths, then answers in this process what is served here, and proxies as bytes what is served by
a peer.
Asks: no other service; connections to the peers.
Tells: nothing.
Hears: nothing.
"""
