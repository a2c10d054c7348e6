"""The asyncio shell of SIP: UDP and TCP sockets around ``proto``."""

from trunkline.telephony.sip.aio.stack import SipListen, SipStack
from trunkline.telephony.sip.aio.tcp import TcpLimits

__all__ = ["SipListen", "SipStack", "TcpLimits"]
