// The Video module.
