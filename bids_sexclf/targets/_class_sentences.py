"""Say in plain sentences how well models tell two classes apart, and no more."""

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
        """Among whom it is asked what evidence goes with."""
        return f"people of one {self.what}"

    @property
    def shuffled(self):
        """Name the control whose labels are dealt at random."""
        return "a network trained on shuffled labels"

    @property
    def tested(self):
        """What is tested of a region, within a sentence."""
        return f"the fall of the probability of {self.correct}"

    @property
    def short_effect(self):
        """What a region is shown by, on the axis of a figure."""
        return f"fall of P({self.correct.removeprefix('the ')})"

    @property
    def how_trained(self):
        """Sentence on the training; nothing for classes."""
        return ""

    def describe_association(self):
        """Say beside what associations were asked: what, and what else was done."""
        return "evidence", f"{self.what} and fold", ""

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
            None where the tables cannot tell.
        """
        if (compared["verdict"] == "chance").any():
            return False
        if score is None or score["p"] != score["p"] or score["estimate"] != score["estimate"]:
            return None
        return bool(score["p"] < CHANCE_P)

    def say_hits(self, above):
        """Say in one sentence how many models tell the classes apart.

        Parameters
        ----------
        above : dict
            Model and map to what `is_above` says.

        Returns
        -------
        Finding or str
            The beginning of a sentence where there are some, which goes on with brain size.
        """
        if not above:
            return Finding("caution", "No model was fitted: no model can be judged.")
        hits, total = sum(map(bool, above.values())), len(above)
        if not hits:
            none = "The network is not" if total == 1 else f"None of {total} models is"
            return Finding("caution", f"{none} shown to tell {self.pair}.")
        some = "The network" if total == 1 else f"{hits} of {total} models"
        return f"{some} {'tells' if hits == 1 else 'tell'} {self.pair} better than chance"

    def say_scores(self, scores, above, level):
        """Return whether a model tells the classes apart.

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
        """Describe what else scores show: nothing for classes."""
        return None

    def say_against(self, row, study):
        """Describe how a model does against a baseline.

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
        what = "does worse than" if row["verdict"] == "below" else "is not shown to do better than"
        return Finding("caution", f"It {what} {baseline} ({numbers}).")

    def say_brain_size(self, score, study):
        """Describe what brain size alone tells, where no model is shown to add to it.

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
        """Describe what hiding a region does to the answer, as the end of a sentence."""
        change = "lowers" if mean >= 0 else "raises"
        return f"{change} the probability of {self.correct} by {say_number(abs(mean), 3)}"


def advise_on_size(study):
    """Return which study would tell more where brain size may explain a score.

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
