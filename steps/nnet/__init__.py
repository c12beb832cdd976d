"""Networks, losses, schedules and checkpoints; imports torch and numpy, reads no files but checkpoints."""
