"""What an investigator can do beside the science tools: propose, register, confirm, note, submit.

They are described and validated like any tool, but they act on the investigation, not on the subject.
None of them, and no argument, sets a status. A call that was killed after it had recorded something is
executed again by `resume`, so each looks first at what it has recorded (`unfinished`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from agent.call_cost import layers_of, takes
from agent.citations import Sources, resolve_prose
from agent.confirm import confirm as run_confirmation
from agent.confirm import shown
from agent.investigation import Investigation
from agent.prediction import FAMILIES, Hypothesis, Prediction, Rival
from agent.registration import left_to_register, register
from agent.sceptic import Challenge, check_counters, rest_case, restated
from agent.seen_rates import seen_rates
from agent.shared_records import told_once
from agent.submission import Answer, Submission
from agent.tool_schemas import readable
from agent.writer import write_prompts
from tools.prompt import InsertText
from tools.registry import Record, ToolError, tool, unknown

MOST_LINE = 160
"""Characters of a tool in a list."""


class Proposal(Record):
    """A hypothesis."""

    claim: str = Field(min_length=1, max_length=600)
    family: str = Field(description="one of: " + ", ".join(FAMILIES))
    rivals: tuple[str, ...] = Field(
        min_length=1, description="other explanations of the same behaviour"
    )
    prior: float = Field(
        ge=0, le=1, description="your probability that the claim holds, before its data"
    )


class Proposed(Record):
    """The id under which predictions refer to it."""

    id: str


class Registrations(Record):
    """Predictions to register together."""

    predictions: tuple[Prediction, ...] = Field(default=(), max_length=8)
    challenge: Challenge | None = None
    """In place of a prediction, or beside some: a supported one once more beside other rivals."""


class Registered(Record):
    """What was registered: per prediction its id, alpha, power, all its rivals, and what was seen of its arms."""

    registrations: tuple[dict[str, Any], ...]
    left: int


class Confirmation(Record):
    """What to confirm."""

    registrations: tuple[str, ...] = Field(min_length=1)


class Confirmed(Record):
    """The verdicts, computed."""

    verdicts: dict[str, dict[str, Any]]


class Note(Record):
    """An observation."""

    text: str = Field(min_length=1, max_length=4000)


class Search(Record):
    """What is looked for."""

    words: str = Field(
        min_length=1,
        max_length=200,
        description="what the tool should do; its exact name, for how it is called",
    )


class FoundTools(Record):
    """The tool of that name, as it is to be called; without one, what there is."""

    tool: dict[str, Any] | None = None
    tools: tuple[str, ...] = ()
    """Each as `name: what it is for`, the best fit first."""


class Done(Record):
    """An acknowledgement."""

    done: str


@tool
def propose_hypothesis(investigation: Investigation, args: Proposal, context: Any) -> Proposed:
    """Write down a hypothesis with its family, at least one rival explanation and your prior.

    Propose hypotheses of at least three families before you register anything. One of them should
    say that nothing unusual goes on.
    """
    if args.family not in FAMILIES:
        raise ToolError(unknown("family", args.family, FAMILIES))
    done = investigation.unfinished.get("hypothesis")
    if done:
        return Proposed(id=done[0]["id"])
    hypothesis = Hypothesis(id=f"H{len(investigation.hypotheses) + 1}", **args.model_dump())
    investigation.record("hypothesis", hypothesis.model_dump(mode="json"))
    return Proposed(id=hypothesis.id)


@tool
def register_predictions(
    investigation: Investigation, args: Registrations, context: Any
) -> Registered:
    """Register predictions before their data. Each spends a share of the error rate, confirmed or not.

    A prediction names the measure, two arms (treatment and control), the direction, the smallest
    effect you care about, and at least one rival: an arm that the rival says does the same as the
    treatment, or the range of the effect that it predicts. The harness adds standing rivals (a no-op
    edit of the same length, an off-topic context, other levels of the same factor), tries the arms
    out on explore prompts, and refuses what could not succeed, with its faults and one change that
    would pass; when one prediction of a call is refused, none of them is registered. Of the placebos of
    a `rank` it makes as many as you need (`draw_placebos`).
    A rival arm is excluded when it surely brings less than half of the treatment's effect; rivals of
    your earlier predictions of the same contrast come along.
    Predictions registered in one call are decided together (Holm), which costs less. To test a
    supported prediction again beside another rival, give `challenge`: it costs a registration, too.
    """
    predictions = list(args.predictions)
    if args.challenge is not None:
        predictions.append(restated(investigation, args.challenge))
    if not predictions:
        raise ToolError("register_predictions: give `predictions`, or a `challenge`")
    if investigation.submission is not None and investigation.rested is None:
        check_counters(investigation, predictions)
    made = register(investigation, predictions)
    return Registered(
        registrations=tuple(
            {
                "id": each.id,
                "alpha": each.alpha,
                "power": each.power,
                "rivals": [told_rival(rival) for rival in each.prediction.rivals],
                **(
                    {"seen_in_exploration": seen}
                    if (seen := seen_rates(investigation, each.prediction))
                    else {}
                ),
            }
            for each in made
        ),
        left=left_to_register(investigation, len(investigation.registrations)),
    )


def told_rival(rival: Rival) -> str:
    """Return a rival's name; of one that the harness words itself with a sample of its text."""
    last = rival.arm.edits[-1] if rival.standing and rival.arm and rival.arm.edits else None
    return (
        f"{rival.name}, such as {last.texts[0]!r}" if isinstance(last, InsertText) else rival.name
    )


@tool
def confirm(investigation: Investigation, args: Confirmation, context: Any) -> Confirmed:
    """Test registered predictions on unseen prompts. The verdict is computed; you see no prompt.

    Each registration is confirmed once. The whole batch it was registered with is decided with it, so
    `threshold` is Holm's step within the batch, not the alpha of one alone.
    """
    found = run_confirmation(investigation, args.registrations)
    return Confirmed(verdicts={name: shown(verdict) for name, verdict in found.items()})


@tool
def note(investigation: Investigation, args: Note, context: Any) -> Done:
    """Keep an observation for the report. It is printed as exploratory, with your words as they are.

    Cite what you saw as `exp:12/result/...`, down to one value; the renderer puts the stored value there.
    """
    if "note" not in investigation.unfinished:
        investigation.record("note", {"text": args.text, "turn": len(investigation.exchanges)})
    broken = resolve_prose(args.text, Sources(investigation)).faults()
    if not broken:
        return Done(done="noted")
    return Done(
        done=f"noted, but the log does not hold what it cites: {'; '.join(broken)}. The report will mark it as "
        "broken; to mend it, note it again with a path down to one value"
    )


@tool
def find_tool(investigation: Investigation, args: Search, context: Any) -> FoundTools:
    """Find a tool that is not listed here: probes, patching, steering, thoughts, screens and others.

    Lists tools, the best fit first, in a line each. Ask again with the exact name of one for its arguments,
    and call it through `call_tool`.
    """
    entries = investigation.offered()
    asked = args.words.strip().strip("`'\"").casefold()
    for entry in entries:
        if entry["name"] == asked:
            (arguments,), records = told_once([readable(entry["schema"])])
            told = {k: entry[k] for k in ("name", "description")}
            cost = takes(entry["name"], layers_of(investigation))
            told |= {"takes": cost} if cost else {}
            return FoundTools(tool={**told, "arguments": arguments, "records": records})
    wanted = words_of(args.words)

    def fit(entry: dict[str, Any]) -> int:
        # A word of the name says more than one of the description.
        named = len(wanted & words_of(entry["name"].replace("_", " ")))
        return 3 * named + len(wanted & words_of(entry["description"]))

    ranked = sorted(entries, key=fit, reverse=True)
    return FoundTools(
        tools=tuple(
            f"{each['name']}: {each['description'].splitlines()[0][:MOST_LINE]}" for each in ranked
        )
    )


def words_of(text: str) -> set[str]:
    """Return the words of a text, without their endings: `patching` finds `patch`."""
    words = "".join(sign if sign.isalnum() else " " for sign in text.casefold()).split()
    return {word[:5] for word in words if len(word) > 2}


@tool
def submit_report(investigation: Investigation, args: Submission, context: Any) -> Done:
    """End the investigation: your structured answer and your reading of each verdict.

    The findings and their wording are computed from the verdicts. "nothing" is an answer.
    """
    strange = [name for name in args.interpretations if name not in investigation.registrations]
    if strange:
        raise ToolError(
            *(unknown("registration", name, list(investigation.registrations)) for name in strange)
        )
    for direction in args.fix.directions() if args.fix else ():
        # Raises for a direction that no result of this run returned.
        investigation.folder.blobs.get(direction)
    of_heads = [each.layer for each in args.heads]
    of_fix = args.fix.layers() if args.fix else ()
    refuse_layers(investigation, (*args.layers, *of_heads, *of_fix))
    # In a reply a second report replaces the first.
    again = investigation.rested is not None and "submission" not in investigation.unfinished
    if investigation.submission is None or again:
        investigation.record("submission", args.model_dump(mode="json"), sync=True)
    return Done(done="the report is being written")


def refuse_layers(investigation: Investigation, layers: Iterable[int]) -> None:
    """Raise `ToolError` for a layer that the subject lacks; what has no inside has no layers to check."""
    count = investigation.worker.catalogue.facts["n_layers"]
    strange = [layer for layer in layers if count and not 0 <= layer < count]
    if strange:
        raise ToolError(f"layer {strange[0]}; this model has layers 0..{count - 1}")


HOUSE_TOOLS = (
    propose_hypothesis,
    register_predictions,
    confirm,
    note,
    find_tool,
    write_prompts,
    submit_report,
)
SCEPTIC_TOOLS = (propose_hypothesis, register_predictions, confirm, find_tool, rest_case)

NO_ANSWER = Submission(answer=Answer(kind="unknown", confidence=0.0))
"""What stands in a report whose investigator never submitted."""
