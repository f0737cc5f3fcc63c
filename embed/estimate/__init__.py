"""What a job will take and cost, and whether it may do all that it must, before it begins."""
