"""The composition root: command line, life-cycle, the real clock, and the wiring of all rooms.

The only room that knows every other. Refuses to hold logic of any of them.
"""
