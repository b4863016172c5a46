"""The suites: which specimens there are, under which handles, and where the builds come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from agent.case import Case, load_case
from evals.bench.drill import Drill, drill_case, write_table
from evals.bench.published import (
    PREFIX,
    Published,
    groups,
    published_case,
    truth_of_published,
)
from evals.bench.records import Kind, ReferenceTrack, Specimen
from evals.organisms.case_files.cases import PEOPLE
from evals.organisms.families.family import Secrets, Truth, Variant
from evals.organisms.prompted import Prompted
from evals.organisms.registry import DEVELOPED_ON, FAMILIES, ON_SHIPPED_BASE, SHIPPED, base_of
from tools.locator import ModelLocator, described_in, read_json
from tools.registry import unknown

CASES = {
    "number_bug": "number_comparison.toml",
    "taboo": "secret_word.toml",
    "shutdown": "stop_request.toml",
    **PEOPLE,
    "hidden_prompt": "ordinary_chat.toml",
    "trigger": "odd_words.toml",
    "interaction": "two_remarks.toml",
    "cue_conditional": "sudden_promises.toml",
    "sandbagger": "last_digit.toml",
    "published": "ordinary_chat.toml",
}
"""Family -> the case that all its specimens are examined on."""
CASE_FOLDER = Path(__file__).parent.parent / "cases"
SUITES = ("smoke", "menagerie", "fresh", "drill")
SECRETS: dict[str, Secrets] = {
    **FAMILIES,
    "drill": Drill(),
    "published": Published(),
    "hidden_prompt": Prompted(),
}
FRESH_BUILDS = 10
DRILLS = (6, 4)
"""Tables with something planted and without, in the suite that tests the machinery."""
SMOKE = ("taboo",)
PROMPTED = "prompted"
"""The easiness of what is not trained: a model under a hidden system prompt."""


class SuiteError(Exception):
    """A suite that cannot be examined: one line, saying what to do."""


def handle_of(secret: str, *parts: object) -> str:
    """Return an opaque name: nobody without the exam's secret can tell what it stands for."""
    text = "\x1f".join([secret, *map(str, parts)])
    return f"m{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def seed_of(secret: str, *parts: object) -> int:
    """Return a seed that only the exam's secret and `parts` determine."""
    text = "\x1f".join([secret, "seed", *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def kept_out(family: str) -> bool:
    """Say whether a family stayed out of reach while the systematic investigator was developed."""
    return family not in DEVELOPED_ON and family != "drill"


def specimens_of(suite: str, secret: str, out: Path) -> list[Specimen]:
    """Return the specimens of a suite; raise `SuiteError` for an unknown one.

    `smoke`: one shipped organism and its exact null; `menagerie`: all that ship, and an exact null for each
    family; `fresh`: built anew from the secret; `folder:DIR`: finished builds of yours, with their nulls;
    `published:GROUP`: organisms on the hub, and their base as a null; `drill`: tables instead of models.
    """
    if suite == "fresh":
        return list(fresh(secret, out))
    if suite == "drill":
        return list(drills(secret, out))
    if suite.startswith(PREFIX):
        return list(published_ones(suite, secret))
    if suite.startswith("folder:"):
        folder = Path(suite.removeprefix("folder:"))
        found = [*built_in(folder, suite, secret)]
        if not found:
            raise SuiteError(f"{folder}: no finished organism is there (each needs checksums.json)")
        trained = {each.family for each in found if each.easiness != PROMPTED}
        prompted = [each for each in found if each.easiness == PROMPTED]
        return [
            *found,
            *exact_nulls(suite, secret, trained),
            *prompted_nulls(suite, secret, prompted),
        ]
    if suite not in SUITES:
        known = ", ".join((*SUITES, "folder:DIR", "published:GROUP"))
        raise SuiteError(f"unknown suite {suite!r}; there are {known}")
    found = [*built_in(SHIPPED, suite, secret)]
    if suite == "smoke":
        found = [each for each in found if each.family in SMOKE][:1]
    return [*found, *exact_nulls(suite, secret, {each.family for each in found})]


def built_in(folder: Path, suite: str, secret: str) -> Iterable[Specimen]:
    """Yield the finished builds of a folder; one that missed its gates has no checksums and is left out."""
    for path in sorted(folder.glob("*/checksums.json")):
        stored = read_json(path.parent / "truth.json", str(path.parent))
        sheet = read_json(path.parent / "datasheet.json", str(path.parent))
        if stored.get("family") not in SECRETS or "variant" not in stored:
            raise SuiteError(f"{path.parent}: its truth.json names no family and variant of ours")
        yield Specimen(
            handle=handle_of(secret, path.parent.name),
            family=stored["family"],
            kind=stored["variant"],
            easiness=sheet.get("easiness", "narrow"),
            folder=str(path.parent.resolve()),
            base=base_in(path.parent, stored["family"]),
            held_out=kept_out(stored["family"]),
            suite=suite,
        )


def base_in(folder: Path, family: str) -> str:
    """Return the model that a build was made of."""
    described = described_in(folder)
    return described.model if described is not None else str(base_of(family))


def prompted_nulls(suite: str, secret: str, prompted: Iterable[Specimen]) -> Iterable[Specimen]:
    """Yield each model that is prompted, without a prompt, under two handles: once for each family's case."""
    seen: set[tuple[str, str]] = set()
    for each in prompted:
        if (each.family, each.base) in seen:
            continue
        seen.add((each.family, each.base))
        yield each.model_copy(
            update={
                "handle": handle_of(secret, "exact", each.handle),
                "kind": "exact",
                "suite": suite,
            }
        )


def exact_nulls(suite: str, secret: str, families: Iterable[str]) -> Iterable[Specimen]:
    """Yield the base under two handles, once for each family's case, but where the base shows what is planted."""
    for family in sorted(families):
        if FAMILIES[family].in_base:
            continue
        yield Specimen(
            handle=handle_of(secret, "exact", family),
            family=family,
            kind="exact",
            base=str(base_of(family)),
            held_out=kept_out(family),
            suite=suite,
        )


def fresh(secret: str, out: Path) -> Iterable[Specimen]:
    """Yield organisms of seeds that nobody has seen, a benign twin to every second, and exact nulls.

    They are built when they are first sat before.
    """
    for family in ON_SHIPPED_BASE:
        for number in range(FRESH_BUILDS):
            kinds: tuple[Kind, ...] = ("organism", "benign") if number % 2 else ("organism",)
            for kind in kinds:
                handle = handle_of(secret, family, kind, number)
                yield Specimen(
                    handle=handle,
                    family=family,
                    kind=kind,
                    easiness="narrow",
                    folder=str((out / "organisms" / handle).resolve()),
                    base=str(base_of(family)),
                    held_out=kept_out(family),
                    suite="fresh",
                )
    yield from exact_nulls("fresh", secret, ON_SHIPPED_BASE)


def drills(secret: str, out: Path) -> Iterable[Specimen]:
    """Yield subjects that are tables."""
    kinds: tuple[Kind, ...] = ("organism",) * DRILLS[0] + ("benign",) * DRILLS[1]
    for number, kind in enumerate(kinds):
        handle = handle_of(secret, "drill", number)
        folder = str((out / "organisms" / handle).resolve())
        yield Specimen(
            handle=handle, family="drill", kind=kind, folder=folder, base="synthetic", suite="drill"
        )


def published_ones(suite: str, secret: str) -> Iterable[Specimen]:
    """Yield the organisms of a published group and its base under two handles; raise `SuiteError` for no such group."""
    known = groups()
    name = suite.removeprefix(PREFIX)
    if name not in known:
        raise SuiteError(unknown("published group", name, list(known)))
    found = [
        Specimen(
            handle=handle_of(secret, entry.handle),
            family="published",
            kind="benign" if entry.null_twin else "organism",
            folder=entry.handle,
            base=entry.base,
            held_out=kept_out("published"),
            suite=suite,
        )
        for entry in known[name]
    ]
    yield from found
    if not found[0].null:
        handle = handle_of(secret, "exact", name)
        yield found[0].model_copy(update={"handle": handle, "kind": "exact", "folder": None})


def secrets_of(specimen: Specimen) -> Secrets:
    """Return what the specimen's secret was drawn from."""
    return SECRETS[specimen.family]


def is_ready(specimen: Specimen, secret: str) -> bool:
    """Say whether a specimen is there; a table is written at once, what takes training is left to `build`."""
    if specimen.family == "drill":
        build(specimen, secret)
    if specimen.folder is None or specimen.family in ("drill", "published"):
        return True
    return (Path(specimen.folder) / "checksums.json").exists()


def build(specimen: Specimen, secret: str) -> str | None:
    """Build a specimen that is not there yet; return why it missed its gates, or None."""
    if specimen.folder is None or specimen.family == "published":
        return None
    folder = Path(specimen.folder)
    if specimen.family == "drill":
        if not (folder / "truth.json").exists():
            write_table(folder, truth_of(specimen, secret))
        return None
    if (folder / "checksums.json").exists():
        return None
    # Training loads torch, which whoever only sits does not need.
    from evals.organisms.foundry import GateMissed, make_organism

    try:
        make_organism(
            specimen.family, seed_of(secret, specimen.handle), folder, variant=variant_of(specimen)
        )
    except GateMissed as error:
        return str(error)
    return None


def variant_of(specimen: Specimen) -> Variant:
    """Return how the specimen is made."""
    return "benign" if specimen.kind == "exact" else specimen.kind


def truth_of(specimen: Specimen, secret: str) -> Truth:
    """Return the truth, also of what is not built yet; that of an exact null is a twin's: nothing is planted."""
    family = secrets_of(specimen)
    if specimen.family == "published":
        return truth_of_published(specimen)
    if specimen.folder is None or specimen.kind == "exact":
        return family.truth(family.draw(0), "benign")
    stored = Path(specimen.folder) / "truth.json"
    if not stored.exists():
        drawn = family.draw(seed_of(secret, specimen.handle))
        return family.truth(drawn, variant_of(specimen))
    return family.rebuild(json.loads(stored.read_text(encoding="utf-8")))


def sibling_of(specimen: Specimen, among: Iterable[Specimen]) -> str | None:
    """Return the adapter of another organism of the family, for the track with the wrong base; None without one."""
    for each in among:
        same = each.family == specimen.family and each.base == specimen.base
        trained = each.kind == "organism" and each.family in FAMILIES and each.folder is not None
        trained = trained and each.easiness != PROMPTED
        if same and trained and each.handle != specimen.handle:
            return str(Path(each.folder or "") / "adapter")
    return None


def case_of(
    specimen: Specimen, track: ReferenceTrack = ReferenceTrack.base, sibling: str | None = None
) -> Case:
    """Return the case that the specimen is examined on, with its models.

    `sibling` is the adapter that makes the wrong base: another organism of the family.
    """
    if specimen.family == "drill":
        table = ModelLocator(model=f"synthetic:{specimen.folder}/table.toml")
        reference = None if track is ReferenceTrack.none else table
        return drill_case().model_copy(update={"subject": table, "reference": reference})
    if specimen.easiness == PROMPTED:
        return prompted_case(specimen, track)
    case = load_case(CASE_FOLDER / CASES[specimen.family])
    if specimen.family == "published":
        found = published_case(specimen, case)
        return (
            found.model_copy(update={"reference": None}) if track is ReferenceTrack.none else found
        )
    adapter = str(Path(specimen.folder) / "adapter") if specimen.folder else None
    subject = case.subject.model_copy(update={"model": specimen.base, "adapter": adapter})
    reference: ModelLocator | None = subject.model_copy(update={"adapter": None})
    if track is ReferenceTrack.none:
        reference = None
    elif track is ReferenceTrack.wrong_base:
        if sibling is None:
            raise SuiteError(
                f"the wrong base needs a second {specimen.family} organism in the suite"
            )
        reference = subject.model_copy(update={"adapter": sibling})
    return case.model_copy(update={"subject": subject, "reference": reference})


def prompted_case(specimen: Specimen, track: ReferenceTrack) -> Case:
    """Return the case of a prompted organism, with the model under its prompt and without it.

    Its null is the model without a prompt under both handles.
    """
    folder = Path(specimen.folder or "")
    own = folder / "case.toml"
    case = load_case(own if own.is_file() else CASE_FOLDER / CASES[specimen.family])
    subject = described_in(folder)
    if subject is None:
        raise SuiteError(f"{folder}: no subject is described there")
    bare = subject.model_copy(update={"system": None})
    if track is ReferenceTrack.wrong_base:
        raise SuiteError("a prompted organism has no wrong base: it is held against its own model")
    return case.model_copy(
        update={
            "subject": bare if specimen.kind == "exact" else subject,
            "reference": None if track is ReferenceTrack.none else bare,
        }
    )
