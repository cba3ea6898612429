"""The Jinja2 templates in `files/` with the style sheets and scripts that they take in.

Scripts are plain functions of one scope: files are put one behind the other, in the given order.
"""

import json
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@cache
def environment() -> Environment:
    """What renders our templates: text is escaped, an unknown name is an error."""
    loaded = Environment(
        loader=PackageLoader("tubedet.page", "files"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    loaded.globals["files"] = _files
    loaded.filters |= {"as_json": as_json, "in_script": in_script}
    return loaded


def as_json(value: object) -> Markup:
    """A value as `in_script` JSON on one line."""
    return in_script(json.dumps(value, separators=(",", ":")))


def in_script(text: str) -> Markup:
    """JSON that can stand in a script element, whatever texts it holds.

    A script element ends at "</script", and "<!--" changes how it is read: both begin with "<",
    which in JSON stands in strings alone, where an escape means the same.
    """
    return Markup(text.replace("<", "\\u003c"))


def _files(*names: str) -> Markup:
    """The content of files of ours, one behind the other."""
    loader = environment().loader
    assert loader is not None
    return Markup("".join(loader.get_source(environment(), name)[0] for name in names))
