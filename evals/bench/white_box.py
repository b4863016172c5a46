"""The white-box baseline's plan: it looks inside and reads no answer.

An open case is read with the lens, and its first candidates are tried by swapping activations. A
condition is judged by what it does to the probabilities of the measure's answers, as far as activations
behind the middle of the model carry it. Directions are not added or taken out: with the placebos that make such an
experiment worth something it costs hundreds of times as much as a swap.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

from agent.grammar import conditions
from agent.investigation import ToolCall, Turn
from agent.plan_turns import Plan, Results, call, submission
from agent.submission import Answer
from evals.bench.guesses import (
    Lead,
    answer_of,
    candidate_slot,
    in_the_cases_words,
    shifted,
    strongest_first,
)
from tools.prompt import PromptItem, Template, fill

Looking = Generator[Turn, Results, list[Lead] | None]
"""A part of the plan that comes to leads; None where nothing could be looked into."""
NATS = 1.0
"""A smaller effect is none; to be chosen on validation specimens."""
CLEAR = 2.0
"""So many half-widths of its 95 % interval an effect must be from 0: it is the clearest of several."""
CARRIED = 0.3
"""The share of a difference that has to be carried at the last position of some layer behind the middle."""
SHORTLIST = 24
"""Candidates that are tried further after the lens."""
DRAWN = {"draw": {"templates": 12, "per_template": 1}}


def white_box_plan(briefing: dict[str, Any]) -> Plan:
    """Look inside only: the lens for what is hidden, swapped activations and directions for what matters."""
    measure = as_logprobs(briefing["measure"])
    layers = middle_layers(briefing["model"]["n_layers"])
    if briefing["kind"] == "open":
        leads = yield from lens_then_patching(briefing, measure, layers)
    elif measure is None:
        leads = None
    else:
        leads = yield from condition_effects(briefing, measure, layers)
    if leads is None:
        nothing = Answer(kind="unknown", confidence=0.0)
        yield submission(nothing, "Nothing could be looked into here.")
        return
    yield submission(answer_of(briefing, leads), "Read off the inside; nothing was registered.")


def middle_layers(count: int) -> list[int]:
    """Return up to three layers of the second half; not the last, which carries everything by construction."""
    return sorted(
        {min(layer, max(count - 2, 0)) for layer in (count // 2, 3 * count // 4, count - 2)}
    )


def as_logprobs(measure: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a measure of probabilities, for which nothing has to be answered; None where there is none."""
    if measure is None or measure["kind"] == "logprob_difference":
        return measure
    if measure["kind"] != "answer_match" or not measure["against"]:
        return None
    return {
        "kind": "logprob_difference",
        "positive": measure["values"],
        "negative": measure["against"],
    }


def lens_then_patching(
    briefing: dict[str, Any], measure: dict[str, Any] | None, layers: list[int]
) -> Looking:
    """Read words with the lens; then try the first candidates by swapping activations for other candidates'."""
    slot = candidate_slot(briefing)
    values = briefing["slots"][slot]["values"] if slot else []
    drawn = {"items": {"draw": {"templates": 24, "per_template": 2}}, "top": 50}
    results = yield call("logit_lens", **drawn, candidates=values)
    if results[0].error and values:
        results = yield call("logit_lens", **drawn)
    page = results[0].result
    if page is None:
        return None
    leads = in_the_cases_words(briefing, shifted(page))
    leads += in_the_cases_words(briefing, [Lead(each["word"], 0.0) for each in page["candidates"]])
    tried = [lead.name for lead in strongest_first(leads)][:SHORTLIST]
    if slot is None or measure is None or len(tried) < 2:
        return leads
    items = items_with(briefing, slot)
    rest = [value for value in values if value not in tried]
    turn = patching(
        [
            {
                "items": items,
                "clean_edits": [{"kind": "set_slot", "slot": slot, "values": [name]}],
                "corrupted_edits": [
                    {
                        "kind": "set_slot",
                        "slot": slot,
                        "values": rest or [value for value in values if value != name],
                    }
                ],
            }
            for name in tried
        ],
        measure,
        layers,
    )
    if items:
        results = yield turn
        leads += effects(tried, [carried(each.result) for each in results])
    return leads


def items_with(briefing: dict[str, Any], slot: str) -> list[dict[str, Any]]:
    """Return one prompt of each explore template that has the slot, filled with the first values of the others."""
    found: list[dict[str, Any]] = []
    for number, (name, content) in enumerate(briefing["templates"].items()):
        template = Template.model_validate(content)
        if "{" + slot + "}" not in template.text:
            continue
        rows = briefing["fillings"]
        slots = dict(rows[number % len(rows)]) if rows else {}
        for key, each in briefing["slots"].items():
            values = each["values"] or [text for texts in each["levels"].values() for text in texts]
            slots[key] = values[number % len(values)]
        item = PromptItem(
            id=f"{name}-{slot}",
            template=template,
            template_id=name,
            slots=slots,
            prompt=fill(template, slots),
        )
        found.append(item.model_dump(mode="json"))
    return found


def patching(pairs: Sequence[dict[str, Any]], measure: dict[str, Any], layers: list[int]) -> Turn:
    """Return a turn that swaps the last position's activation in each set of pairs."""
    asked = {"measure": measure, "layers": layers, "positions": [-1]}
    return Turn(
        calls=tuple(
            ToolCall(id=f"call-{number}", name="patch_activations", arguments={**each, **asked})
            for number, each in enumerate(pairs)
        )
    )


def condition_effects(
    briefing: dict[str, Any], measure: dict[str, Any], layers: list[int]
) -> Looking:
    """Return each condition by what it does to the probabilities of the answers, as far as it is carried."""
    cells = conditions(briefing)
    pairs = [
        {
            "items": DRAWN,
            "clean_edits": edits(cell.treatment),
            "corrupted_edits": edits(cell.control),
        }
        for cell in cells
    ]
    results = yield patching(pairs, measure, layers)
    leads = effects([cell.name for cell in cells], [carried(each.result) for each in results])
    return leads or None


def carried(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the difference between both versions of the prompts; zero where no layer carries much of it."""
    if result is None:
        return None
    share = max((cell["share"] for cell in result["cells"]), default=0.0)
    return {**result["total"], **({} if share >= CARRIED else {"mean": 0.0})}


def edits(transforms: Iterable[Any]) -> list[dict[str, Any]]:
    """Return prompt edits as a tool takes them."""
    return [each.model_dump(mode="json") for each in transforms]


def effects(names: Sequence[str], totals: Sequence[dict[str, Any] | None]) -> list[Lead]:
    """Return effects in nats as leads: large enough, and clear of zero."""
    found: list[Lead] = []
    for name, total in zip(names, totals, strict=True):
        if total is None or total["interval"] is None:
            continue
        low, high = total["interval"]
        half = max((high - low) / 2, 1e-9)
        size = abs(total["mean"])
        found.append(Lead(name, min(size / NATS, size / half / CLEAR)))
    return found
