"""What every set of choices is: a frozen, validated record whose fields make flags and keys."""

from pydantic import BaseModel, ConfigDict, Field


def choice(default, description, *flags, minimum=None, maximum=None):
    """Declare one choice: its default, its help, its flags beside ``--name``, its bounds."""
    return Field(
        default=default,
        description=description,
        ge=minimum,
        le=maximum,
        json_schema_extra={"flags": list(flags)} if flags else None,
    )


class Record(BaseModel):
    """A frozen set of choices that refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def provenance(self, names=None):
        """Give the choices as plain JSON values.

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
