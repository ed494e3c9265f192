"""Findings on models of two classes, in plain sentences."""

from bids_sexclf.words import (
    BASELINES,
    CHANCE_P,
    GLUE,
    Finding,
    equate_p,
    say_interval,
    say_number,
)


class ClassSentences:
    """Sentences of the report on a target of two classes."""

    alike_error = "evidence"
    """What of a model may go with something else."""

    @property
    def alike(self):
        """People among whom associations of evidence are tested, as text."""
        return f"people of one {self.noun}"

    @property
    def shuffled(self):
        """Name of the control model of shuffled labels."""
        return "a network trained on shuffled labels"

    @property
    def tested(self):
        """The tested effect of a region, as part of a sentence."""
        return f"the fall of the probability of {self.correct}"

    @property
    def short_effect(self):
        """The effect of a region, as the label of an axis."""
        return f"fall of P({self.correct.removeprefix('the ')})"

    @property
    def how_trained(self):
        """Sentence on the training; empty for classes."""
        return ""

    def describe_association(self):
        """Return the words of the methods on associations: measure, cells, adjustment."""
        return "evidence", f"{self.noun} and fold", ""

    def is_above(self, score, compared):
        """Return whether a model is better than chance.

        Parameters
        ----------
        score : pandas.Series or None
            Its AUC, a row of scores.
        compared : pandas.DataFrame
            Its rows of comparisons; a verdict of chance there settles it.

        Returns
        -------
        bool or None
            None where the tables do not show it.
        """
        if (compared["verdict"] == "chance").any():
            return False
        if score is None or score["p"] != score["p"] or score["estimate"] != score["estimate"]:
            return None
        return bool(score["p"] < CHANCE_P)

    def say_hits(self, above):
        """Return a sentence on the number of models that are better than chance.

        Parameters
        ----------
        above : dict
            Model and map to what `is_above` says.

        Returns
        -------
        Finding or str
            The beginning of a sentence, to be continued on brain size, if there are any.
        """
        if not above:
            return Finding("caution", "No model was fitted: no model can be judged.")
        hits, total = sum(map(bool, above.values())), len(above)
        if not hits:
            none = "The network is not" if total == 1 else f"None of {total} models is"
            return Finding("caution", f"{none} shown to tell {self.pair}.")
        subject = "The network" if total == 1 else f"{hits} of {total} models"
        return f"{subject} {'tells' if hits == 1 else 'tell'} {self.pair} better than chance"

    def say_scores(self, scores, above, level):
        """Return the finding on whether a model is better than chance.

        Parameters
        ----------
        scores : pandas.DataFrame
            Its rows of scores over the test participants, by name of the score.
        above : bool or None
            From `is_above`.
        level : float
            Level of the intervals, in (0, 1).

        Returns
        -------
        Finding
        """
        if "auc" not in scores.index:
            return Finding("caution", "It has no score: no test participant was predicted.")
        score = scores.loc["auc"]
        numbers = (
            f"AUC {say_number(score['estimate'])} ({say_interval(score, level)}), "
            f"n{GLUE}={GLUE}{int(score['n'])}, permutation {equate_p(score['p'])}"
        )
        if above is None:
            return Finding(
                "caution", f"Too few participants to say whether it beats chance: {numbers}."
            )
        if above:
            return Finding("good", f"It tells {self.apart} apart better than chance: {numbers}.")
        return Finding(
            "caution",
            f"It is at chance: {numbers}. It is not shown to tell {self.apart} apart, so nothing "
            "else may be concluded from it.",
        )

    def say_more(self, scores, level):
        """Return further findings on scores: None for classes."""
        return None

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
        names = BASELINES | {"shuffled": self.shuffled}
        baseline = names.get(row["baseline"], f"the baseline {row['baseline']}")
        interval = say_interval(row, study.interval_level)
        difference = f"AUC difference {say_number(row['difference'])}"
        numbers = f"{difference}, {interval}, {equate_p(row['p'])}"
        if row["verdict"] == "above":
            return Finding("good", f"It does better than {baseline} ({numbers}).")
        if row["verdict"] == "chance":
            return Finding("plain", f"At chance itself, it cannot be held against {baseline}.")
        if row["verdict"] not in ("not above", "below"):
            return Finding("caution", f"Too few participants to hold it against {baseline}.")
        if row["baseline"] == "shuffled":
            return Finding(
                "caution",
                f"It is not shown to beat {baseline}, which can know nothing ({numbers}): do not "
                "rely on its score.",
            )
        verb = "does worse than" if row["verdict"] == "below" else "is not shown to do better than"
        return Finding("caution", f"It {verb} {baseline} ({numbers}).")

    def say_brain_size(self, score, study):
        """Return the finding on brain size alone, if no model is shown to add to it.

        Parameters
        ----------
        score : pandas.Series
            The AUC of brain size.
        study : settings.Study

        Returns
        -------
        Finding
        """
        return Finding(
            "caution",
            f"Brain size alone tells {self.apart} apart with AUC {say_number(score['estimate'])} "
            f"({say_interval(score, study.interval_level)}), and no network is shown to add to it."
            f"{advise_on_size(study)}",
        )

    def say_effect(self, mean):
        """Describe the effect of hiding a region, as the end of a sentence."""
        change = "lowers" if mean >= 0 else "raises"
        return f"{change} the probability of {self.correct} by {say_number(abs(mean), 3)}"


def advise_on_size(study):
    """Return advice on a further study, where brain size may explain a score.

    Parameters
    ----------
    study : settings.Study
        Nothing that it does already is advised.

    Returns
    -------
    str
        A sentence that begins with a space, or nothing.

    Examples
    --------
    >>> from bids_sexclf.settings import Study
    >>> advise_on_size(Study(match="brain_size", residualize=["age"]))
    ' A study with residualize = ["age", "brain_size"] tells more.'
    """
    ways = [] if study.match == "brain_size" else ['match = "brain_size"']
    if "brain_size" not in study.residualize:
        names = ", ".join(f'"{name}"' for name in (*study.residualize, "brain_size"))
        ways.append(f"residualize = [{names}]")
    return f" A study with {' or '.join(ways)} tells more." if ways else ""
