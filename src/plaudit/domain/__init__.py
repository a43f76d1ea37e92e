"""The rules of reactions: pure functions and values, with no I/O, no clock and no framework."""
