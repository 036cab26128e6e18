// The ModelFile module.
