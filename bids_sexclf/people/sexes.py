"""Read the sex in a table of people, by its spelling or by the meaning of its code."""

import re

from bids_sexclf.cells import identifier, plain_name
from bids_sexclf.errors import InputError
from bids_sexclf.people.reasons import show_cell

SEX = {
    **dict.fromkeys(("f", "female", "w", "woman", "girl"), "female"),
    **dict.fromkeys(("m", "male", "man", "boy"), "male"),
}
"""Evident spellings of the sex, in lower case."""

WAY = (
    'Levels in participants.json ({"sex": {"Levels": {"1": "male", "2": "female"}}}), or '
    "--sex-codes 1=male 2=female"
)


def read_sexes(raw, source, about, coding, path, labelled):
    """Return the sex of each row, and the faults of each row."""
    codes = {identifier(code): sex for code, sex in coding.sex_of_code.items()}
    texts = _texts(raw, source["sex"])
    meaning = _meanings(about.get(plain_name(source["sex"] or ""), {}), codes, path)
    sexes = [_sex(text, meaning) for text in texts]
    values = {text for text in texts if text is not None}
    if labelled and values and not any(sexes) and all(map(str.isdigit, values)):
        raise InputError(
            f"Found {path} with codes {', '.join(sorted(values)[:5])} in column {source['sex']}, "
            "whose meaning is unknown; needed female and male. Define each code by "
            f"{WAY}."
        )
    faults = [
        []
        if sex or not labelled
        else [f"sex is {show_cell(text)}, needed female or male" + (f" ({WAY})" if text else "")]
        for sex, text in zip(sexes, texts, strict=True)
    ]
    gender_columns = [name for name in raw if plain_name(name) == "gender"]
    if plain_name(source["sex"] or "") == "sex" and gender_columns:
        meaning = _meanings(about.get("gender", {}), codes, path)
        genders = [_sex(text, meaning) for text in _texts(raw, gender_columns[0])]
        for row, (sex, gender) in enumerate(zip(sexes, genders, strict=True)):
            if gender and gender != sex:
                faults[row].append(f"sex {sex} and gender {gender} contradict each other")
    return sexes, faults


def _texts(raw, column):
    """Return the cells of a column as text, None where unknown."""
    if column is None:
        return [None] * len(raw)
    return [None if cell != cell or cell is None else identifier(str(cell)) for cell in raw[column]]


def _meanings(about, codes, path):
    """Return the sex that each code means, by the settings or by Levels in participants.json."""
    levels = about.get("Levels")
    meanings = dict(codes)
    for code, level in levels.items() if isinstance(levels, dict) and not codes else ():
        words = level.get("Description") if isinstance(level, dict) else level
        meanings[identifier(code)] = _evident(str(words))
    for code, sex in meanings.items():
        if sex and SEX.get(code.casefold(), sex) != sex:
            raise InputError(
                f"Found {code!r} of {path} explained as {sex}, needed its evident meaning. Correct "
                "Levels in participants.json, or --sex-codes."
            )
    return meanings


def _evident(words):
    """Return the sex named in a description; None if it names none or both."""
    words = words.strip().casefold()
    named = {SEX[word] for word in re.findall(r"[^\W\d_]{2,}", words) if word in SEX}
    return SEX.get(words) or (named.pop() if len(named) == 1 else None)


def _sex(text, meaning):
    """Return the sex in a cell, by its spelling or by the meaning of its code."""
    if text is None:
        return None
    return SEX.get(text.casefold()) or meaning.get(text)
