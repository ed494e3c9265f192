"""Read who may be studied: what participants.tsv tells, and what the study's target needs of it."""

from bids_sexclf import targets
from bids_sexclf.people import read_column, read_participants, without_years


def read_people(desk):
    """Read everyone's sex, age, family and site, and what the study learns.

    Parameters
    ----------
    desk : base.Desk

    Returns
    -------
    people : pandas.DataFrame
        As `people.read_participants` returns it, with the column of the study's target.
    faults : dict of str to list of str
        Participant to what is wrong with its row.

    Raises
    ------
    InputError
        If participants.tsv cannot be read, or lacks a column.
    """
    people, faults = read_participants(desk.bids_dir, coding=desk.study)
    if needs_years(desk.study):
        faults = {person: [why] for person, why in without_years(people).items()} | faults
    return _add_target(desk, people, faults)


def needs_years(study):
    """Say whether a study reads ages in years, so that an age band is not enough."""
    return "age" in study.residualize or targets.find(study.target).column == "age_years"


def _add_target(desk, people, faults):
    """Add the column that a study learns, where it is not one of those that every study reads."""
    goal = targets.find(desk.study.target)
    if goal.column in people:
        return people, faults
    cells = read_column(desk.bids_dir, goal.column)
    people = people.assign(**{goal.column: goal.decode(people["participant_id"].map(cells))})
    unknown = goal.find_unknown(people)
    return people, faults | {key: [*faults.get(key, []), why] for key, why in unknown.items()}
