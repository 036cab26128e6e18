#ifndef SLOWFAST_SANDBOX_H
#define SLOWFAST_SANDBOX_H

#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Processes that decode clips. A program starts one `nursery`, which is itself again with other arguments; that links its libraries once,
// and forks a child for each clip. The nursery has one thread, touches nothing that comes from outside, and is told of a clip by what
// decoding it may take and two descriptors: what the child talks over, and a socket whose closing kills it and over which its status
// comes back.
//
// In C because fork(2) may only be called where no other thread can hold a lock, and descriptors travel in macros that Swift has not.

/// Where a nursery finds what it is told over, and a child its clip's socket.
static const int sandbox_socket = 3;

static inline void sandbox_close_from(int first) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, (unsigned)first, ~0U, 0) == 0) return;
#endif
  long most = sysconf(_SC_OPEN_MAX);
  if (most < 0 || most > 65536) most = 65536;
  for (int descriptor = first; descriptor < most; descriptor++) close(descriptor);
}

/// Two ends that talk to each other, closed in whatever is executed. 0, or an error number.
static inline int sandbox_pair(int type, int ends[2]) {
  return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0 ? 0 : errno;
}

static inline int sandbox_stream_pair(int ends[2]) { return sandbox_pair(SOCK_STREAM, ends); }
static inline int sandbox_packet_pair(int ends[2]) { return sandbox_pair(SOCK_SEQPACKET, ends); }

/// Executes `program` with two arguments, `control` as its descriptor 3, nothing else open and hardly an environment: a process
/// group of its own, so that what is typed at a terminal does not reach it. Its number, or a negative error number.
static inline int sandbox_execute(const char *program, const char *word, const char *version, int control) {
  char *path = getenv("LD_LIBRARY_PATH"), *libraries = NULL;
  if (path) {
    size_t size = strlen(path) + 17;
    libraries = (char *)malloc(size);
    if (!libraries) return -ENOMEM;
    snprintf(libraries, size, "LD_LIBRARY_PATH=%s", path);
  }
  // A zone that is named needs no file; a crash is a crash, and nothing is started to describe it.
  char zone[] = "TZ=UTC0", crash[] = "SWIFT_BACKTRACE=enable=no", name[] = "slowfast";
  char *arguments[] = {name, (char *)word, (char *)version, NULL};
  char *environment[] = {zone, crash, libraries, NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, control, sandbox_socket);
  for (int stream = 0; stream < 3; stream++) posix_spawn_file_actions_addopen(&actions, stream, "/dev/null", O_RDWR, 0);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t process = 0;
  int error = posix_spawn(&process, program, &actions, &attributes, arguments, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  free(libraries);
  return error ? -error : process;
}

/// The name that this program was executed by, or NULL.
static inline const char *sandbox_own_name(void) { return (const char *)getauxval(AT_EXECFN); }

/// What decoding one clip may take: bytes, and seconds of processors' time.
struct sandbox_limits { uint64_t memory, seconds; };

/// Asks a nursery for a child that may take so much. 0, or an error number.
static inline int sandbox_ask(int control, int clip, int status, uint64_t memory, uint64_t seconds) {
  struct sandbox_limits limits = {memory, seconds};
  struct iovec part = {&limits, sizeof limits};
  union { char bytes[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr align; } room;
  memset(&room, 0, sizeof room);
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room.bytes;
  message.msg_controllen = sizeof room.bytes;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(2 * sizeof(int));
  int ends[2] = {clip, status};
  memcpy(CMSG_DATA(header), ends, sizeof ends);
  while (sendmsg(control, &message, MSG_NOSIGNAL) < 0)
    if (errno != EINTR) return errno;
  return 0;
}

/// One call of recvmsg(2): bytes, 0 at the end, or a negative error number. Descriptors that came go to `found`, up to `most`; others are
/// closed.
static inline long sandbox_receive(int socket, void *bytes, size_t count, int *found, int most) {
  struct iovec part = {bytes, count};
  union { char bytes[CMSG_SPACE(4 * sizeof(int))]; struct cmsghdr align; } room;
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = room.bytes;
  message.msg_controllen = sizeof room.bytes;
  long got;
  while ((got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0)
    if (errno != EINTR) return -errno;
  for (int place = 0; place < most; place++) found[place] = -1;
  int place = 0;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = CMSG_LEN(0); at + sizeof(int) <= header->cmsg_len; at += sizeof(int)) {
      int descriptor;
      memcpy(&descriptor, (char *)header + at, sizeof descriptor);
      if (place < most) found[place++] = descriptor; else close(descriptor);
    }
  }
  return got;
}

/// Sends all of `bytes`, with a descriptor unless it is -1. 0, or an error number.
static inline int sandbox_send(int socket, const void *bytes, size_t count, int descriptor) {
  size_t done = 0;
  union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } room;
  while (done < count) {
    struct iovec part = {(char *)bytes + done, count - done};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (descriptor >= 0) {
      memset(&room, 0, sizeof room);
      message.msg_control = room.bytes;
      message.msg_controllen = sizeof room.bytes;
      struct cmsghdr *header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    }
    long sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent >= 0) {
      done += (size_t)sent;
      descriptor = -1;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

// What a process that decodes may do: compute, take memory within its limit, start threads, read what it was handed, and talk over the
// socket that it has. Everything else ends it.

/// What holds a process, as far as the kernel has it.
enum { sandbox_has_filter = 1, sandbox_has_landlock = 2 };

/// Lowers a limit of a process, 0 for this one. 0, or -1.
static inline int sandbox_lower(pid_t process, int resource, uint64_t soft, uint64_t hard) {
  // As the kernel has it: none is the largest number.
  struct { uint64_t soft, hard; } limit;
  if (syscall(SYS_prlimit64, process, resource, NULL, &limit) != 0) return -1;
  if (limit.hard > hard) limit.hard = hard;
  if (limit.soft > soft) limit.soft = soft;
  if (limit.soft > limit.hard) limit.soft = limit.hard;
  return (int)syscall(SYS_prlimit64, process, resource, &limit, NULL);
}

/// No path can be opened, made or removed; no address of TCP bound or reached; no process outside met.
static inline int sandbox_landlock(void) {
  // The numbers are the same on every machine; older headers have them not.
  const long create = 444, restrict_self = 446;
  long version = syscall(create, NULL, 0, 1U /* LANDLOCK_CREATE_RULESET_VERSION */);
  if (version < 1) return 0;
  struct { uint64_t files, network, scopes; } handled = {0, 0, 0};
  int rights = version >= 5 ? 16 : version >= 3 ? 15 : version == 2 ? 14 : 13;
  handled.files = (1ULL << rights) - 1;
  size_t size = sizeof(uint64_t);
  if (version >= 4) { handled.network = 3; size = 2 * sizeof(uint64_t); }
  if (version >= 6) { handled.scopes = 3; size = 3 * sizeof(uint64_t); }
  long rules = syscall(create, &handled, size, 0U);
  if (rules < 0) return 0;
  long result = syscall(restrict_self, rules, 0U);
  close((int)rules);
  return result == 0;
}

#if defined(__x86_64__)
#define SANDBOX_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define SANDBOX_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef SANDBOX_ARCHITECTURE

enum { sandbox_most_steps = 512 };

struct sandbox_program { struct sock_filter steps[sandbox_most_steps]; unsigned short count; };

static inline void sandbox_step(struct sandbox_program *program, struct sock_filter step) {
  if (program->count < sandbox_most_steps) program->steps[program->count++] = step;
}

/// What becomes of a call of this number.
static inline void sandbox_rule(struct sandbox_program *program, long number, uint32_t action) {
  sandbox_step(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1));
  sandbox_step(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/// The lower half of an argument; both machines have the lower one first.
static inline uint32_t sandbox_argument(int place) { return (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (size_t)place); }

/// A call that is allowed where some bit of `bits` is (`wanted`), or none is, in the lower half of an argument.
static inline void sandbox_rule_bits(
    struct sandbox_program *program, long number, int place, uint32_t bits, int wanted, uint32_t otherwise) {
  sandbox_step(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 4));
  sandbox_step(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, sandbox_argument(place)));
  sandbox_step(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1));
  sandbox_step(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, wanted ? SECCOMP_RET_ALLOW : otherwise));
  sandbox_step(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, wanted ? otherwise : SECCOMP_RET_ALLOW));
}

/// A call that is allowed where an argument has this value, in its lower half and, unless `isInt`, with nothing in its upper one.
static inline void sandbox_rule_value(
    struct sandbox_program *program, long number, int place, uint32_t value, int isInt, uint32_t otherwise) {
  sandbox_step(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, isInt ? 4 : 6));
  sandbox_step(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, sandbox_argument(place)));
  sandbox_step(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, isInt ? 1 : 3));
  if (!isInt) {
    sandbox_step(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, sandbox_argument(place) + 4));
    sandbox_step(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1));
  }
  sandbox_step(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  sandbox_step(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise));
}

/// The filter of system calls: what is listed, and else the end.
static inline int sandbox_filter(void) {
  static const int allowed[] = {
    // Memory.
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise,
    // What it was handed, and its socket.
    SYS_read, SYS_pread64, SYS_readv, SYS_write, SYS_lseek, SYS_close, SYS_fstat, SYS_recvmsg, SYS_sendmsg, SYS_recvfrom, SYS_sendto,
    SYS_ppoll,
    // Threads, and waiting for each other.
    SYS_futex, SYS_set_robust_list, SYS_get_robust_list, SYS_sched_yield, SYS_sched_getaffinity, SYS_gettid, SYS_getpid, SYS_getppid,
    SYS_exit, SYS_exit_group, SYS_membarrier, SYS_getcpu, SYS_restart_syscall,
#ifdef SYS_rseq
    SYS_rseq,
#endif
    // Signals of its own, as a program that ends itself has them.
    SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rt_sigreturn, SYS_sigaltstack,
    // Time, and what the machine is.
    SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_clock_nanosleep, SYS_nanosleep, SYS_sysinfo, SYS_uname, SYS_getrandom,
    SYS_getrlimit, SYS_getrusage, SYS_times,
#if defined(__x86_64__)
    SYS_poll, SYS_time, SYS_arch_prctl,
#endif
  };
  // What libraries ask for and can do without: no file is there for them.
  static const int absent[] = {
    SYS_openat, SYS_newfstatat, SYS_readlinkat, SYS_faccessat, SYS_getcwd, SYS_statx, SYS_statfs,
#ifdef SYS_openat2
    SYS_openat2,
#endif
#ifdef SYS_faccessat2
    SYS_faccessat2,
#endif
#if defined(__x86_64__)
    SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink,
#endif
  };
  static const int unneeded[] = {
    SYS_sched_setaffinity, SYS_sched_getparam, SYS_sched_setscheduler, SYS_sched_getscheduler, SYS_sched_get_priority_max,
    SYS_sched_get_priority_min, SYS_setpriority, SYS_getpriority, SYS_mbind, SYS_set_mempolicy, SYS_get_mempolicy, SYS_mlock, SYS_munlock,
    SYS_fcntl, SYS_ioctl,
  };
  struct sandbox_program program;
  program.count = 0;
  const uint32_t end = SECCOMP_RET_KILL_PROCESS;
  sandbox_step(&program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
  sandbox_step(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SANDBOX_ARCHITECTURE, 1, 0));
  sandbox_step(&program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, end));
  sandbox_step(&program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
#if defined(__x86_64__)
  // The calls of x32 have the same architecture.
  sandbox_step(&program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1));
  sandbox_step(&program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, end));
#endif
  for (size_t place = 0; place < sizeof allowed / sizeof *allowed; place++) sandbox_rule(&program, allowed[place], SECCOMP_RET_ALLOW);
  // Memory is never run.
  const uint32_t run = 4 /* PROT_EXEC */;
  sandbox_rule_bits(&program, SYS_mmap, 2, run, 0, SECCOMP_RET_ERRNO | EACCES);
  sandbox_rule_bits(&program, SYS_mprotect, 2, run, 0, SECCOMP_RET_ERRNO | EACCES);
  // Threads, no processes. The newer call has its flags where no filter sees them; without it the older one is taken.
  sandbox_rule_bits(&program, SYS_clone, 0, 0x10000 /* CLONE_THREAD */, 1, end);
  sandbox_rule(&program, 435 /* clone3 */, SECCOMP_RET_ERRNO | ENOSYS);
  // abort(3).
  sandbox_rule_value(&program, SYS_tgkill, 0, (uint32_t)getpid(), 1, end);
  // Threads have names. Limits can be asked for.
  sandbox_rule_value(&program, SYS_prctl, 0, PR_SET_NAME, 1, SECCOMP_RET_ERRNO | EPERM);
  sandbox_rule_value(&program, SYS_prlimit64, 2, 0, 0, SECCOMP_RET_ERRNO | EPERM);
  for (size_t place = 0; place < sizeof absent / sizeof *absent; place++)
    sandbox_rule(&program, absent[place], SECCOMP_RET_ERRNO | EACCES);
  for (size_t place = 0; place < sizeof unneeded / sizeof *unneeded; place++)
    sandbox_rule(&program, unneeded[place], SECCOMP_RET_ERRNO | EPERM);
  sandbox_step(&program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, end));
  if (program.count == sandbox_most_steps) return 0;
  struct sock_fprog filter = {program.count, program.steps};
  // Not seccomp(2), which some services are not let call: there is one thread, so that nothing has to be told to others.
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}

#else
static inline int sandbox_filter(void) { return 0; }
#endif

/// Confines this process, which has one thread, for good: all but what its clip may take. What the kernel has of it.
static inline int sandbox_confine(void) {
  sandbox_lower(0, RLIMIT_FSIZE, 0, 0);
  sandbox_lower(0, RLIMIT_CORE, 0, 0);
  sandbox_lower(0, RLIMIT_NOFILE, 16, 16);
  sandbox_lower(0, RLIMIT_MEMLOCK, 0, 0);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 0;
  int held = 0;
  if (sandbox_landlock()) held |= sandbox_has_landlock;
  if (sandbox_filter()) held |= sandbox_has_filter;
  return held;
}

struct sandbox_child { pid_t process; int status; };

/// A child that waits for its clip, and the socket over which that comes; 0 and -1 where there is none.
struct sandbox_spare { pid_t process; int socket; };

/// What a child has, once it has a clip: what it talks over, and what holds it.
struct sandbox_task { int socket, held; };

enum { sandbox_most_children = 512 };

/// Makes the pages of the heap above `low` this process's own in one call: one after the other, as they are written to, each costs many
/// times as much.
static inline void sandbox_own_heap(uintptr_t low) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (low + page - 1) & ~(page - 1), end = (uintptr_t)sbrk(0) & ~(page - 1);
  if (first < end) madvise((void *)first, end - first, 23 /* MADV_POPULATE_WRITE */);
}

/// Forks a child that calls `prepare` unless that is NULL, is confined, and waits for a clip. In it this is 1, once it has one and no other
/// descriptor but the three standard ones.
static inline int sandbox_fork(
    struct sandbox_spare *spare, const sigset_t *mask, uintptr_t low, void (*prepare)(void), struct sandbox_task *task) {
  int ends[2];
  pid_t own = getpid();
  *spare = (struct sandbox_spare){0, -1};
  if (sandbox_stream_pair(ends) != 0) return 0;
  pid_t process = fork();
  if (process != 0) {
    close(ends[1]);
    if (process > 0) *spare = (struct sandbox_spare){process, ends[0]}; else close(ends[0]);
    return 0;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid() != own) _exit(0);
  dup2(ends[1], sandbox_socket);
  sandbox_close_from(sandbox_socket + 1);
  sigprocmask(SIG_UNBLOCK, mask, NULL);
  if (prepare) {
    prepare();
    sandbox_own_heap(low);
  }
  task->held = sandbox_confine();
  char byte;
  if (sandbox_receive(sandbox_socket, &byte, 1, &task->socket, 1) <= 0 || task->socket < 0) _exit(0);
  close(sandbox_socket);
  return 1;
}

/// Limits a child, and hands it its clip. Whether it has it.
static inline int sandbox_hand(const struct sandbox_spare *spare, int clip, struct sandbox_limits limits) {
  char byte = 1;
  return sandbox_lower(spare->process, RLIMIT_DATA, limits.memory, limits.memory) == 0 &&
    sandbox_lower(spare->process, RLIMIT_CPU, limits.seconds, limits.seconds + 5) == 0 &&
    sandbox_send(spare->socket, &byte, 1, clip) == 0;
}

/// What a nursery does until whoever started it is gone. Returns in a child only: see above. One child more than is needed is there soon,
/// so that nobody waits for a process to be made. `prepare` is what is better done before there is a clip: here once, for it fills memory
/// that children share, and in each child that is made ahead, which then has what it needs in its own tables of pages. It leaves no thread.
static inline struct sandbox_task sandbox_serve(void (*prepare)(void)) {
  static struct sandbox_child children[sandbox_most_children];
  static struct pollfd waits[sandbox_most_children + 2];
  int count = 0;
  // Milliseconds without anything to do after which a child is made: whoever has got the last one needs the processors now.
  const int moment = 4;
#ifdef __GLIBC__
  // One heap, which keeps what is given back to it: as what it would come to by itself.
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_TOP_PAD, 1 << 20);
#endif
  uintptr_t low = (uintptr_t)sbrk(0);
  sandbox_close_from(sandbox_socket + 1);
  fcntl(sandbox_socket, F_SETFD, FD_CLOEXEC);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  // What looks for files when it is first used.
  tzset();
  iconv_t conversion = iconv_open("UTF-8", "ISO-8859-1");
  if (conversion != (iconv_t)-1) iconv_close(conversion);
  prepare();
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  sigprocmask(SIG_BLOCK, &mask, NULL);
  int signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) _exit(1);
  struct sandbox_spare spare;
  struct sandbox_task task;
  int isWanted = 0;
  if (sandbox_fork(&spare, &mask, low, prepare, &task)) return task;
  while (1) {
    waits[0] = (struct pollfd){sandbox_socket, POLLIN, 0};
    waits[1] = (struct pollfd){signals, POLLIN, 0};
    for (int place = 0; place < count; place++) waits[place + 2] = (struct pollfd){children[place].status, 0, 0};
    int ready = poll(waits, (nfds_t)count + 2, isWanted ? moment : -1);
    if (ready < 0) continue;
    if (ready == 0) {
      isWanted = 0;
      if (sandbox_fork(&spare, &mask, low, prepare, &task)) return task;
      continue;
    }
    // Nobody wants it any more.
    for (int place = 0; place < count; place++) {
      if (!(waits[place + 2].revents & (POLLHUP | POLLERR))) continue;
      kill(children[place].process, SIGKILL);
      close(children[place].status);
      children[place].status = -1;
    }
    if (waits[1].revents) {
      struct signalfd_siginfo news;
      while (read(signals, &news, sizeof news) > 0) {}
      int status;
      pid_t ended;
      while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
        if (ended == spare.process) {
          close(spare.socket);
          spare = (struct sandbox_spare){0, -1};
        }
        for (int place = 0; place < count; place++) {
          if (children[place].process != ended) continue;
          if (children[place].status >= 0) {
            sandbox_send(children[place].status, &status, sizeof status, -1);
            close(children[place].status);
          }
          children[place] = children[--count];
          break;
        }
      }
    }
    if (!waits[0].revents) continue;
    struct sandbox_limits limits = {0, 0};
    int ends[2];
    // Children are killed with it.
    long got = sandbox_receive(sandbox_socket, &limits, sizeof limits, ends, 2);
    if (got <= 0) _exit(0);
    int isTaken = 0;
    // A spare one may have died, and its end not be known yet.
    for (int attempt = 0; attempt < 2 && !isTaken && got == sizeof limits && ends[1] >= 0 && count < sandbox_most_children; attempt++) {
      // Its clip is there: what it has not prepared is done with that.
      if (!spare.process && sandbox_fork(&spare, &mask, low, NULL, &task)) return task;
      if (!spare.process) break;
      isTaken = sandbox_hand(&spare, ends[0], limits);
      if (isTaken) children[count++] = (struct sandbox_child){spare.process, ends[1]};
      // One that cannot be limited, or is gone, ends by this.
      close(spare.socket);
      spare = (struct sandbox_spare){0, -1};
    }
    isWanted = !spare.process;
    if (ends[0] >= 0) close(ends[0]);
    if (!isTaken && ends[1] >= 0) close(ends[1]);
  }
}

/// Waits until there is something to read, or the other end is closed; 1, 0 after so many milliseconds, or a negative error number.
static inline int sandbox_wait(int socket, int milliseconds) {
  struct pollfd wait = {socket, POLLIN, 0};
  int ready = poll(&wait, 1, milliseconds);
  return ready < 0 ? (errno == EINTR ? 0 : -errno) : ready;
}

/// Memory without a name that keeps its size, of which pages count that were written; -1 where the system gives none.
static inline int sandbox_memory(size_t size) {
#ifdef SYS_memfd_create
  int descriptor = (int)syscall(SYS_memfd_create, "slowfast-frames", 3U /* MFD_CLOEXEC | MFD_ALLOW_SEALING */);
  if (descriptor < 0) return -1;
  // 1033: F_ADD_SEALS; 7: F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW.
  if (ftruncate(descriptor, (off_t)size) == 0 && fcntl(descriptor, 1033, 7) == 0) return descriptor;
  close(descriptor);
#endif
  return -1;
}

static inline int sandbox_is_signalled(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }
static inline int sandbox_exit_status(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }

/// Does what no decoder does: asks for a socket. Whether it got one.
static inline int sandbox_try_socket(void) {
  int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  if (descriptor >= 0) close(descriptor);
  return descriptor >= 0;
}

#endif
