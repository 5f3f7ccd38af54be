"""What someone who mistyped a word may have meant. Imported when something is wrong, or for completion."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from darc.config_files import PACKAGED, read_file


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the question whether the most similar known word was meant; `otherwise` if none is similar."""
    similar = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {similar[0]!r}?" if similar else otherwise


def service_names() -> list[str]:
    """Return the names of all services, in the order of the packaged configuration."""
    settings = read_file(PACKAGED)["darc_master"]
    lists = (
        names for key, names in settings.items() if key.startswith(("services_master", "services_worker"))
    )
    return list(dict.fromkeys(name for names in lists for name in names))
