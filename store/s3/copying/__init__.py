"""Objects copied on the server's side."""
