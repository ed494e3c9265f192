"""Sex as participants.tsv records it: evidence is the logit for male."""

from bids_sexclf.targets import TwoClasses

TARGET = TwoClasses(
    name="sex",
    column="sex",
    title="Where, and how surely, female and male brains differ",
    topic="how female and male brains differ",
    noun="sex",
    by_region=True,
    classes=("female", "male"),
    plurals=("females", "males"),
    both="both sexes",
    apart="the sexes",
    pair="female from male brains",
    correct="the correct sex",
    key=(
        "AUC: how often the network ranks a randomly chosen male brain as more male than a "
        "randomly chosen female one; 0.5 is guessing, 1 is perfect."
    ),
    limits=(
        (
            "Association, not cause.",
            "A network that tells the sexes apart shows that the maps differ, not why: biology, "
            "life, body size and measurement may all play a part.",
        ),
        (
            "Sex as recorded.",
            "Sex is what participants.tsv says, in two classes. Nothing is said about gender, or "
            "about people who fit neither class.",
        ),
        (
            "Groups, not persons.",
            "Female and male distributions overlap. A score describes this cohort, not what any "
            "one brain is.",
        ),
    ),
)
