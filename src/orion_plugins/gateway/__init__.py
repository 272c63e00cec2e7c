"""The single entry point for clients.

Does: refuses ambiguous paths, then answers in this process what is served here, and proxies as bytes what is served by
a peer or a configured upstream: behind a breaker, with retries that harm nobody, fallbacks, and WebSockets. Keeps
answers that allow it in a shared cache.
Asks: no other service; connections to the peers and upstreams.
Tells: nothing.
Hears: nothing.
"""
