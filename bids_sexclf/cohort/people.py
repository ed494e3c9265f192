"""Read participants.tsv for a study, with the column of its target."""

from bids_sexclf import targets
from bids_sexclf.people import read_column, read_participants, without_years


def read_people(desk):
    """Read sex, age, family, site and target of all participants.

    Parameters
    ----------
    desk : base.Desk

    Returns
    -------
    people : pandas.DataFrame
        As `people.read_participants` returns it, with the column of the study's target.
    faults : dict of str to list of str
        Participant to the faults of its row.

    Raises
    ------
    InputError
        If participants.tsv cannot be read, or lacks a column.
    """
    people, faults = read_participants(desk.bids_dir, coding=desk.study)
    if needs_years(desk.study):
        faults = {person: [reason] for person, reason in without_years(people).items()} | faults
    return _add_target(desk, people, faults)


def needs_years(study):
    """Return whether a study needs ages in years, for which an age band is not enough."""
    return "age" in study.residualize or targets.find(study.target).column == "age_years"


def _add_target(desk, people, faults):
    """Add the column of the target, if it is not one of the standard columns."""
    goal = targets.find(desk.study.target)
    if goal.column in people:
        return people, faults
    cells = read_column(desk.bids_dir, goal.column)
    people = people.assign(**{goal.column: goal.decode(people["participant_id"].map(cells))})
    unknown = goal.find_unknown(people)
    return people, faults | {key: [*faults.get(key, []), reason] for key, reason in unknown.items()}
