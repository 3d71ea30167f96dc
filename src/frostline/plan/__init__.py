"""What is to train: plans, schedules, their selectors and their files."""
