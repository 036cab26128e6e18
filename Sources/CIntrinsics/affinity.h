#ifndef SLOWFAST_AFFINITY_H
#define SLOWFAST_AFFINITY_H

// The C library's sched_getaffinity(2), which its header shows only with _GNU_SOURCE, under a name of its own. Fills `size` bytes, a bit
// for each
// processor that may run the process `pid`, 0 for this one; 0 if that went well.
extern int sf_sched_getaffinity(int pid, unsigned long size, void *set) __asm__("sched_getaffinity");

#endif
