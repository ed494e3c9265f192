"""Age in years: evidence is the age that a model predicts."""

from bids_sexclf.targets import Quantity

TARGET = Quantity(
    name="age",
    column="age_years",
    title="How surely brains tell their age",
    topic="how old brains look",
    noun="age",
    unit="years",
    per_unit="years per year of age",
    small="the young",
    large="the old",
    smaller="younger",
    larger="older",
    lowest=0,
    values="ages",
    one_value="one age",
    baselines={"age_only": "median_age"},
    limits=(
        (
            "Association, not cause.",
            "A model that tells age shows that the maps differ with it, not why: biology, illness, "
            "generation and measurement may all play a part.",
        ),
        (
            "Age as recorded.",
            "Age is what participants.tsv says. An error is no age of a brain: it leans with age, "
            "and holds what the model does not know.",
        ),
    ),
)
