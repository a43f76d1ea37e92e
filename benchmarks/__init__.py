"""Measurements, apart from the tests: each figure with its hardware and versions beside it."""
