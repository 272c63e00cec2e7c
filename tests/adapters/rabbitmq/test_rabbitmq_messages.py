"""Envelopes as AMQP messages: the final shape of what travels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pika import BasicProperties
from pika.compat import long

from orion_core.adapters.rabbitmq.history import History, moved
from orion_core.adapters.rabbitmq.messages import NotAnEvent, decode, encode, hop, traceparent
from orion_core.testing.suites.bus_kit import an_event


def _with(headers: dict[str, Any], body: bytes = b"{}", **properties: Any) -> tuple[BasicProperties, bytes]:
    return BasicProperties(headers=headers, **properties), body


def test_an_envelope_survives_its_way_through_a_message() -> None:
    """ES1."""
    for changes in (
        {},
        {"heard": True, "sequence": 2**40, "causation_id": "c", "tracestate": "a=b", "originator": "user:1"},
        {"subject": "", "data": '"ü"', "time": datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))},
    ):
        event = an_event(**changes)
        assert decode(*encode(event)) == event


def test_every_attribute_is_a_header_and_the_message_is_persistent() -> None:
    """ES1, ES2, ES3 and ES4."""
    event = an_event(
        "user.registered",
        version=2,
        sequence=7,
        causation_id="cause",
        tracestate="a=b",
        heard=True,
        time=datetime(2024, 5, 6, 7, 8, 9, 10, UTC),
    )
    properties, body = encode(event)
    headers = dict(properties.headers)
    assert headers.pop("traceparent").split("-")[1] == event.started.split("-")[1]
    assert headers == {
        "cloudEvents_id": str(event.id),
        "cloudEvents_source": "/orion/auth",
        "cloudEvents_type": "orion.user.registered.v2",
        "cloudEvents_specversion": "1.0",
        "cloudEvents_time": "2024-05-06T07:08:09.000010Z",
        "cloudEvents_subject": event.subject,
        "cloudEvents_dataschema": "urn:orion:event:user.registered:v2",
        "cloudEvents_correlationid": event.correlation_id,
        "cloudEvents_causationid": "cause",
        "cloudEvents_sequence": "7",
        "cloudEvents_traceparent": event.started,
        "cloudEvents_originator": "system",
        "heard": True,
        "tracestate": "a=b",
    }
    assert properties.message_id == str(event.id)
    assert properties.content_type == "application/json"
    assert properties.delivery_mode == 2
    assert properties.correlation_id == event.correlation_id
    assert body == event.data.encode()


def test_an_empty_causation_id_is_no_header() -> None:
    """ES4."""
    assert "cloudEvents_causationid" not in encode(an_event())[0].headers


def test_the_other_separator_is_read_too() -> None:
    """ES2."""
    event = an_event(causation_id="c")
    properties, body = encode(event)
    properties.headers = {
        name.replace("cloudEvents_", "cloudEvents:"): text for name, text in properties.headers.items()
    }
    assert decode(properties, body) == event


def test_separators_are_not_mixed() -> None:
    """ES2."""
    properties, body = encode(an_event())
    properties.headers["cloudEvents:id"] = properties.headers.pop("cloudEvents_id")
    with pytest.raises(NotAnEvent, match="id is missing"):
        decode(properties, body)


@pytest.mark.parametrize("milliseconds", [1714979289010, long(1714979289010)])
def test_a_time_in_milliseconds_is_read_too(milliseconds: int) -> None:
    """ES3."""
    properties, body = encode(an_event())
    properties.headers["cloudEvents_time"] = milliseconds
    assert decode(properties, body).time == datetime(2024, 5, 6, 7, 8, 9, 10000, UTC)


def test_each_publish_is_a_new_hop_of_the_same_trace() -> None:
    """ES5."""
    event = an_event()
    hops = {encode(event)[0].headers["traceparent"] for _ in range(5)}
    assert len(hops) == 5
    assert event.started not in hops
    assert {found.split("-")[1] for found in hops} == {event.started.split("-")[1]}


def test_a_trace_that_is_none_travels_as_it_is_and_starts_no_hop() -> None:
    """ES5."""
    event = an_event(started="nonsense")
    properties, body = encode(event)
    assert "traceparent" not in properties.headers
    assert decode(properties, body) == event
    assert traceparent(properties) == "nonsense"
    assert hop("") == {}


def test_a_stranger_needs_only_what_cloudevents_require() -> None:
    """ES2: everything else has a meaning when it is missing."""
    event = an_event()
    attributes = {"id": str(event.id), "source": "/x", "type": "orion.a.b.v1", "specversion": "1.0", "time": 0}
    found = decode(*_with({f"cloudEvents_{name}": given for name, given in attributes.items()}))
    assert (found.subject, found.sequence, found.causation_id, found.started) == ("", 0, "", "")
    assert found.correlation_id == str(event.id)
    assert not found.heard


@pytest.mark.parametrize("missing", ["id", "source", "type", "specversion", "time"])
def test_what_cloudevents_require_is_required(missing: str) -> None:
    """E7."""
    properties, body = encode(an_event())
    del properties.headers[f"cloudEvents_{missing}"]
    with pytest.raises(NotAnEvent, match=missing):
        decode(properties, body)


def test_a_message_is_moved_without_what_would_lead_it_astray() -> None:
    """E5: no cycle of dead letters, no copies, no expiry."""
    properties, _ = encode(an_event())
    properties.headers |= {"x-death": [{"queue": "q"}], "x-delivery-count": 3, "CC": ["x"], "BCC": ["y"], "mine": 1}
    properties.expiration, properties.user_id, properties.priority = "1", "somebody", 9
    found = moved(properties, History(attempts=2), {"traceparent": "new"})
    assert not {"x-death", "x-delivery-count", "CC", "BCC"} & set(found.headers)
    assert (found.headers["mine"], found.headers["traceparent"], found.headers["orion-attempts"]) == (1, "new", 2)
    assert (found.expiration, found.user_id, found.priority) == (None, None, None)
    assert (found.message_id, found.delivery_mode) == (properties.message_id, 2)


def test_headers_too_large_to_move_are_left_behind() -> None:
    """E5a: the body and the history are kept."""
    found = moved(BasicProperties(headers={"x": "y" * 100_000}, message_id="m"), History(attempts=1), {})
    assert "x" not in found.headers
    assert (found.message_id, found.headers["orion-attempts"]) == ("m", 1)
