// Filled by the kernels of this instruction set.
