"""Legs over SIP: INVITE, BYE, REFER and re-INVITE as ``legs.contract`` sees them."""

from trunkline.telephony.legs.sip.leg import Endpoint, SipLeg
from trunkline.telephony.legs.sip.legs import SipLegs
from trunkline.telephony.legs.sip.trunks import DtmfMode, Strangers, Trunk, TrunkTable, anyone, networks

__all__ = [
    "DtmfMode",
    "Endpoint",
    "SipLeg",
    "SipLegs",
    "Strangers",
    "Trunk",
    "TrunkTable",
    "anyone",
    "networks",
]
