"""Which engine answers for a model, and which may stand in one contrast.

Two engines differ in precision, in chat templates and in how they draw: a difference between a local
model and the same model behind a server is no finding.
"""

from __future__ import annotations

from agent.case import Case, CaseError
from agent.llm.providers import PROVIDERS, address_for, is_model
from tools.locator import ModelLocator

API = "api:"
LOCAL_FIELDS = (
    "adapter", "adapter_scale", "revision", "dtype", "device", "chat_template_arguments", "digest",
)  # fmt: skip
API_FIELDS = ("base_url", "key_env", "thinking", "parallel")


def api_name(locator: ModelLocator) -> str | None:
    """Return `provider/model` of a model behind an API, None for any other."""
    return locator.model.removeprefix(API) if locator.model.startswith(API) else None


def engine_of(locator: ModelLocator) -> tuple[str, str]:
    """Return the provider and the address of a model behind an API, or that it runs here."""
    name = api_name(locator)
    if name is None:
        return ("here", "")
    return name.partition("/")[0], address_for(name, locator.base_url).rstrip("/")


def check_engines(case: Case) -> None:
    """Raise `CaseError` in one line for models and an environment that do not go together."""
    check_locator("subject", case.subject)
    if case.environment is not None and api_name(case.subject) is None:
        raise CaseError(
            "a scripted [environment] needs a subject behind an API: serve the model with vLLM and name it "
            "api:openai-chat/MODEL, with its base_url"
        )
    if case.reference is None:
        return
    check_locator("reference", case.reference)
    if engine_of(case.subject) != engine_of(case.reference):
        raise CaseError(
            "subject and reference would be run by two engines, and a difference between engines is no finding: "
            "give both locally, or both behind one provider and base_url, or --reference none"
        )


def check_locator(role: str, locator: ModelLocator) -> None:
    """Raise `CaseError` for a name that no provider has, and for fields that its engine has no use for."""
    if not locator.model or locator.adapter == "":
        what = "adapter" if locator.model else "model"
        raise CaseError(f"{role}: the name of the {what} is empty; give a folder or a hub id")
    name = api_name(locator)
    if name is not None and not is_model(name, PROVIDERS):
        known = ", ".join(f"{API}{provider}/MODEL" for provider in PROVIDERS)
        raise CaseError(f"{role}: {locator.model!r} names no model behind an API; known: {known}")
    unused = API_FIELDS if name is None else LOCAL_FIELDS
    for field in unused:
        if getattr(locator, field) != ModelLocator.model_fields[field].default:
            where = "runs here" if name is None else "is behind an API"
            hint = "; switch thinking with `thinking`" if field == "chat_template_arguments" else ""
            raise CaseError(
                f"{role}: {locator.model!r} {where}, so `{field}` means nothing; leave it out{hint}"
            )
