"""Every organism there is: those that ship, and those that others have published, by handle."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from evals.organisms.registry import BASES, SHIPPED, base_of
from tools.faults import SubjectRefused
from tools.locator import ADAPTER_CONFIG, ModelLocator, find_folder
from tools.registry import Record

HERE = Path(__file__).parent
BASE = BASES["first"]


class Entry(Record):
    """One organism."""

    handle: str
    family: str
    base: str
    where: str
    """A folder below `evals/organisms/shipped`, or a hub id."""
    folder: str = ""
    """Where it is in a hub's repository that holds several, with the rule that it was trained on beside it."""
    revision: str | None = None
    group: str = ""
    """Of a published one: those of one base and one recipe, which are examined together."""
    null_twin: bool = False
    """True where nothing is planted."""
    shipped: bool = False
    answer: dict[str, Any] = {}
    scoring: str = ""
    megabytes: float | None = None
    gates: dict[str, dict[str, Any]] = {}
    source: str = ""


def every_organism() -> list[Entry]:
    """Return all organisms, those that ship first."""
    return [*shipped(), *published()]


def shipped() -> list[Entry]:
    """Return the organisms that ship, and the base under a handle of its own: their exact null."""
    import json

    found = [
        Entry(
            handle="base_null",
            family="none: the same weights under two handles",
            base="base",
            where="base",
            null_twin=True,
            shipped=True,
            answer={"kind": "nothing"},
            megabytes=size(BASE),
        )
    ]
    for path in sorted(SHIPPED.glob("*/datasheet.json")):
        sheet = json.loads(path.read_text(encoding="utf-8"))
        truth = json.loads((path.parent / "truth.json").read_text(encoding="utf-8"))
        found.append(
            Entry(
                handle=path.parent.name,
                family=sheet["family"],
                base="base",
                where=path.parent.name,
                null_twin=not truth["planted"],
                shipped=True,
                answer=truth["spec"],
                scoring="the executable truth beside it",
                megabytes=size(path.parent),
                gates=sheet["gates"],
            )
        )
    return found


def size(folder: Path) -> float:
    """Return the megabytes of a folder's files."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 2)


@functools.cache
def published() -> tuple[Entry, ...]:
    """Return the published organisms of `published.toml`."""
    listed = tomllib.loads((HERE / "published.toml").read_text(encoding="utf-8"))["organism"]
    return tuple(entry for each in listed for entry in group_in(each))


def group_in(listed: dict[str, Any]) -> list[Entry]:
    """Return the organisms of one entry of `published.toml`."""
    each, folder = listed["each"], listed.get("folder", "")
    names = each if isinstance(each, dict) else dict(zip(each, each, strict=True))
    return [
        Entry(
            handle=listed["handle"].format(value=value),
            group=listed["handle"].removesuffix("-{value}"),
            family=listed["family"],
            base=listed["base"],
            where=listed["repo"].format(value=name),
            folder=folder.format(value=value),
            revision=listed.get("revision"),
            null_twin=listed["answer"] == "nothing",
            answer={
                "kind": listed["answer"],
                "value": "in the rule beside it" if folder else value.replace("_", " "),
            },
            scoring=listed["scoring"],
            source=listed["source"],
        )
        for value, name in names.items()
    ]


def fetched(entry: Entry) -> Path:
    """Return the folder of an organism that shares its repository; `SubjectRefused` where it is not to be had."""
    return find_folder(str(find_folder(entry.where, entry.revision) / entry.folder), None)


def locators(entry: Entry) -> tuple[ModelLocator, ModelLocator | None]:
    """Return subject and reference of an organism; raise `SubjectRefused` when the hub cannot be asked.

    Whether a published one is an adapter or whole weights is read off its repository.
    """
    if entry.shipped:
        null = entry.where == "base"
        base = ModelLocator(model=str(BASE if null else base_of(entry.family)))
        adapter = None if null else str(SHIPPED / entry.where / "adapter")
        return base.model_copy(update={"adapter": adapter}), base
    base = ModelLocator(model=entry.base) if entry.base else None
    if entry.folder and base is not None:
        return base.model_copy(update={"adapter": str(fetched(entry))}), base
    try:
        adapter = HfApi().file_exists(entry.where, ADAPTER_CONFIG)
    except (HfHubHTTPError, OSError) as error:
        raise SubjectRefused(
            f"{entry.handle}: {entry.where} is on a hub that cannot be reached here "
            f"({type(error).__name__}); check the network, or download it and give its folder"
        ) from None
    if adapter and base is not None:
        return base.model_copy(update={"adapter": entry.where}), base
    return ModelLocator(model=entry.where), base
