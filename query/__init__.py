"""Pass 2: concepts, scores, sweeps, SQL and manifests from what the store holds. No torch, no second download."""
