"""Looking names up."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

THREADS = 32


class Names:
    """The addresses that the system's resolver has for a name; raises OSError where there are none.

    In threads of its own: a lookup cannot be stopped, and name servers that never answer would soon hold all of the
    event loop's threads, which everybody in the process uses.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="orion-webhooks-names")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """All addresses of `host`, each once."""
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """Look nothing more up; what hangs is left behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
