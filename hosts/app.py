"""The host for any ASGI server, such as ``uvicorn hosts.app:app`` or ``hypercorn hosts.app:app``.

Settings are ORION_* variables or orion.toml, as for ``orion run``, which also sets up uvicorn, the collector and the
signals. One worker per process: scale with more processes.
"""

from orion_core.observability import logging
from orion_core.platform import Platform

platform = Platform.from_env()
logging.setup(platform.settings.log_level, platform.settings.log_format)
app = platform.asgi()
