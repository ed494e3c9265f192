"""Base of all choices: a frozen, validated record whose fields define flags and keys."""

from pathlib import Path
from typing import Annotated, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, field_validator


def choice(default, description, *flags, minimum=None, maximum=None, once=False):
    """Declare one choice.

    Parameters
    ----------
    default : object
    description : str
        Its help.
    *flags : str
        Its flags beside ``--name``.
    minimum, maximum : float, optional
        Its bounds. Every number has an upper bound too: beyond it memory or time would not do.
    once : bool
        Whether an entry of a list may stand there only once.
    """
    return Field(
        default=default,
        description=description,
        ge=minimum,
        le=maximum,
        json_schema_extra={"flags": list(flags), "once": once},
    )


class Record(BaseModel):
    """A frozen set of choices that refuses unknown names and values of a wrong type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _from_file(cls, value, info):
        """Convert text and lists to types that TOML lacks: paths and tuples."""
        kind = plain_type(cls.model_fields[info.field_name].annotation)
        letters = "" if get_origin(kind) is dict else _letters(value)  # JSON may have lines
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in letters):
            raise ValueError("needed text without control characters")
        if kind is Path and isinstance(value, str):
            if not value:
                raise ValueError("needed a path")
            return Path(value)
        return tuple(value) if get_origin(kind) is tuple and isinstance(value, list) else value

    @field_validator("*")
    @classmethod
    def _each_once(cls, value, info):
        if cls.model_fields[info.field_name].json_schema_extra["once"] and value:
            twice = [entry for place, entry in enumerate(value) if entry in value[:place]]
            if twice:
                repeated = ", ".join(map(str, dict.fromkeys(twice)))
                raise ValueError(f"needed each entry once, {repeated} stands there again")
        return value

    def provenance(self, names=None):
        """Return the choices as plain JSON values.

        Parameters
        ----------
        names : iterable of str, optional
            Only these fields.

        Returns
        -------
        dict
        """
        whole = self.model_dump(mode="json")
        return whole if names is None else {name: whole[name] for name in names}


def _letters(value):
    """Join the text of a value and of its entries."""
    if isinstance(value, (list, tuple)):
        return "".join(_letters(entry) for entry in value if isinstance(entry, str))
    return value if isinstance(value, str) else ""


def plain_type(annotation):
    """Return a type without its ``| None`` and without its bounds.

    Parameters
    ----------
    annotation : type

    Returns
    -------
    type

    Examples
    --------
    >>> plain_type(int | None), plain_type(list[str] | None)
    (<class 'int'>, list[str])
    """
    if get_origin(annotation) is Annotated:
        return plain_type(get_args(annotation)[0])
    members = [kind for kind in get_args(annotation) if kind is not type(None)]
    return members[0] if members and type(None) in get_args(annotation) else annotation


def read_word(annotation, word):
    """Convert one word of the command line to the type of a field, or leave it as text.

    Parameters
    ----------
    annotation : type
        Of the field.
    word : str

    Returns
    -------
    int, float or str

    Examples
    --------
    >>> read_word(int, "5"), read_word(list[float], "5"), read_word(int, "5.5")
    (5, 5.0, '5.5')
    """
    kind = plain_type(annotation)
    if get_origin(kind) in (list, tuple):
        kind = plain_type(get_args(kind)[0])
    if kind not in (int, float) or "_" in word:
        return word
    try:
        return kind(word)
    except ValueError:
        return word


def say_allowed(schema, entry=False):
    """Describe the allowed values of a field.

    Parameters
    ----------
    schema : dict
        Its JSON schema.
    entry : bool
        Whether an entry of its list is meant.

    Returns
    -------
    str

    Examples
    --------
    >>> say_allowed({"type": "integer", "minimum": 1, "maximum": 9})
    'a whole number from 1 to 9'
    """
    schema = next((one for one in schema.get("anyOf", ()) if one != {"type": "null"}), schema)
    if "enum" in schema or "const" in schema:
        names = schema.get("enum", [schema.get("const")])
        return f"one of {', '.join(map(str, names))}" if len(names) > 1 else str(names[0])
    if entry and {"items", "prefixItems"} & set(schema):
        return say_allowed(schema.get("items") or schema["prefixItems"][0])
    if "prefixItems" in schema:
        return f"a list of {len(schema['prefixItems'])}: {say_allowed(schema['prefixItems'][0])}"
    kind = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "array": "a list",
        "object": "a table",
    }.get(schema.get("type"), "a path" if schema.get("format") == "path" else "text")
    if schema.get("type") == "array":
        return f"{kind}, each {say_allowed(schema['items'])}"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{kind} from {low} to {high}"
    return f"{kind} of at least {low}" if low is not None else kind
