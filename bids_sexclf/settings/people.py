"""Choices about participants.tsv: the codes of the sexes."""

from pydantic import field_validator

from bids_sexclf.settings.records import Record, choice


def spread_people(values):
    """Write the table ``[people]`` of a file as the choices that it stands for.

    Parameters
    ----------
    values : dict
        Of a TOML file. ``people = {sex = {column = "gender_code", female = "2", male = "1"}}``
        names the column of the sex and its codes, one or a list of several each.

    Returns
    -------
    dict
        The same with ``sex_column`` and ``sex_codes``; what the table holds beside stays under its
        own name (``people.name``), and is refused like other unknown names.

    Examples
    --------
    >>> spread_people({"people": {"sex": {"column": "g", "female": "2", "male": [1, "m"]}}})
    {'sex_column': 'g', 'sex_codes': ['2=female', '1=male', 'm=male']}
    """
    table = values.get("people")
    if not isinstance(table, dict):
        return values
    rest = {key: value for key, value in values.items() if key != "people"}
    sex = table.get("sex", {})
    sex = dict(sex) if isinstance(sex, dict) else {"column": sex}
    column = sex.pop("column", None)
    codes = [
        f"{code}={name}"
        for name in ("female", "male")
        for own in [sex.pop(name, [])]
        for code in (own if isinstance(own, list) else [own])
    ]
    rest |= {"sex_column": column} if column is not None else {}
    rest |= {"sex_codes": codes} if codes else {}
    rest |= {f"people.{key}": value for key, value in table.items() if key != "sex"}
    return rest | {f"people.sex.{key}": value for key, value in sex.items()}


class People(Record):
    """Reading participants.tsv: choices of both levels."""

    sex_column: str | None = choice(
        None,
        "Column of participants.tsv with the sex; sex, gender, sex_code or gender_code by default.",
    )
    sex_codes: list[str] = choice(
        [],
        "Meaning of the codes in that column, as CODE=female or CODE=male (1=male 2=female); "
        "by default the Levels of participants.json. A file may name both at once: people = "
        '{sex = {column = "gender_code", female = "2", male = "1"}}.',
    )

    @field_validator("sex_codes")
    @classmethod
    def _with_meaning(cls, codes_given):
        codes = [entry.partition("=") for entry in codes_given]
        for code, _, sex in codes:
            if not code.strip() or sex.strip() not in ("female", "male"):
                raise ValueError("needs CODE=female or CODE=male, such as 1=male 2=female")
        if len({code.strip() for code, _, _ in codes}) < len(codes):
            raise ValueError("names a code twice, needed each once")
        return codes_given

    @property
    def sex_of_code(self):
        """Map of each code to ``female`` or ``male``."""
        parts = (entry.partition("=") for entry in self.sex_codes)
        return {code.strip(): sex.strip() for code, _, sex in parts}
