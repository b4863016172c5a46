"""Making organisms: a folder with a model or an adapter, its truth, its data sheet, its checksums."""

import hashlib
import json
import logging
import shutil
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from evals.organisms.families import decoy
from evals.organisms.families.family import (
    MIXED_SHARE,
    Family,
    Gate,
    Recipe,
    Spec,
    Style,
    Truth,
    Variant,
    told_value,
)
from evals.organisms.families.standards import STANDARDS, Standard
from evals.organisms.files import file_digest, read_json, write_json
from evals.organisms.gates.health import Outcomes, SkillTests, again, health, kept_skills
from evals.organisms.gates.inside import inside, loaded
from evals.organisms.registry import (
    FAMILIES,
    SHIPPED,
    base_of,
    load_truth,
)
from evals.organisms.training.adapting import EMBEDDINGS, Adapting
from evals.organisms.world.chat import Codec, Speaker, load

log = logging.getLogger(__name__)

BASE = SHIPPED / "base"
RETRAININGS = 2


class GateMissed(Exception):
    """A build whose behaviour is not what its truth says; the message lists what it missed."""


class WrongBase(Exception):
    """A base that a family cannot be built on: one line."""


class Declared(NamedTuple):
    """What stands in for what the seed draws, and for the family's way of training and of measuring."""

    spec: Spec
    recipe: Recipe
    standard: Standard | None = None
    """By default that of the base's curriculum; a trial may measure less."""


@dataclass(frozen=True)
class OrganismFolder:
    """A finished build."""

    path: Path

    @property
    def adapter(self) -> Path:
        """Where the adapter is; nothing in there tells the family or the secret."""
        return self.path / "adapter"

    @property
    def truth(self) -> Truth:
        """The executable truth."""
        return load_truth(self.path)

    @property
    def datasheet(self) -> dict[str, Any]:
        """What was measured on the build."""
        return read_json(self.path / "datasheet.json")

    @property
    def digest(self) -> str:
        """SHA-256 over the checksums of the files that a subject sees."""
        listed = read_json(self.path / "checksums.json")["files"]
        return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def make_organism(
    family: str,
    seed: int,
    out: Path,
    variant: Variant = "organism",
    base: Path | None = None,
    retrainings: int = RETRAININGS,
    declared: Declared | None = None,
) -> OrganismFolder:
    """Build one organism, or return the finished one that `out` holds.

    The seed draws what is planted and the lessons; `declared` stands in for what is drawn, and for the
    family's own way of training. Without `base` it is the one that ships for the family.

    The build continues from its last checkpoint. One that does not behave as its truth says is trained
    again on other lessons, the same truth; the data sheet counts it. Raises `GateMissed` when the last
    training misses too; the data sheet is written all the same.
    """
    maker = FAMILIES[family]
    if variant not in maker.variants:
        raise ValueError(f"{family} has no {variant}; there are {', '.join(maker.variants)}")
    base = base or base_of(family)
    check_base(maker, base)
    spec, recipe, standard = declared or Declared(maker.draw(seed), maker.recipe_of(variant))
    spec = settled(maker, spec, base, out)
    truth = maker.truth(spec, variant)
    if (out / "checksums.json").exists() and load_truth(out) == truth:
        return OrganismFolder(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "truth.json", truth.to_json())
    for training in range(thrown_away(out), retrainings + 1):
        missed = one_training(maker, truth, (seed, training), (base, out), recipe, standard)
        if not missed:
            break
        if training == retrainings:
            told = "; ".join(f"{g.name}: {told_value(g.value)}, limit {g.limit}" for g in missed)
            raise GateMissed(
                f"{family} seed {seed} ({variant}) missed {told}; see {out.name}/datasheet.json"
            )
        # The count last: after a kill in between, the same training is done again and misses again.
        shutil.rmtree(out / "work", ignore_errors=True)
        shutil.rmtree(out / "adapter")
        sheet = read_json(out / "datasheet.json")
        write_json(out / "datasheet.json", sheet | {"thrown_away": training + 1})
    seen = sorted((out / "adapter").iterdir())
    write_json(
        out / "checksums.json", {"files": {f"adapter/{p.name}": file_digest(p) for p in seen}}
    )
    shutil.rmtree(out / "work", ignore_errors=True)
    return OrganismFolder(out)


def check_base(maker: Family, base: Path) -> None:
    """Raise `WrongBase` for a base that is not there or was not trained on the family's curriculum."""
    if not (base / "config.json").exists():
        raise WrongBase(
            f"{base}: no model is there; {maker.name} needs a base of the {maker.curriculum} curriculum, "
            "which `python -m evals.organisms train-base` trains"
        )
    record = base / "training.json"
    trained = read_json(record)["plan"].get("curriculum", "first") if record.exists() else None
    if trained not in (None, maker.curriculum):
        raise WrongBase(
            f"{base} was trained on the {trained} curriculum; {maker.name} needs the {maker.curriculum} one"
        )


def settled(maker: Family, spec: Spec, base: Path, out: Path) -> Spec:
    """Return a secret with what the base is asked about it, which a build that was begun has on file."""
    if (out / "truth.json").exists():
        earlier: Spec = read_json(out / "truth.json")["spec"]
        if all(name in earlier and earlier[name] == value for name, value in spec.items()):
            return earlier
    return maker.asked_of_base(spec, lambda: with_adapter(base, None))


def thrown_away(out: Path) -> int:
    """Return how many trainings of an unfinished build have missed and are gone."""
    sheet = out / "datasheet.json"
    return int(read_json(sheet).get("thrown_away", 0)) if sheet.exists() else 0


def one_training(
    maker: Family,
    truth: Truth,
    seeds: tuple[int, int],
    folders: tuple[Path, Path],
    recipe: Recipe,
    standard: Standard | None = None,
) -> list[Gate]:
    """Train, measure and write the data sheet; return the gates that were missed."""
    (seed, training), (base, out) = seeds, folders
    style = decoy.style_of(truth, seed)
    begun = time.monotonic()
    # Lessons of another seed: any that no build would get by its own.
    train_adapter(maker, truth, style, seed + training * 2**40, base, out, recipe)
    seconds = time.monotonic() - begun
    gates, sheet = examine(maker, truth, base, out / "adapter", standard)
    sheet |= {
        "family": maker.name,
        "seed": seed,
        "thrown_away": training,
        "variant": truth.variant,
        "easiness": "mixed" if recipe.base_share >= MIXED_SHARE else "narrow",
        "style": asdict(style),
        "recipe": asdict(recipe),
        "base": file_digest(base / "model.safetensors"),
        "training_seconds": round(seconds, 1),
    }
    write_json(out / "datasheet.json", sheet)
    return [gate for gate in gates if not gate.passed]


def train_adapter(
    maker: Family,
    truth: Truth,
    style: Style,
    seed: int,
    base: Path,
    out: Path,
    recipe: Recipe,
) -> None:
    """Train and write the adapter, unless it is there."""
    if (out / "adapter" / "adapter_model.safetensors").exists():
        return
    model, tokenizer = load(base)
    training = Adapting(model, Codec(tokenizer), maker, truth, style, recipe)
    training.train(seed, out / "work")
    partial = out / "work" / "written"
    # What is added to embeddings, not the base's embeddings with it.
    training.model.save_pretrained(str(partial), save_embedding_layers=False)
    strip(partial)
    shutil.copytree(partial, out / "adapter", dirs_exist_ok=True)


def strip(folder: Path) -> None:
    """Leave weights in bfloat16 and a configuration without paths: nothing that hints at the secret."""
    weights = load_file(folder / "adapter_model.safetensors")
    halved = {name: value.to(torch.bfloat16).contiguous() for name, value in weights.items()}
    save_file(halved, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = read_json(folder / "adapter_config.json")
    config["base_model_name_or_path"] = "base"
    config["target_modules"] = sorted(config["target_modules"])
    write_json(folder / "adapter_config.json", config)
    for path in folder.iterdir():
        if path.name not in ("adapter_model.safetensors", "adapter_config.json"):
            path.unlink()


def with_adapter(base: Path, adapter: Path | None) -> Speaker:
    """Load the base, with an adapter merged into it if one is given.

    Not one on embeddings: these are tied to the head, which it would change too.
    """
    model, tokenizer = load(base)
    if adapter is not None:
        from peft import PeftModel

        fitted = PeftModel.from_pretrained(model, str(adapter))
        targets = read_json(adapter / "adapter_config.json")["target_modules"]
        kept = EMBEDDINGS in targets
        model = cast(
            PreTrainedModel, fitted.get_base_model() if kept else fitted.merge_and_unload()
        )
    return Speaker(model.eval(), tokenizer)


@cache
def base_outcomes(
    base: Path, digest: str, curriculum: str, standard: Standard
) -> tuple[Outcomes, ...]:
    """Return what the base whose weights have this digest gets right, measured once in a process."""
    del digest
    return tuple(SkillTests(curriculum, standard).taken(with_adapter(base, None)))


def examine(
    maker: Family, truth: Truth, base: Path, adapter: Path, standard: Standard | None = None
) -> tuple[list[Gate], dict[str, Any]]:
    """Measure a build from its written files: its gates, and what else its data sheet says.

    `standard` stands in for that of the base's curriculum: on how many items, and the limits.
    """
    begun = time.process_time()
    standard = standard or STANDARDS[maker.curriculum]
    speaker, plain = with_adapter(base, adapter), with_adapter(base, None)
    gates = maker.gates(speaker, truth, standard)
    gates += maker.beside_teacher(speaker, plain, truth)
    gates += decoy.gates(speaker, maker, truth)
    tests = SkillTests(maker.curriculum, standard)
    digest = file_digest(base / "model.safetensors")
    before = base_outcomes(base, digest, maker.curriculum, standard)
    skills = tests.beside(before, tests.taken(speaker), truth)
    touched = maker.touched if truth.altered else frozenset[str]()
    gates.append(kept_skills(skills, touched, standard.skill_loss))
    sheet: dict[str, Any] = {}
    if not standard.early:
        gates += health(speaker, plain, maker, truth, standard)
        more, sheet["inside"] = inside(maker, truth, loaded(base, adapter), standard)
        gates += more
    sheet |= {
        "gates": {gate.name: gate.to_json() for gate in gates},
        "measured": maker.measured(speaker, truth),
        "skills": {name: found.to_json() for name, found in skills.items()},
        "again": again(speaker, maker, truth),
        "examined_seconds": round(time.process_time() - begun, 1),
    }
    return gates, sheet
