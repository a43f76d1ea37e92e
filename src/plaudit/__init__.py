"""Plaudit: a like and reaction service with exact counts."""

__version__ = "0.1.0"
