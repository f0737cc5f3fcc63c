"""The commands of pass 2. Each parses, calls the session, and prints."""
