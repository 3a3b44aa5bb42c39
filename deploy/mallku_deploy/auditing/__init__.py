"""What an auditor asks of the trail: to verify it, to prove, to replay, and to rebuild from it."""
