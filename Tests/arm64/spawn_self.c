// Preloaded into emulated programs: one that starts itself once more starts what emulates it, for the machine itself cannot run it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <spawn.h>
#include <string.h>
#include <unistd.h>

// FILE.arm64 is emulated by the script FILE.
static const char suffix[] = ".arm64";

int posix_spawn(pid_t *process, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                char *const arguments[], char *const environment[]) {
  __typeof__(posix_spawn) *next = (__typeof__(posix_spawn) *)dlsym(RTLD_NEXT, "posix_spawn");
  char own[4096];
  if (!strcmp(path, "/proc/self/exe")) {
    ssize_t length = readlink(path, own, sizeof own);
    ssize_t end = length - (ssize_t)(sizeof suffix - 1);
    if (end > 0 && !memcmp(own + end, suffix, sizeof suffix - 1)) {
      own[end] = 0;
      path = own;
    }
  }
  return next(process, path, actions, attributes, arguments, environment);
}
