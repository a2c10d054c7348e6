//! Sans-IO RTP and RTCP: packets, jitter buffer, telephone events, source latching.

#![forbid(unsafe_code)]
