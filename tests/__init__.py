"""The tests, by behaviour; `tests.servers` holds the S3 servers that they talk to."""
