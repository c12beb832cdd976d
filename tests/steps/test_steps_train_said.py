"""What stage 4 says of the data that it trains on."""

from types import SimpleNamespace

import pytest

from steps.monitor.epochs import speakers_text


@pytest.mark.parametrize(
    ("num_people", "said"), [(6, "6 speakers"), (2, "2 speakers (6 classes, as each counts anew at another speed)")]
)
def test_people_are_counted_and_their_changed_speeds_are_said_to_be_classes(num_people, said):
    assert speakers_text(SimpleNamespace(speakers=list("abcdef"), num_people=num_people)) == said
