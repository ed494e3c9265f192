"""Choices about participants.tsv: the codes of the sexes."""

from pydantic import field_validator

from bids_sexclf.settings.records import Record, choice


class People(Record):
    """Reading participants.tsv: choices of both levels."""

    sex_column: str | None = choice(
        None, "Column of participants.tsv with the sex; sex or gender by default."
    )
    sex_codes: list[str] = choice(
        [],
        "Meaning of the codes in that column, as CODE=female or CODE=male (1=male 2=female); "
        "by default the Levels of participants.json.",
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
