// The Checkpoint module.
