"""The table of stages, walked as a whole."""

from itertools import product

import pytest

from chatserver.values.stages import NOT_LOGGED_IN, SECRET, STAGES, Event, IllegalTransition, Stage, next_stage


@pytest.mark.parametrize(("stage", "event"), list(product(Stage, Event)))
def test_every_pair_is_decided(stage: Stage, event: Event) -> None:
    """An event either leads from a stage to one next stage, or is illegal there, which the message says."""
    if (stage, event) in STAGES:
        assert next_stage(stage, event) is STAGES[stage, event]
    else:
        with pytest.raises(IllegalTransition, match=f"^{event.name} at {stage.name}$"):
            next_stage(stage, event)


def test_every_stage_is_reachable() -> None:
    """From NEW, events lead to every stage; every event is of use somewhere."""
    reached = {Stage.NEW}
    for _ in Stage:
        reached |= {after for (before, _), after in STAGES.items() if before in reached}
    assert reached == set(Stage)
    assert {event for _, event in STAGES} == set(Event)


def test_the_end_is_final() -> None:
    """Every stage can end, and nothing leads out of ENDING."""
    assert all(next_stage(stage, Event.ENDED) is Stage.ENDING for stage in Stage)
    assert {after for (before, _), after in STAGES.items() if before is Stage.ENDING} == {Stage.ENDING}


def test_one_way_in() -> None:
    """Only a login that was being checked leads to IN, and only the end leads out of it."""
    assert [pair for pair, after in STAGES.items() if after is Stage.IN] == [(Stage.BUSY, Event.ADMITTED)]
    assert [event for stage, event in STAGES if stage is Stage.IN] == [Event.ENDED]
    assert set(Stage) - NOT_LOGGED_IN == {Stage.IN, Stage.ENDING}


def test_a_check_that_fails_can_be_tried_again() -> None:
    """BUSY, where nothing is read, is never a dead end: it leads back to every stage that it was entered from."""
    entered_from = {stage for (stage, event), after in STAGES.items() if after is Stage.BUSY}
    left_for = {after for (stage, _), after in STAGES.items() if stage is Stage.BUSY}
    assert entered_from == {Stage.GREETING, Stage.PASSWORD, Stage.AGAIN}
    assert entered_from < left_for


def test_every_question_can_be_left() -> None:
    """From each question that a person at the prompts is asked, one step leads back to the name."""
    asked = NOT_LOGGED_IN - {Stage.NEW, Stage.GREETING, Stage.BUSY}
    assert asked > SECRET
    assert {STAGES[stage, Event.CANCELLED] for stage in asked} == {Stage.GREETING}


def test_the_way_to_a_new_account() -> None:
    """A new name is confirmed, and its password typed twice: there is no shorter way."""
    steps = (Event.UNKNOWN, Event.CONFIRMED, Event.CHOSEN, Event.CHECKING)
    stage, passed = Stage.BUSY, []
    for event in steps:
        stage = next_stage(stage, event)
        passed.append(stage)
    assert passed == [Stage.CONFIRM, Stage.NEW_PASSWORD, Stage.AGAIN, Stage.BUSY]
    assert [before for (before, _), after in STAGES.items() if after is Stage.AGAIN] == [Stage.NEW_PASSWORD, Stage.BUSY]
    assert [event for (_, event), after in STAGES.items() if after is Stage.AGAIN] == [Event.CHOSEN, Event.REPEATED]
