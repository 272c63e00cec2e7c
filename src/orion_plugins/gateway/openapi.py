"""One OpenAPI document out of several: pure functions on documents as JSON has them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final

Document = dict[str, Any]

MISSING: Final = "x-orion-missing"
"""The member that names services whose document could not be had."""
_VERBS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def merged(own: Document, theirs: Mapping[str, Document | None], owner: Callable[[str], str | None]) -> Document:
    """`own` with the paths of all services in `theirs`, None for one whose document is not known.

    Of a service's document those paths count that `owner` says are its own, so no two documents claim one path. A
    component that is the same in both is shared; another one of the same name is named after its service.
    """
    whole = copy.deepcopy(own)
    paths = whole.setdefault("paths", {})
    taken = {operation.get("operationId") for item in paths.values() for operation in _operations(item)}
    for service, document in sorted(theirs.items()):
        if document is None:
            continue
        added = _renamed(document, service, whole.setdefault("components", {}))
        for path, item in added.get("paths", {}).items():
            if not isinstance(item, dict) or path in paths or owner(path) != service:
                continue
            for operation in _operations(item):
                if (name := operation.get("operationId")) in taken and name is not None:
                    operation["operationId"] = f"{service}_{name}"
                taken.add(operation.get("operationId"))
            paths[path] = item
        for section, components in added.get("components", {}).items():
            whole["components"].setdefault(section, {}).update(components)
        _add_tags(whole, added)
    whole["paths"] = dict(sorted(paths.items()))
    if missing := sorted(service for service, document in theirs.items() if document is None):
        _say_missing(whole, missing)
    return whole


def is_document(given: Any) -> bool:
    """Whether `given` has the form of an OpenAPI document, as far as `merged` looks into it."""
    if not isinstance(given, dict) or not isinstance(given.get("paths"), dict):
        return False
    components, tags = given.get("components", {}), given.get("tags", [])
    sections = isinstance(components, dict) and all(isinstance(section, dict) for section in components.values())
    return sections and isinstance(tags, list) and all(isinstance(tag, dict) for tag in tags)


def _operations(item: Any) -> list[Document]:
    found = [item.get(verb) for verb in _VERBS] if isinstance(item, dict) else []
    return [each for each in found if isinstance(each, dict)]


def _renamed(document: Document, service: str, known: Mapping[str, Any]) -> Document:
    """A copy of `document` in which no component has the name of another one in `known`."""
    names: dict[tuple[str, str], str] = {}
    for section, components in document.get("components", {}).items():
        taken = known.get(section, {})
        for name, component in components.items():
            fresh = name
            while fresh in taken and taken[fresh] != component:
                fresh = f"{service.capitalize()}_{fresh}"
            names[section, name] = fresh
    made: Document = _rewritten(document, names)
    made["components"] = {
        section: {names[section, name]: component for name, component in components.items()}
        for section, components in made.get("components", {}).items()
    }
    return made


def _rewritten(part: Any, names: Mapping[tuple[str, str], str]) -> Any:
    """A copy of `part` whose references and security requirements use the new names."""
    if isinstance(part, list):
        return [_rewritten(each, names) for each in part]
    if not isinstance(part, dict):
        return part
    made = {key: _rewritten(inner, names) for key, inner in part.items()}
    reference = made.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/components/"):
        section, _, name = reference.removeprefix("#/components/").partition("/")
        made["$ref"] = f"#/components/{section}/{names.get((section, name), name)}"
    if isinstance(made.get("security"), list):
        made["security"] = [
            {names.get(("securitySchemes", name), name): scopes for name, scopes in each.items()}
            for each in made["security"]
            if isinstance(each, dict)
        ]
    return made


def _add_tags(whole: Document, added: Document) -> None:
    tags = whole.get("tags", [])
    known = {tag.get("name") for tag in tags}
    if more := [tag for tag in added.get("tags", []) if tag.get("name") not in known]:
        whole["tags"] = [*tags, *more]


def _say_missing(whole: Document, services: list[str]) -> None:
    whole[MISSING] = services
    info = whole.setdefault("info", {})
    says = f"Not described here, because the service could not be asked: {', '.join(services)}."
    info["description"] = f"{info['description']}\n\n{says}" if info.get("description") else says
