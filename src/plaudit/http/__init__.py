"""HTTP: turns requests into calls of services and their results into answers. Knows no storage."""
