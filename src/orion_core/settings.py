"""Settings: frozen attrs classes filled from ``ORION_*`` variables, `orion.toml`, a running `--split`, and defaults.

There is no mode flag: URLs choose the adapters. An unknown ``ORION_*`` variable is an error that names the nearest
known one; ``ORION_TEST_*`` is left alone. The settings of every installed plugin are known, served here or not.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from orion_core.errors import StartRefused
from orion_core.plugin import Discovery
from orion_core.ports.bus import RETRY_DELAYS
from orion_core.secret import Secret, without_password
from orion_core.setting_values import parse

T = TypeVar("T")


def _help(text: str) -> dict[str, str]:
    return {"help": text}


def _url(url: str) -> str:
    return repr(without_password(url))


def _urls(urls: Mapping[str, str]) -> str:
    return repr({name: without_password(url) for name, url in urls.items()})


def _peers(given: Mapping[str, Iterable[str]]) -> Mapping[str, tuple[str, ...]]:
    # Paths are put behind these.
    return {name: tuple(url.rstrip("/") for url in urls) for name, urls in given.items()}


def _one_of(*words: str) -> Callable[[Any, attrs.Attribute[Any], str], None]:
    def check(_: Any, attribute: attrs.Attribute[Any], given: str) -> None:
        if given.lower() not in words:
            raise ValueError(f"ORION_{attribute.name.upper()} must be one of {', '.join(words)}, not {given!r}")

    return check


def _at_least(least: float) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(_: Any, attribute: attrs.Attribute[Any], given: Any) -> None:
        # Written so that "not a number" fails too.
        if any(not least <= each < math.inf for each in (given if isinstance(given, tuple) else (given,))):
            raise ValueError(f"ORION_{attribute.name.upper()} must be at least {least:g}, not {given}")

    return check


@attrs.frozen(kw_only=True)
class Settings:
    """What a host needs to know. Every field is ``ORION_<FIELD>`` in the environment and ``field`` in orion.toml."""

    data_dir: Path = attrs.field(
        default=Path("orion-data"), converter=Path, metadata=_help("folder of databases, mail, keys")
    )
    host: str = attrs.field(default="127.0.0.1", metadata=_help("address to listen on"))
    port: int = attrs.field(
        default=0,
        validator=_at_least(0),
        metadata=_help("port to listen on; 0 means 3000, or the service's own when one is served"),
    )
    public_url: str = attrs.field(default="", metadata=_help("base URL that clients use; in links and as token issuer"))
    trusted_proxies: tuple[str, ...] = attrs.field(
        default=(), metadata=_help("networks (CIDR, comma separated) whose X-Forwarded-For is believed")
    )
    keyring: Secret = attrs.field(
        default=Secret(), metadata=_help("file or inline JSON of the keyring; made in data_dir with SQLite")
    )
    database_url: str = attrs.field(
        repr=_url,
        default="sqlite:///{data}/{service}.db",
        metadata=_help("database of each service: sqlite:///… or postgresql://…?schema={service}"),
    )
    bus_url: str = attrs.field(default="embedded:", repr=_url, metadata=_help("embedded: or amqp://…"))
    cache_url: str = attrs.field(default="memory:", repr=_url, metadata=_help("memory: or redis://…"))
    limits_url: str = attrs.field(
        default="memory:", repr=_url, metadata=_help("where requests are counted: memory:, redis://… or none:")
    )
    limits_replicas: int = attrs.field(
        default=1, validator=_at_least(1), metadata=_help("gateways, which share each limit while its Redis is away")
    )
    mail_url: str = attrs.field(
        default="file:///{data}/mail", repr=_url, metadata=_help("file:///folder, smtp://… or smtps://…")
    )
    blobs_url: str = attrs.field(
        default="file:///{data}/blobs",
        repr=_url,
        metadata=_help("where files are kept: file:///folder, memory: or s3://bucket"),
    )
    purge_url: str = attrs.field(
        default="gateway:",
        repr=_url,
        metadata=_help("which caches services tell to forget: gateway:, also the CDN at https://…, or none:"),
    )
    peers: Mapping[str, tuple[str, ...]] = attrs.field(
        factory=dict, converter=_peers, metadata=_help("services served elsewhere: name=url|url,name=url")
    )
    services: tuple[str, ...] = attrs.field(
        default=(), metadata=_help("all services of the deployment; default: those served here and the peers")
    )
    call_key: Secret = attrs.field(
        default=Secret(), metadata=_help("secret that signs calls between hosts: kid:secret, several comma separated")
    )
    synchronous: str = attrs.field(
        default="FULL",
        validator=_one_of("full", "normal", "extra"),
        metadata=_help("SQLite durability: FULL or NORMAL"),
    )
    database_pool: int = attrs.field(
        default=10, validator=_at_least(1), metadata=_help("PostgreSQL connections per service")
    )
    retry_delays: tuple[float, ...] = attrs.field(
        default=RETRY_DELAYS, validator=_at_least(0), metadata=_help("seconds between deliveries to a failing listener")
    )
    relay_interval: float = attrs.field(
        default=0.5,
        validator=_at_least(0.001),
        metadata=_help("seconds between looks for work that another process may have written"),
    )
    shutdown_grace: float = attrs.field(
        default=30.0, validator=_at_least(0), metadata=_help("seconds that running work gets on stop")
    )
    drain: float = attrs.field(
        default=0.0,
        validator=_at_least(0),
        metadata=_help("seconds for which a host that was told to stop goes on answering, unready"),
    )
    critical_services: tuple[str, ...] = attrs.field(
        default=("auth", "users"), metadata=_help("services whose failure makes /health answer 503")
    )
    log_level: str = attrs.field(
        default="info",
        validator=_one_of("debug", "info", "warning", "error"),
        metadata=_help("debug, info, warning or error"),
    )
    log_format: str = attrs.field(
        default="auto",
        validator=_one_of("json", "text", "auto"),
        metadata=_help("json, text, or auto: text on a terminal"),
    )
    docs: bool = attrs.field(default=True, metadata=_help("serve the API pages at /schema"))
    max_body: int = attrs.field(
        default=1_048_576, validator=_at_least(1), metadata=_help("largest request body in bytes, unless a route says")
    )
    header_timeout: float = attrs.field(
        default=10.0, validator=_at_least(0.01), metadata=_help("seconds that a client may take for a request's head")
    )
    body_timeout: float = attrs.field(
        default=15.0,
        validator=_at_least(0.01),
        metadata=_help("seconds that a client may be silent in a body, or take nothing of an answer"),
    )
    request_timeout: float = attrs.field(
        default=60.0,
        validator=_at_least(0.01),
        metadata=_help("seconds that a client may take for a whole request, streams excepted"),
    )

    databases: Mapping[str, str] = attrs.field(
        factory=dict, repr=_urls, metadata=_help("database URL of one service: ORION_<SERVICE>_DATABASE_URL")
    )
    plugins: Mapping[str, Any] = attrs.field(factory=dict, repr=False, metadata={"hidden": True})
    sources: Mapping[str, str] = attrs.field(factory=dict, repr=False, eq=False, metadata={"hidden": True})

    def of(self, name: str, kind: type[T]) -> T:
        """The settings of the plugin `name`: as given, else the defaults of `kind`."""
        found = self.plugins.get(name)
        return found if isinstance(found, kind) else kind()

    def database(self, service: str) -> str:
        """The database URL of `service`, placeholders filled in."""
        return self._fill(self.databases.get(service, self.database_url), service)

    def mail(self) -> str:
        """The mail URL, placeholders filled in."""
        return self._fill(self.mail_url, "")

    def blobs(self) -> str:
        """The blobs URL, placeholders filled in."""
        return self._fill(self.blobs_url, "")

    @property
    def issuer(self) -> str:
        """The issuer of user tokens: the public URL, or the same word for all processes that know none."""
        return self.public_url or "orion"

    @property
    def durable_elsewhere(self) -> bool:
        """Whether a database lives on a server, so that several hosts may share it."""
        return any(not url.startswith("sqlite:") for url in (self.database_url, *self.databases.values()))

    def _fill(self, url: str, service: str) -> str:
        return url.replace("{data}", str(self.data_dir.absolute())).replace("{service}", service)


def load(
    env: Mapping[str, str],
    plugins: Mapping[str, type | None],
    *,
    toml: Path | None = None,
    split: Mapping[str, str] | None = None,
    broken: Iterable[str] = (),
) -> Settings:
    """Settings from `env`, then the file `toml` if it exists, then `split` (what a running split of the same data
    folder told), then defaults.

    `plugins` are the names of all installed plugins with their settings classes; those in `broken` could not be
    loaded, so that nobody knows their settings. Raises `StartRefused` with every
    problem found, each with its fix.
    """
    reader = _Reader(env, _read_toml(toml), split or {})
    fields = {field.name: field for field in attrs.fields(Settings) if not field.metadata.get("hidden")}
    del fields["databases"]
    given = reader.read("", Settings, fields)
    databases = {}
    own: dict[str, Any] = {}
    for name, kind in plugins.items():
        url = reader.text(f"{name}_database_url", (name, "database_url"))
        if url is not None:
            databases[name] = url
        if kind is not None:
            prefix = f"{name}_"
            own[name] = reader.build(kind, reader.read(prefix, kind, attrs.fields_dict(kind), section=name))
    reader.refuse_unknown(tuple(broken))
    if not reader.problems:
        settings = reader.build(Settings, {**given, "databases": databases, "plugins": own, "sources": reader.sources})
        if not reader.problems and settings is not None:
            return settings
    raise StartRefused(reader.problems)


def _read_toml(path: Path | None) -> Mapping[str, Any]:
    if path is None or not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise StartRefused([f"{path}: {error}"]) from error


class _Reader:
    """Reads one source after the other and remembers which keys it knew, what was wrong and where values came from."""

    def __init__(self, env: Mapping[str, str], toml: Mapping[str, Any], split: Mapping[str, str]) -> None:
        self.env, self.toml, self.split = env, toml, split
        self.known: set[str] = set()
        self.known_toml: set[str] = set()
        self.problems: list[str] = []
        self.sources: dict[str, str] = {}

    def text(self, name: str, path: tuple[str, ...]) -> Any:
        variable = f"ORION_{name.upper()}"
        self.known.add(variable)
        self.known_toml.add(".".join(path))
        if variable in self.env:
            self.sources[name] = variable
            return self.env[variable]
        found: Any = self.toml
        for part in path:
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is not None:
            self.sources[name] = f"orion.toml: {'.'.join(path)}"
            return found
        if variable in self.split:
            self.sources[name] = "the running split"
            return self.split[variable]
        return None

    def read(
        self, prefix: str, kind: type, fields: Mapping[str, attrs.Attribute[Any]], section: str = ""
    ) -> dict[str, Any]:
        hints = typing.get_type_hints(kind)
        given = {}
        for name in fields:
            path = (section, name) if section else (name,)
            raw = self.text(prefix + name, path)
            if raw is None:
                continue
            try:
                given[name] = parse(raw, hints[name])
            except ValueError as error:
                self.problems.append(f"{self.sources[prefix + name]}: {error}")
        return given

    def build(self, kind: type[T], given: Mapping[str, Any]) -> T | None:
        try:
            return kind(**given)
        except (ValueError, TypeError) as error:
            self.problems.append(f"{kind.__name__}: {error}")
            return None

    def refuse_unknown(self, broken: tuple[str, ...]) -> None:
        spared = ("ORION_TEST_", *(f"ORION_{name.upper()}_" for name in broken))
        for variable in sorted(self.env):
            if variable.startswith("ORION_") and not variable.startswith(spared) and variable not in self.known:
                self.problems.append(f"{variable} is no setting{_nearest(variable, self.known)}")
        for path in _paths(self.toml):
            if path.partition(".")[0] in broken:
                continue
            if path not in self.known_toml and not any(path.startswith(f"{known}.") for known in self.known_toml):
                self.problems.append(f"orion.toml: {path} is no setting{_nearest(path, self.known_toml)}")


def _nearest(name: str, known: set[str]) -> str:
    # Without what all variables begin with, which would make each of them look near.
    words = {each.removeprefix("ORION_"): each for each in sorted(known)}
    near = difflib.get_close_matches(name.removeprefix("ORION_"), words, n=1, cutoff=0.6)
    return f"; did you mean {words[near[0]]}?" if near else "; see: orion doctor --settings"


def _paths(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, inner in table.items():
        found += _paths(inner, f"{prefix}{key}.") if isinstance(inner, Mapping) else [f"{prefix}{key}"]
    return found


def from_env(
    discovery: Discovery, *, env: Mapping[str, str] | None = None, split: Mapping[str, str] | None = None
) -> Settings:
    """The settings in `env` (the process's environment) and ./orion.toml, checked against all installed plugins."""
    kinds = {name: plugin.settings for name, plugin in discovery.plugins.items()}
    return load(
        os.environ if env is None else env,
        kinds,
        toml=Path("orion.toml"),
        split=split,
        broken=[item.name for item in discovery.broken],
    )
