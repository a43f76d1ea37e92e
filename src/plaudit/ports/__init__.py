"""What the services need from the outside, as narrow protocols. Adapters implement them; nothing here does anything."""
