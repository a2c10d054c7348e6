"""The demonstration: a whole call on one machine, played by real processes and judged from outside.

Owns the stage (who is started, with which documents), the checks of what the phones' own RTP contained, and
what people see. Refuses to import any room it judges: the server, the caller and the person are other processes.
"""
