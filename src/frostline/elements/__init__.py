"""Elements of one weight: sets of them, their algebra, and where they stand in its memory."""
