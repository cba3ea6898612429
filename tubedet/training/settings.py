"""A recipe as text: what `--list-settings` prints, `--set` changes and config.json stores."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from inspect import getdoc
from types import UnionType
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from tubedet.errors import UsageError
from tubedet.training.recipes import LoopRecipe

AnyRecipe = TypeVar("AnyRecipe", bound=LoopRecipe)


class Setting(NamedTuple):
    """One line of a printed recipe."""

    name: str
    value: str
    meaning: str


def explain_settings(recipe: LoopRecipe) -> list[Setting]:
    """All settings of a recipe with what its docstring, or that of the class before, says of them.

    What a later class says of a setting takes the place of what an earlier one says.
    """
    meanings: dict[str, str] = {}
    for kind in reversed(type(recipe).__mro__[:-1]):
        entries = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", getdoc(kind) or "", re.MULTILINE)
        meanings |= {name: " ".join(meaning.split()) for name, meaning in entries}
    return [
        Setting(field.name, _written(getattr(recipe, field.name)), meanings[field.name])
        for field in fields(recipe)
    ]


def apply_settings(recipe: AnyRecipe, settings: Sequence[str]) -> AnyRecipe:
    """A recipe with `key=value` settings applied; "none" where a setting may be absent.

    Raises:
        UsageError: unknown key, or a value that is not of the key's type or out of its range.
    """
    hints = get_type_hints(type(recipe))
    kinds = {field.name: hints[field.name] for field in fields(recipe)}
    changes: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or key not in kinds:
            raise UsageError(f"--set {setting}: expected key=value with one of {', '.join(kinds)}")
        try:
            changes[key] = _parsed(text, kinds[key])
        except (ValueError, KeyError) as error:
            shown = _written(getattr(recipe, key))
            raise UsageError(f"--set {setting}: expected a value such as {shown}") from error
    return replace(recipe, **changes)


def stored_recipe(recipe: AnyRecipe, stored: Mapping[str, Any]) -> AnyRecipe:
    """The recipe of a run, as `LoopRecipe.to_dict` gave it.

    Args:
        recipe: the one of that name.
        stored: as JSON gives it back.

    Raises:
        UsageError: if these are not that recipe's settings: another version wrote them.
    """
    known = recipe.to_dict().keys()
    if odd := sorted(known ^ stored.keys()):
        raise UsageError(
            f"recipe {recipe.name}: expected the settings of this version of tubedet, found others "
            f"({', '.join(odd)}); begin a new run, with --init RUN/best.safetensors"
        )
    settings = {name: value for name, value in stored.items() if name != "task"}
    return apply_settings(recipe, [f"{name}={_written(value)}" for name, value in settings.items()])


def _written(value: object) -> str:
    """The text that `_parsed` makes the value of."""
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _parsed(text: str, kind: Any) -> Any:
    if isinstance(kind, UnionType):
        kind = get_args(kind)[0]
        return None if text == "none" else _parsed(text, kind)
    if get_origin(kind) is tuple:
        return tuple(_parsed(part, get_args(kind)[0]) for part in text.split(","))
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(text)
        return text
    if kind is bool:
        return {"true": True, "false": False}[text]
    return kind(text)
