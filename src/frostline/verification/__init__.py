"""What moved and what did not: digests, fingerprints, receipts."""
