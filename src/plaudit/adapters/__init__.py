"""The outside world, one folder per technology. Adapters implement ports and never call services."""
