"""Input made to break out: whatever is asked, nothing fails, nobody sees more than is theirs, nobody inside is called.

The inputs are random, from a fixed seed.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
import socket
import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpcore
import httpx
import pytest

from orion_core.testing import InProcess, Orion, Person

SEED = 20260103
SEARCHES = 250
FILES = 200
URLS = 250
API = "/api/v1"
BUCKETS = f"{API}/storage/buckets"

both = pytest.mark.reaches("local", "processes")

NASTY = (
    "\x00",
    "\x01",
    "\x7f",
    "\x85",
    "\ud83d",
    "\ufeff",
    "\u202e",
    "\u200b",
    "ﬀ",
    "İ",
    "ß",
    "\uff21\uff44\uff41",
    "日本語",
    "😀",
    "e\u0301" * 40,
    "'",
    '"',
    '""',
    "\\",
    "%",
    "_",
    "%00",
    "%2e%2e%2f",
    "%252e%252e/",
    "../",
    "..\\",
    "/",
    "//",
    "./",
    "*",
    "-",
    "^",
    "+",
    ":",
    "(",
    ")",
    "NEAR(a b, 2)",
    "AND",
    "OR",
    "NOT",
    "NULL",
    "' OR 1=1 --",
    "; DROP TABLE search_documents; --",
    "<script>",
    "${x}",
    "{0}",
    "x" * 1100,
    "a " * 40,
    "-1",
    "1e400",
    "99999999999999999999999",
)


def noise(rng: random.Random, *more: str) -> str:
    """Some text that nobody expects, now and then with one of `more` in it."""
    parts = [*NASTY, *more, *more, *more, "".join(rng.choices(string.printable, k=rng.randrange(12)))]
    return rng.choice(["", " ", ""]).join(rng.choices(parts, k=rng.choice([1, 1, 2, 3, 5])))


def in_url(text: str) -> str:
    """`text` percent-encoded; a lone surrogate becomes bytes that are no UTF-8."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def query(**given: object) -> str:
    return "&".join(f"{name}={in_url(str(item))}" for name, item in given.items())


def fine(answer: httpx.Response, what: object) -> httpx.Response:
    """`answer`, which is no failure of ours; a refusal is a problem."""
    assert answer.status_code < 500, (what, answer.status_code, answer.text[:300])
    if answer.status_code >= 400:
        assert answer.headers["content-type"].startswith("application/problem+json"), (what, answer.text[:300])
    return answer


def a_filter(rng: random.Random, *values: str) -> str:
    """Something like a filter."""
    if rng.random() < 0.3:
        return noise(rng, "name", "email", "eq", *(f'"{each}"' for each in values))

    def term() -> str:
        field = rng.choice(["name", "email", "created_at", "id", "owner", "scope", "bio", "d.scope", "search_erased"])
        operator = rng.choice(["eq", "ne", "co", "sw", "ew", "gt", "le", "pr", "like", "EQ"])
        given = rng.choice([*values, noise(rng), "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", ""])
        written = rng.choice([f'"{given}"', f'"{given}"', given, "1", "true", "null", "-0", "1e309"])
        return f"{rng.choice(['', '', 'not '])}{field} {operator}{'' if operator == 'pr' else ' ' + written}"

    text = rng.choice([" or ", " and "]).join(term() for _ in range(rng.choice([1, 1, 2, 3, 60])))
    return rng.choice(["{}", "({})", "({}", "not ({})", "((((((((((((({})))))))))))))"]).format(text)


# Search


@both
async def test_no_query_and_no_filter_finds_what_belongs_to_others(orion: Orion) -> None:
    rng = random.Random(SEED)
    secret = "".join(rng.choices("bcdfghjklm", k=12)) + uuid4().hex[:8]
    ada, grace = await orion.sign_up(name="Ada Plain"), await orion.sign_up(name=f"Grace {secret}")
    await orion.settle()
    theirs = (secret, secret[:5], grace.email, str(grace.id), "grace", "ada", f'"{secret}"', f"-{secret}")
    answers: Counter[int] = Counter()
    found = 0

    for _ in range(SEARCHES):
        given: dict[str, object] = {"index": rng.choice(["users"] * 12 + [noise(rng)])}
        if rng.random() < 0.7:
            given["q"] = noise(rng, *theirs) if rng.random() < 0.7 else rng.choice(theirs)
        if rng.random() < 0.5:
            given["filter"] = a_filter(rng, *theirs)
        if rng.random() < 0.2:
            given["sort"] = rng.choice(["name", "-created_at", "-email,name", "id", "scope", noise(rng)])
        if rng.random() < 0.15:
            given[rng.choice(["cursor", "offset", "limit", "mode", "owner", "scope"])] = rng.choice(
                [noise(rng), "0", "1", "-1", "200", "2147483648", "1.000000000000", "all", grace.id]
            )
        answer = fine(await orion.http.get(f"{API}/search?{query(**given)}", headers=ada.headers), given)
        answers[answer.status_code] += 1
        assert str(grace.id) not in answer.text or str(grace.id) in str(given), given
        if answer.status_code == 200:
            page = answer.json()
            assert {item["id"] for item in page["items"]} <= {str(ada.id)}, given
            # A total that counts others would tell of them too.
            assert page["total"] <= 1, given
            found += page["total"]

    assert set(answers) <= {200, 400, 404, 422}, answers
    assert found
    assert min(answers[200], answers[400]) >= SEARCHES / 10, f"nothing is proven by {answers}"
    admin = await orion.admin()
    shown = await orion.http.get(f"{API}/search?{query(index='users', q=secret)}", headers=admin.headers)
    assert [item["id"] for item in shown.json()["items"]] == [str(grace.id)]


@both
async def test_no_filter_of_a_list_breaks_it_or_shows_it_to_others(orion: Orion) -> None:
    rng = random.Random(SEED)
    ada, admin = await orion.sign_up(name="Ada"), await orion.admin()
    await orion.settle()
    lists = (
        ("users", ("filter", "email", "name", "cursor", "limit")),
        ("users/me/activity", ("cursor", "limit")),
        ("notifications", ("cursor", "limit")),
        ("storage/buckets", ("cursor", "limit")),
        ("webhooks/endpoints", ("cursor", "limit")),
        ("webhooks/deliveries", ("endpoint", "status", "cursor", "limit")),
        ("search/admin/tasks", ("cursor", "limit")),
        ("analytics/trends", ("name", "by", "from", "to", "interval", "zone", "measure", "limit")),
        ("analytics/top", ("name", "by", "from", "to", "measure", "limit")),
        ("analytics/performance", ("service", "route", "interval", "zone", "limit")),
    )
    for path, names in lists:
        for _ in range(15):
            given = {
                name: a_filter(rng, ada.email) if name == "filter" else noise(rng, "user.registered", "day", "UTC", "1")
                for name in rng.sample(names, k=rng.randrange(1, len(names) + 1))
            }
            for person in (admin, ada):
                url = f"{API}/{path}?{query(**given)}"
                answer = fine(await orion.http.get(url, headers=person.headers), (path, given))
                if person is not ada:
                    continue
                if path == "users" and answer.status_code == 200:
                    assert {item["user_id"] for item in answer.json()["items"]} <= {str(ada.id)}, given
                if path.startswith(("webhooks", "search", "analytics")):
                    assert answer.status_code in (400, 403), (path, given)


# Storage


def a_key(rng: random.Random, bucket: str) -> str:
    """A piece of a path, encoded or not, that should be a key and may try to be another place."""
    there = rng.choice(
        [
            f"../../{bucket}/objects/secret",
            f"..%2f..%2f{bucket}%2fobjects%2fsecret",
            f"%2e%2e/%2e%2e/{bucket}/objects/secret",
            f"/{bucket}/secret",
            "....//....//etc/passwd",
            "%00secret",
            "secret%00.png",
            "C:%5Cwindows",
            "a?b",
            "a#b",
            "CON",
            ".unfinished/x",
            "%c0%ae%c0%ae/secret",
        ]
    )
    return rng.choice([there, in_url(noise(rng, "secret", bucket)), "good/" + in_url(noise(rng)), f"a/{rng.random()}"])


@both
async def test_no_file_name_leads_to_what_belongs_to_others(orion: Orion) -> None:
    rng = random.Random(SEED)
    ada, grace = await orion.sign_up(), await orion.sign_up()
    mine, theirs = f"ada-{uuid4().hex[:12]}", f"grace-{uuid4().hex[:12]}"
    secret = uuid4().hex.encode()
    for name, owner in ((mine, ada), (theirs, grace)):
        made = await orion.http.post(BUCKETS, json={"name": name}, headers=owner.headers)
        assert made.status_code == 201, made.text
    kept = await orion.http.put(f"{BUCKETS}/{theirs}/objects/secret", content=secret, headers=grace.headers)
    assert kept.status_code == 201
    stored: dict[str, bytes] = {}
    answers: Counter[int] = Counter()

    for number in range(FILES):
        key, body = a_key(rng, theirs), f"body {number}".encode()
        bucket = rng.choice([mine, mine, mine, theirs, in_url(noise(rng))])
        for answer in await _use(orion, ada, rng, bucket, key, body):
            answers[fine(answer, (bucket, key)).status_code] += 1
            assert secret not in answer.content, (bucket, key)
            if bucket == theirs and answer.status_code < 400:
                # Many deletions are answered one by one.
                assert not any(each["deleted"] for each in answer.json()["items"]), key
            if answer.request.method in ("PUT", "POST") and answer.status_code in (200, 201) and answer.content:
                info = answer.json()
                if "bucket" in info:
                    assert (info["bucket"], info["owner_id"]) == (mine, str(ada.id))
                    stored[info["key"]] = body

    listed = await orion.http.get(f"{BUCKETS}/{mine}/objects?limit=200", headers=ada.headers)
    assert {item["owner_id"] for item in listed.json()["items"]} == {str(ada.id)}
    assert min(answers[201], answers[400], answers[404]) >= FILES / 10, f"nothing is proven by {answers}"
    there = await orion.http.get(f"{BUCKETS}/{theirs}/objects", headers=grace.headers)
    [item] = there.json()["items"]
    assert (item["key"], item["version"]) == ("secret", 1)
    shown = await orion.http.get(f"{BUCKETS}/{theirs}/objects/secret", headers=grace.headers)
    assert shown.content == secret
    await orion.settle()
    _only_own_names(orion)


async def _use(
    orion: Orion, person: Person, rng: random.Random, bucket: str, key: str, body: bytes
) -> list[httpx.Response]:
    """Do something with a key that is already written for a URL."""
    url, headers, http = f"{BUCKETS}/{bucket}/objects/{key}", person.headers, orion.http
    what = rng.randrange(8)
    if what <= 2:
        put = await http.put(url, content=body, headers=headers)
        got = await http.get(url, headers=headers)
        if put.status_code in (200, 201) and got.status_code == 200:
            assert got.content == body, url
        return [put, got]
    plain = noise(rng, "secret", key)
    if what == 3:
        name = plain.encode("utf-8", "replace").decode()
        files = {"file": (name or "x", body, rng.choice(["text/plain", "image/png", "a/b; c", ""]))}
        form = {"key": plain.encode("utf-8", "replace").decode()} if rng.random() < 0.5 else {}
        return [await http.post(f"{BUCKETS}/{bucket}/objects", data=form, files=files, headers=headers)]
    if what == 4:
        given = {name: noise(rng, "secret", "/") for name in ("prefix", "delimiter", "cursor") if rng.random() < 0.5}
        return [await http.get(f"{BUCKETS}/{bucket}/objects?{query(**given)}", headers=headers)]
    spelled = plain.encode("utf-8", "replace").decode()
    if what == 5:
        wish = {"method": rng.choice(["GET", "PUT"]), "bucket": bucket, "key": spelled}
        signed = await http.post(f"{API}/storage/signed-urls", json=wish, headers=headers)
        forged = await http.get(f"{url}?signature={in_url(noise(rng))}")
        return [signed, forged]
    if what == 6:
        place = {"source_bucket": bucket, "source_key": "secret", "bucket": bucket, "key": spelled}
        return [await http.post(f"{API}/storage/{rng.choice(['copies', 'moves'])}", json=place, headers=headers)]
    deletions = await http.post(f"{BUCKETS}/{bucket}/deletions", json={"keys": [spelled]}, headers=headers)
    return [deletions] if bucket.startswith("ada-") else [deletions, await http.delete(url, headers=headers)]


def _only_own_names(orion: Orion) -> None:
    """Nothing of a key is a name in the file system."""
    folder = orion.mail_folder.parent / "blobs"
    if not folder.exists():
        return
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        assert set(name) <= set(string.hexdigits + "/-_." + string.ascii_lowercase), name
        assert "secret" not in name
        assert ".." not in name


# Webhooks


def inside(text: str) -> bool:
    """Whether the address leads inside, itself or by what is embedded in it; says so without the plugin's help."""
    given = ipaddress.ip_address(text.partition("%")[0])
    every: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [given]
    if isinstance(given, ipaddress.IPv6Address):
        every += [each for each in (given.ipv4_mapped, given.sixtofour, *(given.teredo or ())) if each is not None]
        if given in ipaddress.ip_network("64:ff9b::/96"):
            every = [ipaddress.IPv4Address(int(given) & 0xFFFFFFFF)]
        elif given.ipv4_mapped is None and given not in ipaddress.ip_network("2000::/3"):
            # Nothing of it is given out to anybody; translators to IPv4 live there.
            return True
    return any(not each.is_global or each.is_multicast for each in every)


INSIDE = (
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "192.168.1.1",
    "172.31.255.255",
    "100.64.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fd00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:0a00:0001",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "::ffff:0:7f00:1",
    "4000::1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
)
OUTSIDE = ("8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808")
SPELLINGS = ("0x7f000001", "2130706433", "017700000001", "127.1", "0x7f.1", "127.0.0.1.", "①②⑦.0.0.1", "localhost")


def a_url(rng: random.Random) -> str:
    """Something like a URL."""
    host = rng.choice([*INSIDE, *SPELLINGS, *OUTSIDE])
    if ":" in host:
        host = f"[{host}]"
    if rng.random() < 0.5:
        # A name: what it stands for is decided when it is resolved.
        host = rng.choice(
            ["hooks.example.org", "a.b", "xn--bcher-kva.example", "bücher.example", "LOCALHOST.", "a_b.c"]
        )
        host = f"{rng.randrange(10**6)}.{host}"
    scheme = rng.choice(["https"] * 9 + ["http", "HTTPS", "ftp", "file", "gopher", "unix", ""])
    port = rng.choice([""] * 9 + [":443", ":8443", ":80", ":22", ":0", ":65536", ":", ":x"])
    user = rng.choice([""] * 9 + ["ada@", "ada:secret@", "8.8.8.8@", "8.8.8.8%00@", "\\@"])
    path = rng.choice(["", "/", "/hooks?a=b", "/#x", "/../..", "/%0d%0aHost:%20127.0.0.1", "/é", "\\@127.0.0.1"])
    url = f"{scheme}://{user}{host}{port}{path}"
    if rng.random() < 0.15:
        place = rng.randrange(len(url))
        url = url[:place] + noise(rng)[:40] + url[place:]
    return url


@contextlib.contextmanager
def connecting(seen: list[tuple[str, int]]) -> Iterator[None]:
    """Write down every connection that is asked of the network, and let none come about."""

    async def connect(self: Any, host: str, port: int, *_: Any, **__: Any) -> Any:
        seen.append((host, port))
        raise httpcore.ConnectError("nobody there")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
        patch.setattr(httpcore.AnyIOBackend, "connect_unix_socket", connect)
        yield


def resolving(rng: random.Random, asked: list[str]) -> Callable[[str, int], Any]:
    """A resolver in hostile hands: a name has any addresses, others each time. Addresses are what they say."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        with contextlib.suppress(OSError):
            # As the resolver of the C library reads 127.1, 0x7f000001 and 2130706433.
            return [socket.inet_ntoa(socket.inet_aton(host))]
        if rng.random() < 0.1:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return rng.choices([*OUTSIDE] * 4 + [*INSIDE, "", "no address"], k=rng.choice([0, 1, 1, 1, 2, 3]))

    return resolve


async def test_no_webhook_is_sent_to_an_address_inside(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    seen: list[tuple[str, int]] = []
    asked: list[str] = []
    async with InProcess(tmp_path, ("auth", "users", "webhooks")) as orion:
        admin = await orion.admin()
        sender = orion.platform.services["webhooks"].sender  # type: ignore[attr-defined]
        sender.resolve = resolving(rng, asked)
        answers: Counter[int] = Counter()
        endpoints: list[str] = []
        with connecting(seen):
            for _ in range(URLS):
                url = a_url(rng)
                made = await _endpoint(orion, admin, rng, url, endpoints)
                answers[fine(made, url).status_code] += 1
            for endpoint in endpoints:
                sent = await orion.http.post(f"{API}/webhooks/endpoints/{endpoint}/test", headers=admin.headers)
                assert sent.status_code == 202, sent.text
            await orion.settle()
            # All are asked again, by what happens: now their names may stand for something else.
            await orion.sign_up()
            await orion.settle()
            shown = await orion.http.get(f"{API}/webhooks/deliveries?status=dead&limit=200", headers=admin.headers)

    assert [each for each in seen if inside(each[0])] == []
    assert {port for _, port in seen} <= {443, 8443}
    assert {each[0] for each in seen} == set(OUTSIDE), "what may be called has to be tried too"
    assert len(asked) > len(seen), "the guard has to have refused some"
    assert shown.json()["items"]
    assert set(answers) == {200, 201, 422}, answers
    assert min(answers[201] + answers[200], answers[422]) >= URLS / 10, answers


async def _endpoint(
    orion: InProcess, admin: Person, rng: random.Random, url: str, endpoints: list[str]
) -> httpx.Response:
    """Make an endpoint of `url`, or point an old one at it."""
    body = {"url": url.encode("utf-8", "replace").decode(), "event_types": ["*"]}
    if endpoints and rng.random() < 0.3:
        where = f"{API}/webhooks/endpoints/{rng.choice(endpoints)}"
        return await orion.http.patch(where, json={"url": body["url"]}, headers=admin.headers)
    answer = await orion.http.post(f"{API}/webhooks/endpoints", json=body, headers=admin.headers)
    if answer.status_code == 201:
        endpoints.append(str(UUID(answer.json()["endpoint"]["id"])))
    return answer
