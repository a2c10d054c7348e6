"""Reason phrases."""

from trunkline.telephony.sip.proto.reasons import reason_phrase


def test_registered_phrases_and_those_of_the_class() -> None:
    assert reason_phrase(486) == "Busy Here"
    assert reason_phrase(299) == "OK"
    assert reason_phrase(699) == "Global Failure"
