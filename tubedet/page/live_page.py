"""The page of a stream while it runs."""

from collections.abc import Mapping
from typing import Any

from tubedet.page.templates import environment


def live_html(title: str, status: Mapping[str, Any], nonce: str) -> str:
    """The page: pictures from `picture` beside it, and a status that it renews from `status`.

    Args:
        title: of the page.
        status: the status as it is now, as `status` gives it: see `LiveStatus.to_json`.
        nonce: of the style sheet and the script, for the page's content security policy.
    """
    return (
        environment().get_template("live.html.j2").render(title=title, status=status, nonce=nonce)
    )
