"""The same job as Ray Data: on a cluster that is there, or on this machine."""
