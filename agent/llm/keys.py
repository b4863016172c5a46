"""Which key may be sent where: a provider's own key goes to that provider and to no stranger's server."""

from __future__ import annotations

import ipaddress
import os
from typing import Literal
from urllib.parse import urlsplit

from agent.llm.faults import LLMError

Owner = Literal["anthropic", "openai"]
OWN_ADDRESS: dict[Owner, str] = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
}
KEY_OF: dict[Owner, str] = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
ADDRESS_OF: dict[Owner, str] = {"anthropic": "ANTHROPIC_BASE_URL", "openai": "OPENAI_BASE_URL"}


def address_of(owner: Owner, base_url: str | None) -> str:
    """Return where requests go: as given, as the environment says, or to the provider itself."""
    return base_url or os.environ.get(ADDRESS_OF[owner]) or OWN_ADDRESS[owner]


def check_address(base_url: str | None) -> None:
    """Raise `LLMError` for what is no address of a server; a port that is none counts as that."""
    if base_url is None:
        return
    try:
        parts = urlsplit(base_url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or any(mark.isspace() for mark in base_url):
        raise LLMError(
            "invalid", f"{base_url!r} is no address of a server; give one as http://HOST:PORT/v1"
        )


def is_own(owner: Owner, address: str) -> bool:
    """Say whether an address is the provider's own host."""
    host, own = host_of(address), host_of(OWN_ADDRESS[owner])
    return host == own or host.endswith(f".{own}")


def usual_key(owner: Owner, base_url: str | None) -> str | None:
    """Return the key in the provider's usual variable, or None where it is not set or may not be sent."""
    return os.environ.get(KEY_OF[owner]) or None if may_have_key(owner, base_url) else None


def may_have_key(owner: Owner, base_url: str | None) -> bool:
    """Say whether the provider's own key may go to a base URL.

    It may to the provider itself, to this machine, and to the address that stands in the environment
    beside it. A base URL from a command line or a case file is otherwise somebody else's.
    """
    if base_url is None or base_url == os.environ.get(ADDRESS_OF[owner]):
        return True
    encrypted = base_url.casefold().startswith("https://")
    return is_loopback(base_url) or (encrypted and is_own(owner, base_url))


def is_loopback(address: str) -> bool:
    """Say whether an address is on this machine."""
    host = host_of(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_of(address: str) -> str:
    """Return the host of an address; of what is no plain address, nothing."""
    if "\\" in address or "@" in address:
        # Where the host begins behind these is read differently by different libraries.
        return ""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def named_key(owner: Owner, base_url: str | None, variable: str | None) -> str | None:
    """Return the key in a variable that the user named, None without one; raise `LLMError` where it cannot be."""
    if variable is None:
        return None
    if variable in KEY_OF.values() and not (
        variable == KEY_OF[owner] and may_have_key(owner, base_url)
    ):
        raise LLMError(
            "auth",
            f"the key in {variable} is not sent to {base_url or address_of(owner, None)}; "
            "put that server's own key into another variable and name it",
        )
    key = os.environ.get(variable)
    if not key:
        raise LLMError(
            "auth", f"the environment variable {variable} is not set; it was to hold the key"
        )
    return key
