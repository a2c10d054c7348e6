"""SIP signalling: ``proto`` is bytes and time in, messages and events out; ``aio`` has the sockets."""
