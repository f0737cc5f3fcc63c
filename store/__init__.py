"""The contract: what a store holds, where it lies, and how it is written. Imports nothing of ours."""
