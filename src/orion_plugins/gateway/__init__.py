"""The gateway: the single entry point for clients.

What it does: guards every request, then dispatches it in this process or proxies it as bytes to the service that
answers it elsewhere.
What it asks: nothing of other contracts; a connection to each peer and each configured upstream.
What it tells: no events.
What it hears: no events.
"""
