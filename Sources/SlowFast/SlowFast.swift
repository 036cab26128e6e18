// The SlowFast module.
