"""Findings on models of a quantity, in plain sentences."""

from bids_sexclf.words import BASELINES, GLUE, Finding, equate_p, say_interval, say_number


class QuantitySentences:
    """Sentences of the report on a target that is a quantity."""

    reference = "median_age"
    """Baseline that knows nothing: what a model must beat."""

    alike_error = "error"
    """What of a model may go with something else."""

    @property
    def alike(self):
        """People among whom associations of errors are tested, as text."""
        return f"people of one sex and like {self.noun}"

    @property
    def shuffled(self):
        """Name of the control model of shuffled values."""
        return f"a network trained on {self.values} dealt at random"

    @property
    def key(self):
        """Explanation of the main score."""
        return (
            f"Errors are in {self.unit}, between the {self.noun} that is told and the true one; "
            f"who knows nothing does best by the median {self.noun}."
        )

    @property
    def tested(self):
        """The tested effect of a region, as part of a sentence."""
        return f"the rise of the absolute error in {self.unit}"

    @property
    def short_effect(self):
        """The effect of a region, as the label of an axis."""
        return f"rise of the error ({self.unit})"

    @property
    def how_trained(self):
        """Sentence on the training."""
        return (
            f" {self.noun.capitalize()} was standardised by the training part and told by one "
            f"output, in {self.unit}."
        )

    def describe_association(self):
        """Return the words of the methods on associations: measure, cells, adjustment."""
        beside = (
            f"; the effect of {self.noun}, with which errors lean, was taken out of the ranks of "
            "both, and each flipped sum was divided by its own standard deviation [@desantis2025]"
        )
        return "error", "sex and fold", beside

    def is_above(self, score, compared):
        """Return whether a model is better than the median of the training part.

        Parameters
        ----------
        score : pandas.Series or None
            Not read.
        compared : pandas.DataFrame
            Its rows of comparisons.

        Returns
        -------
        bool or None
            None where it was not compared.
        """
        verdicts = compared.loc[compared["baseline"] == self.reference, "verdict"]
        return bool((verdicts == "above").any()) if len(verdicts) else None

    def say_hits(self, above):
        """Return a sentence on the number of models that are better than the median.

        Parameters
        ----------
        above : dict
            Model and map to what `is_above` says.

        Returns
        -------
        Finding or str
            The beginning of a sentence, to be continued on brain size, if there are any.
        """
        if all(verdict is None for verdict in above.values()):
            return Finding(
                "caution", f"No model of {self.noun} was held against the median {self.noun}."
            )
        hits = sum(map(bool, above.values()))
        if not hits:
            return Finding(
                "caution",
                f"No model is shown to tell {self.noun} better than the median {self.noun} does.",
            )
        subject = "The model tells" if len(above) == 1 else f"{hits} of {len(above)} models tell"
        return f"{subject} {self.noun} better than the median {self.noun} of the training part does"

    def say_scores(self, scores, above, level):
        """Return the finding on the error of a model.

        Parameters
        ----------
        scores : pandas.DataFrame
            Its rows of scores over the test participants, by name of the score.
        above : bool or None
            Not read.
        level : float
            Level of the intervals, in (0, 1).

        Returns
        -------
        Finding or None
        """
        if "mae" not in scores.index:
            return None
        error, explained = scores.loc["mae"], scores.loc["r2"]
        return Finding(
            "plain",
            f"It errs by {say_number(error['estimate'])} {self.unit} on average "
            f"({say_interval(error, level)}; n{GLUE}={GLUE}{int(error['n'])}, permutation "
            f"{equate_p(error['p'])}) and explains {say_number(explained['estimate'])} of the "
            f"variance of {self.noun} ({say_interval(explained, level)}).",
        )

    def say_more(self, scores, level):
        """Return the finding on the bias of a model.

        Parameters
        ----------
        scores : pandas.DataFrame
            Its rows of scores, by name of the score; ``age_bias`` is read.
        level : float

        Returns
        -------
        Finding or None
        """
        if "age_bias" not in scores.index:
            return None
        row = scores.loc["age_bias"]
        numbers = f"{say_number(row['estimate'])} {self.per_unit}, {say_interval(row, level)}"
        if row["ci_high"] < 0:
            return Finding(
                "caution",
                f"It takes {self.small} for {self.larger} and {self.large} for {self.smaller} than "
                f"they are ({numbers}): do not read its error as a property of a brain without "
                f"correcting for {self.noun}.",
            )
        if row["ci_low"] > 0:
            return Finding("caution", f"It exaggerates {self.noun} at both ends ({numbers}).")
        return Finding("plain", f"Its error is not shown to lean with {self.noun} ({numbers}).")

    def say_against(self, row, study):
        """Return the finding on a model compared with a baseline.

        Parameters
        ----------
        row : pandas.Series
            Of comparisons.
        study : settings.Study

        Returns
        -------
        Finding
        """
        names = BASELINES | {
            self.reference: f"the median {self.noun} of the training part",
            "shuffled": self.shuffled,
        }
        baseline = names.get(row["baseline"], f"the baseline {row['baseline']}")
        numbers = (
            f"difference of mean errors {say_number(row['difference'])} {self.unit}, "
            f"{say_interval(row, study.interval_level)}, {equate_p(row['p'])}"
        )
        texts = {
            "above": ("good", "It errs less than"),
            "not above": ("caution", "It is not shown to err less than"),
            "below": ("caution", "It errs more than"),
        }
        if row["verdict"] not in texts:
            return Finding("caution", f"Too few participants to hold it against {baseline}.")
        tone, start = texts[row["verdict"]]
        return Finding(tone, f"{start} {baseline} ({numbers}).")

    def say_brain_size(self, score, study):
        """Return None: for a quantity, comparisons report brain size."""
        return None

    def say_effect(self, mean):
        """Describe the effect of hiding a region, as the end of a sentence."""
        change = "raises" if mean >= 0 else "lowers"
        return f"{change} the absolute error by {say_number(abs(mean), 3)} {self.unit}"
