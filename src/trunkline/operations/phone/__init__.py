"""Phones in software that really dial and really listen: a scripted caller and a human who answers.

They speak SIP and RTP through the same stack as the server, in a process and with a media engine of their own,
and judge what they heard from the packets on their own sockets. They refuse to know anything of the server:
what they report is what any phone on the network would have heard.
"""
