"""What the protocol room offers, by name."""

from trunkline.telephony.sip import proto


def test_exports_are_exactly_what_is_listed() -> None:
    assert proto.__all__ == sorted(set(proto.__all__))
    assert all(hasattr(proto, name) for name in proto.__all__)
    assert {"UserAgent", "OfferAnswer", "parse_datagram", "StreamFramer"} <= set(proto.__all__)
