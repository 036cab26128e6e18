// The Conversion module.
