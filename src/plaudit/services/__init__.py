"""The use cases. They know the rules and the ports, never an adapter and never HTTP."""
